//! How fast a run may speak: so many at once, then one after the other. Who is faster waits.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A pace that many follow together.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time for each.
    each: Duration,
    /// How many go at once.
    burst: u32,
    /// When all that went will have had their time.
    until: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) const fn new(each: Duration, burst: u32) -> Self {
        Self { each, burst, until: Mutex::new(None) }
    }

    /// Takes a turn; answers when it comes.
    pub(super) fn turn(&self) -> Instant {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = until.map_or(now, |until| until.max(now));
        *until = Some(begins + self.each);
        begins.checked_sub(self.each.saturating_mul(self.burst.saturating_sub(1))).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_go_at_once_and_the_rest_one_by_one() {
        let pace = Pace::new(Duration::from_secs(10), 3);
        let begun = Instant::now();
        let soon = begun + Duration::from_secs(5);
        assert!((0..3).all(|_| pace.turn() < soon));
        for after in 1..4_u64 {
            let turn = pace.turn().duration_since(begun).as_secs();
            assert!((10 * after - 1..=10 * after + 1).contains(&turn), "{turn} is not about {}", 10 * after);
        }
    }
}
