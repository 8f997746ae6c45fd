//! The end of a run: what its outcome means for its task and its change. Taken once, by fence.

use orch_proto::id::ChangeId;
use orch_proto::{EntityKind, Timestamp};

use super::{Context, DecideError, budget, change, channel, conflict, question, spend, tool};
use crate::command::{Command, Said};
use crate::entity::{
    Change, ChangeEvent, ChangeProposal, Entity as _, Meta, Run, RunEvent, RunPurpose, StepRecord, Task, TaskEvent,
    loss_backoff_ms,
};
use crate::state::change::ChangeState;
use crate::state::run::{FailureClass, RunOutcome, RunState};
use crate::state::step::StepState;
use crate::state::task::TaskState;
use crate::view::View;

/// Runs of one task that may be lost to the infrastructure in a row before a person is asked.
pub const LOSSES_MAX: u32 = 10;

/// The same of runs for which the host had too little of what all share. Nothing begins while that can be seen, so it takes a host that
/// has room again and again and never enough.
pub const HOST_LOSSES_MAX: u32 = 100;

/// Changes of one task in a row that may be in conflict with what others merged before a person is asked.
pub const CONFLICTS_MAX: u32 = 10;

/// Why an attempt counts as failed whose agent ended well and has nothing to show for it. An agent is not believed that it is done.
pub(super) const NOTHING_DONE: &str =
    "its agent ended well, and left neither a change nor a note that says why none is needed";

/// Failures of one task in the same way in a row, whatever its policy allows, before a person is asked.
pub const ALIKE_MAX: u32 = 5;

pub(super) fn settle<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::SettleRun { run: id, fence, said, outcome, artifacts, log_dropped_bytes, left_out, proposal } =
        command
    else {
        return Err(conflict("not the end of a run"));
    };
    let run: Run = cx.get(*id)?;
    cx.touch(EntityKind::Run, *id);
    if run.state.is_final() || run.fence != *fence {
        cx.emit((*id, RunEvent::LateResult { fence: *fence, outcome: outcome.clone() }));
        cx.note("the run was over before; its result is on record but not taken");
        return Ok(());
    }
    let run = hear(cx, run, said.as_deref());
    question::end_of_silence(cx, &run, "the run is over")?;
    spend::end(cx, &run)?;
    if run.access.channel {
        channel::withdraw(cx, run.id, "the run is over")?;
    }
    let outcome = &question::outcome_of(&run, outcome);
    let ended = RunEvent::Ended {
        outcome: outcome.clone(),
        artifacts: artifacts.clone(),
        log_dropped_bytes: *log_dropped_bytes,
        left_out: left_out.clone(),
    };
    cx.emit((*id, ended));
    budget::count(cx, &run)?;
    let task: Task = cx.get(run.task)?;
    match run.purpose {
        RunPurpose::Work if task.state == (TaskState::Running { run: run.id }) => {
            cx.touch(EntityKind::Task, task.id);
            let has_done = run.agent.is_none()
                || !run.channel.notes.is_empty()
                || !run.artifacts.is_empty()
                || !artifacts.is_empty();
            work_ended(cx, (&run, has_done), &task, outcome, proposal.as_deref())
        }
        // The task was cancelled while its run was under way.
        RunPurpose::Work => Ok(()),
        RunPurpose::Gate { change } => gate_ended(cx, &run, change, outcome),
    }
}

/// Puts on record what else the log of a run says; the run as it is then. What was taken before is skipped by its cursor, and
/// what makes no sense is not worth the end of the run.
fn hear<V: View>(cx: &mut Context<'_, V>, run: Run, said: Option<&Said>) -> Run {
    let Some(said) = said.filter(|said| said.from == run.log_cursor) else { return run };
    let (id, observations) = (run.id, said.observations.clone());
    let observed = RunEvent::Observed { cursor: said.cursor, observations };
    match Run::apply(Some(run.clone()), id, &observed, Meta { at: cx.now, actor: cx.actor }) {
        Ok(heard) => {
            cx.emit((id, observed));
            heard
        }
        Err(error) => {
            cx.note(format!("the rest of its log makes no sense and was left out: {error}"));
            run
        }
    }
}

