//! How long things may take, and what follows when they take longer.

use orch_proto::Timestamp;
use orch_proto::id::ApprovalId;
use serde::{Deserialize, Serialize};

/// Longest time-out, in milliseconds: a year.
pub const TIMEOUT_MS_MAX: u64 = 365 * 24 * 60 * 60 * 1_000;

/// What follows when something takes longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// It is put on record, and everybody who looks sees it.
    Warn,
    /// A person is asked, too.
    Ask,
    /// It is ended.
    End,
}

/// A time after which something is too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeout {
    /// In milliseconds, at most [`TIMEOUT_MS_MAX`]; 0: it is never too late.
    pub after_ms: u64,
    pub then: Remedy,
}

impl Timeout {
    /// The time, in milliseconds, if there is one.
    #[must_use]
    pub fn ms(self) -> Option<u64> {
        (self.after_ms > 0).then_some(self.after_ms)
    }
}

/// What is said about such times, for all, for a project or for a task. What nobody has said is as one level higher up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// A task that could begin and does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Timeout>,
    /// A run that lives, and of which nothing is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Timeout>,
}

impl Patience {
    /// Whether nobody has said anything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What holds where this is said, and `general` one level higher up.
    #[must_use]
    pub fn or(self, general: Self) -> Self {
        Self { queue: self.queue.or(general.queue), silence: self.silence.or(general.silence) }
    }
}

/// A task that waits longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overdue {
    /// Since when it could have begun.
    pub since: Timestamp,
    pub timeout: Timeout,
}

/// A run that is silent for longer than it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub since: Timestamp,
    pub timeout: Timeout,
    /// What a person was asked.
    pub question: Option<ApprovalId>,
}
