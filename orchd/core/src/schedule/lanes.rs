//! Lanes: the ready tasks of a project that have one priority and need the same of the host, best first.
//!
//! What a host lacks it lacks for a whole lane at once, so that a choice never looks at tasks that cannot start.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::classes::{ClassId, Classes};
use super::explain::Wait;
use super::facts::Wants;

/// The order of ready tasks of one level; the smallest goes first. Ends with the id, so that ties are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Minutes of work behind it, its own included.
    pub(super) tail: Reverse<u64>,
    pub(super) created_at: Timestamp,
    pub(super) id: TaskId,
}

/// A task that goes first, with its priority and what that gained by waiting.
pub(super) type Head = (Reverse<u8>, Order);

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId(u64);

/// Where a ready task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: LaneId,
    pub(super) order: Order,
    /// When the last thing that it waited for was over.
    pub(super) since: Timestamp,
}

#[derive(Debug)]
struct Lane {
    class: ClassId,
    wants: Arc<Wants>,
    /// What the host has not; tasks of the lane start when it has.
    lacks: Vec<Wait>,
    ready: BTreeSet<Order>,
    /// Its entry among the heads.
    listed: Option<Head>,
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneId, Lane>,
    ids: BTreeMap<(ClassId, Arc<Wants>), LaneId>,
    made: u64,
    pub(super) classes: Classes,
    /// Heads of the lanes of each project.
    heads: BTreeMap<ProjectId, BTreeSet<(Head, LaneId)>>,
    ready: usize,
}

impl Lanes {
    /// The lane of such tasks, made if there is none; `lacks` says what the host has not for it.
    pub(super) fn of(&mut self, class: ClassId, wants: &Arc<Wants>, lacks: impl Fn(&Wants) -> Vec<Wait>) -> LaneId {
        let key = (class, Arc::clone(wants));
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        self.made += 1;
        let id = LaneId(self.made);
        let lacks = lacks(wants);
        self.lanes.insert(id, Lane { class, wants: Arc::clone(wants), lacks, ready: BTreeSet::new(), listed: None });
        self.ids.insert(key, id);
        id
    }

    /// Moves a task from one place to another; none is where it is not ready. A lane goes with its last task.
    pub(super) fn replace(&mut self, before: Option<Place>, after: Option<Place>) {
        let lane = |place: Option<Place>| place.and_then(|place| Some((place, self.lanes.get(&place.lane)?.class)));
        let (before, after) = (lane(before), lane(after));
        if let Some((place, class)) = before {
            self.lanes.get_mut(&place.lane).map(|lane| lane.ready.remove(&place.order));
            self.change_class(class, |classes| classes.leave(class, (place.since, place.order.id)));
            self.ready -= 1;
        }
        if let Some((place, class)) = after {
            self.lanes.get_mut(&place.lane).map(|lane| lane.ready.insert(place.order));
            self.change_class(class, |classes| classes.enter(class, (place.since, place.order.id)));
            self.ready += 1;
        }
        for (place, _) in before.into_iter().chain(after) {
            self.relist(place.lane);
            if let Some(lane) = self.lanes.get(&place.lane).filter(|lane| lane.ready.is_empty()) {
                self.ids.remove(&(lane.class, Arc::clone(&lane.wants)));
                self.lanes.remove(&place.lane);
            }
        }
    }

    /// The task of the project that goes first.
    pub(super) fn best(&self, project: ProjectId) -> Option<Head> {
        self.heads.get(&project)?.first().map(|(head, _)| *head)
    }

    /// Says anew what the host has not; answers the projects for which that may change something.
    pub(super) fn set_lacks(&mut self, lacks: impl Fn(&Wants) -> Vec<Wait>) -> BTreeSet<ProjectId> {
        let all: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in all {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.lacks = lacks(&lane.wants);
            }
            self.relist(id);
        }
        self.lanes.values().map(|lane| lane.class.project).collect()
    }

    /// Lets classes that have waited for long gain priority; answers the projects of those that did.
    pub(super) fn age(&mut self, now: Timestamp) -> BTreeSet<ProjectId> {
        let aged = self.classes.age(now);
        aged.iter().for_each(|class| self.relist_class(*class));
        aged.into_iter().map(|class| class.project).collect()
    }

    /// Changes a class; its lanes are listed anew only if its level is another then.
    pub(super) fn change_class(&mut self, class: ClassId, change: impl FnOnce(&mut Classes)) {
        let before = self.classes.level(class);
        change(&mut self.classes);
        if self.classes.level(class) != before {
            self.relist_class(class);
        }
    }

    fn relist_class(&mut self, class: ClassId) {
        let first = (class, Arc::default());
        let of_class = self.ids.range(first..).take_while(|((found, _), _)| *found == class).map(|(_, id)| *id);
        let ids: Vec<LaneId> = of_class.collect();
        ids.into_iter().for_each(|id| self.relist(id));
    }

    /// Number of ready tasks.
    pub(super) const fn ready(&self) -> usize {
        self.ready
    }

    /// The ready tasks of all lanes that can start, with their projects and levels.
    pub(super) fn startable(&self) -> impl Iterator<Item = (ProjectId, u8, &BTreeSet<Order>)> {
        let can_start = self.lanes.values().filter(|lane| lane.lacks.is_empty());
        can_start.map(|lane| (lane.class.project, self.classes.level(lane.class), &lane.ready))
    }

    fn relist(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let level = Reverse(self.classes.level(lane.class));
        let head = lane.ready.first().filter(|_| lane.lacks.is_empty()).map(|order| (level, *order));
        let before = std::mem::replace(&mut lane.listed, head);
        if before == head {
            return;
        }
        let project = lane.class.project;
        let heads = self.heads.entry(project).or_default();
        if let Some(before) = before {
            heads.remove(&(before, id));
        }
        heads.extend(head.map(|head| (head, id)));
        if heads.is_empty() {
            self.heads.remove(&project);
        }
    }
}
