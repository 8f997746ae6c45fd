//! Waits between two attempts: how long they are, and whether one lasts.
//!
//! A wait is a length, kept as the time of its end. The clock can be put back while it lasts: it lasts no longer for that than
//! the longest that it can have been. One that would is over, since nobody knows what is left of it.

use orch_proto::Timestamp;

use super::{Change, Task};
use crate::state::change::ChangeState;
use crate::state::task::TaskState;

/// Wait before what was lost is tried again for the first time, in milliseconds; doubles with each loss.
const LOSS_BACKOFF_MS: u64 = 200;
const LOSS_DOUBLINGS_MAX: u32 = 8;

/// Longest wait after a loss, in milliseconds.
pub const LOSS_BACKOFF_MS_MAX: u64 = loss_backoff_ms(LOSS_DOUBLINGS_MAX);

/// Wait after a loss when there were `earlier` ones before it, in milliseconds.
#[must_use]
pub const fn loss_backoff_ms(earlier: u32) -> u64 {
    LOSS_BACKOFF_MS << if earlier < LOSS_DOUBLINGS_MAX { earlier } else { LOSS_DOUBLINGS_MAX }
}

/// A wait between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub until: Timestamp,
    /// It was no longer when it began, in milliseconds.
    pub max_ms: u64,
}

impl Backoff {
    /// Whether it lasts at `now`.
    #[must_use]
    pub fn lasts(self, now: Timestamp) -> bool {
        let [from, until] = self.edges();
        from <= now && now < until
    }

    /// The times at which that changes.
    #[must_use]
    pub fn edges(self) -> [Timestamp; 2] {
        [self.until.minus_ms(self.max_ms), self.until]
    }
}

impl Task {
    /// The wait between two attempts that it is in or was in the last time.
    #[must_use]
    pub fn backoff(&self) -> Option<Backoff> {
        let TaskState::Approved { not_before: Some(until) } = self.state else { return None };
        Some(Backoff { until, max_ms: self.backoff_ms_max() })
    }

    /// Longest wait before its next attempt, in milliseconds.
    pub(crate) fn backoff_ms_max(&self) -> u64 {
        let policy = &self.spec.retries;
        let after_failure = policy.backoff_ms(self.failures).saturating_add(policy.backoff_jitter_ms);
        after_failure.max(LOSS_BACKOFF_MS_MAX)
    }
}

impl Change {
    /// The wait between two checks that it is in or was in the last time.
    #[must_use]
    pub const fn backoff(&self) -> Option<Backoff> {
        match self.state {
            ChangeState::Opened { not_before: Some(until) } => Some(Backoff { until, max_ms: LOSS_BACKOFF_MS_MAX }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_lasts_no_longer_when_the_clock_is_put_back() {
        let until = Timestamp::from_unix_us(1_795_165_557_000_000);
        let wait = Backoff { until, max_ms: 1_000 };
        assert!(!wait.lasts(until) && !wait.lasts(until.plus_ms(1)));
        assert!(wait.lasts(until.minus_ms(1)) && wait.lasts(until.minus_ms(1_000)));
        assert!(!wait.lasts(until.minus_ms(1_001)) && !wait.lasts(until.minus_ms(86_400_000)));
        assert_eq!((loss_backoff_ms(0), loss_backoff_ms(3), loss_backoff_ms(40)), (200, 1_600, LOSS_BACKOFF_MS_MAX));
    }
}
