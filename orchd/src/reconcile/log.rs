//! Takes in what the log of a run says of its steps: the part that is an event, not the output.

use std::path::Path;
use std::sync::Arc;

use orch_adapters::run_log::Piece;
use orch_adapters::{executor, run_log};
use orch_core::command::{Command, Said};
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
    match read(app, run, (run.log_cursor, scanned)).await {
        Some(said) => put(app, run, said).await.map(drop),
        None => Ok(()),
    }
}

/// Takes in the rest of a log that does not grow any more.
pub(super) async fn drain<S: Site>(app: &Arc<S>, run: &Run, scanned: &mut u64) -> Result<(), PassError> {
    match rest(app, run, scanned).await? {
        Some(said) => put(app, run, said).await.map(drop),
        None => Ok(()),
    }
}

/// The same but for the last piece, which is to be put on record with the end of the run.
pub(super) async fn rest<S: Site>(app: &Arc<S>, run: &Run, scanned: &mut u64) -> Result<Option<Said>, PassError> {
    let mut last = None::<Said>;
    loop {
        let cursor = last.as_ref().map_or(run.log_cursor, |said| said.cursor);
        let Some(mut next) = read(app, run, (cursor, scanned)).await else { return Ok(last) };
        if let Some(before) = last.take() {
            next.from = put(app, run, before).await?;
        }
        last = Some(next);
    }
}

/// What the log says from `cursor` on; none when it says nothing that is an event.
async fn read<S: Site>(app: &Arc<S>, run: &Run, (cursor, scanned): (u64, &mut u64)) -> Option<Said> {
    let offset = cursor.max(*scanned);
    let read = {
        let (site, id) = (Arc::clone(app), run.id);
        app.blocking(move || site.log(id, offset)).await
    };
    match read {
        Ok(piece) => {
            *scanned = piece.next_offset;
            // Output alone is no event: the stored cursor moves with the next one.
            let said = Said { from: cursor, cursor: piece.next_offset, observations: piece.items };
            Some(said).filter(|said| !said.observations.is_empty())
        }
        Err(error) => {
            // The exit record stands for itself; a log that cannot be read costs the steps' times, not the result.
            tracing::warn!(run = %run.id, error, "failed to read a run's log");
            None
        }
    }
}

/// Records it; where the stored cursor is then.
async fn put<S: Site>(app: &Arc<S>, run: &Run, said: Said) -> Result<u64, PassError> {
    let Said { from, cursor, observations } = said;
    match app.execute("runner", Command::RecordRun { run: run.id, fence: run.fence, from, cursor, observations }).await
    {
        Ok(_) => Ok(cursor),
        // Sent again it would be refused again, and the run would never end: its log is not worth that. What follows is.
        Err(error @ (ExecuteError::Rejected(_) | ExecuteError::Apply(_))) => {
            tracing::error!(run = %run.id, from, error = chain(&error), "a part of a run's log makes no sense");
            Ok(from)
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
