//! What of runs that are over may not be removed, however long it was kept: what something open refers to, and what a
//! person decided by.

use orch_proto::id::ApprovalId;

use crate::entity::{Approval, Change, Entity as _, Run, Task};
use crate::state::approval::ApprovalState;
use crate::state::change::ChangeState;
use crate::view::{Filter, ReadError, View};

/// Why nothing of a run may go as other things do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is under way, or something is that refers to it: its task, its change, a question. Nothing may go.
    InUse,
    /// Its change was merged, or a person decided about it: it says why. What is kept of that has a time of its own.
    Evidence,
}

/// Why a run is to be kept; none if nothing speaks for it.
///
/// # Errors
/// When the state cannot be read.
pub fn hold(view: &impl View, run: &Run) -> Result<Option<Hold>, ReadError> {
    if run.is_open() {
        return Ok(Some(Hold::InUse));
    }
    let mut asked: Vec<ApprovalId> = run.silence.and_then(|silence| silence.question).into_iter().collect();
    if let Some(task) = view.get::<Task>(run.task)? {
        if task.is_open() {
            return Ok(Some(Hold::InUse));
        }
        asked.extend(task.question.into_iter().chain(task.approval));
    }
    let mut is_evidence = false;
    for change in changes_of(view, run)? {
        if change.is_open() {
            return Ok(Some(Hold::InUse));
        }
        is_evidence |= matches!(change.state, ChangeState::Merged { .. });
        let Some(approval) = change.approval else { continue };
        asked.push(approval);
        is_evidence |= view.get::<Approval>(approval)?.is_some_and(|approval| is_decided(&approval.state));
    }
    for approval in asked {
        if view.get::<Approval>(approval)?.is_some_and(|approval| approval.is_open()) {
            return Ok(Some(Hold::InUse));
        }
    }
    Ok(is_evidence.then_some(Hold::Evidence))
}

/// Changes that the run made, or whose gates it ran.
///
/// # Errors
/// When the state cannot be read.
pub fn changes_of(view: &impl View, run: &Run) -> Result<Vec<Change>, ReadError> {
    let mut changes: Vec<Change> = view.list(&Filter::under(run.task))?;
    changes.retain(|change| change.run == run.id || change.checks.contains(&run.id));
    Ok(changes)
}

/// Whether a person answered.
const fn is_decided(state: &ApprovalState) -> bool {
    matches!(state, ApprovalState::Granted { .. } | ApprovalState::Denied { .. } | ApprovalState::Answered { .. })
}
