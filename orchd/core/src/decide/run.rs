//! Runs: starting them and recording how they go. Their end is in `settle`.

use orch_proto::EntityKind;
use orch_proto::id::{ProjectId, RunId, TaskId};

use super::approval::task_digest;
use super::{Context, DecideError, bounds, budget, conflict, dependency, pause, question, text};
use crate::command::Command;
use crate::entity::{
    AgentUse, Approval, Asks, Attempt, Checkpoint, InstalledTool, LeftSession, PlannedStep, Project, Run, RunEvent,
    RunPurpose, SessionEvent, StepRecord, Task, TaskEvent, Verdict, is_session_id, resumable, taken_up,
};
use crate::recipe::{Access, Reach, TOOLS_MAX};
use crate::state::project::ProjectState;
use crate::state::run::RunState;
use crate::state::step::{StepEnd, StepState};
use crate::state::task::TaskState;
use crate::view::{Filter, View};

/// Most tools that a run has: those of a recipe, those that its repository builds with, and its agent's own program.
const EQUIPPED_MAX: usize = 2 * TOOLS_MAX;

/// What a new run is made from.
pub(super) struct NewRun<'a> {
    pub(super) project: ProjectId,
    pub(super) task: TaskId,
    pub(super) purpose: RunPurpose,
    pub(super) attempt: u32,
    pub(super) steps: &'a [PlannedStep],
    pub(super) base: Option<String>,
    pub(super) tree: Option<String>,
    pub(super) required_level: u8,
    pub(super) lease_ms: u64,
    pub(super) reason: &'a str,
    pub(super) priority: u8,
    pub(super) access: Access,
    pub(super) asks: Asks,
    pub(super) agent: Option<AgentUse>,
}

/// Queues and leases a run. Its fence is its number: it only grows, over all runs of the project and so of the task.
pub(super) fn begin<V: View>(cx: &mut Context<'_, V>, new: NewRun<'_>) -> Result<RunId, DecideError> {
    let id: RunId = cx.draw();
    let number = cx.number(EntityKind::Run, Some(new.project))?;
    let event = RunEvent::Queued {
        project: new.project,
        number,
        task: new.task,
        purpose: new.purpose,
        attempt: new.attempt,
        fence: u64::from(number),
        steps: new.steps.to_vec(),
        base: new.base,
        tree: new.tree,
        required_level: new.required_level,
        reason: new.reason.to_owned(),
        priority: new.priority,
        access: new.access,
        asks: Box::new(new.asks),
        agent: new.agent.map(Box::new),
    };
    cx.emit((id, event));
    cx.emit((id, RunEvent::Leased { until: cx.now.plus_ms(new.lease_ms), lease_ms: new.lease_ms }));
    cx.touch(EntityKind::Run, id);
    Ok(id)
}

/// The scheduler's choice. Checked again here: what it saw may have changed.
pub(super) fn start<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::StartRun { task: id, base, steps, agent, required_level, lease_ms, reason } = command else {
        return Err(conflict("not the start of a run"));
    };
    let task: Task = cx.get(*id)?;
    may_start(cx, &task)?;
    question::end_of_state(cx, &task, "the task has begun")?;
    let attempt = task.attempts + 1;
    let new = NewRun {
        project: task.project,
        task: task.id,
        purpose: RunPurpose::Work,
        attempt,
        steps,
        base: base.clone(),
        tree: None,
        required_level: *required_level,
        lease_ms: *lease_ms,
        reason,
        priority: task.priority,
        access: access(&task, agent.as_ref()),
        asks: task.terms.asks.clone(),
        agent: agent.clone(),
    };
    let run = begin(cx, new)?;
    if let Some(last) = task.last_run.map(|last| cx.get::<Run>(last)).transpose()? {
        go_on(cx, run, (&task, &last), Attempt { steps, base: base.as_deref(), agent: agent.as_ref() });
    }
    cx.emit((task.id, TaskEvent::Started { run, attempt }));
    cx.touch(EntityKind::Task, task.id);
    Ok(())
}

