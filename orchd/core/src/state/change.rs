//! A change: the result of a run on its way into the default branch.
//!
//! `Queued` is the intent of a merge: its commit exists and the branch may already point to it.

use orch_proto::Timestamp;
use orch_proto::id::RunId;
use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a change. Commits and trees are hex object ids of the project's repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ChangeState {
    /// Waits for its turn to be checked, and until then when its gates gave no answer.
    Opened {
        not_before: Option<Timestamp>,
    },
    /// `run` executes the gates on `tree`, the merge of the change into `base`.
    Checking {
        run: RunId,
        base: Option<String>,
        tree: String,
    },
    /// A gate failed on it.
    ChangesRequested {
        reason: String,
    },
    /// `tree` was checked against `base`.
    Mergeable {
        base: Option<String>,
        tree: String,
    },
    /// The branch is being moved from `base` to `commit`.
    Queued {
        base: Option<String>,
        commit: String,
    },
    Merged {
        commit: String,
    },
    /// It cannot be merged into what the branch is now.
    Conflicted {
        paths: Vec<String>,
    },
    Closed {
        reason: String,
    },
}

/// What can happen to the state of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ChangeStep {
    Opened,
    /// Its check is about to begin, and what it would do needs a person.
    ApprovalAsked,
    CheckStarted {
        run: RunId,
        base: Option<String>,
        tree: String,
    },
    CheckPassed,
    /// The project has no gates: the tree is taken as it is.
    CheckSkipped {
        base: Option<String>,
        tree: String,
    },
    CheckFailed {
        reason: String,
    },
    /// The gates gave no answer, for a reason that is not the change's: their run was lost.
    CheckLost {
        not_before: Timestamp,
    },
    /// The branch is not what it was checked against any more.
    BaseMoved,
    Conflicted {
        paths: Vec<String>,
    },
    MergeStarted {
        commit: String,
    },
    Merged,
    /// The branch was moved by somebody else first.
    MergeRefused,
    Closed {
        reason: String,
    },
    /// That it was closed was taken back, or closed again.
    Undone {
        to: ChangeState,
    },
}

impl ChangeState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(state: Option<&Self>, step: &ChangeStep) -> Result<Self, IllegalTransition> {
        use ChangeStep as Step;
        match (state, step) {
            (None, Step::Opened) => Ok(Self::Opened { not_before: None }),
            (Some(Self::Opened { not_before }), Step::ApprovalAsked) => Ok(Self::Opened { not_before: *not_before }),
            (Some(Self::Opened { .. }), Step::CheckStarted { run, base, tree }) => {
                Ok(Self::Checking { run: *run, base: base.clone(), tree: tree.clone() })
            }
            (Some(Self::Opened { .. }), Step::CheckSkipped { base, tree }) => {
                Ok(Self::Mergeable { base: base.clone(), tree: tree.clone() })
            }
            (Some(Self::Checking { base, tree, .. }), Step::CheckPassed) => {
                Ok(Self::Mergeable { base: base.clone(), tree: tree.clone() })
            }
            (Some(Self::Checking { .. }), Step::CheckFailed { reason }) => {
                Ok(Self::ChangesRequested { reason: reason.clone() })
            }
            (Some(Self::Checking { .. }), Step::CheckLost { not_before }) => {
                Ok(Self::Opened { not_before: Some(*not_before) })
            }
            (Some(Self::Mergeable { .. }), Step::BaseMoved) | (Some(Self::Queued { .. }), Step::MergeRefused) => {
                Ok(Self::Opened { not_before: None })
            }
            (Some(Self::Opened { .. } | Self::Mergeable { .. }), Step::Conflicted { paths }) => {
                Ok(Self::Conflicted { paths: paths.clone() })
            }
            (Some(Self::Mergeable { base, .. }), Step::MergeStarted { commit }) => {
                Ok(Self::Queued { base: base.clone(), commit: commit.clone() })
            }
            (Some(Self::Queued { commit, .. }), Step::Merged) => Ok(Self::Merged { commit: commit.clone() }),
            (
                Some(
                    Self::Opened { .. }
                    | Self::Checking { .. }
                    | Self::ChangesRequested { .. }
                    | Self::Mergeable { .. }
                    | Self::Conflicted { .. },
                ),
                Step::Closed { reason },
            ) => Ok(Self::Closed { reason: reason.clone() }),
            (Some(state), Step::Undone { to }) if state.is_revocable() && to.is_revocable() => Ok(to.clone()),
            _ => Err(IllegalTransition {
                machine: "change",
                state: state.map_or("absent", Self::label),
                event: step.label(),
            }),
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Checking { .. } => "checking",
            Self::ChangesRequested { .. } => "changes_requested",
            Self::Mergeable { .. } => "mergeable",
            Self::Queued { .. } => "queued",
            Self::Merged { .. } => "merged",
            Self::Conflicted { .. } => "conflicted",
            Self::Closed { .. } => "closed",
        }
    }

    /// Whether a person's decision can bring it there or away: nothing is under way for it, and nothing of it is merged.
    const fn is_revocable(&self) -> bool {
        !matches!(self, Self::Checking { .. } | Self::Queued { .. } | Self::Merged { .. })
    }

    /// Whether it can still be merged.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Opened { .. } | Self::Checking { .. } | Self::Mergeable { .. } | Self::Queued { .. })
    }
}

impl ChangeStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::ApprovalAsked => "approval_asked",
            Self::CheckStarted { .. } => "check_started",
            Self::CheckPassed => "check_passed",
            Self::CheckSkipped { .. } => "check_skipped",
            Self::CheckFailed { .. } => "check_failed",
            Self::CheckLost { .. } => "check_lost",
            Self::BaseMoved => "base_moved",
            Self::Conflicted { .. } => "conflicted",
            Self::MergeStarted { .. } => "merge_started",
            Self::Merged => "merged",
            Self::MergeRefused => "merge_refused",
            Self::Closed { .. } => "closed",
            Self::Undone { .. } => "undone",
        }
    }
}
