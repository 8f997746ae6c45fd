//! Times that tasks in the queue wait for: one that somebody named, and the end of the wait between two attempts.
//!
//! The clock can be put back. A time that somebody named is compared with it as it is; a wait between attempts is a length
//! ([`Backoff`]). Whoever asks has looked at the clock a moment before, some a little longer than others: that is no clock that was put
//! back ([`SLACK_MS`]).

use std::collections::BTreeSet;

use orch_proto::Timestamp;
use orch_proto::id::TaskId;

use super::book::Book;
use super::facts::{Phase, TaskFacts};
use crate::entity::Backoff;

/// How far a time may be before the last one without the clock having been put back, in milliseconds.
const SLACK_MS: u64 = 1_000;

/// Tasks in the queue to which a time matters.
#[derive(Debug, Default)]
pub(super) struct Times {
    all: BTreeSet<TaskId>,
    /// When each is looked at again.
    timers: BTreeSet<(Timestamp, TaskId)>,
    /// Those that are looked at in any case.
    new: BTreeSet<TaskId>,
    /// When that was done the last time.
    looked_at: Option<Timestamp>,
}

impl Times {
    /// When one of them is to be looked at again, the next time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }
}

impl TaskFacts {
    /// The wait between two attempts that it is in or was in the last time.
    pub(super) const fn backoff(&self) -> Option<Backoff> {
        match self.phase {
            Phase::Queued { not_before: Some(until) } => Some(Backoff { until, max_ms: self.backoff_ms_max }),
            _ => None,
        }
    }

    fn is_timed(&self, hold_ms: u64) -> bool {
        let waits = self.backoff().is_some() || self.not_before.is_some() || self.hold(hold_ms).is_some();
        waits && matches!(self.phase, Phase::Queued { .. })
    }

    /// Whether it waits for a time at `now`, and when that is looked at again.
    fn waits_at(&self, now: Timestamp, hold_ms: u64) -> (bool, Option<Timestamp>) {
        let lengths = || self.backoff().into_iter().chain(self.hold(hold_ms));
        let named = self.not_before.filter(|at| now < *at);
        let waits = named.is_some() || lengths().any(|length| length.lasts(now));
        let edges = lengths().flat_map(Backoff::edges).chain(named).filter(|at| now < *at);
        (waits, edges.min())
    }
}

impl Book {
    /// The time to go by when somebody asks at `now`: that, or the last one where it is but a moment before that. Everything that
    /// depends on the time is looked at anew when it goes back, so it must not for two threads that were not in turn.
    pub(super) fn tell_time(&mut self, now: Timestamp) -> Timestamp {
        let now = self.time_at(now);
        self.clock = Some(now);
        now
    }

    /// The same, and nothing is noted of it.
    pub(super) fn time_at(&self, now: Timestamp) -> Timestamp {
        self.clock.filter(|last| now < *last && last.ms_since(now) <= SLACK_MS).unwrap_or(now)
    }

    /// Notes that a task is to be looked at before the next choice, if a time matters to it at all.
    pub(super) fn note_times(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get_mut(&id) else { return };
        if let Some(at) = node.timer.take() {
            self.times.timers.remove(&(at, id));
        }
        node.is_early = node.facts.is_timed(self.limits.hold_ms);
        if node.is_early {
            self.times.all.insert(id);
            self.times.new.insert(id);
        } else {
            self.times.all.remove(&id);
            self.times.new.remove(&id);
        }
    }

    /// Looks at tasks whose time has come; at all to which one matters when the clock was put back.
    pub(super) fn look_at_times(&mut self, now: Timestamp) {
        let mut due = std::mem::take(&mut self.times.new);
        if self.times.looked_at.replace(now).is_some_and(|before| now < before) {
            due.extend(&self.times.all);
        }
        while let Some((at, id)) = self.times.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.times.timers.remove(&(at, id));
            due.insert(id);
        }
        for id in due {
            let Some(node) = self.tasks.get_mut(&id) else { continue };
            let (is_early, next) = node.facts.waits_at(now, self.limits.hold_ms);
            if let Some(before) = std::mem::replace(&mut node.timer, next) {
                self.times.timers.remove(&(before, id));
            }
            self.times.timers.extend(next.map(|at| (at, id)));
            node.is_early = is_early;
            self.refresh(id);
        }
    }
}
