//! A scene to play commands in: a view in memory, people, and a clock in the test's hand.

use std::collections::BTreeMap;

use orch_core::actor::Actor;
use orch_core::command::{Answer, Command, NewTask, Subject};
use orch_core::decide::{DecideError, Decided};
use orch_core::entity::{Change, Condition, Entity, PlannedStep, Project, RepositorySource, Run, Task};
use orch_core::ids::IdSource;
use orch_core::rehearsal::{MemoryView, Refused, new_task, proposal, violations};
use orch_core::state::run::RunOutcome;
use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};

/// What has happened, and when it is.
pub(crate) struct Scene {
    pub(crate) view: MemoryView,
    pub(crate) ids: IdSource,
    pub(crate) now: Timestamp,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_unix_us(1_795_165_557_000_000);
        Self { view: MemoryView::default(), ids: IdSource::seeded([7; 32]), now }
    }

    /// A scene with a project that is ready.
    pub(crate) fn ready(slug: &str) -> (Self, ProjectId) {
        let mut scene = Self::new();
        let project = scene.project(slug);
        (scene, project)
    }

    pub(crate) fn project(&mut self, slug: &str) -> ProjectId {
        let source = RepositorySource::Empty;
        self.does(&Command::CreateProject { slug: slug.into(), source, protected_paths: Vec::new() });
        let project = self.view.newest::<Project>().id;
        let default_branch = "main".into();
        self.does(&Command::PrepareProject { project, default_branch, head: None, toolchains: Vec::new() });
        project
    }

    /// Executes a command of a person and checks what must always hold.
    pub(crate) fn execute(&mut self, command: &Command) -> Result<Decided, Refused> {
        self.execute_as(command, &user(1_000))
    }

    pub(crate) fn execute_as(&mut self, command: &Command, actor: &Actor) -> Result<Decided, Refused> {
        let done = self.view.execute(command, actor, self.now, &mut self.ids);
        assert_eq!(violations(&self.view).unwrap(), Vec::<String>::new(), "after {command:?}");
        done
    }

    /// Executes a command that must be accepted.
    pub(crate) fn does(&mut self, command: &Command) -> Decided {
        self.execute(command).unwrap_or_else(|error| panic!("{error} on {command:?}"))
    }

    /// Executes a command that must be refused, and answers how.
    pub(crate) fn refuses(&mut self, command: &Command) -> Refused {
        let before = self.view.events.len();
        let error = self.execute(command).unwrap_err();
        assert_eq!(self.view.events.len(), before);
        error
    }

    pub(crate) fn later_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    pub(crate) fn one<E: Entity>(&self, id: E::Id) -> E {
        self.view.one(id)
    }

    pub(crate) fn task(&mut self, project: ProjectId, title: &str) -> TaskId {
        let made = self.does(&Command::CreateTask { task: Box::new(new_task(project, title)) });
        made.touched[0].1.parse().unwrap()
    }

    /// A task whose start is asked about, and the question.
    pub(crate) fn needs_approval(&mut self, project: ProjectId, title: &str) -> (TaskId, ApprovalId) {
        let new = NewTask { needs_approval: true, ..new_task(project, title) };
        self.does(&Command::CreateTask { task: Box::new(new) });
        let task = self.view.newest::<Task>();
        (task.id, task.approval.unwrap())
    }

    /// A change of a new task that passed its gates and whose merge is asked about, and the question.
    pub(crate) fn asking_to_merge(&mut self, project: ProjectId) -> (ChangeId, ApprovalId) {
        let task = self.task(project, "workflow");
        let run = self.start(task);
        let change = self.proposes(run, &["ci.yml"]);
        self.check(change, RunOutcome::Succeeded);
        (change, self.one::<Change>(change).approval.unwrap())
    }

    /// The task of a plan with this key that is newest.
    pub(crate) fn keyed(&self, key: &str) -> Task {
        let of_key = |task: &Task| task.plan.as_ref().is_some_and(|(_, own)| own == key);
        self.view.all::<Task>().into_iter().rfind(of_key).unwrap()
    }

    pub(crate) fn start(&mut self, task: TaskId) -> RunId {
        let started = self.does(&start(task));
        started.touched[0].1.parse().unwrap()
    }

    pub(crate) fn settle(&mut self, run: RunId, outcome: RunOutcome) -> Decided {
        let fence = self.one::<Run>(run).fence;
        self.does(&settle(run, fence, outcome))
    }

    /// The run succeeds with something to merge.
    pub(crate) fn proposes(&mut self, run: RunId, protected: &[&str]) -> ChangeId {
        self.does(&Command::MarkRunStarting { run });
        let fence = self.one::<Run>(run).fence;
        let content = proposal(&format!("r{fence}"), protected);
        let mut settle = settle(run, fence, RunOutcome::Succeeded);
        if let Command::SettleRun { proposal, .. } = &mut settle {
            *proposal = Some(Box::new(content));
        }
        self.does(&settle);
        self.view.newest::<Change>().id
    }

    /// The gates of the change run and give `outcome`.
    pub(crate) fn check(&mut self, change: ChangeId, outcome: RunOutcome) -> RunId {
        let tree = "merged".into();
        let steps = steps();
        self.does(&Command::StartCheck {
            change,
            base: None,
            tree,
            commit: "m".into(),
            steps,
            concerns: Vec::new(),
            required_level: 0,
            lease_ms: 1_000,
        });
        let run = self.view.newest::<Run>().id;
        self.does(&Command::MarkRunStarting { run });
        self.settle(run, outcome);
        run
    }

    pub(crate) fn merge(&mut self, change: ChangeId) {
        self.does(&Command::StartMerge { change, commit: format!("commit of {change}") });
        self.does(&Command::FinishMerge { change, toolchains: Vec::new() });
    }

    /// Does the task from start to merge.
    pub(crate) fn finish(&mut self, task: TaskId) {
        let run = self.start(task);
        let change = self.proposes(run, &[]);
        self.check(change, RunOutcome::Succeeded);
        self.merge(change);
    }
}

