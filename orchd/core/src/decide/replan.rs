//! From an approved plan to tasks: what is kept, made anew, added and dropped.
//!
//! What people did to a task since the plan before stays (its work, priority, hold, the tasks it waits for), unless the
//! plan itself changed that very thing.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use orch_proto::EntityKind;
use orch_proto::id::{PlanId, ProjectId, TaskId};

use super::{Context, DecideError, task};
use crate::entity::{Condition, Plan, PlanTask, Task, TaskEvent};
use crate::graph::Graph;
use crate::state::task::TaskState;
use crate::view::{Filter, View};

/// Priority of a task that nobody gave one.
pub const PRIORITY_DEFAULT: u8 = 5;

/// An approved plan beside what is there.
struct Replan<'a> {
    plan: &'a Plan,
    /// Tasks of plans by key; of several with the same key the newest.
    existing: BTreeMap<&'a str, &'a Task>,
    /// What earlier plans said: the one approved last, and those that the tasks come from.
    said: BTreeMap<(PlanId, String), PlanTask>,
    previous: Option<PlanId>,
    /// The task of each planned key from now on.
    ids: BTreeMap<&'a str, TaskId>,
    /// New tasks by the old ones whose place they take.
    replaced: BTreeMap<TaskId, TaskId>,
}

/// Turns the plan into tasks: what it adds is made, what it drops is cancelled unless it is under way or done.
pub(super) fn apply<V: View>(cx: &mut Context<'_, V>, plan: &Plan, previous: Option<&Plan>) -> Result<(), DecideError> {
    let order = plan.content.analyse()?.order;
    let tasks = concerned(cx, plan.project)?;
    let by_key: BTreeMap<&str, &PlanTask> = plan.content.tasks.iter().map(|task| (task.key.as_str(), task)).collect();
    let in_order: Vec<&PlanTask> = order.iter().map(|key| by_key[key.as_str()]).collect();
    let mut replan = Replan {
        plan,
        existing: tasks.iter().filter_map(|task| Some((task.plan.as_ref()?.1.as_str(), task))).collect(),
        said: said(cx, &tasks, previous)?,
        previous: previous.map(|plan| plan.id),
        ids: BTreeMap::new(),
        replaced: BTreeMap::new(),
    };
    // All ids first: a person may have made a task wait for one that comes later in the plan's order.
    for planned in &in_order {
        replan.choose(cx, planned);
    }
    let mut after = Graph::new();
    for planned in in_order {
        let depends_on = replan.place(cx, planned)?;
        depends_on.iter().for_each(|needed| after.edge(replan.ids[planned.key.as_str()], *needed));
    }
    for other in &tasks {
        for needed in replan.place_other(cx, other)? {
            after.edge(other.id, needed);
        }
    }
    // The plan alone has no cycle; with what people linked it may have one.
    after.analyse(|_| 1).map_err(|cycle| replan.named(&tasks, &cycle.path))?;
    Ok(())
}

/// The tasks that a plan has to do with, by number: all that plans made, all others that are not over, and what these wait for, directly
/// or not, unless it is done. Of a project that did a million things by hand nearly all have nothing to do with it.
fn concerned<V: View>(cx: &Context<'_, V>, project: ProjectId) -> Result<Vec<Task>, DecideError> {
    let failed = TaskState::Failed { reason: String::new() }.label();
    let of = || Filter::of(project);
    let mut tasks = BTreeMap::new();
    for filter in [of().hanging(), of().open(), of().in_state(failed)] {
        tasks.extend(cx.view.list::<Task>(&filter)?.into_iter().map(|task| (task.id, task)));
    }
    let mut behind: Vec<TaskId> = tasks.values().flat_map(may_wait).collect();
    while let Some(id) = behind.pop() {
        if let Entry::Vacant(unknown) = tasks.entry(id) {
            behind.extend(may_wait(unknown.insert(cx.get(id)?)));
        }
    }
    let mut tasks: Vec<Task> = tasks.into_values().collect();
    tasks.sort_by_key(|task| task.number);
    Ok(tasks)
}

