//! The tables as they follow from the log: making them anew, and checking that they are so (invariant I3).
//!
//! Both go through the same `apply` as the write path. The check runs beside the writer: it replays into memory and
//! compares at one state of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use orch_core::entity::Meta;
use orch_core::view::ReadError;
use orch_proto::EntityKind;
use rusqlite::{Connection, TransactionBehavior};

use crate::counts;
use crate::kept::Kept;
use crate::log::RawEvent;
use crate::schema::{self, OpenError};
use crate::sqlite::{Cause, DbError, During as _, Location, open_reader};
use crate::store::Store;
use crate::tables::{self, KINDS, TableError};

/// Tables that another version made are made anew at the next start. Raise the number when entities or tables change
/// shape between two releases.
const PROJECTION_VERSION: &str = concat!("6 of ", env!("CARGO_PKG_VERSION"));
/// Events that are read at once.
const PAGE_EVENTS: u32 = 2_000;
/// Most differences that a report names.
const DIFFERENCES_MAX: usize = 100;

/// What a comparison of the tables with the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Events that were replayed.
    pub events: u64,
    /// Rows that the log gives.
    pub rows: u64,
    /// One line per row that is missing, too many or different; at most a hundred.
    pub differences: Vec<String>,
}

/// An event that could not be replayed.
#[derive(Debug, thiserror::Error)]
#[error("failed to replay event {seq}")]
struct ReplayError {
    seq: u64,
    #[source]
    source: TableError,
}

/// Why tables could not be made from the log.
#[derive(Debug, thiserror::Error)]
enum RebuildError {
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
        replay(&tx, &tx, 0)?;
        schema::set_meta(&tx, "projection_version", PROJECTION_VERSION)?;
        tx.commit().during("commit the rebuild")?;
        Ok(())
    };
    rebuild(conn).map_err(|error| cannot_rebuild(path, error))
}

/// What the log of `log`, of the file `path`, says, in memory.
pub(crate) fn in_memory(log: &Connection, path: &Path) -> Result<Connection, OpenError> {
    let replayed = || -> Result<Connection, RebuildError> {
        let memory = schema::in_memory()?;
        memory.execute_batch("BEGIN").during("replay the log")?;
        replay(log, &memory, 0)?;
        memory.execute_batch("COMMIT").during("replay the log")?;
        Ok(memory)
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

/// Applies the events of `log` after `after` to the tables of `target`; answers the number of the last one.
fn replay(log: &Connection, target: &Connection, after: u64) -> Result<u64, RebuildError> {
    let mut last = after;
    let mut kept = Kept::default();
    loop {
        let page = RawEvent::after(log, (last, PAGE_EVENTS), None, None)?;
        if page.is_empty() {
            return Ok(last);
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

impl Store {
    /// Replays the log into memory and compares every row of every table, both ways.
    ///
    /// Writers go on meanwhile. Takes about 10 us per event. A log that says what cannot be is a difference too: it was
    /// changed, or the disk has lost something.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn check_rebuild(&self) -> Result<RebuildReport, ReadError> {
        report(self.location())
    }
}

/// Compares the tables of the file with a replay of its log.
pub(crate) fn report(location: &Location) -> Result<RebuildReport, ReadError> {
    match check(location) {
        Ok(report) => Ok(report),
        Err(RebuildError::Replay(error)) => Ok(RebuildReport::broken(&error)),
        Err(RebuildError::Db(error @ (DbError::Event { .. } | DbError::Column { .. }))) => {
            Ok(RebuildReport::broken(&error))
        }
        Err(RebuildError::Db(error)) => Err(error.into()),
    }
}

impl RebuildReport {
    /// Nothing could be compared, for this reason.
    fn broken(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
        let why = causes.collect::<Vec<_>>().join(": ");
        Self { differences: vec![format!("the log cannot be replayed: {why}")], ..Self::default() }
    }
}

fn check(location: &Location) -> Result<RebuildReport, RebuildError> {
    let file = open_reader(location)?;
    let memory = schema::in_memory()?;
    memory.execute_batch("BEGIN").during("replay the log")?;
    // Most of the work needs no snapshot, since the log only grows; only the rest and the comparison do.
    let replayed = replay(&file, &memory, 0)?;
    file.execute_batch("BEGIN").during("begin the comparison")?;
    let mut report = RebuildReport { events: replay(&file, &memory, replayed)?, ..RebuildReport::default() };
    for kind in KINDS {
        compare(kind, &memory, &file, &mut report)?;
    }
    compare_counts(&memory, &file, &mut report)?;
    file.execute_batch("ROLLBACK").during("end the comparison")?;
    Ok(report)
}

fn compare(
    kind: EntityKind,
    memory: &Connection,
    file: &Connection,
    report: &mut RebuildReport,
) -> Result<(), DbError> {
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    tables::each_row(memory, kind, |(id, row)| drop(expected.insert(id, row)))?;
    report.rows += expected.len() as u64;
    let mut differences = Vec::new();
    let mut differ = |line: String| {
        if differences.len() < DIFFERENCES_MAX {
            differences.push(line);
        }
    };
    tables::each_row(file, kind, |(id, row)| match expected.remove(&id) {
        None => differ(format!("{kind} `{id}` is in the table, but not in the log")),
        Some(wanted) if wanted != row => differ(format!("{kind} `{id}` is {row} in the table, {wanted} by the log")),
        Some(_) => {}
    })?;
    expected.into_keys().for_each(|id| differ(format!("{kind} `{id}` is in the log, but not in the table")));
    report.differences.extend(differences);
    report.differences.truncate(DIFFERENCES_MAX);
    Ok(())
}

fn compare_counts(memory: &Connection, file: &Connection, report: &mut RebuildReport) -> Result<(), DbError> {
    let (by_log, found) = (counts::all(memory)?, counts::all(file)?);
    let keys: BTreeSet<_> = by_log.keys().chain(found.keys()).collect();
    for key in keys {
        let [by_log, found] = [&by_log, &found].map(|counts| counts.get(key).copied().unwrap_or(0));
        if by_log != found && report.differences.len() < DIFFERENCES_MAX {
            let (kind, project, state) = key;
            let line = format!("{found} of kind {kind} are counted as {state} in `{project}`, {by_log} by the log");
            report.differences.push(line);
        }
    }
    Ok(())
}
