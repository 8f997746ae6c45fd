//! Where the clients read clocks: the wall clock, for ages on a screen, and one that stands still while the process does. A run
//! that waits for a person is frozen, and a time-out of a program in it must not have passed when it goes on.

use std::pin::pin;
use std::time::{Duration, UNIX_EPOCH};

use orch_proto::Timestamp;
use tokio::time::{Instant, timeout};

/// Most that passes, for a [`Countdown`], between two looks at it.
const LOOK: Duration = Duration::from_millis(250);

/// The time now, by this machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the crate's clock module")]
    let elapsed = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_us(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}

/// What is left of a patience. Who looks at it seldom loses no more than [`LOOK`] each time, so a process that stands still for
/// days has lost that much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Countdown {
    left: Duration,
    looked: Instant,
}

impl Countdown {
    pub(crate) fn of(patience: Duration) -> Self {
        Self { left: patience, looked: Instant::now() }
    }

    /// What is left now.
    pub(crate) fn left(&mut self) -> Duration {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.looked).min(LOOK);
        (self.looked, self.left) = (now, self.left.saturating_sub(passed));
        self.left
    }

    /// What comes of `future`; none when nothing did as long as something was left. It is asked once in any case.
    pub(crate) async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            let step = self.left().min(LOOK);
            if let Ok(done) = timeout(step, &mut future).await {
                return Some(done);
            }
            if self.left().is_zero() {
                return None;
            }
        }
    }
}

/// What comes of `future`; none when nothing did within `patience`, of which a time in which this process stood still is no part.
pub(crate) async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    Countdown::of(patience).wait(future).await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_time_is_taken_and_what_does_not_is_given_up() {
        let begun = Instant::now();
        assert_eq!(within(Duration::ZERO, ready(7)).await, Some(7));
        assert_eq!(within(Duration::from_secs(3), pending::<()>()).await, None);
        let passed = begun.elapsed();
        assert!(passed >= Duration::from_secs(3) && passed < Duration::from_secs(4), "{passed:?}");
        let late = async {
            tokio::time::advance(Duration::from_millis(900)).await;
            8
        };
        assert_eq!(within(Duration::from_secs(1), late).await, Some(8));
    }

    /// As a process that is frozen sees it: between two looks a day has gone by.
    #[tokio::test(start_paused = true)]
    async fn a_time_in_which_nothing_ran_does_not_count() {
        let mut countdown = Countdown::of(Duration::from_secs(1));
        for left_ms in [750, 500, 250, 0, 0] {
            tokio::time::advance(Duration::from_secs(86_400)).await;
            assert_eq!(countdown.left(), Duration::from_millis(left_ms));
        }
        let mut countdown = Countdown::of(Duration::from_secs(1));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((countdown.left(), countdown.left()), (Duration::from_millis(900), Duration::from_millis(900)));
    }
}
