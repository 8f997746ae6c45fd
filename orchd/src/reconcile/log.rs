//! Takes in what the log of a run says of its steps: the part that is an event, not the output.

use std::path::Path;
use std::sync::Arc;

use orch_adapters::run_log::Piece;
use orch_adapters::{executor, run_log};
use orch_core::command::Command;
use orch_core::entity::{Observation, Run};
use orch_sandbox::log::ReadLogError;
use orch_store::ExecuteError;

use super::PassError;
use crate::error_chain::chain;
use crate::site::Site;

/// How much of a log is read at once.
const LOG_PIECE_BYTES: usize = 1 << 20;

/// Records what the log says since the run's cursor. `scanned` is how far the log is known to say nothing more.
pub(super) async fn record<S: Site>(app: &Arc<S>, run: &Run, scanned: &mut u64) -> Result<(), PassError> {
    record_from(app, run, (run.log_cursor, scanned)).await.map(drop)
}

/// Takes in the rest of a log that does not grow any more.
pub(super) async fn drain<S: Site>(app: &Arc<S>, run: &Run, scanned: &mut u64) -> Result<(), PassError> {
    let mut cursor = run.log_cursor;
    while let Some(next) = record_from(app, run, (cursor, scanned)).await? {
        cursor = next;
    }
    Ok(())
}

/// Records what the log says from `cursor` on; where the stored cursor is then, none when there was nothing.
async fn record_from<S: Site>(
    app: &Arc<S>,
    run: &Run,
    (cursor, scanned): (u64, &mut u64),
) -> Result<Option<u64>, PassError> {
    let offset = cursor.max(*scanned);
    let read = {
        let (site, id) = (Arc::clone(app), run.id);
        app.blocking(move || site.log(id, offset)).await
    };
    let piece = match read {
        Ok(piece) => piece,
        Err(error) => {
            // The exit record stands for itself; a log that cannot be read costs the steps' times, not the result.
            tracing::warn!(run = %run.id, error, "failed to read a run's log");
            return Ok(None);
        }
    };
    *scanned = piece.next_offset;
    // Output alone is no event: the stored cursor moves with the next one.
    if piece.items.is_empty() {
        return Ok(None);
    }
    let next = piece.next_offset;
    let command =
        Command::RecordRun { run: run.id, fence: run.fence, from: cursor, cursor: next, observations: piece.items };
    match app.execute("runner", command).await {
        Ok(_) => Ok(Some(next)),
        // Sent again it would be refused again, and the run would never end: its log is not worth that. What follows is.
        Err(error @ (ExecuteError::Rejected(_) | ExecuteError::Apply(_))) => {
            tracing::error!(run = %run.id, offset, error = chain(&error), "a part of a run's log makes no sense");
            Ok(Some(cursor))
        }
        Err(error) => Err(error.into()),
    }
}

/// The next observations from `offset` on, over any amount of output between them.
pub(super) fn next(directory: &Path, offset: u64) -> Result<Piece<Observation>, ReadLogError> {
    let log = executor::log_path(directory);
    let mut offset = offset.max(executor::LOG_START);
    loop {
        let piece = run_log::observations(&log, offset, LOG_PIECE_BYTES)?;
        if !piece.items.is_empty() || piece.next_offset == offset {
            return Ok(piece);
        }
        offset = piece.next_offset;
    }
}