/// Has a new attempt go on from what the one before it left, where that is to be.
fn go_on<V: View>(cx: &mut Context<'_, V>, run: RunId, (task, last): (&Task, &Run), next: Attempt<'_>) {
    // With the end of its task went what was kept.
    let was_ended = task.losses == 0 && task.host_losses == 0;
    let taken = match taken_up(last, next) {
        Some(Ok(_)) if was_ended => Some(Err("the task was over in between".to_owned())),
        taken => taken,
    };
    let checkpoint = match taken {
        Some(Ok((from, files))) => {
            cx.emit((run, RunEvent::Session { event: SessionEvent::TakenUp { from } }));
            Some(files)
        }
        Some(Err(reason)) => {
            cx.emit((run, RunEvent::Session { event: SessionEvent::Anew { reason } }));
            None
        }
        // The files of an agent belong to its session.
        None => resumable(last, next.steps).filter(|_| next.agent.is_none()),
    };
    if let Some(checkpoint) = checkpoint {
        cx.emit((run, RunEvent::Resumed { checkpoint }));
    }
}

/// What an attempt is given: what its work says, and what the role of its agent may reach.
fn access(task: &Task, agent: Option<&AgentUse>) -> Access {
    let mut access = task.spec.work.access();
    let beyond = |reach: &&Reach| !access.network.iter().any(|given| given.covers(reach));
    let of_role: Vec<Reach> = agent.iter().flat_map(|agent| &agent.egress).filter(beyond).cloned().collect();
    access.network.extend(of_role);
    access
}

/// Takes note of what a run is about to be started with. The same again is no news: the daemon may have ended in between.
pub(super) fn equip<V: View>(
    cx: &mut Context<'_, V>,
    id: RunId,
    fence: u64,
    tools: &[InstalledTool],
) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if run.fence != fence || run.state != RunState::Starting {
        return Err(conflict(format!("R-{} is {} and is not started with anything", run.number, run.state.label())));
    }
    bounds::count("tools of the run", tools.len(), EQUIPPED_MAX)?;
    if run.tools != tools {
        cx.emit((id, RunEvent::Equipped { tools: tools.to_vec() }));
    }
    Ok(())
}

/// Takes note of what a run kept, from which the next attempt may go on.
pub(super) fn keep<V: View>(
    cx: &mut Context<'_, V>,
    id: RunId,
    fence: u64,
    (step, commit): (u32, &str),
) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if run.fence != fence || run.state.is_final() || run.kept.iter().any(|kept| kept.step == step) {
        cx.note("the checkpoint is old; nothing changes");
        return Ok(());
    }
    let checkpoint = kept_after(&run, step, commit)?;
    cx.emit((id, RunEvent::Kept { checkpoint }));
    Ok(())
}

/// The checkpoint of a step that has ended well and keeps something.
fn kept_after(run: &Run, step: u32, commit: &str) -> Result<Checkpoint, DecideError> {
    let kept = usize::try_from(step).ok().and_then(|step| run.steps.get(step));
    let is_done = |step: &&StepRecord| matches!(step.state, StepState::Ended { end: StepEnd::Succeeded, .. });
    let Some(inputs) = kept.filter(is_done).and_then(|step| step.inputs) else {
        return Err(conflict(format!("step {} of R-{} kept nothing", step.saturating_add(1), run.number)));
    };
    Ok(Checkpoint { run: run.id, number: run.number, step, inputs, commit: commit.to_owned() })
}