fn said<V: View>(
    cx: &Context<'_, V>,
    tasks: &[Task],
    previous: Option<&Plan>,
) -> Result<BTreeMap<(PlanId, String), PlanTask>, DecideError> {
    let origins = tasks.iter().filter_map(|task| Some(task.plan.as_ref()?.0));
    let wanted: BTreeSet<PlanId> = origins.chain(previous.map(|plan| plan.id)).collect();
    let mut said = BTreeMap::new();
    for id in wanted {
        let plan: Plan = cx.get(id)?;
        said.extend(plan.content.tasks.into_iter().map(|task| ((id, task.key.clone()), task)));
    }
    Ok(said)
}

impl Replan<'_> {
    /// The task that stays what it is under the plan, if there is one: the plan asks for the same as when it made the
    /// task, whatever a person made of it since, or it cannot be taken back any more.
    fn stays(&self, planned: &PlanTask) -> Option<&Task> {
        let found = *self.existing.get(planned.key.as_str())?;
        let origin = found.plan.as_ref().and_then(|of| self.said.get(of));
        let is_same = found.spec == planned.spec || origin.is_some_and(|origin| origin.spec == planned.spec);
        (!is_cancelled(found) && (is_same || !is_droppable(found))).then_some(found)
    }

    /// The task whose place a new one takes because the plan wants other work of it.
    fn changed(&self, planned: &PlanTask) -> Option<&Task> {
        let found = *self.existing.get(planned.key.as_str())?;
        (!is_cancelled(found) && self.stays(planned).is_none()).then_some(found)
    }
}

impl<'a> Replan<'a> {
    fn choose<V: View>(&mut self, cx: &mut Context<'_, V>, planned: &'a PlanTask) {
        let key = planned.key.as_str();
        let id = match self.stays(planned) {
            Some(found) => found.id,
            None => {
                let id: TaskId = cx.draw();
                self.replaced.extend(self.existing.get(key).map(|found| (found.id, id)));
                id
            }
        };
        self.ids.insert(key, id);
    }

    /// Makes or mends the task of a planned key; answers what it waits for from now on.
    fn place<V: View>(&self, cx: &mut Context<'_, V>, planned: &PlanTask) -> Result<BTreeSet<TaskId>, DecideError> {
        if let Some(found) = self.stays(planned) {
            if is_over(found) {
                return Ok(may_wait(found));
            }
            let depends_on = self.depends_on(planned, Some(found));
            self.relink(cx, found, &depends_on);
            return Ok(depends_on);
        }
        let changed = self.changed(planned);
        let depends_on = self.depends_on(planned, changed);
        if let Some(found) = changed {
            task::end(cx, found, &format!("changed by plan version {}", self.plan.version))?;
        }
        self.make(cx, planned, depends_on.clone(), changed)?;
        Ok(depends_on)
    }

    /// Ends a task that the plan does not name, or lets it follow what it waits for.
    fn place_other<V: View>(&self, cx: &mut Context<'_, V>, other: &Task) -> Result<BTreeSet<TaskId>, DecideError> {
        let key = other.plan.as_ref().map(|(_, key)| key.as_str());
        let is_newest = key.is_some_and(|key| self.existing.get(key).is_some_and(|newest| newest.id == other.id));
        let is_planned = key.is_some_and(|key| self.ids.contains_key(key));
        if is_newest && is_planned {
            return Ok(BTreeSet::new());
        }
        if is_newest && is_droppable(other) {
            task::end(cx, other, &format!("dropped by plan version {}", self.plan.version))?;
        } else if !is_over(other) {
            let depends_on = other.depends_on.iter().map(|needed| self.now(*needed)).collect();
            self.relink(cx, other, &depends_on);
            return Ok(depends_on);
        }
        Ok(may_wait(other))
    }

    /// What the task waits for under this plan: what the plan says, and what people changed of what the plan before said.
    fn depends_on(&self, planned: &PlanTask, found: Option<&Task>) -> BTreeSet<TaskId> {
        let Some(found) = found else {
            return planned.needs.iter().map(|needed| self.ids[needed.as_str()]).collect();
        };
        let before = self.previous.and_then(|previous| self.said.get(&(previous, planned.key.clone())));
        let before = before.or_else(|| self.said.get(found.plan.as_ref()?));
        let before = before.map_or(&[][..], |before| &before.needs);
        let was = |key: &String| self.existing.get(key.as_str()).map(|needed| needed.id);
        let of_plan: BTreeSet<TaskId> = before.iter().filter_map(was).collect();
        let of_people = found.depends_on.difference(&of_plan).map(|needed| self.now(*needed));
        let unlinked =
            |key: &String| before.contains(key) && !was(key).is_some_and(|needed| found.depends_on.contains(&needed));
        let of_this = planned.needs.iter().filter(|key| !unlinked(key)).map(|key| self.ids[key.as_str()]);
        of_people.chain(of_this).collect()
    }

