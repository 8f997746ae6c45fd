//! What people say to tasks and to the agents that work at them.

use orch_proto::EntityKind;
use orch_proto::id::{RunId, TaskId};

use super::channel::SAID_BYTES_MAX;
use super::{Context, DecideError, bounds, conflict, conflict_with_hint};
use crate::actor::Actor;
use crate::command::Command;
use crate::entity::{MESSAGES_MAX, Message, Run, Task, TaskEvent, Work};
use crate::state::task::TaskState;
use crate::view::View;

/// Puts on record what a person says.
pub(super) fn say<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::SayToRun { run, text } => to_run(cx, *run, text),
        Command::SayToTask { task, text } => to_task(cx, *task, text),
        _ => Err(conflict("nobody says anything")),
    }
}

/// To the agent of a run, while it works.
fn to_run<V: View>(cx: &mut Context<'_, V>, id: RunId, text: &str) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    let task: Task = cx.get(run.task)?;
    cx.touch(EntityKind::Run, id);
    let (name, of) = (EntityKind::Run.short(run.number), EntityKind::Task.short(task.number));
    let hint = format!("say it to the task, whose next attempt is told: `orchctl task say {of}`");
    if run.state.is_final() {
        return Err(conflict_with_hint(format!("{name} is over: its agent is told nothing any more"), hint));
    }
    match &run.agent {
        None => return Err(conflict_with_hint(format!("{name} runs known steps: there is no agent to be told"), hint)),
        Some(agent) if !agent.is_driven => {
            let agent = &agent.name;
            let hint = format!("`chat = true` in `[agents.{agent}]` for its next runs; {hint}");
            return Err(conflict_with_hint(format!("the agent of {name} takes no messages while it works"), hint));
        }
        Some(_) => {}
    }
    if run.cancel_requested.is_some() {
        return Err(conflict_with_hint(format!("{name} is to end"), hint));
    }
    add(cx, &task, Some(id), text)
}

/// To a task: to the agent that works at it, or to the next one.
fn to_task<V: View>(cx: &mut Context<'_, V>, id: TaskId, text: &str) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    let name = EntityKind::Task.short(task.number);
    if let TaskState::Done { .. } = task.state {
        let hint = "make a task for what is missing: `orchctl task create`";
        return Err(conflict_with_hint(format!("{name} is done: nobody is told any more"), hint));
    }
    if let Work::Steps { .. } = task.spec.work {
        let hint = "change what it does with `orchctl task edit`";
        return Err(conflict_with_hint(format!("{name} runs known steps: there is no agent to be told"), hint));
    }
    let run = match &task.state {
        TaskState::Running { run } => cx.view.get::<Run>(*run)?.filter(|run| !run.state.is_final()),
        _ => None,
    };
    let takes = |run: &Run| run.cancel_requested.is_none() && run.agent.as_ref().is_some_and(|agent| agent.is_driven);
    match run {
        Some(run) if takes(&run) => add(cx, &task, Some(run.id), text),
        Some(run) => {
            cx.note(format!("{} goes on without it; the next attempt is told", EntityKind::Run.short(run.number)));
            add(cx, &task, None, text)
        }
        None => {
            cx.note("the next attempt is told");
            add(cx, &task, None, text)
        }
    }
}

fn add<V: View>(cx: &mut Context<'_, V>, task: &Task, run: Option<RunId>, text: &str) -> Result<(), DecideError> {
    let Actor::User { uid, name } = cx.actor else { return Err(DecideError::NotAPerson) };
    let (by, name) = (*uid, name.clone());
    bounds::bytes("text", text.len(), SAID_BYTES_MAX)?;
    if text.trim().is_empty() {
        return Err(DecideError::Invalid { field: "text", problem: "is empty".into() });
    }
    bounds::count("messages", task.thread.len() + 1, MESSAGES_MAX)?;
    let number = task.thread.last().map_or(1, |last| last.number.saturating_add(1));
    let message =
        Message { number, text: text.trim().to_owned(), by, name, at: cx.now, run, told_at: None, reply: None };
    cx.emit((task.id, TaskEvent::Said { message }));
    Ok(())
}

/// The agent of a run was told a message.
pub(super) fn told<V: View>(cx: &mut Context<'_, V>, run: &Run, number: u32) -> Result<(), DecideError> {
    let task: Task = cx.get(run.task)?;
    let name = EntityKind::Run.short(run.number);
    match task.thread.iter().find(|message| message.number == number && message.run == Some(run.id)) {
        None => Err(conflict(format!("nobody said a message {number} to {name}"))),
        Some(message) if message.told_at.is_some() => {
            cx.note("it was told before");
            Ok(())
        }
        Some(_) => {
            cx.emit((task.id, TaskEvent::Told { number }));
            Ok(())
        }
    }
}

/// What the agent of a run answered to a message that it was told. Its words, of which the first count.
pub(super) fn replied<V: View>(cx: &mut Context<'_, V>, run: &Run, number: u32, text: &str) -> Result<(), DecideError> {
    let task: Task = cx.get(run.task)?;
    let name = EntityKind::Run.short(run.number);
    bounds::bytes("text", text.len(), SAID_BYTES_MAX)?;
    if text.trim().is_empty() {
        return Err(DecideError::Invalid { field: "text", problem: "is empty".into() });
    }
    match task.thread.iter().find(|message| message.number == number && message.run == Some(run.id)) {
        None => Err(conflict(format!("nobody said a message {number} to {name}"))),
        Some(message) if message.told_at.is_none() => {
            let hint = "say first that it was told";
            Err(conflict_with_hint(format!("the agent of {name} was not told message {number}"), hint))
        }
        Some(message) if message.reply.is_some() => {
            cx.note("it was answered before");
            Ok(())
        }
        Some(_) => {
            cx.emit((task.id, TaskEvent::Replied { number, text: text.trim().to_owned() }));
            Ok(())
        }
    }
}
