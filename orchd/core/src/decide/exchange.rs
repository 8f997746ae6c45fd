//! What agents are told and what their runs ask of models: it is on record before they are started and before it leaves, and what
//! came of it afterwards.

use orch_proto::id::RunId;

use super::spend::{self, Standing};
use super::{Context, DecideError, bounds, conflict, conflict_with_hint};
use crate::command::Command;
use crate::entity::{EXCHANGES_MAX, EXCHANGES_OPEN_MAX, ModelAnswer, ModelRequest, OpenExchange, Run, RunEvent, Told};
use crate::view::View;

/// Takes note of what an agent is told, of a request or an answer.
pub(super) fn record<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::TellAgent { run, fence, prompt, bytes } => {
            tell(cx, *run, *fence, Told { prompt: *prompt, bytes: *bytes })
        }
        Command::AskModel { run, fence, exchange, request } => ask(cx, *run, (*fence, *exchange), request),
        Command::AnswerModel { run, number, answer } => self::answer(cx, *run, *number, answer),
        _ => Err(conflict("no exchange with a model")),
    }
}

/// An agent is about to be started. A start that is tried again tells it the same, which is on record then.
fn tell<V: View>(cx: &mut Context<'_, V>, id: RunId, fence: u64, told: Told) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if run.fence != fence || run.state.is_final() {
        return Err(conflict(format!("R-{} is over: nothing more is told to it", run.number)));
    }
    if run.agent.is_none() {
        return Err(conflict(format!("R-{} does known steps: nobody is told anything", run.number)));
    }
    if run.told == Some(told) {
        cx.note("what it is told is on record; nothing changes");
        return Ok(());
    }
    cx.emit((id, RunEvent::Told { prompt: told.prompt, bytes: told.bytes }));
    Ok(())
}

/// A request is about to leave: it is on record then. When it may not yet, that is noted and it is not, and it is asked for again.
fn ask<V: View>(
    cx: &mut Context<'_, V>,
    id: RunId,
    (fence, exchange): (u64, OpenExchange),
    request: &ModelRequest,
) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if run.fence != fence || run.state.is_final() {
        return Err(conflict(format!("R-{} is over: nothing more is asked for it", run.number)));
    }
    if let Some(reason) = &run.cancel_requested {
        return Err(conflict(format!("R-{} is to end, nothing more is asked for it: {reason}", run.number)));
    }
    if run.models.exchanges >= EXCHANGES_MAX {
        let message = format!("R-{} asked models {EXCHANGES_MAX} times, which is all that a run may", run.number);
        return Err(conflict_with_hint(message, "make smaller tasks of it; each run counts for itself"));
    }
    if exchange.number <= run.models.exchanges {
        let number = exchange.number;
        return Err(conflict(format!("exchange {number} of R-{} is on record", run.number)));
    }
    if run.models.open.len() >= EXCHANGES_OPEN_MAX {
        return Err(conflict(format!("R-{} waits for {EXCHANGES_OPEN_MAX} answers already", run.number)));
    }
    request.model.as_deref().map(|model| bounds::title("model", model)).transpose()?;
    match spend::standing(cx.view, &run, cx.now)? {
        Standing::Free => {}
        Standing::Waits => {
            cx.note("it waits for answers that are under way, or for the run to go on");
            return Ok(());
        }
        Standing::Held => {
            cx.note("nothing is left to spend");
            return spend::hold(cx, &run);
        }
    }
    cx.emit((id, RunEvent::ModelAsked { exchange, request: Box::new(request.clone()) }));
    Ok(())
}

/// An answer has come, or none will. Counted also when the run is over: it was paid for.
fn answer<V: View>(cx: &mut Context<'_, V>, id: RunId, number: u32, answer: &ModelAnswer) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if !run.models.open.iter().any(|open| open.number == number) {
        cx.note("the answer is on record; nothing changes");
        return Ok(());
    }
    let (answer, spent) = (answer.bounded(), answer.spent());
    cx.emit((id, RunEvent::ModelAnswered { number, answer: Box::new(answer) }));
    spend::count(cx, &run, spent)
}
