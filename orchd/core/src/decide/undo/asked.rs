//! What an undo puts back of questions, and of what they are about: versions of documents, and changes.

use orch_proto::id::ApprovalId;

use super::super::approval::task_digest;
use super::super::{Context, DecideError, conflict, conflict_with_hint};
use super::{Back, happen, has_begun, is_another, is_to_be};
use crate::entity::{
    Approval, ApprovalEvent, ApprovalSubject, BudgetState, Change, ChangeEvent, Entity, Plan, PlanEvent, Project,
    Requirements, RequirementsEvent, Run, Task,
};
use crate::state::approval::ApprovalState;
use crate::state::change::ChangeState;
use crate::state::document::DocumentState;
use crate::state::task::TaskState;
use crate::undo::Was;
use crate::view::View;

pub(super) fn approval<V: View>(
    cx: &mut Context<'_, V>,
    back: &mut Back<'_>,
    was: &Was<Approval>,
) -> Result<(), DecideError> {
    let Some(after) = &was.after else { return Ok(()) };
    let now: Approval = cx.get(after.id)?;
    let name = format!("A-{}", now.number);
    let void = || ApprovalState::Void { reason: "what was asked for was taken back".into() };
    let (state, granted_by, decided_at) = match &was.before {
        Some(before) => (before.state.clone(), before.granted_by.clone(), before.decided_at),
        None => (void(), after.granted_by.clone(), Some(cx.now)),
    };
    if !is_to_be(|| format!("what was answered to {name}"), (&state, &after.state), &now.state)? {
        return Ok(());
    }
    let is_pending = |state: &ApprovalState| matches!(state, ApprovalState::Pending { .. });
    back.lines.push(match &state {
        ApprovalState::Pending { .. } => format!("{name} waits for an answer again"),
        ApprovalState::Void { .. } => format!("{name} is void"),
        state => format!("{name} is {} again", state.label()),
    });
    if is_pending(&state) {
        back.asked.push(now.id);
    }
    let event = ApprovalEvent::Undone {
        operation: back.operation.seq,
        project: now.project,
        subject: now.subject,
        state,
        granted_by,
        decided_at,
        requested_at: now.requested_at,
    };
    let then = happen(cx, now, event)?;
    back.approvals.insert(then.id, then);
    Ok(())
}

pub(super) fn requirements<V: View>(
    cx: &mut Context<'_, V>,
    back: &mut Back<'_>,
    was: &Was<Requirements>,
) -> Result<(), DecideError> {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Ok(()) };
    let now: Requirements = cx.get(after.id)?;
    let name = format!("requirements version {}", now.version);
    if !is_to_be(|| format!("the state of {name}"), (&before.state, &after.state), &now.state)? {
        return Ok(());
    }
    is_newest(cx, &now, before.state)?;
    // What was planned from them, was planned because they were approved.
    if now.state == DocumentState::Approved
        && let Some(plan) = cx.view.last::<Plan>(now.project)?
        && plan.requirements == now.id
        && plan.created_at >= back.operation.at
    {
        return Err(conflict_with_hint(
            format!("plan version {} was made from {name} since then", plan.version),
            "reject the plan, and propose other requirements",
        ));
    }
    back.lines.push(format!("{name} is {} again", before.state.label()));
    let then = happen(cx, now, RequirementsEvent::Undone { operation: back.operation.seq, state: before.state })?;
    back.requirements.insert(then.id, then);
    Ok(())
}

pub(super) fn plan<V: View>(cx: &mut Context<'_, V>, back: &mut Back<'_>, was: &Was<Plan>) -> Result<(), DecideError> {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Ok(()) };
    let now: Plan = cx.get(after.id)?;
    let name = format!("plan version {}", now.version);
    if !is_to_be(|| format!("the state of {name}"), (&before.state, &after.state), &now.state)? {
        return Ok(());
    }
    is_newest(cx, &now, before.state)?;
    back.lines.push(format!("{name} is {} again", before.state.label()));
    let then = happen(cx, now, PlanEvent::Undone { operation: back.operation.seq, state: before.state })?;
    back.plans.insert(then.id, then);
    Ok(())
}

/// A version is not asked about again when there is a newer one.
fn is_newest<V: View, E: Entity>(cx: &Context<'_, V>, now: &E, state: DocumentState) -> Result<(), DecideError> {
    let last = cx.view.last_number(E::KIND, Some(now.project()))?;
    if state == DocumentState::Proposed && last > now.number() {
        return Err(conflict(format!("version {last} of the {} was proposed since then", E::KIND)));
    }
    Ok(())
}

pub(super) fn change<V: View>(
    cx: &mut Context<'_, V>,
    back: &mut Back<'_>,
    was: &Was<Change>,
) -> Result<(), DecideError> {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Ok(()) };
    let now: Change = cx.get(after.id)?;
    let name = format!("C-{}", now.number);
    if !is_to_be(|| format!("the state of {name}"), (&before.state, &after.state), &now.state)? {
        return Ok(());
    }
    if matches!(before.state, ChangeState::Checking { .. } | ChangeState::Queued { .. } | ChangeState::Merged { .. }) {
        return Err(conflict(format!("{name} was {}, and what worked on it ends", before.state.label())));
    }
    let run: Run = cx.get(now.run)?;
    if before.is_open() && (run.is_removing || !run.removed.is_empty()) {
        return Err(conflict(format!("something of R-{}, which made {name}, was removed since then", run.number)));
    }
    back.lines.push(format!("{name} is {} again", before.state.label()));
    let (project, task) = (now.project, now.task);
    let event = ChangeEvent::Undone { operation: back.operation.seq, project, task, state: before.state.clone() };
    let then = happen(cx, now, event)?;
    back.changes.insert(then.id, then);
    Ok(())
}

