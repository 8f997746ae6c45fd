//! Freeze windows: times in which nothing of some projects begins, once or every week.

use std::collections::BTreeSet;

use orch_proto::Timestamp;

const US_PER_MINUTE: i64 = 60_000_000;
/// Minutes of a week, which begins on Monday at midnight (UTC).
pub const WEEK_MINUTES: u32 = 7 * 24 * 60;
/// The first Monday of Unix time, 1970-01-05, in minutes.
const FIRST_MONDAY: i64 = 4 * 24 * 60;

/// A time in which nothing of some projects begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Slugs; all projects when there is none.
    pub projects: BTreeSet<String>,
    pub window: Window,
    pub reason: String,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Once {
        from: Timestamp,
        until: Timestamp,
    },
    /// Every week, from one minute of it to another, each less than [`WEEK_MINUTES`]; over its end when `until` is not greater.
    Weekly {
        from: u32,
        until: u32,
    },
}

impl Freeze {
    pub(super) fn is_of(&self, slug: &str) -> bool {
        self.projects.is_empty() || self.projects.contains(slug)
    }
}

impl Window {
    /// Until when it lasts, if it does now.
    #[must_use]
    pub fn lasts_until(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { from, until } => (from <= now && now < until).then_some(until),
            Self::Weekly { from, until } => {
                let at = minute_of_week(now);
                let is_inside = if from < until { from <= at && at < until } else { at >= from || at < until };
                is_inside.then(|| next(now, until))
            }
        }
    }

    /// When it ended the last time.
    #[must_use]
    pub fn ended_at(self, now: Timestamp) -> Option<Timestamp> {
        const WEEK_US: i64 = WEEK_MINUTES as i64 * US_PER_MINUTE;
        match self {
            Self::Once { until, .. } => (until <= now).then_some(until),
            Self::Weekly { until, .. } => {
                Some(Timestamp::from_unix_us(next(now, until).unix_us().saturating_sub(WEEK_US)))
            }
        }
    }

    /// When it begins or ends the next time.
    #[must_use]
    pub fn next_change(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { from, until } => [from, until].into_iter().find(|at| *at > now),
            Self::Weekly { from, until } => Some(next(now, from).min(next(now, until))),
        }
    }
}

fn minutes(at: Timestamp) -> i64 {
    at.unix_us().div_euclid(US_PER_MINUTE)
}

fn minute_of_week(at: Timestamp) -> u32 {
    let minute = (minutes(at) - FIRST_MONDAY).rem_euclid(i64::from(WEEK_MINUTES));
    u32::try_from(minute).unwrap_or(0)
}

/// The next time that it is the minute of a week, later than now.
fn next(now: Timestamp, minute: u32) -> Timestamp {
    let ahead = i64::from(minute) - i64::from(minute_of_week(now));
    let ahead = if ahead <= 0 { ahead + i64::from(WEEK_MINUTES) } else { ahead };
    Timestamp::from_unix_us(minutes(now).saturating_add(ahead).saturating_mul(US_PER_MINUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_week_begins_on_monday() {
        // 2026-11-23 was a Monday.
        assert_eq!(minute_of_week(at("2026-11-23T00:00:00Z")), 0);
        assert_eq!(minute_of_week(at("2026-11-22T23:59:59Z")), WEEK_MINUTES - 1);
        assert_eq!(minute_of_week(at("1969-12-29T00:01:00Z")), 1);
    }

    #[test]
    fn a_weekly_window_can_go_over_the_end_of_the_week() {
        // Friday 16:00 to Monday 08:00.
        let weekend = Window::Weekly { from: (4 * 24 + 16) * 60, until: 8 * 60 };
        let monday = at("2026-11-30T08:00:00Z");
        for inside in ["2026-11-27T16:00:00Z", "2026-11-29T12:00:00.5Z", "2026-11-30T07:59:59Z"] {
            assert_eq!(
                (weekend.lasts_until(at(inside)), weekend.next_change(at(inside))),
                (Some(monday), Some(monday))
            );
        }
        let friday = at("2026-11-27T15:59:59Z");
        assert_eq!(weekend.lasts_until(friday), None);
        assert_eq!(weekend.ended_at(friday), Some(at("2026-11-23T08:00:00Z")));
        assert_eq!(weekend.ended_at(monday), Some(monday));
        assert_eq!(weekend.next_change(friday), Some(at("2026-11-27T16:00:00Z")));
        assert_eq!(weekend.lasts_until(monday), None);
        let night = Window::Weekly { from: 22 * 60, until: 23 * 60 };
        assert_eq!(night.lasts_until(at("2026-11-23T22:30:00Z")), Some(at("2026-11-23T23:00:00Z")));
        assert_eq!(night.lasts_until(at("2026-11-24T22:30:00Z")), None);
    }

    #[test]
    fn a_window_of_once_is_over_once() {
        let (from, until) = (at("2026-12-24T00:00:00Z"), at("2027-01-02T00:00:00Z"));
        let holidays = Window::Once { from, until };
        assert_eq!((holidays.lasts_until(from), holidays.lasts_until(until)), (Some(until), None));
        assert_eq!((holidays.ended_at(from), holidays.ended_at(until)), (None, Some(until)));
        assert_eq!((holidays.next_change(from), holidays.next_change(until)), (Some(until), None));
    }
}