pub(crate) fn user(uid: u32) -> Actor {
    Actor::User { uid, name: format!("u{uid}") }
}

pub(crate) fn steps() -> Vec<PlannedStep> {
    vec![PlannedStep::new("work", "true")]
}

/// The usual condition of each: that it is done.
pub(crate) fn all_done(tasks: impl IntoIterator<Item = TaskId>) -> BTreeMap<TaskId, Condition> {
    tasks.into_iter().map(|task| (task, Condition::Done)).collect()
}

pub(crate) fn retry(task: TaskId) -> Command {
    Command::RetryTask { task, anew: false, not_before: None, priority: None }
}

pub(crate) fn link(task: TaskId, depends_on: TaskId) -> Command {
    Command::LinkTask { task, depends_on, condition: Condition::Done }
}

pub(crate) fn start(task: TaskId) -> Command {
    Command::StartRun {
        task,
        base: None,
        steps: steps(),
        agent: None,
        required_level: 0,
        lease_ms: 1_000,
        reason: "test".into(),
    }
}

pub(crate) fn settle(run: RunId, fence: u64, outcome: RunOutcome) -> Command {
    Command::SettleRun {
        run,
        fence,
        said: None,
        outcome,
        artifacts: Vec::new(),
        log_dropped_bytes: 0,
        left_out: Box::default(),
        proposal: None,
    }
}

pub(crate) fn approve(approval: ApprovalId) -> Command {
    Command::Decide { subject: Subject::Approval(approval), answer: Answer::Approve, digest: None }
}

pub(crate) fn deny(approval: ApprovalId) -> Command {
    let answer = Answer::Deny { reason: "no".into() };
    Command::Decide { subject: Subject::Approval(approval), answer, digest: None }
}

pub(crate) fn failed() -> RunOutcome {
    RunOutcome::Failed { class: orch_core::state::run::FailureClass::Task, reason: "exit 1".into() }
}

pub(crate) fn lost() -> RunOutcome {
    RunOutcome::Lost { reason: "gone".into() }
}

/// The refusal as an error of the rules.
pub(crate) fn rule(refused: Refused) -> DecideError {
    match refused {
        Refused::Decide(error) => error,
        Refused::Apply(error) => panic!("not refused by a rule: {error}"),
    }
}
