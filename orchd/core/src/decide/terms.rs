//! Terms of tasks: when they may begin, until when, and what their runs ask for.

use orch_proto::EntityKind;
use orch_proto::id::TaskId;

use super::{Context, DecideError, bounds, conflict, question};
use crate::command::TermsChange;
use crate::entity::{
    RUN_MS_MAX, Run, RunEvent, SEMAPHORE_BYTES_MAX, SEMAPHORES_MAX, Task, TaskEvent, Terms, UNITS_MAX,
};
use crate::state::task::TaskState;
use crate::view::View;

/// Says on which terms a task is scheduled. A run under way keeps what it has, and can only be ended earlier.
pub(super) fn set<V: View>(cx: &mut Context<'_, V>, id: TaskId, change: &TermsChange) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    let terms = change.applied(&task.terms);
    if terms == task.terms {
        cx.note("it is so already");
        return Ok(());
    }
    if matches!(task.state, TaskState::Done { .. }) {
        return Err(conflict(format!("T-{} is done and begins no more", task.number)));
    }
    if matches!(task.state, TaskState::Running { .. }) {
        cx.note("the run under way keeps what it has; a deadline can end it earlier, and not later than when it began");
    }
    // A deadline that is over and that nobody speaks of is no reason against the rest.
    if (terms.deadline, terms.not_before) != (task.terms.deadline, task.terms.not_before) {
        check_times(cx, &terms)?;
    }
    check_asks(&terms)?;
    if task.overdue.is_some() && terms.patience.queue != task.terms.patience.queue {
        question::end_of_state(cx, &task, "it may wait for another time now")?;
    }
    cx.emit((id, TaskEvent::TermsSet { terms: Box::new(terms) }));
    Ok(())
}

/// Fails a task whose time was over before it began, or ends the run of one that began. Looked at again here: its terms may
/// have changed. The sandbox ends a run by its own clock, which stands still with a run that is paused.
pub(super) fn expire<V: View>(cx: &mut Context<'_, V>, id: TaskId) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    let Some(deadline) = task.terms.deadline.filter(|deadline| *deadline <= cx.now) else {
        return Err(conflict(format!("the time of T-{} is not over", task.number)));
    };
    match task.state {
        TaskState::Approved { .. } => {
            question::end_of_state(cx, &task, "the time of the task is over")?;
            cx.emit((id, TaskEvent::Expired { deadline }));
        }
        TaskState::Running { run } => {
            if cx.get::<Run>(run)?.cancel_requested.is_some() {
                return Err(conflict(format!("the run of T-{} is to end already", task.number)));
            }
            cx.emit((run, RunEvent::CancelRequested { reason: format!("its deadline, {deadline}, is over") }));
            cx.touch(EntityKind::Run, run);
        }
        state => return Err(conflict(format!("T-{} is {} and neither waits nor runs", task.number, state.label()))),
    }
    Ok(())
}

/// Checks terms that somebody gave.
pub(super) fn check<V: View>(cx: &Context<'_, V>, terms: &Terms) -> Result<(), DecideError> {
    check_times(cx, terms)?;
    check_asks(terms)
}

fn check_times<V: View>(cx: &Context<'_, V>, terms: &Terms) -> Result<(), DecideError> {
    let invalid = |field, problem: String| Err(DecideError::Invalid { field, problem });
    if let Some(deadline) = terms.deadline {
        if deadline <= cx.now {
            return invalid("deadline", format!("{deadline} is over"));
        }
        if terms.not_before.is_some_and(|not_before| not_before >= deadline) {
            return invalid("deadline", "is not after the time before which it may not begin".into());
        }
    }
    Ok(())
}

fn check_asks(terms: &Terms) -> Result<(), DecideError> {
    question::check(terms.patience)?;
    let invalid = |field, problem: String| Err(DecideError::Invalid { field, problem });
    if terms.run_ms.is_some_and(|run_ms| run_ms > RUN_MS_MAX) {
        return invalid("run time-out", "is longer than a week".into());
    }
    let semaphores = &terms.asks.semaphores;
    bounds::count("semaphores", semaphores.len(), SEMAPHORES_MAX)?;
    for (name, units) in semaphores {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > SEMAPHORE_BYTES_MAX || !name.bytes().all(fits) {
            let form = format!(
                "`{}` is no name: 1 to {SEMAPHORE_BYTES_MAX} letters, digits, `-`, `_` and `.`",
                name.escape_debug()
            );
            return invalid("semaphore", form);
        }
        if *units == 0 || *units > UNITS_MAX {
            return invalid("semaphore", format!("`{name}` must be used with 1 to {UNITS_MAX} units"));
        }
    }
    Ok(())
}
