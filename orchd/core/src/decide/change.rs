//! Changes: opening, checking, merging, and giving up.

use orch_proto::EntityKind;
use orch_proto::id::{ApprovalId, ChangeId};

use super::approval::{self, Question};
use super::project::ARCHIVED;
use super::run::{NewRun, begin};
use super::settle::{HOST_LOSSES_MAX, LOSSES_MAX, after_failure};
use super::{Context, DecideError, conflict, pause, question, text};
use crate::command::Command;
use crate::digest::Digest;
use crate::entity::{
    Approval, ApprovalSubject, Asks, Change, ChangeEvent, ChangeProposal, Project, ProjectEvent, Run, RunEvent,
    RunPurpose, Task, TaskEvent,
};
use crate::recipe::Access;
use crate::state::change::ChangeState;
use crate::state::project::ProjectState;
use crate::state::run::FailureClass;
use crate::state::task::TaskState;
use crate::toolchain::Toolchain;
use crate::view::View;

/// Opens a change for the result of a run, and asks where it touches protected paths.
pub(super) fn open<V: View>(
    cx: &mut Context<'_, V>,
    run: &Run,
    task: &Task,
    proposal: &ChangeProposal,
) -> Result<ChangeId, DecideError> {
    let proposal = &ChangeProposal { words: run.channel.proposed.clone(), ..proposal.clone() };
    let id: ChangeId = cx.draw();
    let number = cx.number(EntityKind::Change, Some(task.project))?;
    let asked = if proposal.protected.is_empty() {
        None
    } else {
        Some(ask(cx, task, About { id, number, proposal, concerns: &[] })?)
    };
    let event = ChangeEvent::Opened {
        project: task.project,
        number,
        task: task.id,
        run: run.id,
        title: task.title.clone(),
        proposal: proposal.clone(),
        approval: asked,
    };
    cx.emit((id, event));
    cx.touch(EntityKind::Change, id);
    Ok(id)
}

/// What a question about a change is about.
struct About<'a> {
    id: ChangeId,
    number: u32,
    proposal: &'a ChangeProposal,
    concerns: &'a [String],
}

fn ask<V: View>(cx: &mut Context<'_, V>, task: &Task, about: About<'_>) -> Result<ApprovalId, DecideError> {
    let About { id, number, proposal, concerns } = about;
    let stat = proposal.stat;
    let mut details = vec![format!("{} files, +{} -{} lines", stat.files, stat.added, stat.removed)];
    details.extend(proposal.protected.iter().map(|path| format!("protected: {path}")));
    details.extend(concerns.iter().cloned());
    if let Some(words) = &proposal.words {
        details.push(format!("the run calls it: {}", words.title));
        let lines: Vec<String> = words.body.lines().map(|line| format!("  {line}")).collect();
        approval::list(&mut details, lines.into_iter());
    }
    let rule = if concerns.is_empty() {
        "a change of a protected path needs an approval"
    } else {
        "a merge that touches a protected path or takes a gate away needs an approval"
    };
    let question = Question {
        project: task.project,
        subject: ApprovalSubject::Change { id },
        action: format!("merge C-{number} {} (T-{})", task.title, task.number),
        details,
        rule,
        digest: Change::digest_of(task.project, proposal, concerns),
        choices: Vec::new(),
    };
    let asked = approval::ask(cx, question)?;
    cx.touch(EntityKind::Approval, asked);
    Ok(asked)
}

/// Asks a person about what the merge would do, unless somebody was asked about all of it before.
fn ask_about<V: View>(cx: &mut Context<'_, V>, change: &Change, concerns: &[String]) -> Result<(), DecideError> {
    if concerns.iter().all(|concern| change.concerns.contains(concern)) {
        return Ok(());
    }
    let task: Task = cx.get(change.task)?;
    if let Some(asked) = change.approval {
        approval::withdraw(cx, asked, "the merge does more than was asked about")?;
    }
    let about = About { id: change.id, number: change.number, proposal: &change.proposal, concerns };
    let approval = ask(cx, &task, about)?;
    cx.emit((change.id, ChangeEvent::ApprovalAsked { approval, concerns: concerns.to_vec() }));
    Ok(())
}

