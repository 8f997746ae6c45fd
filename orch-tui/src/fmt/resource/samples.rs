//! Views for tests, as the daemon would send them for the demo.

use orch_proto::EntityKind;
use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, Id, InfoRequestId, PlanId, ProjectId, RequirementsId, RunId, TaskId};
use orch_proto::view::{
    AgentUseView, ApprovalState, ApprovalView, BrokenView, ChangeState, ChangeView, CountView, DocumentState,
    ExchangeView, FailureView, FieldKind, FieldSpec, InfoRequestState, InfoRequestView, KindView, PlanNode, PlanView,
    PlanningState, PlanningView, ProjectState, ProjectView, ReadingView, RecoveryView, RequirementView,
    RequirementsView, RunPurpose, RunState, RunView, SpreadView, StateTimeView, StatementView, StatsView, StepState,
    StepView, TaskState, TaskView, TextView,
};

/// Time at which all samples were made.
pub(crate) const AT: Timestamp = Timestamp::from_unix_us(1_795_165_557_000_000);

/// The id of a kind with this number.
pub(crate) fn id<T: Id>(number: u32) -> T {
    format!("{}-0192f0c0-0000-7000-8000-{number:012x}", T::KIND).parse().unwrap()
}

fn node(key: &str, title: &str, needs: &[&str], level: u32, critical: bool) -> PlanNode {
    PlanNode {
        key: key.into(),
        task: None,
        title: title.into(),
        work: format!("blueprint web-api/{key}"),
        needs: needs.iter().map(ToString::to_string).collect(),
        requirements: vec!["FR-1".into()],
        acceptance: vec![],
        estimate_minutes: (1, 3),
        risk: None,
        critical,
        level,
        eta: None,
        state: None,
    }
}

/// A question of a run with these words.
pub(crate) fn info_request(number: u32, words: &str) -> InfoRequestView {
    let field = |name: &str, kind| FieldSpec { name: name.into(), label: words.into(), kind, required: true };
    let choices = vec!["eu".to_owned(), words.to_owned()];
    InfoRequestView {
        id: id::<InfoRequestId>(number),
        project: "shop".into(),
        number,
        name: format!("shop/I-{number}"),
        state: InfoRequestState::Pending,
        run: "shop/R-1".into(),
        task: "shop/T-1".into(),
        task_title: words.into(),
        text: words.into(),
        fields: vec![field("region", FieldKind::Choice { choices }), field("token", FieldKind::Secret)],
        answers: std::collections::BTreeMap::new(),
        answered_by: None,
        taken: false,
        asked_at: AT,
        expires_at: Some(AT),
        decided_at: None,
    }
}

/// A plan with parallel branches.
pub(crate) fn plan() -> PlanView {
    PlanView {
        id: id::<PlanId>(1),
        project: "shop".into(),
        version: 1,
        state: DocumentState::Proposed,
        requirements_version: 1,
        blueprint: Some("web-api".into()),
        epics: vec![],
        nodes: vec![
            node("scaffold", "Project skeleton with package, tools and first test", &[], 0, true),
            node("storage", "Storage with migrations", &["scaffold"], 1, true),
            node(
                "http",
                "HTTP layer: routing, problem+json, pagination and a title that does not end",
                &["scaffold"],
                1,
                false,
            ),
            node("ci-workflow", "Continuous integration", &["scaffold"], 1, false),
            node("wiring", "Wire storage and HTTP", &["storage", "http"], 2, true),
            node("release-check", "Everything together", &["wiring", "ci-workflow"], 3, true),
        ],
        critical_path: ["scaffold", "storage", "wiring", "release-check"].map(str::to_owned).into(),
        critical_minutes: (4, 12),
        eta: None,
        parallel_max: 3,
        added: vec![],
        dropped: vec![],
        kept: vec![],
        warnings: vec![],
        digest: "9c1e".repeat(16),
        approval: None,
        reason: "planned from requirements v1".into(),
        created_by: "user:alice".into(),
        created_at: AT,
    }
}

fn requirement(key: &str, kind: &str, title: &str, lines: (u32, u32)) -> RequirementView {
    RequirementView {
        key: key.into(),
        kind: kind.into(),
        title: title.into(),
        text: String::new(),
        group: None,
        parent: None,
        priority: None,
        acceptance: vec![],
        lines: Some(lines),
    }
}

