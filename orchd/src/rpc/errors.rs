//! From the errors of the parts to codes, messages and next steps for clients.

use orch_core::decide::DecideError;
use orch_core::entity::{Removed, Run, RunPart};
use orch_core::planner::{ExtractError, PlanError};
use orch_core::planning::PlanningError;
use orch_core::recipe::RecipeError;
use orch_core::view::ReadError;
use orch_proto::{EntityKind, ErrorCode, RpcError};
use orch_store::{ExecuteError, ReadFault};

use crate::error_chain::chain;

pub(crate) fn read(error: &ReadError) -> RpcError {
    if let Some(fault @ (ReadFault::Busy | ReadFault::Deadline { .. })) = error.0.downcast_ref::<ReadFault>() {
        tracing::warn!(%fault, "a read was not answered");
        return busy(&fault.to_string()).hint("try again in a moment; ask for less if it stays");
    }
    tracing::error!(error = chain(error), "failed to read the state");
    RpcError::new(ErrorCode::Storage, chain(error)).hint("try again; if it stays, look into the daemon's log")
}

pub(crate) fn execute(error: &ExecuteError) -> RpcError {
    match error {
        ExecuteError::Rejected(refusal) => decide(refusal),
        ExecuteError::KeyReused { .. } => {
            RpcError::new(ErrorCode::KeyReused, error.to_string()).hint("draw a new key for a new request")
        }
        ExecuteError::Apply(_) => RpcError::new(ErrorCode::Conflict, chain(error)),
        ExecuteError::Closed => {
            RpcError::new(ErrorCode::ShuttingDown, "the daemon is stopping").hint("try again when it runs")
        }
        ExecuteError::Busy { .. } => busy("too many requests at once"),
        ExecuteError::StorageFull(_) => RpcError::new(ErrorCode::StorageFull, chain(error))
            .hint("make room on the disk of the state directory, then try again"),
        ExecuteError::Panicked { .. } => {
            RpcError::new(ErrorCode::Internal, "the request hit a fault in the daemon; nothing was changed")
                .hint("please report it with the daemon's log")
        }
        other => {
            tracing::error!(error = chain(other), "a command failed");
            RpcError::new(ErrorCode::Storage, chain(other)).hint("try again; if it stays, look into the daemon's log")
        }
    }
}

fn busy(message: &str) -> RpcError {
    let mut busy = RpcError::new(ErrorCode::Busy, message);
    busy.retry_after_ms = Some(100);
    busy
}

/// What to do about a plan with too many tasks.
const SMALLER_PLAN: &str = "split the requirements between several projects, or take some out with `orchctl req edit` and plan them \
                            when the others are done";

pub(super) fn decide(error: &DecideError) -> RpcError {
    let message = error.to_string();
    match error {
        DecideError::NotFound { .. } => RpcError::new(ErrorCode::NotFound, message),
        DecideError::Exists { .. } => RpcError::new(ErrorCode::Exists, message).hint("choose another name"),
        DecideError::Invalid { .. } => RpcError::new(ErrorCode::Invalid, message),
        DecideError::TooLarge { field: "plan", .. } => RpcError::new(ErrorCode::TooLarge, message).hint(SMALLER_PLAN),
        DecideError::TooLarge { .. } => RpcError::new(ErrorCode::TooLarge, message)
            .hint("hand it in in several parts, or leave out what need not be there"),
        DecideError::Conflict { hint: Some(hint), .. } => {
            RpcError::new(ErrorCode::Conflict, message).hint(hint.clone())
        }
        DecideError::Conflict { hint: None, .. } | DecideError::Illegal(_) => {
            RpcError::new(ErrorCode::Conflict, message)
        }
        DecideError::Cycle { .. } => {
            RpcError::new(ErrorCode::Cycle, message).hint("leave one of these dependencies out")
        }
        DecideError::StaleDigest { kind } => {
            let look = match kind {
                EntityKind::Requirements => "orchctl req show",
                EntityKind::Plan => "orchctl plan show",
                _ => "orchctl approval get",
            };
            RpcError::new(ErrorCode::StaleDigest, message).hint(format!("look again with `{look}`, then decide"))
        }
        DecideError::NotAPerson => RpcError::new(ErrorCode::Permission, message),
        DecideError::Read(error) => read(error),
    }
}

pub(super) fn extract(error: &ExtractError) -> RpcError {
    let message = error.to_string();
    match error {
        ExtractError::EmptyVision => {
            RpcError::new(ErrorCode::EmptyVision, message).hint("write down what is wanted, in a sentence or in pages")
        }
        ExtractError::NotText { .. } => {
            RpcError::new(ErrorCode::NotText, message).hint("hand in Markdown or plain text in UTF-8")
        }
        ExtractError::TooLarge { .. } => RpcError::new(ErrorCode::TooLarge, message)
            .hint("hand in the pages that say what is wanted, without attachments"),
    }
}

pub(super) fn planning(error: &PlanningError) -> RpcError {
    let hint = match error {
        PlanningError::Parameter(parameter) => parameter.hint(),
        PlanningError::Plan(PlanError::TooManyTasks { .. }) => Some(SMALLER_PLAN.to_owned()),
        PlanningError::Plan(_) | PlanningError::NoSuchWork { .. } => None,
    };
    let error = RpcError::new(ErrorCode::Invalid, chain(error));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

pub(super) fn recipe(error: &RecipeError) -> RpcError {
    let hint = error.hint();
    let error = RpcError::new(ErrorCode::Recipe, error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Refuses to show a part of a run that is gone: it says since when, why, and what it was.
pub(super) fn unless_removed(run: &Run, part: RunPart) -> Result<(), RpcError> {
    let Some(Removed { removal, at }) = run.removed(part) else { return Ok(()) };
    let what = match part {
        RunPart::Log => "the log",
        RunPart::Files => "the directory",
        RunPart::Artifacts => "what was kept",
        RunPart::Result => "the result",
        RunPart::Texts => "what passed between models and the agent",
    };
    let name = EntityKind::Run.short(run.number);
    let (policy, size, content) = (&removal.policy, removal.size_bytes, &removal.content);
    let message = format!("{what} of {name} was removed at {at} by `{policy}`; it had {size} bytes, and was {content}");
    Err(RpcError::new(ErrorCode::Removed, message).hint("a backup from before has it"))
}

/// A fault of the daemon. The log has the details.
pub(crate) fn internal(what: &str, error: &dyn std::error::Error) -> RpcError {
    tracing::error!(error = chain(error), "{what}");
    RpcError::new(ErrorCode::Internal, format!("{what}: {}", chain(error))).hint("the daemon's log has the details")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_for_want_of_time_can_be_tried_again() {
        for fault in [ReadFault::Busy, ReadFault::Deadline { deadline_ms: 250 }] {
            let told = read(&ReadError(Box::new(fault)));
            assert_eq!((told.code, told.retry_after_ms), (ErrorCode::Busy, Some(100)));
        }
        assert_eq!(read(&ReadError("the disk".into())).code, ErrorCode::Storage);
    }
}
