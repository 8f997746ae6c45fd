//! Every state as a glyph, a word and a role, so that no state is told by colour alone.
//!
//! Glyphs are ASCII: other symbols have different widths on different terminals.

use orch_proto::view::{
    CaseResult, CheckResult, DocumentState, GuaranteeState, NetworkState, RunState, StepState, TaskState,
};

use super::canvas::Line;
use super::rows::TaskRow;
use super::theme::Role;

/// How a state is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Badge {
    pub(crate) glyph: &'static str,
    pub(crate) word: &'static str,
    pub(crate) role: Role,
}

const fn badge(glyph: &'static str, word: &'static str, role: Role) -> Badge {
    Badge { glyph, word, role }
}

impl Badge {
    /// Glyph and word.
    pub(crate) fn line(self) -> Line {
        Line::of(self.glyph, self.role).lit(" ", self.role).lit(self.word, self.role)
    }
}

/// A task on the board: ready and waiting ones are told apart, and those that wait for a person stand out.
pub(crate) fn task(row: &TaskRow) -> Badge {
    if row.approval.is_some() && !matches!(row.state, TaskState::Done | TaskState::Cancelled) {
        return badge("!", "needs approval", Role::Warn);
    }
    match row.state {
        TaskState::Approved if row.ready => badge("o", "ready", Role::Text),
        TaskState::Approved => badge("-", "waits", Role::Dim),
        state => task_state(state),
    }
}

/// A task's state where its waits are not known.
pub(crate) const fn task_state(state: TaskState) -> Badge {
    match state {
        TaskState::Proposed => badge(".", "proposed", Role::Dim),
        TaskState::Approved => badge("o", "queued", Role::Text),
        TaskState::Running => badge(">", "running", Role::Busy),
        TaskState::InReview => badge("?", "in review", Role::Busy),
        TaskState::Done => badge("+", "done", Role::Good),
        TaskState::Failed => badge("x", "failed", Role::Bad),
        TaskState::Cancelled => badge("/", "cancelled", Role::Dim),
        TaskState::Paused => badge("=", "held", Role::Warn),
    }
}

pub(crate) const fn run(state: &RunState) -> Badge {
    match state {
        RunState::Queued => badge("o", "queued", Role::Dim),
        RunState::Leased => badge("o", "leased", Role::Dim),
        RunState::Starting => badge(">", "starting", Role::Busy),
        RunState::Running => badge(">", "running", Role::Busy),
        RunState::AwaitingInput => badge("!", "needs input", Role::Warn),
        RunState::AwaitingApproval => badge("!", "needs approval", Role::Warn),
        RunState::Paused => badge("=", "paused", Role::Warn),
        RunState::Succeeded => badge("+", "succeeded", Role::Good),
        RunState::Failed { .. } => badge("x", "failed", Role::Bad),
        RunState::TimedOut => badge("x", "timed out", Role::Bad),
        RunState::Cancelled => badge("/", "cancelled", Role::Dim),
        RunState::Lost => badge("x", "lost", Role::Bad),
    }
}

pub(crate) const fn step(state: StepState) -> Badge {
    match state {
        StepState::Pending => badge(".", "pending", Role::Dim),
        StepState::Running => badge(">", "running", Role::Busy),
        StepState::Succeeded => badge("+", "succeeded", Role::Good),
        StepState::Failed => badge("x", "failed", Role::Bad),
        StepState::TimedOut => badge("x", "timed out", Role::Bad),
        StepState::Skipped => badge("-", "skipped", Role::Dim),
        StepState::Kept => badge("=", "kept", Role::Good),
        StepState::Cancelled => badge("/", "cancelled", Role::Dim),
    }
}

pub(crate) const fn guarantee(state: GuaranteeState) -> Badge {
    match state {
        GuaranteeState::Enforced => badge("+", "enforced", Role::Good),
        GuaranteeState::Degraded => badge("~", "degraded", Role::Warn),
        GuaranteeState::Absent => badge("x", "absent", Role::Bad),
    }
}

pub(crate) const fn document(state: DocumentState) -> Badge {
    match state {
        DocumentState::Draft => badge(".", "draft", Role::Dim),
        DocumentState::Proposed => badge("!", "proposed", Role::Warn),
        DocumentState::Approved => badge("+", "approved", Role::Good),
        DocumentState::Rejected => badge("x", "rejected", Role::Bad),
        DocumentState::Superseded => badge("/", "superseded", Role::Dim),
    }
}

pub(crate) const fn network(state: NetworkState) -> Badge {
    match state {
        NetworkState::Allowed => badge("+", "allowed", Role::Good),
        NetworkState::Denied => badge("x", "denied", Role::Bad),
        NetworkState::Failed => badge("~", "failed", Role::Warn),
        NetworkState::Closed => badge(".", "closed", Role::Dim),
    }
}

pub(crate) const fn case(result: CaseResult) -> Badge {
    match result {
        CaseResult::Held => badge("+", "held", Role::Good),
        CaseResult::Open => badge("x", "open", Role::Bad),
        CaseResult::Skipped => badge("-", "skipped", Role::Dim),
    }
}

pub(crate) const fn check(result: CheckResult) -> Badge {
    match result {
        CheckResult::Ok => badge("+", "ok", Role::Good),
        CheckResult::Warning => badge("~", "warning", Role::Warn),
        CheckResult::Failed => badge("x", "failed", Role::Bad),
    }
}
