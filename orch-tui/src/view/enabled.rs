//! Whether an action is possible now, and if not, why not.

use orch_proto::reference::EntityKind;
use orch_proto::request::Role;
use orch_proto::view::TaskState;

use super::action::Disabled;
use super::model::{Link, Model};
use super::rows::{RunRow, TaskRow};

type Verdict = Result<(), Disabled>;

pub(crate) fn connected(model: &Model) -> Verdict {
    if matches!(model.link, Link::Up) { Ok(()) } else { Err("not connected to the daemon") }
}

pub(crate) fn suspend(model: &Model) -> Verdict {
    if model.options.can_suspend { Ok(()) } else { Err("no shell is there that would let it go on again; q quits") }
}

pub(crate) fn undo(model: &Model) -> Verdict {
    may(model, Role::Operator)
}

pub(crate) fn task(model: &Model) -> Verdict {
    model.selected_task().map(|_| ()).ok_or("no task is selected")
}

pub(crate) fn task_run(model: &Model) -> Verdict {
    let task = model.selected_task().ok_or("no task is selected")?;
    task.run.map(|_| ()).ok_or("the task has no run yet")
}

pub(crate) fn queue(model: &Model) -> Verdict {
    in_state(model, &[TaskState::Proposed], "only a proposed task can be queued")
}

pub(crate) fn hold(model: &Model) -> Verdict {
    let states = [TaskState::Proposed, TaskState::Approved, TaskState::Running, TaskState::Paused];
    in_state(model, &states, "a task in this state cannot be held or released")
}

pub(crate) fn retry(model: &Model) -> Verdict {
    in_state(model, &[TaskState::Failed, TaskState::Cancelled], "only a failed or cancelled task can be retried")
}

pub(crate) fn cancel_task(model: &Model) -> Verdict {
    let state = model.selected_task().ok_or("no task is selected")?.state;
    if matches!(state, TaskState::Done | TaskState::Cancelled) {
        return Err("the task is over");
    }
    may(model, Role::Operator)
}

pub(crate) fn run(model: &Model) -> Verdict {
    model.selected_run().map(|_| ()).ok_or("no run is selected")
}

pub(crate) fn cancel_run(model: &Model) -> Verdict {
    let run = model.selected_run().ok_or("no run is selected")?;
    if run.state.is_final() {
        return Err("the run is over");
    }
    may(model, Role::Operator)
}

pub(crate) fn say_to_task(model: &Model) -> Verdict {
    let task = model.addressed_task().ok_or("no task is selected")?;
    if let Some(why) = task_hears_nothing(task) {
        return Err(why);
    }
    may(model, Role::Operator)
}

pub(crate) fn say_to_run(model: &Model) -> Verdict {
    let run = model.selected_run().ok_or("no run is selected")?;
    if let Some(why) = run_hears_nothing(run) {
        return Err(why);
    }
    may(model, Role::Operator)
}

/// Why nothing can be said to a task, as far as is known.
pub(crate) fn task_hears_nothing(task: &TaskRow) -> Option<Disabled> {
    match task.state {
        TaskState::Done => Some("the task is done: nobody is told any more"),
        _ if !task.has_agent => Some("the task runs known steps: there is no agent to be told"),
        _ => None,
    }
}

/// Why nothing can be said to the agent of a run, as far as is known.
pub(crate) const fn run_hears_nothing(run: &RunRow) -> Option<Disabled> {
    if run.state.is_final() {
        return Some("the run is over: say it to its task, on the board (1)");
    }
    if run.agent.is_none() { Some("the run has known steps: there is no agent to be told") } else { None }
}

pub(crate) fn any_entry(model: &Model) -> Verdict {
    model.selected_entry().map(|_| ()).ok_or("nothing waits")
}

pub(crate) fn answer(model: &Model) -> Verdict {
    if model.selected_approval().is_some() {
        return Err("this is no question of a run; press A");
    }
    model.selected_question().ok_or("no question waits")?;
    may(model, Role::Operator)
}

pub(crate) fn approval(model: &Model) -> Verdict {
    if model.selected_question().is_some() {
        return Err("a question of a run is answered field by field; press Q");
    }
    let approval = model.selected_approval().ok_or("no approval waits")?;
    // What is to become of work that is stuck is for those who steer it.
    may(model, if approval.choices.is_empty() { Role::Approver } else { Role::Operator })
}

pub(crate) fn deny(model: &Model) -> Verdict {
    if model.selected_question().is_some() {
        return may(model, Role::Operator);
    }
    let approval = model.selected_approval().ok_or("no approval waits")?;
    if !approval.choices.is_empty() {
        return Err("a question of several answers is not denied; press A");
    }
    may(model, Role::Approver)
}

pub(crate) fn diff(model: &Model) -> Verdict {
    if model.selected_approval().is_none_or(|approval| approval.kind != EntityKind::Change) {
        return Err("only an approval of a change has a diff");
    }
    connected(model)
}

pub(crate) fn search(model: &Model) -> Verdict {
    let log = model.visible_log().and_then(|run| model.logs.get(run));
    if log.is_some_and(|log| log.pane.is_searching()) { Ok(()) } else { Err("nothing is searched for; press /") }
}

fn in_state(model: &Model, states: &[TaskState], why: Disabled) -> Verdict {
    let task = model.selected_task().ok_or("no task is selected")?;
    if !states.contains(&task.state) {
        return Err(why);
    }
    may(model, Role::Operator)
}

/// Whether the user has the role, as far as is known: the daemon decides in the end.
fn may(model: &Model, role: Role) -> Verdict {
    connected(model)?;
    let Some(status) = &model.data.status else { return Ok(()) };
    if status.role >= role {
        return Ok(());
    }
    Err(match role {
        Role::Viewer | Role::Operator => "your role may look only; this needs an operator",
        Role::Approver => "this needs the role approver",
        Role::Admin => "this needs the role admin",
    })
}
