//! Pauses of runs: whose processes stand still, for what and until when.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

/// Why the processes of a run are to stand still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPause {
    pub reason: String,
    /// Its project was paused with all that runs in it, and goes on with it.
    pub with_project: bool,
    /// It is over by itself then, like the pause of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// It has spent what it may, and stands still until it may spend more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_for_spending: bool,
    /// It lasts until the run has the answer that it waits for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_answer: bool,
    /// The run has had its answer since then, and stands still until there is a place for it among those under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_place: Option<Timestamp>,
}

impl RunPause {
    /// One that a person asked for.
    #[must_use]
    pub fn asked(reason: &str, with_project: bool, until: Option<Timestamp>) -> Self {
        Self {
            reason: reason.to_owned(),
            with_project,
            until,
            is_for_spending: false,
            for_answer: false,
            for_place: None,
        }
    }

    /// Whether it lasts until the run has what it waits for, and not until a person wants it to go on. What a person wants goes
    /// before it: once the run goes on, it waits again.
    #[must_use]
    pub const fn is_the_runs_own(&self) -> bool {
        self.is_for_spending || self.for_answer || self.for_place.is_some()
    }

    /// That of a run which has spent what it may.
    #[must_use]
    pub fn for_spending(reason: String) -> Self {
        Self { reason, is_for_spending: true, ..Self::asked("", false, None) }
    }

    /// That of a run which waits for an answer.
    #[must_use]
    pub fn for_answer() -> Self {
        Self { for_answer: true, ..Self::asked("waits for an answer", false, None) }
    }

    /// That of a run which has its answer and no place.
    #[must_use]
    pub fn for_place(since: Timestamp) -> Self {
        Self { for_place: Some(since), ..Self::asked("has its answer and waits for a place", false, None) }
    }

    /// Whether it lasts.
    #[must_use]
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
