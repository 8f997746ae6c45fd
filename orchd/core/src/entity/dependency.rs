//! Dependencies: what a task waits for in others, and what their states make of that.
//!
//! Pure tables. Both the choice of what starts and the rule that a start is checked by again read them.

use serde::{Deserialize, Serialize};

use crate::state::task::TaskState;

/// What a task waits for in one that it depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// That it succeeds.
    #[default]
    Done,
    /// That nothing more happens to it, however it ends.
    Ended,
    /// That it fails.
    Failed,
}

/// How many of its dependencies a task waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    #[default]
    All,
    /// The first whose condition holds is enough.
    Any,
}

/// How far a task is, as those that depend on it see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Open,
    Done,
    Failed,
    Cancelled,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    /// Not yet. It can come to hold, perhaps only when a person has something tried again.
    Open,
    /// Not now and never more.
    Never,
}

impl From<&TaskState> for Standing {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Proposed
            | TaskState::Approved { .. }
            | TaskState::Running { .. }
            | TaskState::InReview { .. }
            | TaskState::Paused { .. } => Self::Open,
            TaskState::Done { .. } => Self::Done,
            TaskState::Failed { .. } => Self::Failed,
            TaskState::Cancelled { .. } => Self::Cancelled,
        }
    }
}

impl Condition {
    /// Whether nobody has said another.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds for a task that is so far. Only what is done stays so: all else can be tried again.
    #[must_use]
    pub const fn judge(self, standing: Standing) -> Verdict {
        match (self, standing) {
            (Self::Done | Self::Ended, Standing::Done)
            | (Self::Ended, Standing::Failed | Standing::Cancelled)
            | (Self::Failed, Standing::Failed) => Verdict::Holds,
            (Self::Failed, Standing::Done) => Verdict::Never,
            (Self::Done, Standing::Open | Standing::Failed | Standing::Cancelled)
            | (Self::Ended, Standing::Open)
            | (Self::Failed, Standing::Open | Standing::Cancelled) => Verdict::Open,
        }
    }
}

impl Join {
    /// Whether nobody has said another.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What becomes of `total` conditions of which `holding` hold and `never` never will.
    #[must_use]
    pub const fn judge(self, total: usize, holding: usize, never: usize) -> Verdict {
        match self {
            Self::All if never > 0 => Verdict::Never,
            Self::All if holding == total => Verdict::Holds,
            Self::Any if total == 0 || holding > 0 => Verdict::Holds,
            Self::Any if never == total => Verdict::Never,
            Self::All | Self::Any => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_for_the_ends_that_they_name() {
        use Verdict::{Holds, Never, Open};
        let standings = [Standing::Open, Standing::Done, Standing::Failed, Standing::Cancelled];
        let row = |condition: Condition| standings.map(|standing| condition.judge(standing));
        assert_eq!(row(Condition::Done), [Open, Holds, Open, Open]);
        assert_eq!(row(Condition::Ended), [Open, Holds, Holds, Holds]);
        assert_eq!(row(Condition::Failed), [Open, Never, Holds, Open]);
    }

    #[test]
    fn all_need_every_condition_and_any_needs_one() {
        use Verdict::{Holds, Never, Open};
        let row = |join: Join| {
            [(0, 0, 0), (2, 1, 0), (2, 2, 0), (2, 1, 1), (2, 0, 1), (2, 0, 2)]
                .map(|(total, holding, never)| join.judge(total, holding, never))
        };
        assert_eq!(row(Join::All), [Holds, Open, Holds, Never, Never, Never]);
        assert_eq!(row(Join::Any), [Holds, Holds, Holds, Holds, Open, Never]);
    }
}
