//! Changes and approvals.

use orch_core::entity::{Approval, ApprovalSubject, Change, Plan, Project, Proposed, Requirements, Run, Task};
use orch_core::state::approval::ApprovalState as Answer;
use orch_core::state::change::ChangeState as State;
use orch_core::view::{ReadError, View};
use orch_proto::EntityKind;
use orch_proto::view::{ApprovalState, ApprovalView, ChangeState, ChangeView, ProposedView};

use super::{name_by_id, patience, slug};

/// A change.
pub(crate) fn change_view(view: &impl View, change: &Change) -> Result<ChangeView, ReadError> {
    let project = slug(view, change.project)?;
    let mut checks = Vec::with_capacity(change.checks.len());
    for id in &change.checks {
        if let Some(run) = view.get::<Run>(*id)? {
            checks.push((EntityKind::Run.short(run.number), run.state.label().to_owned()));
        }
    }
    Ok(ChangeView {
        id: change.id,
        number: change.number,
        name: format!("{project}/{}", EntityKind::Change.short(change.number)),
        project,
        title: change.title.clone(),
        task_name: name_by_id::<Task>(view, change.task)?,
        run_name: name_by_id::<Run>(view, change.run)?,
        branch: change.proposal.branch.clone(),
        state: state(&change.state),
        head: change.proposal.head.clone(),
        base: change.proposal.base.clone(),
        files_changed: change.proposal.stat.files,
        lines_added: change.proposal.stat.added,
        lines_removed: change.proposal.stat.removed,
        protected: change.proposal.protected.clone(),
        words: change.proposal.words.as_ref().map(proposed),
        approval: change.approval,
        approval_name: change.approval.map(|id| name_by_id::<Approval>(view, id)).transpose()?,
        checks,
        opened_at: change.opened_at,
        since: change.since,
    })
}

/// What a run calls its change.
pub(super) fn proposed(words: &Proposed) -> ProposedView {
    ProposedView { title: words.title.clone(), body: words.body.clone() }
}

/// An approval.
pub(crate) fn approval_view(view: &impl View, approval: &Approval) -> Result<ApprovalView, ReadError> {
    let project = slug(view, approval.project)?;
    let (subject_kind, subject) = match approval.subject {
        ApprovalSubject::Requirements { id } => (EntityKind::Requirements, name_by_id::<Requirements>(view, id)?),
        ApprovalSubject::Plan { id } => (EntityKind::Plan, name_by_id::<Plan>(view, id)?),
        ApprovalSubject::Silence { id } | ApprovalSubject::Spending { id } | ApprovalSubject::Action { id } => {
            (EntityKind::Run, name_by_id::<Run>(view, id)?)
        }
        ApprovalSubject::Task { id } | ApprovalSubject::Wait { id } | ApprovalSubject::Failure { id } => {
            (EntityKind::Task, name_by_id::<Task>(view, id)?)
        }
        ApprovalSubject::Change { id } => (EntityKind::Change, name_by_id::<Change>(view, id)?),
        ApprovalSubject::Budget { id } => (EntityKind::Project, name_by_id::<Project>(view, id)?),
    };
    let (needed, expires_at) = match &approval.state {
        Answer::Pending { needed, expires, .. } => (*needed, *expires),
        Answer::Granted { by } => (u32::try_from(by.len()).unwrap_or(u32::MAX), None),
        Answer::Denied { .. } | Answer::Expired | Answer::Void { .. } | Answer::Answered { .. } => (1, None),
    };
    Ok(ApprovalView {
        id: approval.id,
        number: approval.number,
        name: format!("{project}/{}", EntityKind::Approval.short(approval.number)),
        project,
        state: answer(&approval.state),
        subject_kind,
        subject,
        action: approval.action.clone(),
        details: approval.details.clone(),
        rule: approval.rule.clone(),
        choices: approval.choices.iter().copied().map(patience::choice).collect(),
        digest: approval.digest.to_string(),
        needed,
        granted_by: approval.granted_by.values().cloned().collect(),
        requested_at: approval.requested_at,
        expires_at,
        decided_at: approval.decided_at,
    })
}

fn state(state: &State) -> ChangeState {
    match state {
        State::Opened { .. } => ChangeState::Opened,
        State::Checking { .. } => ChangeState::Checking,
        State::ChangesRequested { reason } => ChangeState::ChangesRequested { reason: reason.clone() },
        State::Mergeable { .. } => ChangeState::Mergeable,
        State::Queued { .. } => ChangeState::Queued,
        State::Merged { commit } => ChangeState::Merged { commit: commit.clone() },
        State::Conflicted { paths } => ChangeState::Conflicted { paths: paths.clone() },
        State::Closed { .. } => ChangeState::Closed,
    }
}

fn answer(state: &Answer) -> ApprovalState {
    match state {
        Answer::Pending { .. } => ApprovalState::Pending,
        Answer::Granted { .. } => ApprovalState::Granted,
        Answer::Denied { reason, .. } => ApprovalState::Denied { reason: reason.clone() },
        Answer::Expired => ApprovalState::Expired,
        Answer::Answered { choice, .. } => ApprovalState::Answered { choice: patience::choice(*choice) },
        Answer::Void { reason } => ApprovalState::Void { reason: reason.clone() },
    }
}
