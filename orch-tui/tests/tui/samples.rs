//! Views as a daemon would send them: a project in the middle of its work, in a plain and in a hostile form.
//!
//! Shared by the snapshot tests of the view and by the fake daemon of the terminal tests.

use orch_proto::Timestamp;
use orch_proto::id::{
    ApprovalId, ChangeId, Id as _, InfoRequestId, InstanceId, PlanId, ProjectId, RequirementsId, RunId, TaskId,
};
use orch_proto::reference::EntityKind;
use orch_proto::request::{Bytes, Role};
use orch_proto::view::{
    AgentUseView, ApprovalState, ApprovalView, ArtifactView, CaseResult, CaseView, CheckResult, DiffView, DoctorCheck,
    DoctorReport, DocumentState, EtaBasis, EtaView, EventView, FieldKind, FieldSpec, GuaranteeState, GuaranteeView,
    InfoRequestState, InfoRequestView, IsolationView, LogChunk, LogStream, NetworkState, NetworkUseView, NextLevelView,
    PlanEtaView, PlanNode, PlanView, ProjectState, ProjectView, RequirementView, RequirementsView, RunPurpose,
    RunState, RunView, StatementView, StatusView, StepState, StepView, StuckView, TaskState, TaskView, WaitView,
};

/// 2026-11-20T09:05:57Z, the time at which everything is looked at.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_us(1_795_165_557_000_000);

/// How long a task takes of which a dozen like it were done.
fn eta(state: TaskState) -> EtaView {
    EtaView {
        p50_ms: 61_000,
        p90_ms: 185_000,
        basis: EtaBasis::LikeInProject,
        samples: 12,
        elapsed_ms: (state == TaskState::Running).then_some(95_000),
        overdue: false,
        reading: false,
    }
}

/// Makes views. When hostile, every text carries what a terminal must not be given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Samples {
    pub(crate) hostile: bool,
}

fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0192_f0c0_0000_7000_8000_0000_0000_0000 + number)
}

pub(crate) fn task_id(number: u32) -> TaskId {
    TaskId::from_uuid(uuid(number.into()))
}

pub(crate) fn run_id(number: u32) -> RunId {
    RunId::from_uuid(uuid(number.into()))
}

pub(crate) fn approval_id(number: u32) -> ApprovalId {
    ApprovalId::from_uuid(uuid(number.into()))
}

pub(crate) fn project_id() -> ProjectId {
    ProjectId::from_uuid(uuid(1))
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_unix_us(NOW.unix_us() - seconds * 1_000_000)
}