/// `has_done`: it needs no change to have done something.
fn work_ended<V: View>(
    cx: &mut Context<'_, V>,
    (run, has_done): (&Run, bool),
    task: &Task,
    outcome: &RunOutcome,
    proposal: Option<&ChangeProposal>,
) -> Result<(), DecideError> {
    match (outcome, proposal) {
        // What it could not do for want of a tool the next attempt can, and this one does not count.
        _ if tool::lacks(run, task)
            && is_in_want(run, outcome, proposal.is_some())
            && begun_once(cx, task, FailureClass::Task, Some(run))?.is_none() =>
        {
            cx.emit((task.id, TaskEvent::Requeued));
            Ok(())
        }
        (RunOutcome::Succeeded, Some(proposal)) => {
            let change = change::open(cx, run, task, proposal)?;
            cx.emit((task.id, TaskEvent::ReviewStarted { change, ends_losses: true }));
            Ok(())
        }
        (RunOutcome::Succeeded, None) if has_done => {
            cx.emit((task.id, TaskEvent::Completed { change: None }));
            Ok(())
        }
        // What it was to go on from was of no use, which is nothing that the work did: the next attempt begins anew.
        (ended, _) if was_of_no_use(run, ended) => {
            let reason = format!("the session that it took up was of no use: {}", failure(ended).1);
            after_failure(cx, task, FailureClass::Infrastructure, &reason, Some(run))
        }
        (RunOutcome::Succeeded, None) => after_failure(cx, task, FailureClass::Task, NOTHING_DONE, Some(run)),
        (ended, _) => {
            let (class, reason) = failure(ended);
            after_failure(cx, task, class, &reason, Some(run))
        }
    }
}

/// Whether it is the session that a run took up by which it came to nothing.
fn was_of_no_use(run: &Run, outcome: &RunOutcome) -> bool {
    run.has_not_asked_in_its_session()
        && match outcome {
            RunOutcome::Failed { class, .. } => matches!(class, FailureClass::Task | FailureClass::Agent),
            RunOutcome::Succeeded | RunOutcome::TimedOut { .. } => run.started_at.is_some(),
            RunOutcome::Cancelled { .. } | RunOutcome::Lost { .. } => false,
        }
}

/// Whether the end of a run may be for want of something: it failed by itself, or its agent ended without a change.
fn is_in_want(run: &Run, outcome: &RunOutcome, has_changed: bool) -> bool {
    match outcome {
        RunOutcome::Succeeded => run.agent.is_some() && !has_changed,
        RunOutcome::Failed { class, .. } => matches!(class, FailureClass::Task | FailureClass::Agent),
        RunOutcome::TimedOut { .. } => true,
        RunOutcome::Cancelled { .. } | RunOutcome::Lost { .. } => false,
    }
}

fn gate_ended<V: View>(
    cx: &mut Context<'_, V>,
    run: &Run,
    id: ChangeId,
    outcome: &RunOutcome,
) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    if !matches!(&change.state, ChangeState::Checking { run: checking, .. } if *checking == run.id) {
        return Ok(());
    }
    cx.touch(EntityKind::Change, id);
    match outcome {
        RunOutcome::Succeeded => cx.emit((id, ChangeEvent::CheckPassed)),
        RunOutcome::Lost { .. }
        | RunOutcome::Failed { class: FailureClass::Infrastructure | FailureClass::Host, .. } => {
            let (class, reason) = failure(outcome);
            let (losses, of_host) = earlier_losses(cx, &change)?;
            let (losses, max) =
                if class == FailureClass::Host { (of_host, HOST_LOSSES_MAX) } else { (losses, LOSSES_MAX) };
            if losses + 1 < max {
                cx.emit((id, ChangeEvent::CheckLost { not_before: cx.now.plus_ms(loss_backoff_ms(losses)) }));
            } else {
                let reason = format!("the gates gave no answer {max} times; last: {reason}");
                change::reject(cx, &change, class, &reason)?;
            }
        }
        RunOutcome::Failed { .. } | RunOutcome::TimedOut { .. } | RunOutcome::Cancelled { .. } => {
            let (class, reason) = failure(outcome);
            let reason = format!("gates R-{}: {reason}", run.number);
            cx.emit((id, ChangeEvent::CheckFailed { reason: reason.clone() }));
            change::after_rejection(cx, &change, class, &reason)?;
        }
    }
    Ok(())
}

/// Gate runs of the change that gave no answer in a row, without the newest, which just ended: those that were lost, and those for
/// which the host had too little.
fn earlier_losses<V: View>(cx: &Context<'_, V>, change: &Change) -> Result<(u32, u32), DecideError> {
    let (mut losses, mut of_host) = (0, 0);
    for run in change.checks.iter().rev().skip(1) {
        match cx.get::<Run>(*run)?.state {
            RunState::Lost { .. } | RunState::Failed { class: FailureClass::Infrastructure, .. } => losses += 1,
            RunState::Failed { class: FailureClass::Host, .. } => of_host += 1,
            _ => break,
        }
    }
    Ok((losses, of_host))
}

