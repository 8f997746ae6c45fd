//! How long things may take where nobody said so of their task or project: `[patience]`.

use orch_core::entity::{Patience, Remedy, TIMEOUT_MS_MAX, Timeout};
use serde::{Deserialize, Serialize};

/// How long a run may be silent before it is named, in seconds, when nobody says so.
const SILENCE_SECONDS: u64 = 10 * 60;

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PatienceSection {
    /// A task that could begin and does not; 0 or nothing: it may wait for ever.
    queue_seconds: Option<u64>,
    queue: Option<Remedy>,
    /// A run of which nothing is heard; 0: it may be silent for ever.
    silence_seconds: Option<u64>,
    silence: Option<Remedy>,
}

impl PatienceSection {
    /// Checks the times; the error is what is wrong with which key.
    pub(super) fn checked(&self) -> Result<Patience, (&'static str, String)> {
        let keys = [("patience.queue_seconds", self.queue_seconds), ("patience.silence_seconds", self.silence_seconds)];
        for (key, seconds) in keys {
            if seconds.is_some_and(|seconds| seconds > TIMEOUT_MS_MAX / 1_000) {
                return Err((key, "is longer than a year".into()));
            }
        }
        if self.queue.is_some() && self.queue_seconds.is_none() {
            return Err(("patience.queue", "says what follows, but not after how long: set `queue_seconds`".into()));
        }
        let timeout = |seconds: u64, then: Option<Remedy>| Timeout {
            after_ms: seconds * 1_000,
            then: then.unwrap_or(Remedy::Warn),
        };
        Ok(Patience {
            queue: self.queue_seconds.map(|seconds| timeout(seconds, self.queue)),
            silence: Some(timeout(self.silence_seconds.unwrap_or(SILENCE_SECONDS), self.silence)),
        })
    }
}

impl From<Patience> for PatienceSection {
    fn from(patience: Patience) -> Self {
        let seconds = |timeout: Option<Timeout>| timeout.map(|timeout| timeout.after_ms / 1_000);
        let then = |timeout: Option<Timeout>| timeout.map(|timeout| timeout.then);
        Self {
            queue_seconds: seconds(patience.queue),
            queue: then(patience.queue),
            silence_seconds: seconds(patience.silence),
            silence: then(patience.silence),
        }
    }
}