/// Takes note of what a run that was interrupted left of its agent's session, with the files that belong to that.
pub(super) fn keep_session<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::KeepSession { run: id, fence, left, commit } = command else {
        return Err(conflict("not a session of a run"));
    };
    let run: Run = cx.get(*id)?;
    if run.fence != *fence || run.state.is_final() || run.session.left.is_some() {
        cx.note("the session is old; nothing changes");
        return Ok(());
    }
    let is_valid = match left {
        LeftSession::Kept { id } => run.agent.is_some() && is_session_id(id) && commit.is_some(),
        LeftSession::NotKept { .. } => commit.is_none(),
    };
    if !is_valid {
        return Err(conflict(format!("R-{} left no session that has a name and files", run.number)));
    }
    if let Some(commit) = commit {
        // Its first step makes the files, and the agent works on them.
        let checkpoint = kept_after(&run, 0, commit)?;
        cx.emit((*id, RunEvent::Kept { checkpoint }));
    }
    cx.emit((*id, RunEvent::Session { event: SessionEvent::Left { left: left.clone() } }));
    Ok(())
}

pub(super) fn mark_starting<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if let Some(reason) = run.cancel_requested {
        return Err(conflict(format!("the run is to be cancelled: {reason}")));
    }
    cx.emit((id, RunEvent::Starting));
    Ok(())
}

/// Takes in what was read from a log. What was taken before is skipped by its cursor.
pub(super) fn record<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::RecordRun { run: id, fence, from, cursor, observations } = command else {
        return Err(conflict("not a record of a run"));
    };
    let run: Run = cx.get(*id)?;
    if run.fence != *fence || run.state.is_final() || run.log_cursor != *from {
        cx.note("the record is old; nothing changes");
        return Ok(());
    }
    cx.emit((*id, RunEvent::Observed { cursor: *cursor, observations: observations.clone() }));
    Ok(())
}

/// A person wants the run to end. The runner sees to it; the retry policy of the task decides what follows.
pub(super) fn cancel<V: View>(cx: &mut Context<'_, V>, id: RunId, reason: &str) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    cx.touch(EntityKind::Run, id);
    if run.state.is_final() {
        return Err(conflict(format!("R-{} is {} already", run.number, run.state.label())));
    }
    if run.cancel_requested.is_some() {
        cx.note("it is being cancelled already");
        return Ok(());
    }
    cx.emit((id, RunEvent::CancelRequested { reason: text("reason", reason)?.to_owned() }));
    Ok(())
}

fn may_start<V: View>(cx: &Context<'_, V>, task: &Task) -> Result<(), DecideError> {
    let name = format!("T-{}", task.number);
    if !matches!(task.state, TaskState::Approved { .. }) {
        return Err(conflict(format!("{name} is {} and cannot start", task.state.label())));
    }
    if task.backoff().is_some_and(|backoff| backoff.lasts(cx.now)) {
        return Err(conflict(format!("{name} waits for its next retry")));
    }
    if task.terms.not_before.is_some_and(|not_before| cx.now < not_before) {
        return Err(conflict(format!("{name} is not to begin yet")));
    }
    if task.terms.deadline.is_some_and(|deadline| deadline <= cx.now) {
        return Err(conflict(format!("the time of {name} is over")));
    }
    let project: Project = cx.get(task.project)?;
    if project.state != ProjectState::Ready {
        return Err(conflict("the project is not ready"));
    }
    pause::may_begin(cx, &project)?;
    budget::may_begin(cx, &project)?;
    if dependency::judge(cx, task)? != Verdict::Holds {
        return Err(conflict(format!("{name} waits for {}", dependency::open(cx, task)?.join(", "))));
    }
    if let Some(asked) = task.approval {
        let approval: Approval = cx.get(asked)?;
        if !approval.grants(task_digest(task.project, &task.title, &task.spec)) {
            return Err(conflict(format!("{name} waits for A-{}", approval.number)));
        }
    }
    let open = cx.view.list::<Run>(&Filter::under(task.id).open())?;
    match open.first() {
        Some(run) => Err(conflict(format!("{name} still has R-{} under way", run.number))),
        None => Ok(()),
    }
}
