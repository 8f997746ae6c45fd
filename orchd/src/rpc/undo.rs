//! Taking decisions back: who may, what it would do, and why it cannot be done.

use orch_core::command::Command;
use orch_core::decide::{Decided, decide, is_irrevocable};
use orch_core::ids::IdSource;
use orch_core::undo::Operation;
use orch_proto::request::Role;
use orch_proto::view::UndoView;
use orch_proto::{ErrorCode, RpcError};
use orch_store::{ReadView, Trace};

use super::errors;
use super::identity::Caller;
use crate::clock;
use crate::convert;
use crate::undo::{Found, NotFound, Which, came_after, find, taken_back_by};

/// Most events of a decision that an answer names.
const DONE_MAX: usize = 20;

/// The command that takes the decision back, when it can be.
///
/// # Errors
/// `E_NOT_FOUND` when there is none, `E_PERMISSION` when it is not the caller's, `E_CONFLICT` with what was built on it.
pub(super) fn command(view: &ReadView<'_>, caller: &Caller, event: Option<u64>) -> Result<Command, RpcError> {
    let found = sought(view, caller, event)?;
    let command = Command::Undo { operation: Box::new(found.operation.clone()) };
    judge(view, caller, &found, &command)?;
    Ok(command)
}

/// What it would be to take the decision back.
///
/// # Errors
/// `E_NOT_FOUND` when there is none.
pub(super) fn preview(view: &ReadView<'_>, caller: &Caller, event: Option<u64>) -> Result<UndoView, RpcError> {
    let found = sought(view, caller, event)?;
    let operation = &found.operation;
    let command = Command::Undo { operation: Box::new(operation.clone()) };
    let (back, against) = match judge(view, caller, &found, &command) {
        Ok(decided) => (decided.notes, None),
        Err(refusal) => (Vec::new(), Some(refusal)),
    };
    let mut done = Vec::new();
    for event in operation.events.iter().take(DONE_MAX) {
        let text = convert::event_text(view, event).map_err(|error| errors::read(&error))?;
        done.push(text);
    }
    let left = operation.events.len().saturating_sub(DONE_MAX);
    done.extend((left > 0).then(|| format!("and {left} more")));
    Ok(UndoView {
        event: operation.seq,
        last_event: operation.last_seq,
        at: operation.at,
        actor: operation.actor.to_string(),
        done,
        undid: operation.undoes(),
        back,
        against,
    })
}

fn sought(view: &ReadView<'_>, caller: &Caller, event: Option<u64>) -> Result<Found, RpcError> {
    find(view, event.map_or(Which::LastOf(caller.uid), Which::Event)).map_err(|error| match error {
        NotFound::Read(error) => errors::read(&error),
        NotFound::TooLarge => RpcError::new(ErrorCode::Conflict, error.to_string()),
        NotFound::NoEvent { .. } | NotFound::TooLongAgo | NotFound::Nothing => {
            RpcError::new(ErrorCode::NotFound, error.to_string())
                .hint("`orchctl events tail` shows the numbers; name one with `orchctl undo EVENT`")
        }
    })
}

/// What the undo would do to the state as it is.
fn judge(view: &ReadView<'_>, caller: &Caller, found: &Found, command: &Command) -> Result<Decided, RpcError> {
    let operation = &found.operation;
    may(caller, operation)?;
    // Nothing is made by an undo, so that no id is drawn.
    let mut ids = IdSource::seeded([0; 32]);
    let refusal = match decide(view, command, &caller.actor(), clock::now(), &mut ids) {
        Ok(decided) => return Ok(decided),
        Err(refusal) => errors::decide(&refusal),
    };
    if refusal.code != ErrorCode::Conflict {
        return Err(refusal);
    }
    let after = came_after(view, operation).map_err(|error| errors::read(&error))?;
    let after = after.filter(|_| !is_irrevocable(operation));
    let undo = match &after {
        Some(trace) if trace.kind.ends_with(".undone") => {
            let of = taken_back_by(view, trace.seq).map_err(|error| errors::read(&error))?;
            of.filter(|of| *of == operation.seq).map(|_| trace.seq)
        }
        _ => None,
    };
    Err(match (undo, after) {
        (Some(undo), _) => RpcError::new(
            ErrorCode::Conflict,
            format!("event {} was taken back already, by event {undo}", operation.seq),
        )
        .hint(format!("`orchctl undo {undo}` does it again")),
        (None, after) => explained(refusal, found, after),
    })
}

/// The refusal with what came after the decision, and with what was decided before it.
fn explained(mut refusal: RpcError, found: &Found, after: Option<Trace>) -> RpcError {
    if let Some(trace) = after {
        let Trace { seq, actor, kind, .. } = trace;
        refusal.message = format!("{} (last, event {seq}: {kind} by {actor})", refusal.message);
    }
    let earlier = found.before.map(|before| format!("`orchctl undo {before}` takes back what you decided before that"));
    refusal.hint = match (refusal.hint.take(), earlier) {
        (Some(hint), Some(earlier)) => Some(format!("{hint}; {earlier}")),
        (hint, earlier) => hint.or(earlier),
    };
    refusal
}

/// A decision is taken back by whoever made it and may still make it, or by an admin.
fn may(caller: &Caller, operation: &Operation) -> Result<(), RpcError> {
    let is_own = operation.actor.uid() == Some(caller.uid);
    if operation.actor.uid().is_some() && !is_own && caller.role < Some(Role::Admin) {
        let message = format!("event {} is a decision of {}, not yours", operation.seq, operation.actor);
        return Err(RpcError::new(ErrorCode::Permission, message)
            .hint("an admin takes back what others decided; `orchctl undo` takes back your own last decision"));
    }
    caller.require(operation.role())
}
