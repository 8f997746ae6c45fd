//! The clocks of a run: they are monotonic and stand still while it is paused.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// Deadlines of a run.
#[derive(Debug)]
pub(super) struct Timers {
    wall: Option<Instant>,
    step: Option<Instant>,
    idle: Option<Instant>,
    /// How long the running step may be silent.
    idle_for: Option<Duration>,
    guard: Option<Instant>,
    paused_at: Option<Instant>,
    /// When something was heard of the run the last time, later by all pauses since.
    heard_at: Instant,
}

/// A deadline that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// The run's own.
    Wall,
    /// That of the step that runs.
    Step,
    /// That of the next output of the step that runs.
    Idle,
    /// That of something that init should have done long ago.
    Guard,
}

impl Timers {
    /// Starts the wall clock at `now`. A step may be silent for `idle_for`.
    pub(super) fn new(now: Instant, wall: Duration, idle_for: Option<Duration>) -> Self {
        Self {
            wall: now.checked_add(wall),
            step: None,
            idle: None,
            idle_for,
            guard: None,
            paused_at: None,
            heard_at: now,
        }
    }

    /// Starts the clocks of a step.
    pub(super) fn arm_step(&mut self, now: Instant, timeout: Duration) {
        self.heard_at = now;
        self.step = now.checked_add(timeout);
        self.idle = self.idle_for.and_then(|idle| now.checked_add(idle));
        self.guard = None;
    }

    /// Starts the clock of something that init does, and ends those of the step.
    pub(super) fn arm_guard(&mut self, now: Instant, timeout: Duration) {
        self.guard = now.checked_add(timeout);
        self.step = None;
        self.idle = None;
    }

    /// Takes note of output of the step that runs. What arrives in a pause was written before it.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = self.heard_at.max(self.paused_at.unwrap_or(now));
        if let (Some(idle), Some(deadline)) = (self.idle_for, &mut self.idle) {
            let since = self.paused_at.unwrap_or(now);
            *deadline = since.checked_add(idle).map_or(*deadline, |heard| heard.max(*deadline));
        }
    }

    /// How long nothing was heard of the run, without pauses.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        self.paused_at.unwrap_or(now).saturating_duration_since(self.heard_at)
    }

    pub(super) fn paused(&self) -> bool {
        self.paused_at.is_some()
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.paused_at.get_or_insert(now);
    }

    /// Lets the clocks go on; the time since the pause does not count.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(since) = self.paused_at.take() {
            let pause = now.saturating_duration_since(since);
            self.heard_at = self.heard_at.checked_add(pause).unwrap_or(now);
            for deadline in [&mut self.wall, &mut self.step, &mut self.idle, &mut self.guard] {
                *deadline = deadline.and_then(|deadline| deadline.checked_add(pause));
            }
        }
    }

    /// Takes the first deadline that has passed; each passes once.
    pub(super) fn take_passed(&mut self, now: Instant) -> Option<Passed> {
        let due = |deadline: &mut Option<Instant>| deadline.take_if(|deadline| *deadline <= now).is_some();
        if self.paused_at.is_some() {
            return None;
        }
        if due(&mut self.guard) {
            return Some(Passed::Guard);
        }
        if due(&mut self.step) {
            return Some(Passed::Step);
        }
        if due(&mut self.idle) {
            return Some(Passed::Idle);
        }
        due(&mut self.wall).then_some(Passed::Wall)
    }

    /// How long to wait at most, when `other` is the nearest deadline that is not kept here.
    pub(super) fn timeout(&self, now: Instant, other: Option<Instant>) -> PollTimeout {
        let counting = [self.wall, self.step, self.idle, self.guard];
        let counting = if self.paused_at.is_some() { [None; 4] } else { counting };
        let next = counting.into_iter().chain([other]).flatten().min();
        let Some(next) = next else { return PollTimeout::NONE };
        // Rounded up, so that the deadline has passed when the wait is over.
        let wait = next.saturating_duration_since(now) + Duration::from_micros(999);
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_deadline_passes_once() {
        let start = Instant::now();
        let mut timers = Timers::new(start, 5 * SECOND, None);
        timers.arm_step(start, SECOND);
        assert_eq!(timers.take_passed(start), None);
        assert_eq!(timers.take_passed(start + SECOND), Some(Passed::Step));
        assert_eq!(timers.take_passed(start + 2 * SECOND), None);
        assert_eq!(timers.take_passed(start + 5 * SECOND), Some(Passed::Wall));
        assert_eq!(timers.take_passed(start + 9 * SECOND), None);
    }

    #[test]
    fn a_pause_does_not_count() {
        let start = Instant::now();
        let mut timers = Timers::new(start, 5 * SECOND, None);
        timers.arm_step(start, 2 * SECOND);
        timers.pause(start + SECOND);
        assert_eq!(timers.take_passed(start + 60 * SECOND), None);
        assert_eq!(timers.timeout(start + 60 * SECOND, None), PollTimeout::NONE);
        timers.resume(start + 61 * SECOND);
        assert_eq!(timers.take_passed(start + 61 * SECOND), None);
        assert_eq!(timers.take_passed(start + 62 * SECOND), Some(Passed::Step));
    }

    #[test]
    fn output_puts_the_end_of_silence_off() {
        let start = Instant::now();
        let mut timers = Timers::new(start, 60 * SECOND, Some(2 * SECOND));
        timers.heard(start);
        assert_eq!(timers.take_passed(start + 9 * SECOND), None, "no step runs yet");
        timers.arm_step(start + 10 * SECOND, 40 * SECOND);
        timers.heard(start + 11 * SECOND);
        assert_eq!(timers.take_passed(start + 12 * SECOND), None);
        assert_eq!(timers.take_passed(start + 13 * SECOND), Some(Passed::Idle));
        timers.arm_step(start + 20 * SECOND, 40 * SECOND);
        timers.arm_guard(start + 21 * SECOND, 20 * SECOND);
        timers.heard(start + 21 * SECOND);
        assert_eq!(timers.take_passed(start + 30 * SECOND), None, "what is being killed may be silent");
    }

    #[test]
    fn silence_in_a_pause_does_not_count() {
        let start = Instant::now();
        let mut timers = Timers::new(start, 60 * SECOND, Some(2 * SECOND));
        timers.arm_step(start, 60 * SECOND);
        timers.pause(start + SECOND);
        assert_eq!(timers.take_passed(start + 50 * SECOND), None);
        assert_eq!(timers.silent_for(start + 50 * SECOND), SECOND);
        // Read late, but written before the pause.
        timers.heard(start + 50 * SECOND);
        timers.resume(start + 50 * SECOND);
        assert_eq!(timers.silent_for(start + 51 * SECOND), SECOND);
        assert_eq!(timers.take_passed(start + 51 * SECOND), None);
        assert_eq!(timers.take_passed(start + 52 * SECOND), Some(Passed::Idle));
    }
}
