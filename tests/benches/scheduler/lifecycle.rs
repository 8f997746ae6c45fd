//! What happens to a task from its making to its end, as the commands that a daemon gives its store for it.

use orch_core::actor::Actor;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::entity::{Isolation, Observation, PlannedStep, RepositorySource};
use orch_core::rehearsal::new_task;
use orch_core::state::run::RunOutcome;
use orch_core::state::step::{StepEnd, StepEvent};
use orch_proto::id::{CommandId, ProjectId, RunId, TaskId};
use orch_store::{Committed, Store};

use crate::clock;

/// Events that the five commands of a task make: two when it is made, three when its run is leased, two at the end.
pub(crate) const EVENTS: u32 = 9;

/// A command of a part of the daemon with a key of its own.
pub(crate) fn envelope(command: Command) -> Envelope {
    let id = CommandId::generate();
    Envelope { id, actor: Actor::daemon("bench"), request: Digest::of(id.to_string().as_bytes()), command }
}

/// A project that is ready.
pub(crate) fn project(store: &Store, slug: &str) -> anyhow::Result<ProjectId> {
    let (slug, source) = (slug.to_owned(), RepositorySource::Empty);
    let create = Command::CreateProject { slug, source, protected_paths: Vec::new() };
    let project = touched(&store.execute_blocking(envelope(create))?)?;
    let default_branch = "main".to_owned();
    let prepare = Command::PrepareProject { project, default_branch, head: None, toolchains: Vec::new() };
    store.execute_blocking(envelope(prepare))?;
    Ok(project)
}

/// The most important thing that a command made or changed.
pub(crate) fn touched<T: std::str::FromStr>(committed: &Committed) -> anyhow::Result<T> {
    let id = committed.touched.first().and_then(|(_, id)| id.parse().ok());
    id.ok_or_else(|| anyhow::anyhow!("it touched something else: {committed:?}"))
}

pub(crate) fn create(project: ProjectId) -> Command {
    Command::CreateTask { task: Box::new(new_task(project, "A task of the benchmark")) }
}

pub(crate) fn start(task: TaskId) -> Command {
    let steps = vec![PlannedStep::new("work", "true")];
    let reason = "first of its queue".into();
    Command::StartRun { task, base: None, steps, agent: None, required_level: 0, lease_ms: 60_000, reason }
}

pub(crate) const fn starting(run: RunId) -> Command {
    Command::MarkRunStarting { run }
}

/// All that its log says of a run of one step. The fence of a run is its number in its project.
pub(crate) fn record(run: RunId, fence: u32) -> Command {
    let at = clock::now();
    let step = |event| Observation::Step { index: 0, event };
    let observations = vec![
        Observation::Isolated { isolation: Isolation { level: 0, guarantees: Vec::new() } },
        step(StepEvent::Started { at }),
        step(StepEvent::Ended { at, end: StepEnd::Succeeded }),
    ];
    Command::RecordRun { run, fence: u64::from(fence), from: 0, cursor: 400, observations }
}

pub(crate) fn settle(run: RunId, fence: u32) -> Command {
    Command::SettleRun {
        run,
        fence: u64::from(fence),
        said: None,
        outcome: RunOutcome::Succeeded,
        artifacts: Vec::new(),
        log_dropped_bytes: 0,
        left_out: Box::default(),
        proposal: None,
    }
}