pub(super) fn start_check<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::StartCheck { change: id, base, tree, commit, steps, concerns, required_level, lease_ms } = command
    else {
        return Err(conflict("not the start of a check"));
    };
    let change: Change = cx.get(*id)?;
    if change.backoff().is_some_and(|backoff| backoff.lasts(cx.now)) {
        return Err(conflict(format!("C-{} waits for its next check", change.number)));
    }
    pause::may_begin(cx, &cx.get::<Project>(change.project)?)?;
    ask_about(cx, &change, concerns)?;
    let source: Run = cx.get(change.run)?;
    let new = NewRun {
        agent: None,
        project: change.project,
        task: change.task,
        purpose: RunPurpose::Gate { change: *id },
        attempt: source.attempt,
        steps,
        base: Some(commit.clone()),
        tree: Some(tree.clone()),
        required_level: *required_level,
        lease_ms: *lease_ms,
        reason: "gates on the merged tree",
        priority: 0,
        // Gates look at a tree that nobody approved yet.
        access: Access::default(),
        asks: Asks::default(),
    };
    let run = begin(cx, new)?;
    cx.emit((*id, ChangeEvent::CheckStarted { run, base: base.clone(), tree: tree.clone() }));
    cx.touch(EntityKind::Change, *id);
    Ok(())
}

pub(super) fn skip_check<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::SkipCheck { change: id, base, tree, concerns } = command else {
        return Err(conflict("not a check that is skipped"));
    };
    ask_about(cx, &cx.get::<Change>(*id)?, concerns)?;
    simple(cx, *id, ChangeEvent::CheckSkipped { base: base.clone(), tree: tree.clone() })
}

pub(super) fn recheck<V: View>(cx: &mut Context<'_, V>, id: ChangeId) -> Result<(), DecideError> {
    simple(cx, id, ChangeEvent::BaseMoved)
}

/// It does not merge cleanly any more: the task is done again on what the branch is now.
pub(super) fn conflicted<V: View>(cx: &mut Context<'_, V>, id: ChangeId, paths: &[String]) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    cx.touch(EntityKind::Change, id);
    cx.emit((id, ChangeEvent::Conflicted { paths: paths.to_vec() }));
    let reason = format!("C-{} conflicts with the branch in {}", change.number, paths.join(", "));
    // Not the task's fault: somebody else was faster.
    after_rejection(cx, &change, FailureClass::Conflict, &reason)
}

pub(super) fn start_merge<V: View>(cx: &mut Context<'_, V>, id: ChangeId, commit: &str) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    pause::may_begin(cx, &cx.get::<Project>(change.project)?)?;
    if let Some(asked) = change.approval
        && !cx.get::<Approval>(asked)?.grants(change.digest())
    {
        return Err(conflict(format!("C-{} is not approved", change.number)));
    }
    simple(cx, id, ChangeEvent::MergeStarted { commit: commit.to_owned() })
}

pub(super) fn finish_merge<V: View>(
    cx: &mut Context<'_, V>,
    id: ChangeId,
    toolchains: &[Toolchain],
) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    let ChangeState::Queued { commit, .. } = &change.state else {
        return Err(conflict(format!("C-{} is {} and not being merged", change.number, change.state.label())));
    };
    cx.emit((id, ChangeEvent::Merged));
    cx.emit((change.project, ProjectEvent::Inspected { head: commit.clone(), toolchains: toolchains.to_vec() }));
    let task: Task = cx.get(change.task)?;
    if task.state == (TaskState::InReview { change: id }) {
        cx.emit((task.id, TaskEvent::Completed { change: Some(id) }));
        cx.touch(EntityKind::Task, task.id);
    }
    cx.touch(EntityKind::Change, id);
    Ok(())
}

pub(super) fn refuse_merge<V: View>(cx: &mut Context<'_, V>, id: ChangeId) -> Result<(), DecideError> {
    simple(cx, id, ChangeEvent::MergeRefused)?;
    let change: Change = cx.get(id)?;
    if cx.get::<Project>(change.project)?.state != ProjectState::Archived {
        return Ok(());
    }
    // It was let finish when the project was archived, and did not: there is no second try.
    close_open(cx, &change, ARCHIVED)?;
    let task: Task = cx.get(change.task)?;
    if task.state == (TaskState::InReview { change: id }) {
        cx.emit((task.id, TaskEvent::Cancelled { reason: ARCHIVED.into() }));
        cx.touch(EntityKind::Task, task.id);
    }
    Ok(())
}