/// A version of requirements with a little of everything.
pub(crate) fn requirements() -> RequirementsView {
    let statement = |text: &str, line| StatementView { text: text.into(), lines: Some((line, line)) };
    let mut items = vec![
        requirement("FR-1", "functional", "Create, list, read, update and delete items of the inventory", (12, 13)),
        requirement("FR-2", "functional", "Answer errors as problem documents", (14, 14)),
        requirement("NFR-1", "non_functional", "Answer within 50 ms at the 99th percentile", (20, 20)),
    ];
    items[0].text = "Each item has a name, a price in cents and a count. Names are unique.".into();
    items[0].acceptance = vec!["a created item can be read back".into()];
    RequirementsView {
        id: id::<RequirementsId>(1),
        project: "shop".into(),
        version: 1,
        state: DocumentState::Proposed,
        vision_version: 1,
        title: "Shop inventory".into(),
        summary: "A small HTTP service that keeps the inventory of a shop.".into(),
        goals: vec![statement("Know what is in stock", 5)],
        non_goals: vec![statement("Payments", 8)],
        constraints: vec![],
        acceptance: vec![],
        risks: vec![],
        milestones: vec![],
        open_questions: vec![statement("Which currency?", 30)],
        unclassified: vec![],
        requirements: items,
        warnings: vec!["line 31 is not understood".into()],
        comments: vec![],
        digest: "77aa".repeat(16),
        approval: None,
        reason: "derived from vision v1".into(),
        created_by: "user:alice".into(),
        created_at: AT,
    }
}

/// What a model planned, and the rules had to do.
pub(crate) fn planning() -> PlanningView {
    PlanningView {
        number: 1,
        wanted: "requirements".into(),
        state: PlanningState::Ruled { reason: "it was prose three times".into() },
        model: "big".into(),
        server: "local".into(),
        agent: None,
        turns: 0,
        at_work_since: None,
        asked_by: "user:ana".into(),
        since: AT,
        ended_at: Some(AT),
        exchanges: 3,
        waiting: 0,
        input_tokens: 1_500,
        output_tokens: 300,
        is_estimate: false,
        cost_text: None,
        refused: vec!["the answer is not JSON".into()],
        fell_back: None,
        lost: 0,
    }
}

/// The project of the other samples.
pub(crate) fn project() -> ProjectView {
    ProjectView {
        id: id::<ProjectId>(1),
        name: "shop".into(),
        state: ProjectState::Ready,
        repository: "/state/repos/shop.git".into(),
        default_branch: "main".into(),
        head: None,
        toolchains: vec![],
        gates: vec!["python3 -m unittest discover".into()],
        protected_paths: vec![".github/**".into()],
        vision_version: None,
        requirements_version: None,
        plan_version: None,
        created_at: AT,
        weight: 1,
        runs_max: None,
        runs_per_day: None,
        pause: None,
        queue_timeout: None,
        silence_timeout: None,
        budgets: Vec::new(),
        planning: None,
    }
}

/// A task that waits for a place.
pub(crate) fn task(number: u32) -> TaskView {
    TaskView {
        id: id::<TaskId>(number),
        project: "shop".into(),
        number,
        name: format!("shop/T-{number}"),
        key: None,
        title: format!("Task number {number}"),
        state: TaskState::Approved,
        ready: true,
        waits: vec![],
        work: "steps".into(),
        depends_on: vec![],
        conditions: std::collections::BTreeMap::new(),
        terms: orch_proto::view::Terms::default(),
        requirements: vec!["FR-1".into()],
        acceptance: vec![],
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
        estimate_minutes: Some((1, 3)),
        eta: None,
        created_at: AT,
        since: AT,
        tools: Vec::new(),
        messages: Vec::new(),
    }
}

/// A run that failed in its second step.
pub(crate) fn run(number: u32) -> RunView {
    let step = |name: &str, state, exit_code| StepView {
        name: name.into(),
        command: format!("sh {name}.sh"),
        state,
        exit_code: Some(exit_code),
        started_at: Some(AT),
        finished_at: Some(AT.plus_ms(1_200)),
    };
    RunView {
        id: id::<RunId>(number),
        project: "shop".into(),
        number,
        name: format!("shop/R-{number}"),
        task: id::<TaskId>(1),
        task_name: "shop/T-1".into(),
        task_title: "Task number 1".into(),
        purpose: RunPurpose::Work,
        attempt: 1,
        fence: 1,
        state: RunState::Failed { class: "task".into(), reason: "step `test` exited with 75".into() },
        steps: vec![step("write", StepState::Succeeded, 0), step("test", StepState::Failed, 75)],
        isolation: None,
        pause: None,
        silence: None,
        resumed: None,
        session: Vec::new(),
        agent: None,
        channel: None,
        given: vec![],
        network: vec![],
        network_left_out: 0,
        removed: Vec::new(),
        artifacts: vec![],
        artifacts_left_out: vec![],
        log_bytes: 1_234,
        log_dropped_bytes: 0,
        queued_at: AT,
        started_at: Some(AT),
        finished_at: Some(AT.plus_ms(2_400)),
        reason: "first in the queue".into(),
        directory: "/state/runs/r1".into(),
    }
}

/// The agent of a run.
pub(crate) fn agent_use() -> AgentUseView {
    AgentUseView {
        name: "coder".into(),
        kind: "codex".into(),
        model: None,
        role: None,
        exchanges: 1,
        waiting: 0,
        input_tokens: 1_100,
        cached_tokens: 1_000,
        output_tokens: 20,
        is_estimate: false,
        cost_micros: 20_000,
        cost_text: Some("$0.02".into()),
        is_unpriced: false,
        spending: Vec::new(),
        prompt: Some(TextView { digest: "0123".repeat(16), bytes: 7, is_kept: true }),
    }
}

