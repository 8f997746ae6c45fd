//! The daemon's one wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use orch_proto::Timestamp;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the one clock that everything else is given")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
