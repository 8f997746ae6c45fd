//! Lanes: the ready tasks of a project that have one priority and need the same of the host, best first.
//!
//! What a host lacks it lacks for a whole lane at once, so that a choice never looks at tasks that cannot start. A lane
//! whose tasks ask for more than is free is parked until more is; what it cannot have is not given to lower levels, whichever
//! of it it was that it waits for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::classes::{ClassId, Classes};
use super::explain::Wait;
use super::facts::Wants;
use super::ledger::{Amounts, Resource};

/// The order of ready tasks of one level; the smallest goes first. Ends with the id, so that ties are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Where a person put it.
    pub(super) rank: i64,
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
    parked: Option<Parked>,
    /// Its entry among the heads.
    listed: Option<Head>,
}

/// A lane that cannot start.
#[derive(Debug)]
struct Parked {
    /// What was in its way when it was looked at.
    on: Resource,
    /// All that it asks for of what there is not without bound: it may lack any of it by now.
    amounts: Amounts,
    /// Its level as it is listed.
    level: u8,
}

/// Lanes that wait and ask for a resource.
#[derive(Debug, Default)]
struct Waiting {
    /// Those in whose way it was, by how much of it they ask for.
    by_need: BTreeSet<(u64, LaneId)>,
    /// All of them, with how much of it they ask for.
    by_level: BTreeMap<(Reverse<u8>, LaneId), u64>,
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
    waiting: BTreeMap<Resource, Waiting>,
    /// How many lanes of each project wait so.
    parked: BTreeMap<ProjectId, usize>,
    /// Resources for which something waits no more, so that what was kept for it may go to others.
    unreserved: BTreeSet<Resource>,
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
        let lane = Lane {
            class,
            wants: Arc::clone(wants),
            lacks: lacks(wants),
            ready: BTreeSet::new(),
            parked: None,
            listed: None,
        };
        self.lanes.insert(id, lane);
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
                self.unpark(place.lane);
                self.lanes.remove(&place.lane);
            }
        }
    }

    /// The task of the project that goes first.
    pub(super) fn best(&self, project: ProjectId) -> Option<Head> {
        self.heads.get(&project)?.first().map(|(head, _)| *head)
    }

    /// Says anew what the host has not; answers the projects for which that may change something.
    pub(super) fn set_lacks(&mut self, lacks: impl Fn(ProjectId, &Wants) -> Vec<Wait>) -> BTreeSet<ProjectId> {
        let all: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in all {
            // What it waits for may be there now.
            self.unpark(id);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.lacks = lacks(lane.class.project, &lane.wants);
            }
            self.relist(id);
        }
        self.unreserved.clear();
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

    /// What the tasks of a lane need, their project, and its level.
    pub(super) fn wants(&self, id: LaneId) -> Option<(ProjectId, &Wants, u8)> {
        self.lanes.get(&id).map(|lane| (lane.class.project, &*lane.wants, self.classes.level(lane.class)))
    }

    /// Has a lane wait that asks for these amounts, until there is enough of the resource that is in its way.
    pub(super) fn park(&mut self, id: LaneId, on: Resource, amounts: Amounts) {
        self.unpark(id);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let level = self.classes.level(lane.class);
        for (resource, amount) in &amounts {
            let waiting = self.waiting.entry(resource.clone()).or_default();
            waiting.by_level.insert((Reverse(level), id), *amount);
            if *resource == on {
                waiting.by_need.insert((*amount, id));
            }
        }
        lane.parked = Some(Parked { on, amounts, level });
        *self.parked.entry(lane.class.project).or_insert(0) += 1;
        self.relist(id);
    }

    /// Lets lanes look again in whose way a resource was and is no more; `free` is how much of it there is, none without bound.
    /// Answers their projects.
    pub(super) fn wake(
        &mut self,
        resource: &Resource,
        free: Option<u64>,
        has_turn: impl Fn(ProjectId) -> bool,
    ) -> BTreeSet<ProjectId> {
        self.unreserved.remove(resource);
        let Some(waiting) = self.waiting.get(resource) else { return BTreeSet::new() };
        let fits = |(amount, _): &&(u64, LaneId)| free.is_none_or(|free| *amount <= free);
        let fitting = waiting.by_need.iter().take_while(fits).map(|(_, id)| *id);
        let level = |id: &LaneId| self.lanes.get(id).map_or(0, |lane| self.classes.level(lane.class));
        let woken: Vec<LaneId> = fitting.filter(|id| !self.is_reserved(resource, level(id), free, &has_turn)).collect();
        for id in &woken {
            self.unpark(*id);
            self.relist(*id);
        }
        // They look for themselves now.
        self.unreserved.remove(resource);
        woken.iter().filter_map(|id| self.lanes.get(id)).map(|lane| lane.class.project).collect()
    }

    /// Resources that somebody may have waited for and does no more.
    pub(super) fn take_unreserved(&mut self) -> BTreeSet<Resource> {
        std::mem::take(&mut self.unreserved)
    }

    /// Whether something that goes before everything of this level waits and asks for more of a resource than is free; none is
    /// without bound. `has_turn` says whose tasks could start if it were there.
    pub(super) fn is_reserved(
        &self,
        resource: &Resource,
        level: u8,
        free: Option<u64>,
        has_turn: impl Fn(ProjectId) -> bool,
    ) -> bool {
        let (Some(waiting), Some(free)) = (self.waiting.get(resource), free) else { return false };
        let before = waiting.by_level.iter().take_while(|((waits, _), _)| waits.0 > level);
        let mut lacking =
            before.filter(|(_, amount)| **amount > free).filter_map(|((_, lane), _)| self.lanes.get(lane));
        lacking.any(|lane| has_turn(lane.class.project))
    }

    /// Whether tasks wait that ask for the resource.
    pub(super) fn has_waiting(&self, resource: &Resource) -> bool {
        self.waiting.contains_key(resource)
    }

    /// Whether tasks of the project wait for what all runs share.
    pub(super) fn has_parked(&self, project: ProjectId) -> bool {
        self.parked.contains_key(&project)
    }

    /// What goes before everything of this level, could start if the host had more, and asks for anything: the best of each
    /// lane with what it needs.
    pub(super) fn above(&self, level: u8) -> impl Iterator<Item = (ProjectId, Head, &Wants)> {
        let can_start = self.lanes.values().filter(|lane| lane.lacks.is_empty());
        can_start.filter_map(move |lane| {
            let own = self.classes.level(lane.class);
            let first = lane.ready.first().filter(|_| own > level)?;
            Some((lane.class.project, (Reverse(own), *first), &*lane.wants))
        })
    }

    /// A project's tasks have a turn, or have none any more: what is kept for them may go to others.
    pub(super) fn unreserve(&mut self, project: ProjectId) {
        let first = (ClassId { project, priority: 0 }, Arc::default());
        let of_project = self.ids.range(first..).take_while(|((class, _), _)| class.project == project);
        let parked = of_project.filter_map(|(_, id)| self.lanes.get(id)?.parked.as_ref());
        let resources: Vec<Resource> =
            parked.flat_map(|parked| parked.amounts.iter().map(|(resource, _)| resource.clone())).collect();
        self.unreserved.extend(resources);
    }

    fn unpark(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(Parked { on, amounts, level }) = lane.parked.take() else { return };
        if let Some(count) = self.parked.get_mut(&lane.class.project) {
            *count -= 1;
            if *count == 0 {
                self.parked.remove(&lane.class.project);
            }
        }
        for (resource, amount) in amounts {
            let Some(waiting) = self.waiting.get_mut(&resource) else { continue };
            waiting.by_level.remove(&(Reverse(level), id));
            if resource == on {
                waiting.by_need.remove(&(amount, id));
            }
            if waiting.by_level.is_empty() {
                self.waiting.remove(&resource);
            } else {
                self.unreserved.insert(resource);
            }
        }
    }

    /// Says anew at which level a lane waits.
    fn relevel(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let now = self.classes.level(lane.class);
        let Some(parked) = lane.parked.as_mut().filter(|parked| parked.level != now) else { return };
        for (resource, amount) in &parked.amounts {
            if let Some(waiting) = self.waiting.get_mut(resource) {
                waiting.by_level.remove(&(Reverse(parked.level), id));
                waiting.by_level.insert((Reverse(now), id), *amount);
            }
            self.unreserved.insert(resource.clone());
        }
        parked.level = now;
    }

    fn relist(&mut self, id: LaneId) {
        self.relevel(id);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let level = Reverse(self.classes.level(lane.class));
        let can_start = lane.lacks.is_empty() && lane.parked.is_none();
        let head = lane.ready.first().filter(|_| can_start).map(|order| (level, *order));
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
