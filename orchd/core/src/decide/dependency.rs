//! What tasks wait for in others: linking them, and ending one whose condition can never hold.

use std::collections::BTreeMap;

use orch_proto::EntityKind;
use orch_proto::id::{ProjectId, TaskId};

use super::bounds::{self, NAMED_MAX};
use super::{Context, DecideError, conflict, conflict_with_hint, task};
use crate::entity::{Condition, Standing, Task, TaskEvent, Verdict};
use crate::graph::Cycle;
use crate::state::task::TaskState;
use crate::view::View;

/// Most tasks, open or given up, behind one that another is made to wait for: each is read, a tenth of a second in all.
pub const BEHIND_MAX: usize = 5_000;

pub(super) fn link<V: View>(
    cx: &mut Context<'_, V>,
    id: TaskId,
    depends_on: TaskId,
    condition: Condition,
) -> Result<(), DecideError> {
    let (task, needed): (Task, Task) = (cx.get(id)?, cx.get(depends_on)?);
    same_project(&needed, task.project)?;
    cx.touch(EntityKind::Task, id);
    let is_linked = task.depends_on.contains(&depends_on);
    if is_linked && task.condition(depends_on) == condition {
        cx.note("it depends on it already");
        return Ok(());
    }
    waits_for_something(&task)?;
    if !is_linked {
        bounds::count("dependencies", task.depends_on.len() + 1, NAMED_MAX)?;
        no_circle(&task, depends_on, |id| cx.get(id))?;
    }
    cx.emit((id, TaskEvent::Linked { depends_on, condition }));
    Ok(())
}

pub(super) fn unlink<V: View>(cx: &mut Context<'_, V>, id: TaskId, depends_on: TaskId) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    if !task.depends_on.contains(&depends_on) {
        return Err(conflict(format!("T-{} does not depend on it", task.number)));
    }
    cx.emit((id, TaskEvent::Unlinked { depends_on }));
    cx.touch(EntityKind::Task, id);
    Ok(())
}

/// Ends a task that can never begin, because what it waits for the failure of has succeeded. Looked at again here: what
/// the scheduler saw may have changed.
pub(super) fn skip<V: View>(cx: &mut Context<'_, V>, id: TaskId) -> Result<(), DecideError> {
    let found: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    if !matches!(found.state, TaskState::Approved { .. }) || judge(cx, &found)? != Verdict::Never {
        return Err(conflict(format!("T-{} may still begin", found.number)));
    }
    let succeeded = never(cx, &found)?;
    task::end(cx, &found, &format!("not needed: {} did not fail", succeeded.join(", ")))
}

/// Whether what the task depends on lets it begin.
pub(super) fn judge<V: View>(cx: &Context<'_, V>, task: &Task) -> Result<Verdict, DecideError> {
    task.judge(|needed| Ok(Standing::from(&cx.get::<Task>(needed)?.state)))
}

/// Names of the dependencies whose conditions do not hold yet.
pub(super) fn open<V: View>(cx: &Context<'_, V>, task: &Task) -> Result<Vec<String>, DecideError> {
    named(cx, task, |verdict| verdict != Verdict::Holds)
}

fn never<V: View>(cx: &Context<'_, V>, task: &Task) -> Result<Vec<String>, DecideError> {
    named(cx, task, |verdict| verdict == Verdict::Never)
}

fn named<V: View>(
    cx: &Context<'_, V>,
    task: &Task,
    wanted: impl Fn(Verdict) -> bool,
) -> Result<Vec<String>, DecideError> {
    let mut names = Vec::new();
    for id in &task.depends_on {
        let needed: Task = cx.get(*id)?;
        if wanted(task.condition(*id).judge(Standing::from(&needed.state))) {
            names.push(EntityKind::Task.short(needed.number));
        }
    }
    Ok(names)
}

pub(super) fn same_project(task: &Task, project: ProjectId) -> Result<(), DecideError> {
    if task.project == project {
        return Ok(());
    }
    Err(DecideError::Invalid {
        field: "dependency",
        problem: format!("T-{} belongs to another project, and tasks wait only for those of their own", task.number),
    })
}

/// A task that is under way or over waits for nothing any more.
pub(super) fn waits_for_something(task: &Task) -> Result<(), DecideError> {
    if matches!(task.state, TaskState::Proposed | TaskState::Approved { .. } | TaskState::Paused { .. }) {
        return Ok(());
    }
    Err(conflict(format!("T-{} is {} and waits for nothing any more", task.number, task.state.label())))
}

/// Refuses a dependency that would lead back to the task. Reads only what `needed` depends on and is not done, and not more of it than
/// a command may take the writer's time for.
pub(super) fn no_circle(
    task: &Task,
    needed: TaskId,
    get: impl Fn(TaskId) -> Result<Task, DecideError>,
) -> Result<(), DecideError> {
    // By which task each was reached.
    let mut reached: BTreeMap<TaskId, Option<TaskId>> = BTreeMap::from([(needed, None)]);
    let mut open = vec![needed];
    while let Some(at) = open.pop() {
        if at == task.id {
            return Err(circle(task, &reached, get)?.into());
        }
        let found = get(at)?;
        // It waits for nothing any more, and never will again.
        if matches!(found.state, TaskState::Done { .. }) {
            continue;
        }
        for id in found.depends_on {
            if let std::collections::btree_map::Entry::Vacant(entry) = reached.entry(id) {
                entry.insert(Some(at));
                open.push(id);
            }
        }
        if reached.len() > BEHIND_MAX {
            let needed = EntityKind::Task.short(get(needed)?.number);
            return Err(conflict_with_hint(
                format!("{needed} waits for more than {BEHIND_MAX} tasks, too many to look for a circle among them"),
                format!(
                    "wait until some are done, or make a task anew that waits for it: `orchctl task create --depends-on {needed}`"
                ),
            ));
        }
    }
    Ok(())
}

/// The way from the task back to itself.
fn circle(
    task: &Task,
    reached: &BTreeMap<TaskId, Option<TaskId>>,
    get: impl Fn(TaskId) -> Result<Task, DecideError>,
) -> Result<Cycle<String>, DecideError> {
    let mut back = Vec::new();
    let mut at = reached.get(&task.id).copied().flatten();
    while let Some(id) = at {
        back.push(EntityKind::Task.short(get(id)?.number));
        at = reached.get(&id).copied().flatten();
    }
    back.push(EntityKind::Task.short(task.number));
    back.reverse();
    Ok(Cycle { path: back })
}
