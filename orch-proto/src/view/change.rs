//! Changes and approvals.

use serde::{Deserialize, Serialize};

use crate::id::{ApprovalId, ChangeId};
use crate::reference::EntityKind;
use crate::time::Timestamp;

/// State of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ChangeState {
    Opened,
    /// The gates run on the merged tree.
    Checking,
    /// A gate failed or a reviewer wants something else.
    ChangesRequested {
        reason: String,
    },
    /// Checked; merges when its approval is there and its turn comes.
    Mergeable,
    /// The merge is under way.
    Queued,
    Merged {
        commit: String,
    },
    Conflicted {
        paths: Vec<String>,
    },
    Closed,
}

impl ChangeState {
    /// The word for it, as `changes_requested`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Checking => "checking",
            Self::ChangesRequested { .. } => "changes_requested",
            Self::Mergeable => "mergeable",
            Self::Queued => "queued",
            Self::Merged { .. } => "merged",
            Self::Conflicted { .. } => "conflicted",
            Self::Closed => "closed",
        }
    }
}

/// The words of a run under which its work is proposed. Hostile text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedView {
    pub title: String,
    /// Why; empty for none.
    #[serde(default)]
    pub body: String,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    pub id: ChangeId,
    pub project: String,
    pub number: u32,
    /// `shop/C-5`.
    pub name: String,
    pub title: String,
    pub task_name: String,
    pub run_name: String,
    /// `feature/T-12-http-layer`.
    pub branch: String,
    #[serde(flatten)]
    pub state: ChangeState,
    /// Commit of the run's result and the commit it was made on.
    pub head: String,
    pub base: Option<String>,
    pub files_changed: u32,
    pub lines_added: u32,
    pub lines_removed: u32,
    /// Protected paths that it touches.
    pub protected: Vec<String>,
    /// What its run calls it; its commit says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<ProposedView>,
    pub approval: Option<ApprovalId>,
    pub approval_name: Option<String>,
    /// Name and state of the gate runs, oldest first.
    pub checks: Vec<(String, String)>,
    pub opened_at: Timestamp,
    pub since: Timestamp,
}

/// The text of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffView {
    pub name: String,
    /// Unified diff. Hostile text.
    pub text: String,
    /// The text was cut at the page limit.
    pub truncated: bool,
}

/// State of an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ApprovalState {
    Pending,
    Granted,
    Denied {
        reason: String,
    },
    Expired,
    /// What it approved has changed or is gone.
    Void {
        reason: String,
    },
    /// One of its choices was taken.
    Answered {
        choice: Choice,
    },
}

/// An answer to a question that is more than yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Let it go on as it is.
    GoOn,
    /// End the run; the retry policy of its task decides what follows.
    End,
    /// Try the task again; a run of it is ended and does not count.
    Retry,
    /// Cancel the task.
    Cancel,
    /// Leave it as it is, and ask no more.
    Leave,
    /// Give as much again.
    Raise,
    /// The task is done as it is: nothing had to change.
    Done,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::GoOn, Self::End, Self::Retry, Self::Cancel, Self::Leave, Self::Raise, Self::Done];

    /// The word for it, as `go_on`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::GoOn => "go_on",
            Self::End => "end",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Leave => "leave",
            Self::Raise => "raise",
            Self::Done => "done",
        }
    }

    /// What it does.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::GoOn => "let it go on as it is",
            Self::End => "end the run; the retry policy of its task decides what follows",
            Self::Retry => "try the task again; a run of it is ended and does not count",
            Self::Cancel => "cancel the task",
            Self::Leave => "leave it as it is, and ask no more",
            Self::Raise => "give as much again, until it is renewed",
            Self::Done => "the task is done as it is: nothing had to change",
        }
    }
}

impl ApprovalState {
    /// The word for it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Void { .. } => "void",
            Self::Answered { .. } => "answered",
        }
    }
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    pub id: ApprovalId,
    pub project: String,
    pub number: u32,
    /// `shop/A-3`.
    pub name: String,
    #[serde(flatten)]
    pub state: ApprovalState,
    /// What kind of thing it is about, and its short name.
    pub subject_kind: EntityKind,
    pub subject: String,
    /// What will happen, in a line.
    pub action: String,
    /// The facts that a person needs: paths, counts, rules.
    pub details: Vec<String>,
    /// The rule that asks.
    pub rule: String,
    /// What can be answered; nothing: yes or no.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// What it is bound to: SHA-256 in hex.
    pub digest: String,
    /// How many different people must agree, and who has.
    pub needed: u32,
    pub granted_by: Vec<String>,
    pub requested_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub decided_at: Option<Timestamp>,
}

/// Which approvals to list. Empty fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFilter {
    pub project: Option<crate::Ref>,
    /// Only those that wait.
    pub pending: bool,
}
