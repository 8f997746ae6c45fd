//! The time that the view is given: milliseconds since the start of the program, and the wall clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::view::Now;

/// Measures from the start of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticker {
    start: Instant,
}

impl Ticker {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The time now.
    pub(super) fn now(self) -> Now {
        let mono_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono_ms, wall: clock::now() }
    }

    /// The instant of a time in milliseconds.
    pub(super) fn instant(self, mono_ms: u64) -> Instant {
        self.start + Duration::from_millis(mono_ms)
    }
}