/// A person gives the change up; its task fails.
pub(super) fn close<V: View>(cx: &mut Context<'_, V>, id: ChangeId, reason: &str) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    let reason = text("reason", reason)?.to_owned();
    cx.touch(EntityKind::Change, id);
    close_open(cx, &change, &reason)?;
    fail_task(cx, &change, &format!("C-{} was closed: {reason}", change.number))
}

/// Closes a change, its gates and its question, without a word about its task.
pub(super) fn close_open<V: View>(cx: &mut Context<'_, V>, change: &Change, reason: &str) -> Result<(), DecideError> {
    if let ChangeState::Checking { run, .. } = &change.state {
        cx.emit((*run, RunEvent::CancelRequested { reason: reason.to_owned() }));
    }
    if let Some(asked) = change.approval {
        approval::void(cx, asked, "the change was closed")?;
    }
    cx.emit((change.id, ChangeEvent::Closed { reason: reason.to_owned() }));
    Ok(())
}

/// The change was approved. It merges when its check and its turn allow.
pub(super) fn approved<V: View>(cx: &mut Context<'_, V>, id: ChangeId, digest: Digest) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    if change.digest() != digest {
        return Err(DecideError::StaleDigest { kind: EntityKind::Change });
    }
    if !change.state.is_open() {
        return Err(conflict(format!("C-{} is {} already", change.number, change.state.label())));
    }
    cx.touch(EntityKind::Change, id);
    Ok(())
}

/// A person does not want it.
pub(super) fn denied<V: View>(cx: &mut Context<'_, V>, id: ChangeId, reason: &str) -> Result<(), DecideError> {
    let change: Change = cx.get(id)?;
    cx.touch(EntityKind::Change, id);
    if let ChangeState::Checking { run, .. } = &change.state {
        cx.emit((*run, RunEvent::CancelRequested { reason: reason.to_owned() }));
    }
    cx.emit((id, ChangeEvent::Closed { reason: format!("denied: {reason}") }));
    fail_task(cx, &change, &format!("C-{} was denied: {reason}", change.number))
}

/// The gates cannot be run: nothing is known of the change.
pub(super) fn reject<V: View>(
    cx: &mut Context<'_, V>,
    change: &Change,
    class: FailureClass,
    reason: &str,
) -> Result<(), DecideError> {
    cx.emit((change.id, ChangeEvent::CheckFailed { reason: reason.to_owned() }));
    match class {
        FailureClass::Infrastructure | FailureClass::Host | FailureClass::Lost => {
            fail_task(cx, change, reason)?;
            let task: Task = cx.get(change.task)?;
            if task.state == (TaskState::InReview { change: change.id }) {
                let times = if class == FailureClass::Host { HOST_LOSSES_MAX } else { LOSSES_MAX };
                question::escalate(cx, &task, reason, &question::Trouble::Repeated(times))?;
            }
            Ok(())
        }
        FailureClass::Task
        | FailureClass::Agent
        | FailureClass::Conflict
        | FailureClass::Timeout
        | FailureClass::Isolation
        | FailureClass::Policy
        | FailureClass::Budget => after_rejection(cx, change, class, reason),
    }
}

/// The change will not merge: its question is withdrawn and the retry policy of its task decides.
pub(super) fn after_rejection<V: View>(
    cx: &mut Context<'_, V>,
    change: &Change,
    class: FailureClass,
    reason: &str,
) -> Result<(), DecideError> {
    if let Some(asked) = change.approval {
        approval::void(cx, asked, "the change will not be merged")?;
    }
    let task: Task = cx.get(change.task)?;
    if task.state == (TaskState::InReview { change: change.id }) {
        return after_failure(cx, &task, class, reason, None);
    }
    Ok(())
}

fn fail_task<V: View>(cx: &mut Context<'_, V>, change: &Change, reason: &str) -> Result<(), DecideError> {
    let task: Task = cx.get(change.task)?;
    if task.state == (TaskState::InReview { change: change.id }) {
        cx.emit((task.id, TaskEvent::Failed { reason: reason.to_owned() }));
        cx.touch(EntityKind::Task, task.id);
    }
    Ok(())
}

fn simple<V: View>(cx: &mut Context<'_, V>, id: ChangeId, event: ChangeEvent) -> Result<(), DecideError> {
    cx.get::<Change>(id)?;
    cx.emit((id, event));
    cx.touch(EntityKind::Change, id);
    Ok(())
}
