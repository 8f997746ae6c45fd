//! The one place of this program that reads the time of day: the daemon's log has it, too.

use std::time::{SystemTime, UNIX_EPOCH};

use orch_proto::Timestamp;

#[expect(clippy::disallowed_methods, reason = "the clock module")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Seconds from one time to another, which may lie before it.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.unix_us().saturating_sub(from.unix_us()) as f64 / 1e6
}
