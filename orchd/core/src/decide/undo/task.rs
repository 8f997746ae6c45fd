//! What an undo puts back of tasks.

use std::collections::BTreeSet;

use orch_proto::id::TaskId;

use super::super::{Context, DecideError, approval, bounds, conflict, conflict_with_hint, dependency, question};
use super::{Back, each_begun, happen, has_begun, is_another, is_to_be};
use crate::entity::{Condition, Run, Standing, Task, TaskEvent, TaskPart, Verdict};
use crate::state::task::TaskState;
use crate::undo::{Past, Was};
use crate::view::View;

pub(super) fn task<V: View>(cx: &mut Context<'_, V>, back: &mut Back<'_>, was: &Was<Task>) -> Result<(), DecideError> {
    let Some(after) = &was.after else { return Ok(()) };
    let now: Task = cx.get(after.id)?;
    let name = format!("T-{}", now.number);
    let parts = match &was.before {
        Some(before) => parts(before, after, &now)?,
        None => unmade(after, &now)?,
    };
    if parts.is_empty() {
        return Ok(());
    }
    has_not_begun(cx, after, &now, &parts)?;
    let state = parts.iter().find_map(|part| match part {
        TaskPart::State { state, question, .. } => Some((state, *question)),
        _ => None,
    });
    if let Some((state, asked)) = state {
        was_left_alone(&name, state)?;
        nobody_went_on(cx, back, &now, Standing::from(state))?;
        if now.question != asked {
            question::end_of_state(cx, &now, "what it is about was taken back")?;
        }
        if matches!(state, TaskState::Cancelled { .. }) {
            withdraw(cx, back, &now)?;
        }
    }
    match &was.before {
        Some(_) => {
            // Where it is then says most.
            let is_state = |part: &&TaskPart| matches!(part, TaskPart::State { .. });
            let (states, rest): (Vec<&TaskPart>, Vec<&TaskPart>) = parts.iter().partition(is_state);
            back.lines.extend(states.into_iter().chain(rest).map(|part| line(&name, part)));
        }
        None => back.lines.push(format!("{name} is cancelled, since it is not to have been made")),
    }
    let (moves, event) = (state.is_some(), TaskEvent::Undone { operation: back.operation.seq, parts });
    let then = happen(cx, now.clone(), event)?;
    in_time(cx, &now, &then, moves)?;
    bounds::count("dependencies", then.depends_on.len(), bounds::NAMED_MAX)?;
    back.tasks.insert(then.id, then);
    Ok(())
}

/// Withdraws what was asked since whether the task may start: it will not.
fn withdraw<V: View>(cx: &mut Context<'_, V>, back: &Back<'_>, now: &Task) -> Result<(), DecideError> {
    let Some(asked) = now.approval else { return Ok(()) };
    let is_of_operation = |thing: &Past| matches!(thing, Past::Approval(was) if was.after.as_ref().is_some_and(|approval| approval.id == asked));
    if back.operation.things.iter().any(is_of_operation) {
        return Ok(());
    }
    approval::void(cx, asked, "the task is cancelled")
}

/// A task that the operation made is not wanted any more. Its number is not given again.
fn unmade(after: &Task, now: &Task) -> Result<Vec<TaskPart>, DecideError> {
    let name = format!("T-{}", now.number);
    let state = TaskState::Cancelled { reason: "that it was made was taken back".into() };
    if now.state != after.state && now.attempts == after.attempts {
        return Err(is_another(&format!("the state of {name}")));
    }
    if now.spec != after.spec && now.attempts == after.attempts {
        return Err(is_another(&format!("what {name} does")));
    }
    let mut parts = Vec::new();
    if now.plan.is_some() {
        // An approval of the plan makes another.
        parts.push(TaskPart::Plan { plan: None });
    }
    parts.push(TaskPart::State { state, overdue: None, question: None });
    Ok(parts)
}

fn parts(before: &Task, after: &Task, now: &Task) -> Result<Vec<TaskPart>, DecideError> {
    let name = format!("T-{}", now.number);
    let mut parts = Vec::new();
    // What began since is a better reason than what it changed.
    if now.attempts != after.attempts {
        return Ok(vec![TaskPart::Priority { priority: before.priority }]);
    }
    if is_to_be(|| format!("what {name} does"), (&before.spec, &after.spec), &now.spec)? {
        parts.push(TaskPart::Spec { spec: Box::new(before.spec.clone()) });
    }
    let needed: BTreeSet<TaskId> = before.depends_on.union(&after.depends_on).copied().collect();
    for id in needed {
        let edge = |task: &Task| task.depends_on.contains(&id).then(|| task.condition(id));
        if is_to_be(|| format!("what {name} waits for"), (&edge(before), &edge(after)), &edge(now))? {
            parts.push(TaskPart::Edge { depends_on: id, condition: edge(before) });
        }
    }
    if is_to_be(|| format!("what {name} is scheduled on"), (&before.terms, &after.terms), &now.terms)? {
        parts.push(TaskPart::Terms { terms: Box::new(before.terms.clone()) });
    }
    if is_to_be(|| format!("the priority of {name}"), (&before.priority, &after.priority), &now.priority)? {
        parts.push(TaskPart::Priority { priority: before.priority });
    }
    if is_to_be(|| format!("the place of {name}"), (&before.rank, &after.rank), &now.rank)? {
        parts.push(TaskPart::Rank { rank: before.rank });
    }
    if is_to_be(|| format!("the approval of {name}"), (&before.approval, &after.approval), &now.approval)? {
        parts.push(TaskPart::Approval { approval: before.approval });
    }
    let losses = |task: &Task| (task.losses, task.host_losses, task.conflicts);
    let tries = |task: &Task| (task.failures, losses(task), task.last_failure.clone(), task.alike.clone());
    if is_to_be(|| format!("what is known of {name}"), (&tries(before), &tries(after)), &tries(now))? {
        let (failures, (losses, host_losses, conflicts), last_failure, alike) = tries(before);
        parts.push(TaskPart::Tries { failures, losses, host_losses, conflicts, last_failure, alike });
    }
    if is_to_be(|| format!("the plan of {name}"), (&before.plan, &after.plan), &now.plan)? {
        parts.push(TaskPart::Plan { plan: before.plan.clone() });
    }
    // What is known of how long it waits is no decision of anybody.
    let known = |task: &Task| (task.overdue, task.question);
    if is_to_be(|| format!("the state of {name}"), (&before.state, &after.state), &now.state)?
        || (known(before) != known(after) && now.state == after.state)
    {
        let (overdue, question) = known(before);
        parts.push(TaskPart::State { state: before.state.clone(), overdue, question });
    }
    Ok(parts)
}

