//! Durations of one thing: how many there were, and the newest of them.

use std::collections::VecDeque;

/// Most durations that are kept of one thing. Of so many the 90th percentile still has a dozen above it.
pub const KEPT_MAX: usize = 128;

/// Durations in milliseconds. Keeps the newest [`KEPT_MAX`]: how long things take now says more than how long they took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Oldest first. A duration of more than 49 days is kept as 49 days.
    kept: VecDeque<u32>,
    count: u64,
    total_ms: u64,
}

/// What durations say, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How many there were in all.
    pub count: u64,
    /// Sum of all.
    pub total_ms: u64,
    /// How many of the newest the rest is computed from.
    pub kept: u32,
    pub p50_ms: u64,
    pub p90_ms: u64,
    pub max_ms: u64,
}

impl Samples {
    /// Adds one.
    pub(super) fn add(&mut self, ms: u64) {
        self.count += 1;
        self.total_ms = self.total_ms.saturating_add(ms);
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(u32::try_from(ms).unwrap_or(u32::MAX));
    }

    /// Number of those that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those that are kept, shortest first.
    #[must_use]
    pub fn sorted(&self) -> Vec<u32> {
        let mut sorted: Vec<u32> = self.kept.iter().copied().collect();
        sorted.sort_unstable();
        sorted
    }

    /// What they say; none when there are none.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        let sorted = self.sorted();
        Some(Spread {
            count: self.count,
            total_ms: self.total_ms,
            kept: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
            p50_ms: quantile(&sorted, 500)?,
            p90_ms: quantile(&sorted, 900)?,
            max_ms: sorted.last().copied()?.into(),
        })
    }
}

/// The smallest of the sorted durations that is at least as long as `permille` of 1,000 of them; none of none.
#[must_use]
pub(super) fn quantile(sorted: &[u32], permille: usize) -> Option<u64> {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_durations_that_were() {
        let mut samples = Samples::default();
        assert_eq!(samples.spread(), None);
        samples.add(7);
        let one = Spread { count: 1, total_ms: 7, kept: 1, p50_ms: 7, p90_ms: 7, max_ms: 7 };
        assert_eq!(samples.spread(), Some(one));
        (1..=9).rev().for_each(|ms| samples.add(ms * 10));
        let spread = samples.spread().unwrap();
        assert_eq!((spread.p50_ms, spread.p90_ms, spread.max_ms), (40, 80, 90));
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let mut samples = Samples::default();
        (0..KEPT_MAX as u64 * 3).for_each(|ms| samples.add(ms));
        samples.add(u64::MAX);
        let spread = samples.spread().unwrap();
        assert_eq!((spread.count, spread.kept as usize, samples.len()), (KEPT_MAX as u64 * 3 + 1, KEPT_MAX, KEPT_MAX));
        assert_eq!((samples.sorted()[0], spread.max_ms), (KEPT_MAX as u32 * 2 + 1, u64::from(u32::MAX)));
    }
}
