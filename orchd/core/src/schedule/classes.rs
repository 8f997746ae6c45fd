//! Classes: the ready tasks of a project that have one priority, and what that gains when none of them is started.
//!
//! It is the class that ages and not the task: a long queue that gets its share is not starved, however old its tasks are, and
//! must not go before what others ask for only now. A class of which nothing was started for [`AGING_MS`] although something
//! was ready counts as one priority higher, for [`AGING_MS`] more as two, until one of its tasks is started.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use crate::decide::PRIORITY_MAX;

/// Time without a start after which a class counts as one priority higher, in milliseconds.
pub const AGING_MS: u64 = 60 * 60_000;

/// Which class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassId {
    pub(super) project: ProjectId,
    pub(super) priority: u8,
}

#[derive(Debug, Default)]
struct Class {
    /// Its ready tasks, by when they became ready.
    ready: BTreeSet<(Timestamp, TaskId)>,
    /// When a task of it was started the last time.
    started: Option<Timestamp>,
    /// Its chosen tasks that are not under way yet.
    chosen: u32,
    /// Priorities that it has gained.
    gained: u8,
    /// When it gains the next.
    gains_at: Option<Timestamp>,
}

/// All classes that have anything.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: BTreeMap<ClassId, Class>,
    gains: BTreeSet<(Timestamp, ClassId)>,
    /// The time up to which they have aged.
    now: Option<Timestamp>,
}

impl Classes {
    /// The priority of the class with what it has gained.
    pub(super) fn level(&self, id: ClassId) -> u8 {
        let gained = self.classes.get(&id).map_or(0, |class| class.gained);
        id.priority.saturating_add(gained).min(PRIORITY_MAX)
    }

    /// A task of it is ready, since then.
    pub(super) fn enter(&mut self, id: ClassId, ready: (Timestamp, TaskId)) {
        self.change(id, |class| class.ready.insert(ready));
    }

    /// A task of it is not ready any more.
    pub(super) fn leave(&mut self, id: ClassId, ready: (Timestamp, TaskId)) {
        self.change(id, |class| class.ready.remove(&ready));
    }

    /// A task of it was started.
    pub(super) fn started(&mut self, id: ClassId, at: Timestamp) {
        self.change(id, |class| class.started = class.started.max(Some(at)));
    }

    /// A task of it was chosen, or was chosen and is under way or given back now.
    pub(super) fn chosen(&mut self, id: ClassId, is_more: bool) {
        self.change(id, |class| {
            class.chosen = if is_more { class.chosen + 1 } else { class.chosen.saturating_sub(1) };
        });
    }

    /// Lets the time pass; answers the classes that gained something.
    pub(super) fn age(&mut self, now: Timestamp) -> Vec<ClassId> {
        let mut aged = Vec::new();
        if self.now.replace(now).is_some_and(|before| now < before) {
            // What was gained by a clock that went ahead was not gained.
            aged.extend(self.classes.keys());
            aged.iter().for_each(|id| self.change(*id, |_| {}));
        }
        while let Some((_, id)) = self.gains.first().copied().filter(|(at, _)| *at <= now) {
            self.change(id, |_| {});
            aged.push(id);
        }
        aged
    }

    fn change<T>(&mut self, id: ClassId, change: impl FnOnce(&mut Class) -> T) {
        let mut class = self.classes.remove(&id).unwrap_or_default();
        change(&mut class);
        // Since when nothing of it was started although something was ready.
        let since = class
            .ready
            .first()
            .filter(|_| class.chosen == 0)
            .map(|(at, _)| class.started.map_or(*at, |started| started.max(*at)));
        let waited_ms = since.zip(self.now).map_or(0, |(since, now)| now.ms_since(since));
        let gained_max = PRIORITY_MAX.saturating_sub(id.priority);
        class.gained = u8::try_from(waited_ms / AGING_MS).unwrap_or(u8::MAX).min(gained_max);
        let next = since.filter(|_| class.gained < gained_max);
        let gains_at = next.map(|since| since.plus_ms(AGING_MS * (u64::from(class.gained) + 1)));
        if let Some(before) = std::mem::replace(&mut class.gains_at, gains_at) {
            self.gains.remove(&(before, id));
        }
        self.gains.extend(gains_at.map(|at| (at, id)));
        if !class.ready.is_empty() || class.started.is_some() || class.chosen > 0 {
            self.classes.insert(id, class);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::sample_id;

    use super::*;

    #[test]
    fn a_class_gains_priority_until_one_of_its_tasks_is_started() {
        let id = ClassId { project: sample_id(1), priority: 7 };
        let at = |ms| Timestamp::from_unix_us(1_795_165_557_000_000).plus_ms(ms);
        let mut classes = Classes::default();
        classes.enter(id, (at(0), sample_id(1)));
        classes.enter(id, (at(5), sample_id(2)));
        assert!(classes.age(at(AGING_MS - 1)).is_empty());
        assert_eq!((classes.age(at(AGING_MS)), classes.level(id)), (vec![id], 8));
        classes.age(at(9 * AGING_MS));
        assert_eq!(classes.level(id), PRIORITY_MAX);
        classes.chosen(id, true);
        assert_eq!(classes.level(id), 7, "one of it is about to start");
        classes.chosen(id, false);
        assert_eq!(classes.level(id), PRIORITY_MAX);
        classes.started(id, at(9 * AGING_MS));
        assert_eq!(classes.level(id), 7);
        assert_eq!((classes.age(at(10 * AGING_MS)), classes.level(id)), (vec![id], 8));
        // A clock that jumped ahead and was put back leaves nobody ahead.
        classes.age(at(19 * AGING_MS));
        assert_eq!(classes.level(id), PRIORITY_MAX);
        assert_eq!((classes.age(at(9 * AGING_MS + 1)), classes.level(id)), (vec![id], 7));
        classes.leave(id, (at(0), sample_id(1)));
        classes.leave(id, (at(5), sample_id(2)));
        assert_eq!(classes.level(id), 7, "nothing waits");
        classes.enter(id, (at(12 * AGING_MS), sample_id(3)));
        classes.age(at(12 * AGING_MS));
        assert_eq!(classes.level(id), 7, "it waits only since then");
    }
}
