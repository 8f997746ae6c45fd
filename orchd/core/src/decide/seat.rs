//! Moving tasks: where a person puts one among those of its project that have its priority.
//!
//! A place is a rank, and those of one rank go by their chains and their age as before. So nothing but the task that is moved is
//! changed, however many wait, and it can be taken back.

use orch_proto::EntityKind;
use orch_proto::id::TaskId;

use super::{Context, DecideError, conflict, conflict_with_hint};
use crate::command::Seat;
use crate::entity::{Moved, Task, TaskEvent};
use crate::view::View;

pub(super) fn move_task<V: View>(cx: &mut Context<'_, V>, id: TaskId, to: Seat) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    is_in_queue(&task)?;
    let to = match to {
        Seat::First => Moved::First,
        Seat::Last => Moved::Last,
        Seat::Before(other) => Moved::Before { task: other, rank: beside(cx, &task, other)?.rank.saturating_sub(1) },
        Seat::Behind(other) => Moved::Behind { task: other, rank: beside(cx, &task, other)?.rank.saturating_add(1) },
    };
    if matches!(to, Moved::Before { rank, .. } | Moved::Behind { rank, .. } if rank == task.rank) {
        cx.note("it is there already");
        return Ok(());
    }
    cx.emit((id, TaskEvent::Moved { to }));
    Ok(())
}

/// The task beside which another is put: one that it waits beside at all.
fn beside<V: View>(cx: &Context<'_, V>, task: &Task, other: TaskId) -> Result<Task, DecideError> {
    let other: Task = cx.get(other)?;
    if other.id == task.id {
        return Err(conflict(format!("T-{} cannot be put beside itself", task.number)));
    }
    if other.project != task.project {
        let message = format!("T-{} belongs to another project than T-{}", other.number, task.number);
        return Err(conflict_with_hint(message, "projects share the host by their weights: `orchctl project set`"));
    }
    is_in_queue(&other)?;
    if other.priority != task.priority {
        return Err(conflict_with_hint(
            format!(
                "T-{} has priority {} and T-{} has {}: that decides before their places do",
                task.number, task.priority, other.number, other.priority
            ),
            format!("give it the same first with `orchctl task prioritize T-{} {}`", task.number, other.priority),
        ));
    }
    Ok(other)
}

fn is_in_queue(task: &Task) -> Result<(), DecideError> {
    if task.state.is_final() {
        return Err(conflict_with_hint(
            format!("T-{} is {} and in no queue", task.number, task.state.label()),
            "only a task that is not over has a place",
        ));
    }
    Ok(())
}
