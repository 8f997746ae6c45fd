//! The tables as they follow from the log (invariant I3): making them anew, in their file or beside it.
//!
//! By the same `apply` as the write path.

use std::path::Path;

use orch_core::entity::Meta;
use rusqlite::{Connection, TransactionBehavior};

use crate::kept::Kept;
use crate::log::RawEvent;
use crate::schema::{self, OpenError};
use crate::scratch;
use crate::sqlite::{Cause, DbError, During as _};
use crate::tables::{self, TableError};

/// Tables that another version made are made anew at the next start. Raise the number when entities or tables change
/// shape between two releases.
const PROJECTION_VERSION: &str = concat!("6 of ", env!("CARGO_PKG_VERSION"));
/// Events that are read at once.
const PAGE_EVENTS: u32 = 2_000;

/// An event that could not be replayed.
#[derive(Debug, thiserror::Error)]
#[error("failed to replay event {seq}")]
pub(crate) struct ReplayError {
    pub(crate) seq: u64,
    #[source]
    pub(crate) source: TableError,
}

/// Why tables could not be made from the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes the tables anew if another version of the program made them.
pub(crate) fn if_outdated(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    if is_current(conn).map_err(|error| OpenError::database(path, error))? { Ok(()) } else { anew(conn, path) }
}

/// Whether this version of the program made the tables.
pub(crate) fn is_current(conn: &Connection) -> Result<bool, DbError> {
    Ok(schema::meta(conn, "projection_version")?.as_deref() == Some(PROJECTION_VERSION))
}

/// Makes the tables anew, whoever made them.
pub(crate) fn anew(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let rebuild = |conn: &mut Connection| -> Result<(), RebuildError> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive).during("start the rebuild")?;
        tables::clear(&tx)?;
        replay(&tx, &tx)?;
        schema::set_meta(&tx, "projection_version", PROJECTION_VERSION)?;
        tx.commit().during("commit the rebuild")?;
        Ok(())
    };
    rebuild(conn).map_err(|error| cannot_rebuild(path, error))
}

/// What the log of `log`, of the file `path`, says, in a file beside it that is gone when it is closed, however that happens.
pub(crate) fn beside(log: &Connection, path: &Path) -> Result<Connection, OpenError> {
    let replayed = || -> Result<Connection, RebuildError> {
        let scratch = scratch::beside(path)?;
        scratch.execute_batch("BEGIN").during("replay the log")?;
        replay(log, &scratch)?;
        scratch.execute_batch("COMMIT").during("replay the log")?;
        Ok(scratch)
    };
    replayed().map_err(|error| cannot_rebuild(path, error))
}

fn cannot_rebuild(path: &Path, error: RebuildError) -> OpenError {
    match error {
        RebuildError::Db(error) => OpenError::database(path, error),
        // The log is not to blame for a disk that is full or failing.
        RebuildError::Replay(ReplayError { source: TableError::Db(error), .. }) if error.is_of_the_file() => {
            OpenError::database(path, error)
        }
        RebuildError::Replay(error) => {
            let source: Cause = std::sync::Arc::new(error);
            OpenError::Rebuild { path: path.to_owned(), source }
        }
    }
}

/// Applies the events of `log` to the tables of `target`.
fn replay(log: &Connection, target: &Connection) -> Result<(), RebuildError> {
    let mut last = 0;
    let mut kept = Kept::default();
    loop {
        let page = RawEvent::after(log, (last, PAGE_EVENTS), None, None)?;
        if page.is_empty() {
            return Ok(());
        }
        for raw in page {
            let seq = raw.seq;
            let event = raw.event()?;
            let actor = raw.actor()?;
            let meta = Meta { at: raw.at, actor: &actor };
            let project =
                tables::apply((target, &mut kept), seq, &event, meta).map_err(|source| ReplayError { seq, source })?;
            if project.to_string() != raw.project {
                return Err(DbError::Column { seq, column: "project" }.into());
            }
            last = seq;
        }
    }
}
