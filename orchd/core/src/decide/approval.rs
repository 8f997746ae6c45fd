//! Approvals: asking, answering, and what follows from the answer.

use orch_proto::id::{ApprovalId, ProjectId};
use orch_proto::{EntityKind, Timestamp};

use super::{Context, DecideError, change, channel, conflict, conflict_with_hint, document, plan, question, text};
use crate::actor::Actor;
use crate::command::{Answer, Subject};
use crate::digest::Digest;
use crate::entity::{Approval, ApprovalEvent, ApprovalSubject, Choice, Plan, Requirements, Task, TaskEvent, TaskSpec};
use crate::event::Event;
use crate::state::approval::{ApprovalState, ApprovalStep};
use crate::view::{Filter, View};

/// A question to be asked.
pub(super) struct Question {
    pub(super) project: ProjectId,
    pub(super) subject: ApprovalSubject,
    pub(super) action: String,
    pub(super) details: Vec<String>,
    pub(super) rule: &'static str,
    pub(super) digest: Digest,
    /// What can be answered; nothing: yes or no.
    pub(super) choices: Vec<Choice>,
}

/// Most lines that list the content of what is asked about. What a run says of its change is no longer in its commit.
pub const LISTED_MAX: usize = 60;

/// Most remarks of one kind that are listed before that.
const REMARKS_MAX: usize = 10;

/// Adds what the question is about line by line, as far as it can be read at a glance.
pub(super) fn list(details: &mut Vec<String>, lines: impl ExactSizeIterator<Item = String>) {
    let count = lines.len();
    details.extend(lines.take(LISTED_MAX));
    if count > LISTED_MAX {
        details.push(format!("and {} more", count - LISTED_MAX));
    }
}

/// Adds what a person should have read before answering: remarks of a kind, such as `warning`.
pub(super) fn remark<'a>(details: &mut Vec<String>, kind: &str, remarks: impl ExactSizeIterator<Item = &'a str>) {
    let count = remarks.len();
    details.extend(remarks.take(REMARKS_MAX).map(|remark| format!("{kind}: {remark}")));
    if count > REMARKS_MAX {
        details.push(format!("{kind}s: and {} more", count - REMARKS_MAX));
    }
}

/// Asks one person; the question does not expire.
pub(super) fn ask<V: View>(cx: &mut Context<'_, V>, question: Question) -> Result<ApprovalId, DecideError> {
    ask_until(cx, question, None)
}

/// Asks one person, until then.
pub(super) fn ask_until<V: View>(
    cx: &mut Context<'_, V>,
    question: Question,
    expires: Option<Timestamp>,
) -> Result<ApprovalId, DecideError> {
    let id: ApprovalId = cx.draw();
    let number = cx.number(EntityKind::Approval, Some(question.project))?;
    let event = ApprovalEvent::Requested {
        project: question.project,
        number,
        subject: question.subject,
        action: question.action,
        details: question.details,
        rule: question.rule.to_owned(),
        digest: question.digest,
        needed: 1,
        expires,
        choices: question.choices,
    };
    cx.emit((id, event));
    Ok(id)
}

/// A person's answer.
pub(super) fn decide<V: View>(
    cx: &mut Context<'_, V>,
    subject: &Subject,
    answer: &Answer,
    shown: Option<Digest>,
) -> Result<(), DecideError> {
    let approval = find(cx, subject)?;
    if shown.is_some_and(|shown| shown != approval.digest) {
        return Err(DecideError::StaleDigest { kind: subject_kind(&approval) });
    }
    if let Answer::Choose { choice, not_before, priority } = answer {
        return question::answer(cx, &approval, *choice, (*not_before, *priority));
    }
    question::has_no_choices(&approval)?;
    let Actor::User { uid, name } = cx.actor else { return Err(DecideError::NotAPerson) };
    let (uid, name) = (*uid, name.clone());
    cx.touch(EntityKind::Approval, approval.id);
    match (answer, &approval.state) {
        (Answer::Approve, ApprovalState::Granted { .. }) => {
            cx.note("it was approved before; nothing changes");
            Ok(())
        }
        (Answer::Deny { .. }, ApprovalState::Denied { .. }) => {
            cx.note("it was denied before; nothing changes");
            Ok(())
        }
        (Answer::Approve, ApprovalState::Pending { granted, .. }) if granted.contains(&uid) => {
            cx.note("you have agreed already; another person must");
            Ok(())
        }
        (_, ApprovalState::Pending { expires, .. }) if expires.is_some_and(|expires| cx.now >= expires) => {
            Err(conflict_with_hint("the approval has expired", "whoever waited for it is told so, and can ask again"))
        }
        (Answer::Approve, ApprovalState::Pending { .. }) => grant(cx, &approval, uid, name),
        (Answer::Deny { reason }, ApprovalState::Pending { .. }) => {
            let reason = text("reason", reason)?.to_owned();
            if reason.trim().is_empty() {
                return Err(DecideError::Invalid { field: "reason", problem: "is empty; a denial needs one".into() });
            }
            cx.emit((approval.id, ApprovalEvent::Denied { by: uid, name, reason: reason.clone() }));
            denied(cx, approval.subject, &reason)
        }
        (_, state) => Err(conflict(format!("the approval is {} and cannot be answered any more", state.label()))),
    }
}