/// Each question that waits again is about something that its answer can still change, and that has not begun with the
/// answer that is taken back.
pub(super) fn alive<V: View>(cx: &Context<'_, V>, back: &Back<'_>) -> Result<(), DecideError> {
    for id in &back.asked {
        let asked: Approval = cx.get(*id)?;
        if !is_alive(cx, back, &asked)? {
            return Err(is_another(&format!("what A-{} asks about", asked.number)));
        }
    }
    Ok(())
}

/// What a task waits for is the question whether it may do what it is to do then: one that is void, or was asked about something
/// else, nobody could answer so that it begins.
pub(super) fn fits<V: View>(cx: &Context<'_, V>, back: &Back<'_>) -> Result<(), DecideError> {
    let asked_about = back.approvals.values().filter_map(|approval| match approval.subject {
        ApprovalSubject::Task { id } if !back.tasks.contains_key(&id) => Some(id),
        _ => None,
    });
    let others = asked_about.map(|id| cx.get::<Task>(id)).collect::<Result<Vec<_>, _>>()?;
    for task in back.tasks.values().chain(&others) {
        let Some(id) = task.approval.filter(|_| !matches!(task.state, TaskState::Done { .. })) else { continue };
        // Tried again, these ask when nobody is asked.
        let asks_again = matches!(task.state, TaskState::Cancelled { .. } | TaskState::Failed { .. });
        let approval = back.approvals.get(&id).cloned().map_or_else(|| cx.get::<Approval>(id), Ok)?;
        let is_asked = matches!(approval.state, ApprovalState::Pending { .. } | ApprovalState::Granted { .. });
        let is_of_that = approval.digest == task_digest(task.project, &task.title, &task.spec);
        if !(is_asked && is_of_that || !is_asked && asks_again) {
            return Err(is_another(&format!("what A-{} asks about", approval.number)));
        }
    }
    Ok(())
}

fn is_alive<V: View>(cx: &Context<'_, V>, back: &Back<'_>, asked: &Approval) -> Result<bool, DecideError> {
    let task = |id| back.tasks.get(&id).cloned().map_or_else(|| cx.get::<Task>(id), Ok);
    Ok(match asked.subject {
        ApprovalSubject::Requirements { id } => {
            let found = back.requirements.get(&id).cloned().map_or_else(|| cx.get::<Requirements>(id), Ok)?;
            found.state == DocumentState::Proposed
        }
        ApprovalSubject::Plan { id } => {
            let found = back.plans.get(&id).cloned().map_or_else(|| cx.get::<Plan>(id), Ok)?;
            found.state == DocumentState::Proposed
        }
        ApprovalSubject::Task { id } => {
            let found = task(id)?;
            has_not_begun(cx, back, asked.id, &found)?;
            found.approval == Some(asked.id)
                && !matches!(found.state, TaskState::Cancelled { .. } | TaskState::Done { .. })
        }
        ApprovalSubject::Change { id } => {
            let found = back.changes.get(&id).cloned().map_or_else(|| cx.get::<Change>(id), Ok)?;
            if matches!(found.state, ChangeState::Queued { .. } | ChangeState::Merged { .. }) {
                return Err(conflict_with_hint(
                    format!("C-{} is {} since then", found.number, found.state.label()),
                    "a merged change is undone by a new task that reverts it",
                ));
            }
            found.is_open()
        }
        ApprovalSubject::Wait { id } => {
            let found = task(id)?;
            found.question == Some(asked.id) && matches!(found.state, TaskState::Approved { .. })
        }
        ApprovalSubject::Failure { id } => {
            let found = task(id)?;
            found.question == Some(asked.id) && matches!(found.state, TaskState::Failed { .. })
        }
        ApprovalSubject::Silence { id } => {
            let found: Run = cx.get(id)?;
            found.is_open() && found.silence.is_some_and(|silence| silence.question == Some(asked.id))
        }
        ApprovalSubject::Spending { id } => {
            let found: Run = cx.get(id)?;
            found.is_open() && found.models.question == Some(asked.id)
        }
        ApprovalSubject::Action { id } => {
            let found: Run = cx.get(id)?;
            return Err(conflict(format!("R-{} was told the answer and has gone by it", found.number)));
        }
        ApprovalSubject::Budget { id } => {
            let found = back.projects.get(&id).cloned().map_or_else(|| cx.get::<Project>(id), Ok)?;
            let asks = BudgetState::Spent { question: asked.id };
            found.budgets.iter().any(|budget| budget.state == asks)
        }
    })
}

/// Refuses when the task began with the answer that is taken back.
fn has_not_begun<V: View>(
    cx: &Context<'_, V>,
    back: &Back<'_>,
    asked: ApprovalId,
    task: &Task,
) -> Result<(), DecideError> {
    let Some(last) = task.last_run else { return Ok(()) };
    let run: Run = cx.get(last)?;
    let is_under_way = matches!(task.state, TaskState::Running { .. } | TaskState::InReview { .. });
    if task.approval == Some(asked) && (run.queued_at >= back.operation.at || is_under_way) {
        return Err(has_begun(run.number));
    }
    Ok(())
}
