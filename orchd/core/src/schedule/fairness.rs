//! Fairness between projects: who used less of the host lately goes first.
//!
//! Use is the time of runs, halved with every half-life that has passed since they began. It is a function of the runs and
//! of the time alone, so that a daemon that was started anew counts the same. A run counts for [`CHARGE_MS`] from its
//! start, so that many starts at once are spread, and for more when it lasts longer.

use orch_proto::Timestamp;

use super::classes::AGING_MS;
use crate::decide::PRIORITY_MAX;

/// What a run counts for at least while it is under way, in milliseconds.
pub const CHARGE_MS: u64 = 60_000;
/// Time after which use counts half, in milliseconds.
pub const HALF_LIFE_MS: u64 = 10 * 60_000;
/// Half-lives after which use is forgotten.
pub const HALF_LIVES: usize = 16;

/// What a project used, by the half-life in which its runs began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// The half-life of the first entry.
    newest: i64,
    /// Milliseconds, newest first.
    used: [u64; HALF_LIVES],
}

/// The half-life that a time lies in.
pub(super) fn half_life_of(at: Timestamp) -> i64 {
    at.unix_us().div_euclid(i64::try_from(HALF_LIFE_MS * 1_000).unwrap_or(i64::MAX))
}

/// The oldest start of a run that still counts at `now`: as use, for the bound of the day, or because its class has not gained all
/// that it can since.
#[must_use]
pub fn counts_since(now: Timestamp) -> Timestamp {
    let length_us = i64::try_from(HALF_LIFE_MS * 1_000).unwrap_or(i64::MAX);
    let gaining = (AGING_MS * u64::from(PRIORITY_MAX)).div_ceil(HALF_LIFE_MS);
    let lives = HALF_LIVES.max(usize::try_from(gaining).unwrap_or(usize::MAX));
    let oldest = half_life_of(now).saturating_sub(i64::try_from(lives).unwrap_or(i64::MAX));
    Timestamp::from_unix_us(oldest.saturating_mul(length_us)).min(start_of_day(day_of(now)))
}

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// The day (UTC) that a time lies in, from 1970 on.
pub(super) fn day_of(at: Timestamp) -> i64 {
    at.unix_us().div_euclid(DAY_US)
}

/// When a day begins.
pub(super) fn start_of_day(day: i64) -> Timestamp {
    Timestamp::from_unix_us(day.saturating_mul(DAY_US))
}

impl Spent {
    /// Changes what a run that began at `began` counts for.
    pub(super) fn change(&mut self, began: Timestamp, from_ms: u64, to_ms: u64) {
        let half_life = half_life_of(began);
        self.turn_to(half_life);
        let age = usize::try_from(self.newest - half_life).unwrap_or(usize::MAX);
        if let Some(used) = self.used.get_mut(age) {
            *used = used.saturating_sub(from_ms).saturating_add(to_ms);
        }
    }

    /// What counts at `now`, in milliseconds.
    pub(super) fn at(&self, now: Timestamp) -> u64 {
        let passed = usize::try_from(half_life_of(now).saturating_sub(self.newest).max(0)).unwrap_or(usize::MAX);
        let halved = self.used.iter().enumerate().map(|(age, used)| {
            let halvings = age.saturating_add(passed);
            if halvings >= HALF_LIVES { 0 } else { used >> halvings }
        });
        halved.fold(0, u64::saturating_add)
    }

    fn turn_to(&mut self, half_life: i64) {
        let passed = usize::try_from(half_life.saturating_sub(self.newest).max(0)).unwrap_or(usize::MAX);
        if passed > 0 {
            let kept = HALF_LIVES.saturating_sub(passed);
            self.used.copy_within(..kept, HALF_LIVES - kept);
            self.used[..HALF_LIVES - kept].fill(0);
            self.newest = half_life;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(half_lives: u64) -> Timestamp {
        Timestamp::from_unix_us(1_795_165_800_000_000).plus_ms(half_lives * HALF_LIFE_MS)
    }

    #[test]
    fn use_halves_and_is_forgotten_in_the_end() {
        let mut spent = Spent::default();
        spent.change(at(0), 0, 1 << 20);
        assert_eq!(spent.at(at(0)), 1 << 20);
        assert_eq!(spent.at(at(3)), 1 << 17);
        spent.change(at(1), 0, 1 << 20);
        assert_eq!(spent.at(at(1)), (1 << 20) + (1 << 19));
        assert_eq!(spent.at(at(15)), (1 << 5) + (1 << 6));
        assert_eq!(spent.at(at(17)), 0);
    }

    /// What is known late counts as if it had been known at once.
    #[test]
    fn the_order_in_which_runs_are_heard_of_does_not_matter() {
        let changes = [(at(0), 0, 5_000_000), (at(9), 0, 70_000), (at(2), 0, 900_000), (at(9), 70_000, 10_000_000)];
        let mut forward = Spent::default();
        changes.iter().for_each(|(began, from, to)| forward.change(*began, *from, *to));
        let mut other = Spent::default();
        [2, 1, 3, 0].map(|at: usize| changes[at]).iter().for_each(|(began, from, to)| other.change(*began, *from, *to));
        assert_eq!(forward, other);
        assert!(counts_since(at(9)) <= at(0) && counts_since(at(60)) <= at(6), "as many hours as there are priorities");
        assert!(counts_since(at(9)) <= at(0) && counts_since(at(9)) <= start_of_day(day_of(at(9))));
        assert_eq!(start_of_day(day_of(at(0)) + 1).ms_since(start_of_day(day_of(at(0)))), 86_400_000);
    }
}
