//! An approval: a question to one or more people about one exact thing, known by its digest.

use std::collections::BTreeSet;

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::IllegalTransition;

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

    /// The word for it.
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
}

/// State of an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ApprovalState {
    /// `needed` different people must agree; `granted` have.
    Pending {
        needed: u32,
        granted: BTreeSet<u32>,
        expires: Option<Timestamp>,
    },
    Granted {
        by: BTreeSet<u32>,
    },
    Denied {
        by: u32,
        reason: String,
    },
    Expired,
    /// What it approved has changed or is gone.
    Void {
        reason: String,
    },
    /// A person has chosen one of several answers.
    Answered {
        by: u32,
        choice: Choice,
    },
}

/// What can happen to an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ApprovalStep {
    Requested {
        needed: u32,
        expires: Option<Timestamp>,
    },
    /// A person, known by uid, agrees.
    Granted {
        by: u32,
    },
    Denied {
        by: u32,
        reason: String,
    },
    Expired,
    Voided {
        reason: String,
    },
    /// A person, known by uid, chooses.
    Answered {
        by: u32,
        choice: Choice,
    },
    /// What brought it where it is was taken back.
    Undone {
        to: ApprovalState,
    },
}

impl ApprovalState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state; also when one person agrees twice where two are needed.
    pub fn next(state: Option<&Self>, step: &ApprovalStep) -> Result<Self, IllegalTransition> {
        use ApprovalStep as Step;
        match (state, step) {
            (None, Step::Requested { needed, expires }) => {
                Ok(Self::Pending { needed: (*needed).max(1), granted: BTreeSet::new(), expires: *expires })
            }
            (Some(Self::Pending { needed, granted, expires }), Step::Granted { by }) if !granted.contains(by) => {
                let mut granted = granted.clone();
                granted.insert(*by);
                if granted.len() >= *needed as usize {
                    Ok(Self::Granted { by: granted })
                } else {
                    Ok(Self::Pending { needed: *needed, granted, expires: *expires })
                }
            }
            (Some(Self::Pending { .. }), Step::Denied { by, reason }) => {
                Ok(Self::Denied { by: *by, reason: reason.clone() })
            }
            (Some(Self::Pending { .. }), Step::Expired) => Ok(Self::Expired),
            (Some(Self::Pending { .. }), Step::Answered { by, choice }) => {
                Ok(Self::Answered { by: *by, choice: *choice })
            }
            (Some(Self::Pending { .. } | Self::Granted { .. }), Step::Voided { reason }) => {
                Ok(Self::Void { reason: reason.clone() })
            }
            (Some(state), Step::Undone { to }) if *state != Self::Expired && *to != Self::Expired => Ok(to.clone()),
            _ => Err(IllegalTransition {
                machine: "approval",
                state: state.map_or("absent", Self::label),
                event: step.label(),
            }),
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Granted { .. } => "granted",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Void { .. } => "void",
            Self::Answered { .. } => "answered",
        }
    }
}

impl ApprovalStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Granted { .. } => "granted",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Voided { .. } => "voided",
            Self::Answered { .. } => "answered",
            Self::Undone { .. } => "undone",
        }
    }
}