/// Withdraws a question whose subject is gone.
pub(super) fn void<V: View>(cx: &mut Context<'_, V>, id: ApprovalId, reason: &str) -> Result<(), DecideError> {
    let approval: Approval = cx.get(id)?;
    // What was answered a moment ago has done what it was asked for.
    let is_answered =
        cx.decided.events.iter().any(|event| matches!(event, Event::Approval { id: other, .. } if *other == id));
    if matches!(approval.state, ApprovalState::Pending { .. }) && !is_answered {
        cx.emit((id, ApprovalEvent::Voided { reason: reason.to_owned() }));
    }
    Ok(())
}

/// Takes back an answer as well as a question: what was approved is not what is there any more.
pub(super) fn withdraw<V: View>(cx: &mut Context<'_, V>, id: ApprovalId, reason: &str) -> Result<(), DecideError> {
    let approval: Approval = cx.get(id)?;
    if matches!(approval.state, ApprovalState::Pending { .. } | ApprovalState::Granted { .. }) {
        cx.emit((id, ApprovalEvent::Voided { reason: reason.to_owned() }));
    }
    Ok(())
}

/// Ends questions whose time is over.
pub(super) fn expire<V: View>(cx: &mut Context<'_, V>) -> Result<(), DecideError> {
    let over = |expires: Option<Timestamp>, now| expires.is_some_and(|expires| now >= expires);
    for approval in cx.view.list::<Approval>(&Filter::default().open())? {
        if let ApprovalState::Pending { expires, .. } = approval.state
            && over(expires, cx.now)
        {
            cx.emit((approval.id, ApprovalEvent::Expired));
            denied(cx, approval.subject, "the approval expired")?;
        }
    }
    Ok(())
}

fn find<V: View>(cx: &Context<'_, V>, subject: &Subject) -> Result<Approval, DecideError> {
    let (asked, kind) = match subject {
        Subject::Approval(id) => return cx.get(*id),
        Subject::Requirements(id) => (cx.get::<Requirements>(*id)?.approval, EntityKind::Requirements),
        Subject::Plan(id) => (cx.get::<Plan>(*id)?.approval, EntityKind::Plan),
    };
    match asked {
        Some(id) => cx.get(id),
        None => Err(conflict(format!("the {kind} version was not proposed yet"))),
    }
}

fn grant<V: View>(cx: &mut Context<'_, V>, approval: &Approval, uid: u32, name: String) -> Result<(), DecideError> {
    let after = ApprovalState::next(Some(&approval.state), &ApprovalStep::Granted { by: uid })?;
    cx.emit((approval.id, ApprovalEvent::Granted { by: uid, name }));
    if matches!(after, ApprovalState::Pending { .. }) {
        cx.note("another person must agree as well");
        return Ok(());
    }
    match approval.subject {
        ApprovalSubject::Requirements { id } => document::approved(cx, id, approval.digest),
        ApprovalSubject::Plan { id } => plan::approved(cx, id, approval.digest),
        // Tasks and changes wait for the approval by themselves; they look at its state.
        ApprovalSubject::Task { id } => {
            cx.get::<Task>(id)?;
            cx.touch(EntityKind::Task, id);
            Ok(())
        }
        ApprovalSubject::Change { id } => change::approved(cx, id, approval.digest),
        ApprovalSubject::Action { id } => channel::allowed(cx, id, approval.id),
        ApprovalSubject::Wait { .. }
        | ApprovalSubject::Silence { .. }
        | ApprovalSubject::Failure { .. }
        | ApprovalSubject::Budget { .. }
        | ApprovalSubject::Spending { .. } => question::has_no_choices(approval),
    }
}

fn denied<V: View>(cx: &mut Context<'_, V>, subject: ApprovalSubject, reason: &str) -> Result<(), DecideError> {
    match subject {
        ApprovalSubject::Requirements { id } => document::rejected(cx, id),
        ApprovalSubject::Plan { id } => plan::rejected(cx, id),
        ApprovalSubject::Task { id } => {
            cx.touch(EntityKind::Task, id);
            question::end_of_state(cx, &cx.get(id)?, "the task was cancelled")?;
            cx.emit((id, TaskEvent::Cancelled { reason: format!("denied: {reason}") }));
            Ok(())
        }
        ApprovalSubject::Change { id } => change::denied(cx, id, reason),
        ApprovalSubject::Action { id } => channel::decided(cx, id),
        ApprovalSubject::Wait { .. }
        | ApprovalSubject::Silence { .. }
        | ApprovalSubject::Failure { .. }
        | ApprovalSubject::Budget { .. }
        | ApprovalSubject::Spending { .. } => Err(conflict("it is answered by one of its choices")),
    }
}

const fn subject_kind(approval: &Approval) -> EntityKind {
    match approval.subject {
        ApprovalSubject::Requirements { .. } => EntityKind::Requirements,
        ApprovalSubject::Plan { .. } => EntityKind::Plan,
        ApprovalSubject::Task { .. } | ApprovalSubject::Wait { .. } | ApprovalSubject::Failure { .. } => {
            EntityKind::Task
        }
        ApprovalSubject::Change { .. } => EntityKind::Change,
        ApprovalSubject::Silence { .. } | ApprovalSubject::Spending { .. } | ApprovalSubject::Action { .. } => {
            EntityKind::Run
        }
        ApprovalSubject::Budget { .. } => EntityKind::Project,
    }
}

/// Digest that the approval of a task's start is bound to: what it would do.
pub(super) fn task_digest(project: ProjectId, title: &str, spec: &TaskSpec) -> Digest {
    Digest::of_json(&("start", project, title, spec))
}