/// A request to a model with this word in all that is a model's or an agent's, and its answer.
pub(crate) fn exchange(number: u32, word: &str) -> ExchangeView {
    let text = |bytes| TextView { digest: "ab".repeat(32), bytes, is_kept: true };
    ExchangeView {
        number,
        at: AT,
        path: word.into(),
        model: Some(word.into()),
        server: Some("vendor".into()),
        end: Some("complete".into()),
        answered_at: Some(AT.plus_ms(900)),
        status: Some(200),
        input_tokens: 1_100,
        cached_tokens: 1_000,
        output_tokens: 20,
        is_estimate: false,
        cost_text: Some("$0.02".into()),
        tries: 2,
        request: text(4_096),
        answer: Some(text(512)),
    }
}

/// An approval that waits.
pub(crate) fn approval(number: u32) -> ApprovalView {
    ApprovalView {
        id: id::<ApprovalId>(number),
        project: "shop".into(),
        number,
        name: format!("shop/A-{number}"),
        state: ApprovalState::Pending,
        subject_kind: EntityKind::Change,
        subject: "shop/C-1".into(),
        action: "merge shop/C-1 into main".into(),
        details: vec!["touches .github/workflows/ci.yml".into()],
        rule: "protected path .github/**".into(),
        choices: vec![],
        digest: "ab12".repeat(16),
        needed: 1,
        granted_by: vec![],
        requested_at: AT,
        expires_at: None,
        decided_at: None,
    }
}

/// A change that waits for that approval.
pub(crate) fn change(number: u32) -> ChangeView {
    ChangeView {
        id: id::<ChangeId>(number),
        project: "shop".into(),
        number,
        name: format!("shop/C-{number}"),
        title: "ci: check every push".into(),
        task_name: "shop/T-1".into(),
        run_name: "shop/R-1".into(),
        branch: "feature/T-1-ci".into(),
        state: ChangeState::Mergeable,
        head: "4f2a".repeat(10),
        base: None,
        files_changed: 1,
        lines_added: 20,
        lines_removed: 0,
        protected: vec![".github/workflows/ci.yml".into()],
        words: None,
        approval: Some(id::<ApprovalId>(1)),
        approval_name: Some("shop/A-1".into()),
        checks: vec![("shop/R-2".into(), "succeeded".into())],
        opened_at: AT,
        since: AT,
    }
}

/// What is answered where nothing has happened.
pub(crate) fn no_stats() -> StatsView {
    let state = |state| StateTimeView { state, now: 0, oldest_since: None, time: None };
    StatsView {
        project: None,
        now: AT.plus_ms(7_200_000),
        since: None,
        reading: None,
        states: [TaskState::Approved, TaskState::Running, TaskState::Failed].map(state).into(),
        queued: None,
        answered: None,
        attempts: 0,
        succeeded: 0,
        failures: vec![],
        recovery: RecoveryView::default(),
        by_hour: vec![CountView::default(); 24],
        by_day: vec![CountView::default(); 30],
        kinds: vec![],
    }
}

/// What is answered after some work, with the history half read.
pub(crate) fn stats() -> StatsView {
    let spread = |count, p50_ms, p90_ms| {
        Some(SpreadView { count, mean_ms: p50_ms, samples: 12, p50_ms, p90_ms, max_ms: p90_ms * 2 })
    };
    let mut stats = no_stats();
    stats.since = Some(AT);
    stats.reading = Some(ReadingView { read: 4_000, of: 9_000 });
    stats.states[1] =
        StateTimeView { state: TaskState::Running, now: 2, oldest_since: Some(AT), time: spread(40, 2_000, 7_500) };
    stats.queued = spread(40, 12, 450);
    stats.recovery = RecoveryView {
        retried: spread(3, 61_000, 61_000),
        broken: vec![BrokenView { project: "sh\u{1b}[31mop".into(), since: AT.plus_ms(3_600_000) }],
        ..RecoveryView::default()
    };
    (stats.attempts, stats.succeeded) = (44, 40);
    let failure =
        |class: &str, failures, retried, given_up| FailureView { class: class.into(), failures, retried, given_up };
    stats.failures = vec![failure("conflict", 1, 1, 0), failure("task", 4, 3, 1)];
    let kind = |work: String, count| KindView {
        work,
        tasks: spread(count, 3_000, 9_000),
        attempts: spread(count, 2_000, 7_500),
        failed: 1,
    };
    stats.kinds = (0..12).map(|at| kind(format!("blueprint web-api/part-{at}"), 40 - at)).collect();
    stats.by_hour[23] = CountView { started: 4, done: 3, failed: 1 };
    stats.by_day[29] = CountView { started: 44, done: 40, failed: 1 };
    stats
}
