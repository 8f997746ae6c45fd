//! The one place where the clients read the wall clock. Used for ages on a screen and never for a decision.

use std::time::UNIX_EPOCH;

use orch_proto::Timestamp;

/// The time now, by this machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the crate's clock module")]
    let elapsed = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_us(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}