/// Refuses when an attempt began since, or one that is under way began otherwise.
fn has_not_begun<V: View>(
    cx: &Context<'_, V>,
    after: &Task,
    now: &Task,
    parts: &[TaskPart],
) -> Result<(), DecideError> {
    let last = now.last_run.map(|run| cx.get::<Run>(run)).transpose()?;
    if now.attempts != after.attempts
        && let Some(run) = &last
    {
        return Err(has_begun(run.number));
    }
    // What counts for the next attempt only, takes nothing from this one.
    let is_of_next = parts.iter().all(|part| matches!(part, TaskPart::Priority { .. } | TaskPart::Terms { .. }));
    let is_of_start = parts.iter().any(|part| matches!(part, TaskPart::Spec { .. } | TaskPart::Edge { .. }));
    match &now.state {
        TaskState::Done { .. } if !is_of_next => Err(conflict(format!("T-{} is done", now.number))),
        TaskState::Running { .. } if !is_of_next => Err(goes_on(now)),
        TaskState::InReview { .. } if is_of_start => Err(goes_on(now)),
        _ => Ok(()),
    }
}

fn goes_on(now: &Task) -> DecideError {
    conflict_with_hint(
        format!("T-{} is {}, and goes on as it began", now.number, now.state.label()),
        "take it back when that is over, or cancel the task",
    )
}

/// Refuses what ended a run that was under way, which cannot go on.
fn was_left_alone(name: &str, before: &TaskState) -> Result<(), DecideError> {
    match before {
        TaskState::Running { .. } | TaskState::Done { .. } => Err(conflict_with_hint(
            format!("{name} was {}, and what worked on it ends", before.label()),
            format!("have it tried again with `orchctl task retry {name}`"),
        )),
        _ => Ok(()),
    }
}

/// Refuses when somebody began because of where the task is, and would not have if it had not come there.
fn nobody_went_on<V: View>(
    cx: &Context<'_, V>,
    back: &Back<'_>,
    now: &Task,
    then: Standing,
) -> Result<(), DecideError> {
    let is = Standing::from(&now.state);
    let let_go =
        |condition: Condition| condition.judge(is) == Verdict::Holds && condition.judge(then) != Verdict::Holds;
    if ![Condition::Done, Condition::Ended, Condition::Failed].into_iter().any(let_go) {
        return Ok(());
    }
    each_begun(cx, back, now.project, |run, task| {
        if task.depends_on.contains(&now.id) && let_go(task.condition(now.id)) {
            return Err(has_begun(run.number));
        }
        Ok(())
    })
}

/// Refuses what would end at once because its time is over.
fn in_time<V: View>(cx: &Context<'_, V>, now: &Task, then: &Task, moves: bool) -> Result<(), DecideError> {
    let waits = matches!(then.state, TaskState::Proposed | TaskState::Approved { .. } | TaskState::Paused { .. });
    let is_new = moves || then.terms.deadline != now.terms.deadline;
    match then.terms.deadline.filter(|deadline| *deadline <= cx.now) {
        Some(deadline) if waits && is_new => Err(conflict_with_hint(
            format!("the deadline of T-{}, {deadline}, is over", then.number),
            format!("give it another with `orchctl task set T-{} --deadline WHEN`", then.number),
        )),
        _ => Ok(()),
    }
}

/// Refuses dependencies that would lead back to where they begin. Reads only what the tasks depend on that get one back.
pub(super) fn no_circles<V: View>(cx: &Context<'_, V>, back: &Back<'_>) -> Result<(), DecideError> {
    for task in back.tasks.values() {
        let before: Task = cx.get(task.id)?;
        for added in task.depends_on.difference(&before.depends_on) {
            let get = |id: TaskId| back.tasks.get(&id).cloned().map_or_else(|| cx.get::<Task>(id), Ok);
            dependency::no_circle(task, *added, get)?;
        }
    }
    Ok(())
}

fn line(name: &str, part: &TaskPart) -> String {
    match part {
        TaskPart::Spec { spec } => format!("{name} does what it did before: {}", spec.work.label()),
        TaskPart::Edge { condition: Some(_), .. } => format!("{name} waits for what it waited for again"),
        TaskPart::Edge { condition: None, .. } => format!("{name} does not wait for it any more"),
        TaskPart::Terms { .. } => format!("{name} is scheduled on its former terms"),
        TaskPart::Priority { priority } => format!("{name} has priority {priority} again"),
        TaskPart::Rank { .. } => format!("{name} has its former place among those of its priority"),
        TaskPart::Approval { .. } => format!("{name} needs the approval that it needed before"),
        TaskPart::Tries { .. } => format!("how often {name} failed counts as before"),
        TaskPart::Plan { .. } => format!("{name} belongs to its plan as before"),
        TaskPart::State { state, .. } => format!("{name} is {} again", state.label()),
    }
}