    fn make<V: View>(
        &self,
        cx: &mut Context<'_, V>,
        planned: &PlanTask,
        depends_on: BTreeSet<TaskId>,
        changed: Option<&Task>,
    ) -> Result<(), DecideError> {
        let id = self.ids[planned.key.as_str()];
        let event = TaskEvent::Created {
            project: self.plan.project,
            number: cx.number(EntityKind::Task, Some(self.plan.project))?,
            plan: Some((self.plan.id, planned.key.clone())),
            title: planned.title.clone(),
            spec: Box::new(planned.spec.clone()),
            conditions: changed
                .map(|found| self.conditions(found))
                .into_iter()
                .flatten()
                .filter(|(needed, _)| depends_on.contains(needed))
                .collect(),
            depends_on,
            terms: changed.map(|found| Box::new(found.terms.clone())).unwrap_or_default(),
            priority: changed.map_or(PRIORITY_DEFAULT, |found| found.priority),
            approval: None,
        };
        cx.emit((id, event));
        cx.emit((id, TaskEvent::Queued));
        if let Some(TaskState::Paused { reason }) = changed.map(|found| &found.state) {
            cx.emit((id, TaskEvent::Held { reason: reason.clone() }));
        }
        cx.touch(EntityKind::Task, id);
        Ok(())
    }

    /// The task that stands where this one stood.
    fn now(&self, id: TaskId) -> TaskId {
        self.replaced.get(&id).copied().unwrap_or(id)
    }

    /// What people said that the task waits for in those that stand where its dependencies stood.
    fn conditions(&self, found: &Task) -> BTreeMap<TaskId, Condition> {
        found.conditions.iter().map(|(needed, condition)| (self.now(*needed), *condition)).collect()
    }

    fn relink<V: View>(&self, cx: &mut Context<'_, V>, found: &Task, depends_on: &BTreeSet<TaskId>) {
        let conditions = self.conditions(found);
        for added in depends_on.difference(&found.depends_on) {
            let condition = conditions.get(added).copied().unwrap_or_default();
            cx.emit((found.id, TaskEvent::Linked { depends_on: *added, condition }));
        }
        for removed in found.depends_on.difference(depends_on) {
            cx.emit((found.id, TaskEvent::Unlinked { depends_on: *removed }));
        }
    }

    fn named(&self, tasks: &[Task], path: &[TaskId]) -> DecideError {
        let numbers: BTreeMap<TaskId, u32> = tasks.iter().map(|task| (task.id, task.number)).collect();
        let keys: BTreeMap<TaskId, &str> = self.ids.iter().map(|(key, id)| (*id, *key)).collect();
        let name = |id: &TaskId| match (keys.get(id), numbers.get(id)) {
            (Some(key), _) => (*key).to_owned(),
            (None, Some(number)) => EntityKind::Task.short(*number),
            (None, None) => id.to_string(),
        };
        crate::graph::Cycle { path: path.iter().map(name).collect::<Vec<_>>() }.into()
    }
}

/// What a task waits for, or would if it were tried again. One that is done never will.
fn may_wait(task: &Task) -> BTreeSet<TaskId> {
    if matches!(task.state, TaskState::Done { .. }) { BTreeSet::new() } else { task.depends_on.clone() }
}

/// Whether a plan can take it back. What runs or is reviewed is let finish.
const fn is_droppable(task: &Task) -> bool {
    matches!(
        task.state,
        TaskState::Proposed | TaskState::Approved { .. } | TaskState::Paused { .. } | TaskState::Failed { .. }
    )
}

const fn is_cancelled(task: &Task) -> bool {
    matches!(task.state, TaskState::Cancelled { .. })
}

/// Whether it waits for nothing any more. One that failed may be tried again.
const fn is_over(task: &Task) -> bool {
    matches!(task.state, TaskState::Done { .. } | TaskState::Cancelled { .. })
}
