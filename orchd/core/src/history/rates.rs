//! How many tasks began and ended, by hour and by day.

use std::collections::VecDeque;

use orch_proto::Timestamp;

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Hours and days that are kept, with the one that it is.
const HOURS: usize = 48;
const DAYS: usize = 31;

/// Tasks in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Attempts that were started.
    pub started: u32,
    /// Tasks that were done.
    pub done: u32,
    /// Tasks that failed and wait for a person.
    pub failed: u32,
}

/// Tasks by hour and by day (UTC), the newest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    hours: Buckets,
    days: Buckets,
}

/// Counts of the newest times of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Buckets {
    width_ms: i64,
    max: usize,
    /// Number of the last one since 1970.
    last: i64,
    counts: VecDeque<Count>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { hours: Buckets::new(HOUR_MS, HOURS), days: Buckets::new(DAY_MS, DAYS) }
    }
}

impl Rates {
    pub(super) fn count(&mut self, at: Timestamp, add: impl Fn(&mut Count)) {
        for buckets in [&mut self.hours, &mut self.days] {
            if let Some(count) = buckets.at(at) {
                add(count);
            }
        }
    }

    /// The newest `hours` hours, oldest first, the last being the one that `now` lies in.
    #[must_use]
    pub fn by_hour(&self, now: Timestamp, hours: usize) -> Vec<Count> {
        self.hours.until(now, hours.min(HOURS))
    }

    /// The newest `days` days, in the same order.
    #[must_use]
    pub fn by_day(&self, now: Timestamp, days: usize) -> Vec<Count> {
        self.days.until(now, days.min(DAYS))
    }
}

impl Buckets {
    const fn new(width_ms: i64, max: usize) -> Self {
        Self { width_ms, max, last: 0, counts: VecDeque::new() }
    }

    const fn number(&self, at: Timestamp) -> i64 {
        (at.unix_us() / 1_000).div_euclid(self.width_ms)
    }

    /// The one that `at` lies in; none when it is too long ago. The time of the log does not run backward, so that is
    /// for events that were told out of order.
    fn at(&mut self, at: Timestamp) -> Option<&mut Count> {
        let number = self.number(at);
        let ahead = if self.counts.is_empty() { 1 } else { number.saturating_sub(self.last) };
        if ahead > 0 {
            if usize::try_from(ahead).is_ok_and(|ahead| ahead >= self.max) {
                self.counts.clear();
            }
            let added = usize::try_from(ahead).unwrap_or(self.max).min(self.max);
            self.counts.extend(std::iter::repeat_n(Count::default(), added));
            let spare = self.counts.len().saturating_sub(self.max);
            self.counts.drain(..spare);
            self.last = number;
        }
        let back = usize::try_from(self.last - number).ok()?;
        let index = self.counts.len().checked_sub(1 + back)?;
        self.counts.get_mut(index)
    }

    fn until(&self, now: Timestamp, wanted: usize) -> Vec<Count> {
        let newest = self.number(now);
        let numbers = (0..i64::try_from(wanted).unwrap_or(0)).rev().map(|back| newest - back);
        let count = |number: i64| {
            let back = usize::try_from(self.last - number).ok()?;
            self.counts.get(self.counts.len().checked_sub(1 + back)?).copied()
        };
        numbers.map(|number| count(number).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_us(ms * 1_000)
    }

    fn done(rates: &Rates, now: i64) -> (Vec<u32>, u32) {
        let hours = rates.by_hour(at(now), 4).iter().map(|count| count.done).collect();
        (hours, rates.by_day(at(now), 30).iter().map(|count| count.done).sum())
    }

    #[test]
    fn hours_pass_whether_something_happens_or_not() {
        let start = 500_000 * HOUR_MS;
        let mut rates = Rates::default();
        assert_eq!(done(&rates, start), (vec![0, 0, 0, 0], 0));
        for ms in [0, HOUR_MS - 1, HOUR_MS, 3 * HOUR_MS] {
            rates.count(at(start + ms), |count| count.done += 1);
        }
        assert_eq!(done(&rates, start + 3 * HOUR_MS), (vec![2, 1, 0, 1], 4));
        assert_eq!(done(&rates, start + 5 * HOUR_MS), (vec![0, 1, 0, 0], 4));
        assert_eq!(done(&rates, start + 100 * DAY_MS), (vec![0, 0, 0, 0], 0));
        rates.count(at(start + 100 * DAY_MS), |count| count.done += 1);
        assert_eq!(done(&rates, start + 100 * DAY_MS), (vec![0, 0, 0, 1], 1));
        // Told too late: where it belongs is gone.
        rates.count(at(start), |count| count.done += 1);
        assert_eq!(done(&rates, start + 100 * DAY_MS), (vec![0, 0, 0, 1], 1));
        assert!(rates.hours.counts.len() <= HOURS && rates.days.counts.len() <= DAYS);
    }
}