/// What follows a failed attempt: another one, or a person. `last` is that attempt as it is with what the command brings; none
/// when it is as the table has it.
pub(super) fn after_failure<V: View>(
    cx: &mut Context<'_, V>,
    task: &Task,
    class: FailureClass,
    reason: &str,
    last: Option<&Run>,
) -> Result<(), DecideError> {
    let policy = &task.spec.retries;
    let times_alike = task.alike_with(class, reason).map_or(1, |(_, _, times)| times);
    let would_go_on = match class {
        // It waits for the budget anyhow; again and again it is ended by one that is too small for it.
        FailureClass::Budget => true,
        _ => class.counts() && task.failures < policy.max_retries,
    };
    let is_stuck = times_alike >= ALIKE_MAX && would_go_on;
    let wait_ms = match class {
        _ if is_stuck => None,
        FailureClass::Budget => Some(0),
        FailureClass::Infrastructure | FailureClass::Lost if task.losses < LOSSES_MAX => {
            Some(loss_backoff_ms(task.losses))
        }
        FailureClass::Host if task.host_losses < HOST_LOSSES_MAX => Some(loss_backoff_ms(task.host_losses)),
        FailureClass::Conflict if task.conflicts < CONFLICTS_MAX => Some(loss_backoff_ms(task.conflicts)),
        FailureClass::Task | FailureClass::Agent | FailureClass::Timeout | FailureClass::Policy
            if task.failures < policy.max_retries =>
        {
            let jitter = cx.ids.jitter(policy.backoff_jitter_ms.saturating_add(1));
            Some(policy.backoff_ms(task.failures + 1).saturating_add(jitter))
        }
        FailureClass::Infrastructure
        | FailureClass::Host
        | FailureClass::Lost
        | FailureClass::Conflict
        | FailureClass::Task
        | FailureClass::Agent
        | FailureClass::Timeout
        | FailureClass::Policy
        | FailureClass::Isolation => None,
    };
    let once = if wait_ms.is_some() { begun_once(cx, task, class, last)? } else { None };
    let not_before = wait_ms.filter(|_| once.is_none()).map(|wait_ms| cx.now.plus_ms(wait_ms));
    let is_late = |not_before: &Timestamp| task.terms.deadline.is_some_and(|deadline| deadline <= *not_before);
    let event = match not_before {
        Some(not_before) if is_late(&not_before) => {
            TaskEvent::Failed { reason: format!("{reason}; its deadline leaves no time for another attempt") }
        }
        Some(not_before) => {
            let ends_rows = !matches!(
                class,
                FailureClass::Infrastructure | FailureClass::Host | FailureClass::Lost | FailureClass::Conflict
            );
            TaskEvent::RetryScheduled { class, reason: reason.to_owned(), not_before, ends_rows }
        }
        None => TaskEvent::Failed {
            reason: match &once {
                Some(step) => format!("{reason}; `{step}` may have been done, and is not to be done twice"),
                None if is_stuck => format!("{reason}; it failed in this way {times_alike} times in a row"),
                None => reason.to_owned(),
            },
        },
    };
    let gives_up = matches!(event, TaskEvent::Failed { .. });
    cx.emit((task.id, event));
    cx.touch(EntityKind::Task, task.id);
    if let Some(step) = once {
        return question::escalate(cx, task, reason, &question::Trouble::DoneOnce(step));
    }
    let losses = [task.losses, task.host_losses, task.conflicts];
    let before = losses.into_iter().fold(task.failures, u32::saturating_add);
    match before.max(times_alike - 1) {
        // It failed at the first go: nobody has tried again, and there is nothing that repeats.
        0 => Ok(()),
        before if gives_up => {
            question::escalate(cx, task, reason, &question::Trouble::Repeated(before.saturating_add(1)))
        }
        _ => Ok(()),
    }
}

/// The step of the last attempt that is not to be done twice and has begun, or may have: what was lost may have done more
/// than its log says.
fn begun_once<V: View>(
    cx: &Context<'_, V>,
    task: &Task,
    class: FailureClass,
    last: Option<&Run>,
) -> Result<Option<String>, DecideError> {
    let run = match (last, task.last_run) {
        (Some(last), _) => last.clone(),
        (None, Some(last)) => cx.get(last)?,
        (None, None) => return Ok(None),
    };
    let is_unknown = class == FailureClass::Lost && !matches!(run.state, RunState::Queued | RunState::Leased { .. });
    let may_have_begun =
        |step: &&StepRecord| step.once && (step.has_begun() || is_unknown && step.state == StepState::Pending);
    Ok(run.steps.iter().find(may_have_begun).map(|step| step.name.clone()))
}

fn failure(outcome: &RunOutcome) -> (FailureClass, String) {
    match outcome {
        RunOutcome::Succeeded => (FailureClass::Task, "it succeeded".into()),
        RunOutcome::Failed { class, reason } => (*class, reason.clone()),
        // The reason says that time was up, and where.
        RunOutcome::TimedOut { reason } => (FailureClass::Timeout, reason.clone()),
        RunOutcome::Cancelled { reason } => (FailureClass::Task, format!("cancelled: {reason}")),
        RunOutcome::Lost { reason } => (FailureClass::Lost, format!("lost: {reason}")),
    }
}
