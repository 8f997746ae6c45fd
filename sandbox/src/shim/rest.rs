//! Whether a run that is to stand still does: what was asked, when to look, and when it may be said.
//!
//! Pure: knows no process and no clock. **Invariant:** that a run stands still is said only when all its processes were seen to,
//! after it was last asked. **Invariant:** that it goes on is said only after that.

use std::time::{Duration, Instant};

/// The first wait before another look; each is twice as long as the one before, up to the last.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_LAST: Duration = Duration::from_millis(100);

/// How a run is made to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The kernel stops its group, and says when all of it stands still.
    Group,
    /// Whoever runs its steps stops its processes, and says whether that was all of them.
    Asked,
}

/// Where a run is on the way to rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    state: State,
    /// How many answers of whoever runs the steps are to come. Only the last is about what is so now.
    answers_due: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    GoesOn,
    Coming {
        way: Way,
        wait: Duration,
        /// None while an answer is to come.
        look_at: Option<Instant>,
    },
    Still,
}

impl Rest {
    /// It was asked to stand still.
    pub(super) fn begin(&mut self, way: Way, now: Instant) {
        let look_at = self.look_of(way, now);
        self.state = State::Coming { way, wait: LOOK_FIRST, look_at };
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        match self.state {
            State::Coming { look_at, .. } => look_at,
            State::GoesOn | State::Still => None,
        }
    }

    /// How to look now, when it is time to: at the group, or by asking once more.
    pub(super) fn due(&mut self, now: Instant) -> Option<Way> {
        match self.state {
            State::Coming { way, wait, look_at: Some(at) } if at <= now => {
                let look_at = self.look_of(way, now);
                self.state = State::Coming { way, wait, look_at };
                Some(way)
            }
            State::Coming { .. } | State::GoesOn | State::Still => None,
        }
    }

    /// An answer came: whether that was `all`. Whether the run now stands still and did not before.
    pub(super) fn answered(&mut self, all: bool, now: Instant) -> bool {
        self.answers_due = self.answers_due.saturating_sub(1);
        self.answers_due == 0 && self.seen(Way::Asked, all, now)
    }

    /// Its processes were looked at in this way, and `all` of them stand still or not. Whether it now does and did not before.
    pub(super) fn seen(&mut self, by: Way, all: bool, now: Instant) -> bool {
        match self.state {
            State::Coming { way, .. } if way == by && all => {
                self.state = State::Still;
                true
            }
            State::Coming { way, wait, .. } if way == by => {
                self.state = State::Coming { way, wait: (wait * 2).min(LOOK_LAST), look_at: now.checked_add(wait) };
                false
            }
            State::Coming { .. } | State::GoesOn | State::Still => false,
        }
    }

    /// It goes on, or is killed. Whether it was said to stand still.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(&mut self.state) == State::Still
    }

    /// Whether all its processes were seen to stand still.
    pub(super) fn is_still(&self) -> bool {
        self.state == State::Still
    }

    fn look_of(&mut self, way: Way, now: Instant) -> Option<Instant> {
        match way {
            Way::Group => Some(now),
            Way::Asked => {
                self.answers_due += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_looked_at_until_it_stands_still() {
        let (mut rest, start) = (Rest::default(), Instant::now());
        assert_eq!((rest.next_look(), rest.due(start)), (None, None));
        rest.begin(Way::Group, start);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert_eq!(rest.due(now), Some(Way::Group));
            assert!(!rest.seen(Way::Group, false, now) && !rest.is_still());
            let next = rest.next_look().unwrap();
            assert_eq!(rest.due(now), None, "not before its time");
            waits.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 100, 100, 100]);
        assert_eq!(rest.due(now), Some(Way::Group));
        assert!(rest.seen(Way::Group, true, now) && rest.is_still());
        assert_eq!(rest.next_look(), None);
        assert!(rest.end() && !rest.is_still() && !rest.end());
    }

    #[test]
    fn only_the_answer_to_the_last_question_counts() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        rest.begin(Way::Asked, now);
        assert_eq!((rest.next_look(), rest.due(now)), (None, None), "it waits for the answer");
        assert!(!rest.end(), "it went on before");
        rest.begin(Way::Asked, now);
        assert!(!rest.answered(true, now) && !rest.is_still(), "of the pause before");
        assert!(!rest.answered(false, now));
        let again = rest.next_look().unwrap();
        assert_eq!(rest.due(again), Some(Way::Asked));
        assert_eq!(rest.next_look(), None);
        assert!(rest.answered(true, again) && rest.is_still());
        assert!(!rest.answered(true, again), "it is said once");
    }

    #[test]
    fn what_comes_late_says_nothing() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        rest.begin(Way::Asked, now);
        assert!(!rest.end());
        assert!(!rest.answered(true, now) && !rest.is_still(), "it goes on");
        rest.begin(Way::Group, now);
        assert!(!rest.answered(true, now) && !rest.seen(Way::Asked, true, now), "nobody was asked");
        assert!(rest.seen(Way::Group, true, now));
    }
}
