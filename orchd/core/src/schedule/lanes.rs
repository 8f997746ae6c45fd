//! Lanes: the ready tasks of a project that need the same of the host, best first.
//!
//! What a host lacks it lacks for a whole lane at once, so that a choice never looks at tasks that cannot start.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::explain::Wait;
use super::facts::Wants;

/// The order of ready tasks of a project; the smallest goes first. Ends with the id, so that ties are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Priority, with what it gained by waiting.
    pub(super) level: Reverse<u8>,
    /// Minutes of work behind it, its own included.
    pub(super) tail: Reverse<u64>,
    pub(super) created_at: Timestamp,
    pub(super) id: TaskId,
}

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId(u64);

/// Where a ready task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: LaneId,
    pub(super) order: Order,
}

#[derive(Debug)]
struct Lane {
    project: ProjectId,
    wants: Arc<Wants>,
    /// What the host has not; tasks of the lane start when it has.
    lacks: Vec<Wait>,
    ready: BTreeSet<Order>,
}

impl Lane {
    /// The task that would be started, if any can.
    fn head(&self) -> Option<Order> {
        self.ready.first().copied().filter(|_| self.lacks.is_empty())
    }
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneId, Lane>,
    ids: BTreeMap<(ProjectId, Arc<Wants>), LaneId>,
    made: u64,
    /// Heads of the lanes of each project.
    heads: BTreeMap<ProjectId, BTreeSet<(Order, LaneId)>>,
    ready: usize,
}

impl Lanes {
    /// The lane of such tasks, made if there is none; `lacks` says what the host has not for it.
    pub(super) fn of(&mut self, project: ProjectId, wants: &Arc<Wants>, lacks: impl Fn(&Wants) -> Vec<Wait>) -> LaneId {
        let key = (project, Arc::clone(wants));
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        self.made += 1;
        let id = LaneId(self.made);
        let lane = Lane { project, wants: Arc::clone(wants), lacks: lacks(wants), ready: BTreeSet::new() };
        self.lanes.insert(id, lane);
        self.ids.insert(key, id);
        id
    }

    pub(super) fn insert(&mut self, place: Place) {
        self.ready += 1;
        self.change(place.lane, |lane| lane.ready.insert(place.order));
    }

    /// Removes the task, and the lane with its last one.
    pub(super) fn remove(&mut self, place: Place) {
        self.ready -= 1;
        self.change(place.lane, |lane| lane.ready.remove(&place.order));
        if let Some(lane) = self.lanes.get(&place.lane).filter(|lane| lane.ready.is_empty()) {
            self.ids.remove(&(lane.project, Arc::clone(&lane.wants)));
            self.lanes.remove(&place.lane);
        }
    }

    /// The task of the project that goes first.
    pub(super) fn best(&self, project: ProjectId) -> Option<Order> {
        self.heads.get(&project)?.first().map(|(order, _)| *order)
    }

    /// Says anew what the host has not; answers the projects for which that may change something.
    pub(super) fn set_lacks(&mut self, lacks: impl Fn(&Wants) -> Vec<Wait>) -> BTreeSet<ProjectId> {
        let all: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in all {
            self.change(id, |lane| lane.lacks = lacks(&lane.wants));
        }
        self.lanes.values().map(|lane| lane.project).collect()
    }

    /// Number of ready tasks.
    pub(super) const fn ready(&self) -> usize {
        self.ready
    }

    /// The ready tasks of all lanes that can start, in no order.
    pub(super) fn startable(&self) -> impl Iterator<Item = (ProjectId, &BTreeSet<Order>)> {
        self.lanes.values().filter(|lane| lane.lacks.is_empty()).map(|lane| (lane.project, &lane.ready))
    }

    fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let before = lane.head();
        change(lane);
        let (after, project) = (lane.head(), lane.project);
        if before == after {
            return;
        }
        let heads = self.heads.entry(project).or_default();
        if let Some(head) = before {
            heads.remove(&(head, id));
        }
        heads.extend(after.map(|head| (head, id)));
        if heads.is_empty() {
            self.heads.remove(&project);
        }
    }
}
