//! The one place of this crate that reads wall time, the monotonic clock as a number, and the time since the boot.
//!
//! Wall time only labels records; every limit is measured with a clock that nobody sets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The monotonic clock, which all processes of a host share, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec()));
    u64::try_from(now.0).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.1).unwrap_or(0)
}

/// Time since the boot of the host, its sleep included. Nobody can set it.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec()));
    Duration::new(u64::try_from(now.0).unwrap_or(0), u32::try_from(now.1).unwrap_or(0))
}

/// Unix time in microseconds; 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock module of the crate")]
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