impl Samples {
    pub(crate) fn text(self, text: &str) -> String {
        if self.hostile {
            format!(
                "{text} \x1b[31;1m\x1b]52;c;ZXZpbA==\x07\u{202e}live\u{200b}\r\n\t\u{301}\u{301}\u{301}\u{301}\u{4e2d}\u{6587}\u{e0041}\u{9b}2J"
            )
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn status(self) -> StatusView {
        StatusView {
            version: "0.1.0".into(),
            instance: InstanceId::from_uuid(uuid(1)),
            pid: 4_242,
            state_directory: self.text("/var/lib/orchd"),
            started_at: ago(3_700),
            now: NOW,
            seq: 6,
            user: self.text("user:alice"),
            role: Role::Admin,
            projects: 1,
            tasks_queued: 3,
            tasks_without_agent: 1,
            runs_active: 2,
            approvals_pending: 2,
            questions_pending: 1,
            tasks_failed: 1,
            runs_max: 4,
            isolation_level: 4,
            isolation_required: 3,
            outage: None,
            warnings: vec![self.text("the disk of the state directory is 91 % full")],
        }
    }

    pub(crate) fn projects(self) -> Vec<ProjectView> {
        vec![ProjectView {
            id: project_id(),
            name: "shop".into(),
            state: ProjectState::Ready,
            repository: "/var/lib/orchd/repos/shop.git".into(),
            default_branch: "main".into(),
            head: Some("4f2a9c1e".repeat(5)),
            toolchains: Vec::new(),
            gates: vec!["python3 -m unittest".into()],
            protected_paths: vec!["deploy/**".into()],
            vision_version: Some(1),
            requirements_version: Some(1),
            plan_version: Some(2),
            created_at: ago(7_200),
            weight: 1,
            runs_max: None,
            runs_per_day: None,
            pause: None,
            queue_timeout: None,
            silence_timeout: None,
            budgets: Vec::new(),
            planning: None,
        }]
    }

    pub(crate) fn task(self, number: u32, title: &str, state: TaskState) -> TaskView {
        TaskView {
            id: task_id(number),
            project: "shop".into(),
            number,
            name: format!("shop/T-{number}"),
            key: Some(format!("K{number}")),
            title: self.text(title),
            state,
            ready: false,
            waits: Vec::new(),
            work: self.text("blueprint web-api/scaffold"),
            depends_on: Vec::new(),
            conditions: std::collections::BTreeMap::new(),
            terms: orch_proto::view::Terms::default(),
            requirements: vec!["FR-1".into(), "REQ-7".into()],
            acceptance: vec![self.text("GET /items answers 200 with a JSON list")],
            priority: 5,
            moved: None,
            attempts: 0,
            attempts_max: 3,
            last_failure: None,
            cancelled_because: None,
            run: None,
            run_name: None,
            step: None,
            change: None,
            change_name: None,
            approval: None,
            approval_name: None,
            commit: None,
            estimate_minutes: Some((4, 9)),
            eta: (!matches!(state, TaskState::Done | TaskState::Failed | TaskState::Cancelled)).then(|| eta(state)),
            created_at: ago(3_600),
            since: ago(95),
            tools: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// A task of each kind that the board tells apart.
    pub(crate) fn tasks(self) -> Vec<TaskView> {
        let wait = |code: &str, text: &str, hint: Option<&str>| WaitView {
            code: code.into(),
            text: self.text(text),
            hint: hint.map(|hint| self.text(hint)),
        };
        let mut scaffold = self.task(1, "scaffold the service", TaskState::Done);
        (scaffold.commit, scaffold.attempts) = (Some("9c1e4f2a77".repeat(4)), 1);
        (scaffold.run, scaffold.run_name) = (Some(run_id(1)), Some("shop/R-1".into()));
        let mut http = self.task(2, "HTTP layer: routes, errors, JSON", TaskState::Running);
        (http.run, http.run_name) = (Some(run_id(3)), Some("shop/R-3".into()));
        (http.work, http.attempts) = (self.text("agent developer"), 2);
        http.step = Some((2, 4, self.text("run the tests")));
        let mut storage = self.task(3, "storage with SQLite", TaskState::Running);
        (storage.run, storage.run_name) = (Some(run_id(4)), Some("shop/R-4".into()));
        (storage.step, storage.attempts) = (Some((1, 2, self.text("write the module"))), 1);
        let mut docs = self.task(4, "README and ADR", TaskState::Approved);
        docs.waits = vec![wait("dependency", "T-2 and T-3 are not done", None)];
        docs.depends_on = vec!["T-2".into(), "T-3".into()];
        let mut lint = self.task(5, "lint", TaskState::Approved);
        lint.ready = true;
        let mut agent = self.task(6, "review by an agent", TaskState::Approved);
        agent.waits = vec![wait(
            "agent",
            "no agent with the capability `review` is configured",
            Some("configure one under [agents] in the daemon's configuration"),
        )];
        let mut deploy = self.task(7, "deployment files", TaskState::InReview);
        (deploy.change, deploy.change_name) = (Some(ChangeId::from_uuid(uuid(7))), Some("shop/C-7".into()));
        (deploy.approval, deploy.approval_name) = (Some(approval_id(3)), Some("shop/A-3".into()));
        (deploy.run, deploy.run_name) = (Some(run_id(2)), Some("shop/R-2".into()));
        let mut bench = self.task(8, "benchmark", TaskState::Failed);
        (bench.attempts, bench.last_failure) = (3, Some(self.text("step 2 `measure` ended with 1")));
        let held = self.task(9, "translate", TaskState::Paused);
        let proposed = self.task(10, "metrics endpoint", TaskState::Proposed);
        let cancelled = self.task(11, "XML answers", TaskState::Cancelled);
        vec![scaffold, http, storage, docs, lint, agent, deploy, bench, held, proposed, cancelled]
    }

    fn step(self, name: &str, state: StepState, times: (i64, Option<i64>)) -> StepView {
        let started = (state != StepState::Pending).then(|| ago(times.0));
        let exit_code = match state {
            StepState::Succeeded => Some(0),
            StepState::Failed => Some(1),
            _ => None,
        };
        StepView {
            name: self.text(name),
            command: self.text(&format!("python3 -m {}", name.replace(' ', "_"))),
            state,
            exit_code,
            started_at: started,
            finished_at: times.1.map(ago),
        }
    }

    pub(crate) fn isolation(self) -> IsolationView {
        let guarantee = |name: &str, state, how: &str, evidence: &str| GuaranteeView {
            name: name.into(),
            state,
            how: self.text(how),
            evidence: self.text(evidence),
            fix: (state != GuaranteeState::Enforced).then(|| self.text("set Delegate=yes in the daemon's unit")),
        };
        IsolationView {
            level: 3,
            required: 3,
            guarantees: vec![
                guarantee(
                    "network",
                    GuaranteeState::Enforced,
                    "net namespace without interfaces",
                    "connect: ENETUNREACH",
                ),
                guarantee("files", GuaranteeState::Enforced, "mount namespace, landlock", "open /etc/shadow: ENOENT"),
                guarantee("limits", GuaranteeState::Degraded, "rlimits, no cgroup", "memory.max is not delegated"),
            ],
            next: Some(NextLevelView { level: 4, missing: vec![self.text("limits")] }),
        }
    }

    pub(crate) fn run(self, number: u32, task: u32, state: RunState) -> RunView {
        let finished = state.is_final().then(|| ago(40));
        RunView {
            id: run_id(number),
            project: "shop".into(),
            number,
            name: format!("shop/R-{number}"),
            task: task_id(task),
            task_name: format!("shop/T-{task}"),
            task_title: self.text("HTTP layer: routes, errors, JSON"),
            purpose: RunPurpose::Work,
            attempt: 1,
            fence: 1,
            steps: vec![
                self.step("write files", StepState::Succeeded, (120, Some(118))),
                self.step(
                    "run the tests",
                    if state.is_final() { StepState::Succeeded } else { StepState::Running },
                    (118, finished.map(|_| 60)),
                ),
                self.step("lint", StepState::Pending, (0, None)),
            ],
            state,
            isolation: Some(self.isolation()),
            pause: None,
            silence: None,
            resumed: None,
            session: Vec::new(),
            channel: None,
            agent: Some(AgentUseView {
                name: self.text("coder"),
                kind: "codex".into(),
                model: Some(self.text("gpt-5-codex")),
                role: Some("developer".into()),
                exchanges: 12,
                waiting: 1,
                input_tokens: 34_120,
                cached_tokens: 20_000,
                output_tokens: 2_048,
                is_estimate: false,
                cost_micros: 0,
                cost_text: None,
                is_unpriced: false,
                spending: Vec::new(),
                prompt: None,
            }),
            given: vec![self.text("network: registry.example.org:443"), self.text("secret: TOKEN (file)")],
            network: vec![NetworkUseView {
                way: "connect".into(),
                host: Some(self.text("evil.example.org")),
                port: Some(443),
                state: NetworkState::Denied,
                detail: self.text("name-not-allowed"),
                count: 3,
            }],
            network_left_out: 0,
            removed: Vec::new(),
            artifacts: vec![ArtifactView {
                path: self.text("dist/report.json"),
                size_bytes: 2_048,
                digest: "ab".repeat(32),
            }],
            artifacts_left_out: vec![],
            log_bytes: 1_000,
            log_dropped_bytes: 0,
            queued_at: ago(130),
            started_at: Some(ago(120)),
            finished_at: finished,
            reason: self.text("highest priority of what is ready"),
            directory: "/var/lib/orchd/runs/3".into(),
        }
    }

    pub(crate) fn runs(self) -> Vec<RunView> {
        let failed =
            RunState::Failed { class: "task".into(), reason: self.text("step 2 `run the tests` ended with 1") };
        let mut gate = self.run(2, 7, RunState::Succeeded);
        gate.purpose = RunPurpose::Gate { change: ChangeId::from_uuid(uuid(7)) };
        let mut retry = self.run(3, 2, RunState::Running);
        retry.attempt = 2;
        vec![self.run(1, 1, failed), gate, retry, self.run(4, 3, RunState::Running)]
    }

    pub(crate) fn log(self) -> Vec<LogChunk> {
        let line = |second: i64, stream, step, text: &str| LogChunk {
            stream,
            step,
            at: ago(120 - second),
            bytes: Bytes(self.text(text).into_bytes()),
            newline: true,
        };
        vec![
            line(0, LogStream::Control, Some(0), "step 1 of 3: write files"),
            line(0, LogStream::Stdout, Some(0), "wrote src/routes.py"),
            line(1, LogStream::Stdout, Some(0), "wrote src/errors.py"),
            line(2, LogStream::Control, Some(1), "step 2 of 3: run the tests"),
            line(3, LogStream::Stdout, Some(1), "test_items_are_listed ... ok"),
            line(4, LogStream::Stderr, Some(1), "ResourceWarning: unclosed socket"),
            line(5, LogStream::Stdout, Some(1), "test_errors_are_json ... \x1b[32mok\x1b[0m"),
        ]
    }

    pub(crate) fn approvals(self) -> Vec<ApprovalView> {
        let approval = |number: u32, kind, subject: &str, action: &str, details: &[&str]| ApprovalView {
            id: approval_id(number),
            project: "shop".into(),
            number,
            name: format!("shop/A-{number}"),
            state: ApprovalState::Pending,
            subject_kind: kind,
            subject: subject.into(),
            action: self.text(action),
            details: details.iter().map(|detail| self.text(detail)).collect(),
            rule: self.text("protected paths: deploy/**"),
            choices: Vec::new(),
            digest: "9c1e".repeat(16),
            needed: 1,
            granted_by: Vec::new(),
            requested_at: ago(i64::from(number) * 60),
            expires_at: Some(NOW.plus_ms(14 * 60_000)),
            decided_at: None,
        };
        vec![
            approval(
                3,
                EntityKind::Change,
                "shop/C-7",
                "merge C-7 `deployment files` into main",
                &["touches deploy/service.unit (protected)", "3 files, +41 -2", "gates: 2 of 2 passed"],
            ),
            approval(2, EntityKind::Plan, "shop/P-2", "start 11 tasks of plan v2", &["critical path 14-30 min"]),
        ]
    }

    pub(crate) fn questions(self) -> Vec<InfoRequestView> {
        let field = |name: &str, label: &str, kind, required| FieldSpec {
            name: name.into(),
            label: self.text(label),
            kind,
            required,
        };
        let choices = ["eu-central-1", "us-east-1"].map(|choice| self.text(choice)).to_vec();
        vec![InfoRequestView {
            id: InfoRequestId::from_uuid(uuid(900)),
            project: "shop".into(),
            number: 4,
            name: "shop/I-4".into(),
            state: InfoRequestState::Pending,
            run: "shop/R-3".into(),
            task: "shop/T-2".into(),
            task_title: self.text("list and create orders"),
            text: self.text("Where is it to be deployed?\nThe account has to exist."),
            fields: vec![
                field("region", "Region", FieldKind::Choice { choices }, true),
                field("token", "Token of the account", FieldKind::Secret, true),
                field("replicas", "", FieldKind::Number, false),
                field("public", "Reachable from outside", FieldKind::Bool, false),
            ],
            answers: std::collections::BTreeMap::new(),
            answered_by: None,
            taken: false,
            asked_at: ago(20),
            expires_at: Some(NOW.plus_ms(23 * 60 * 60_000)),
            decided_at: None,
        }]
    }

    fn node(self, key: &str, level: u32, needs: &[&str], (critical, state): (bool, Option<TaskState>)) -> PlanNode {
        PlanNode {
            key: key.into(),
            task: state.map(|_| format!("shop/T-{}", key.trim_start_matches('K'))),
            title: self.text(&format!("task {key} of the plan")),
            work: "blueprint web-api/part".into(),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
            requirements: vec!["FR-1".into()],
            acceptance: vec![self.text("its tests pass")],
            estimate_minutes: (2, 5),
            risk: critical.then(|| self.text("touches the storage format")),
            critical,
            level,
            eta: state.filter(|state| *state != TaskState::Done).map(eta),
            state,
        }
    }

    fn plan_eta(self) -> PlanEtaView {
        PlanEtaView {
            p50_ms: 245_000,
            p90_ms: 490_000,
            path: vec!["K2".into(), "K4".into()],
            path_ms: 240_000,
            tasks: 3,
            places: 2,
            rounds: 200,
            stuck: vec![StuckView { key: "K12".into(), why: self.text("needs an agent") }],
            stuck_count: 1,
            unknown: 0,
            reading: false,
        }
    }

    pub(crate) fn plans(self) -> Vec<PlanView> {
        let plan = |version: u32, state| PlanView {
            id: PlanId::from_uuid(uuid(version.into())),
            project: "shop".into(),
            version,
            state,
            requirements_version: 1,
            blueprint: Some("web-api".into()),
            epics: Vec::new(),
            nodes: vec![
                self.node("K1", 0, &[], (true, Some(TaskState::Done))),
                self.node("K2", 1, &["K1"], (true, Some(TaskState::Running))),
                self.node("K3", 1, &["K1"], (false, Some(TaskState::Running))),
                self.node("K4", 2, &["K2", "K3"], (true, Some(TaskState::Approved))),
                self.node("K12", 2, &["K3"], (false, None)),
            ],
            critical_path: vec!["K1".into(), "K2".into(), "K4".into()],
            critical_minutes: (14, 30),
            eta: (state == DocumentState::Approved).then(|| self.plan_eta()),
            parallel_max: 2,
            added: vec!["K12".into()],
            dropped: vec!["K13".into()],
            kept: vec!["K1".into(), "K2".into()],
            warnings: vec![self.text("REQ-9 is served by no task")],
            digest: "77aa".repeat(16),
            approval: None,
            reason: self.text("metrics were added"),
            created_by: self.text("user:alice"),
            created_at: ago(3_000),
        };
        vec![plan(2, DocumentState::Approved), plan(1, DocumentState::Superseded)]
    }

    pub(crate) fn requirements(self) -> RequirementsView {
        let requirement = |key: &str, kind: &str, title: &str| RequirementView {
            key: key.into(),
            kind: kind.into(),
            title: self.text(title),
            text: self.text("The service answers every request with JSON."),
            group: Some(self.text("API")),
            parent: None,
            priority: None,
            acceptance: vec![self.text("an unknown path answers 404 with JSON")],
            lines: Some((12, 14)),
        };
        RequirementsView {
            id: RequirementsId::from_uuid(uuid(1)),
            project: "shop".into(),
            version: 1,
            state: DocumentState::Approved,
            vision_version: 1,
            title: self.text("A small shop"),
            summary: self.text("Lists items."),
            goals: Vec::new(),
            non_goals: Vec::new(),
            constraints: Vec::new(),
            acceptance: Vec::new(),
            risks: Vec::new(),
            milestones: Vec::new(),
            open_questions: vec![StatementView { text: self.text("which currency?"), lines: None }],
            unclassified: Vec::new(),
            requirements: vec![
                requirement("FR-1", "functional", "items are listed"),
                requirement("NFR-3", "non_functional", "answers within 50 ms"),
                requirement("REQ-7", "constraint", "no dependency but the standard library"),
            ],
            warnings: Vec::new(),
            comments: Vec::new(),
            digest: "55bb".repeat(16),
            approval: None,
            reason: "first".into(),
            created_by: "user:alice".into(),
            created_at: ago(3_500),
        }
    }

    pub(crate) fn doctor(self) -> DoctorReport {
        let check = |name: &str, result, detail: &str, fix: Option<&str>| DoctorCheck {
            name: name.into(),
            result,
            detail: self.text(detail),
            fix: fix.map(|fix| self.text(fix)),
        };
        let case = |id: &str, what: &str, result, detail: &str| CaseView {
            id: id.into(),
            what: what.into(),
            result,
            detail: self.text(detail),
        };
        DoctorReport {
            checks: vec![
                check("user namespaces", CheckResult::Ok, "allowed", None),
                check(
                    "cgroup delegation",
                    CheckResult::Warning,
                    "memory is not delegated",
                    Some("systemctl enable user-delegation"),
                ),
                check("git", CheckResult::Failed, "not installed", Some("apt-get install git")),
            ],
            isolation: self.isolation(),
            cases: vec![
                case("N20", "reach an abstract socket of the host", CaseResult::Held, "connect to it: ECONNREFUSED"),
                case("R1", "fork without end", CaseResult::Skipped, "nothing bounds the processes of a whole run"),
            ],
            isolation_level: 3,
            isolation_required: 3,
        }
    }

    pub(crate) fn diff(self) -> DiffView {
        let text = "diff --git a/deploy/service.unit b/deploy/service.unit\n--- a/deploy/service.unit\n+++ b/deploy/service.unit\n@@ -1,3 +1,3 @@\n [Service]\n-Restart=no\n+Restart=always\n";
        DiffView { name: "shop/C-7".into(), text: self.text(text), truncated: true }
    }

    pub(crate) fn events(self) -> Vec<EventView> {
        let event = |seq: u64, kind: &str, subject: &str, text: &str| EventView {
            seq,
            at: ago(200 - i64::try_from(seq).unwrap_or(0) * 10),
            actor: "daemon:scheduler".into(),
            kind: kind.into(),
            project: Some("shop".into()),
            subject: subject.into(),
            text: self.text(text),
            hash: format!("{seq:064x}"),
            data: None,
        };
        vec![
            event(1, "project.created", "shop", "created"),
            event(2, "plan.approved", "shop/P-2", "approved by user:alice"),
            event(3, "task.approved", "shop/T-2", "queued"),
            event(4, "run.started", "shop/R-3", "attempt 2 of T-2"),
            event(5, "approval.requested", "shop/A-3", "merge C-7 into main"),
            event(6, "run.step_finished", "shop/R-3", "step 1 ended with 0"),
        ]
    }
}
