//! The one place of this crate that reads wall time.
//!
//! Wall time only labels records; every limit is measured with a monotonic clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in microseconds; 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock module of the crate")]
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
