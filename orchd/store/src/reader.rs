//! Readers: a small pool of connections that cannot write, each read in one transaction with a deadline.
//!
//! An open read keeps the write-ahead log from starting anew, so none may last: SQLite is interrupted at the deadline.
//! Nothing here may be held across an await.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orch_core::digest::Digest;
use orch_core::entity::Entity;
use orch_core::event::Event;
use orch_core::view::{Filter, ReadError, View};
use orch_proto::id::{CommandId, ProjectId};
use orch_proto::{EntityKind, Timestamp};
use rusqlite::Connection;

use crate::counts;
use crate::execute::{self, Committed, ExecuteError};
use crate::log::{self, Happened, RawEvent, StoredEvent, Trace};
use crate::newest;
use crate::sqlite::{DbError, During as _, Location, open_reader};
use crate::tables;

/// Most reads at the same time. More wait.
pub const READERS_MAX: usize = 4;
/// Shortest deadline of a read, in milliseconds.
pub const READ_DEADLINE_MS_MIN: u64 = 250;
/// Longest deadline of a read, and longest wait for a connection, in milliseconds.
pub const READ_DEADLINE_MS_MAX: u64 = 5_000;
/// Deadline of a read that says nothing about it, in milliseconds.
pub const READ_DEADLINE_MS: u64 = 2_000;
/// Instructions of SQLite's machine between two looks at the clock.
const OPS_PER_LOOK: i32 = 1_000;

/// Why a read failed for want of time. The source of a [`ReadError`]; anything else there is of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// All connections are in use.
    #[error("{READERS_MAX} reads are under way already")]
    Busy,
    /// The read took longer than it may.
    #[error("the read took longer than {deadline_ms} ms")]
    Deadline { deadline_ms: u64 },
}

/// Which events to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those with a greater number.
    pub after: u64,
    /// At most so many. Fewer are read when they are large.
    pub limit: u32,
    /// Only those of this project.
    pub project: Option<ProjectId>,
    /// Only what happened to the thing with this full id. Wins over `project`.
    pub subject: Option<String>,
}

/// One state of everything, as of the event [`Self::seq`].
#[derive(Debug)]
pub struct ReadView<'a> {
    conn: &'a Connection,
    deadline: &'a Deadline,
    seq: u64,
}

impl<'a> ReadView<'a> {
    pub(crate) const fn new(conn: &'a Connection, deadline: &'a Deadline, seq: u64) -> Self {
        Self { conn, deadline, seq }
    }
}

impl ReadView<'_> {
    /// Number of the newest event that this state knows; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The events after `after`, in order: at most `limit`, fewer when they are large, none when there are no more.
    ///
    /// # Errors
    /// When they cannot be read, or a newer version of the program wrote one; the error names its number.
    pub fn events(&self, after: u64, limit: u32) -> Result<Vec<StoredEvent>, ReadError> {
        self.query(&EventQuery { after, limit, ..EventQuery::default() })
    }

    /// The events that fit, in order.
    ///
    /// # Errors
    /// As [`Self::events`].
    pub fn query(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, ReadError> {
        self.timed(|conn| {
            let rows = RawEvent::after(conn, (query.after, query.limit), query.project, query.subject.as_deref())?;
            rows.into_iter().map(RawEvent::decode).collect()
        })
    }

    /// What the command with this id came to, if it was committed: what the store answers when it is sent again. Asked
    /// where the command itself cannot be made any more, since the state moved on.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn answered(
        &self,
        id: CommandId,
        request: Digest,
    ) -> Result<Option<Result<Committed, ExecuteError>>, ReadError> {
        let finished = self.timed(|conn| log::finished(conn, id))?;
        finished.map(|finished| execute::again(self, id, (request, finished))).transpose()
    }

    /// What happened after `after`, in order and without what it was: at most `limit`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn happened_since(&self, after: u64, limit: u32) -> Result<Vec<Happened>, ReadError> {
        self.timed(|conn| log::happened_since(conn, after, limit))
    }

    /// Calls `take` with each event before `before`, the newest first and without what it was, until it wants no more.
    /// Looks at `limit` events at most; answers whether there are more before them.
    ///
    /// # Errors
    /// When the log cannot be read. Some may have been taken.
    pub fn each_event_before(
        &self,
        before: u64,
        limit: u32,
        take: impl FnMut(Trace) -> ControlFlow<()>,
    ) -> Result<bool, ReadError> {
        self.timed(|conn| log::each_before(conn, (before, limit), take))
    }

    /// The newest event after `after` that happened to the thing with this full id, without what it was.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn newest_event_of(&self, subject: &str, after: u64) -> Result<Option<Trace>, ReadError> {
        self.timed(|conn| log::newest_of(conn, subject, after))
    }

    /// Calls `take` with number, time and content of each event after `after` whose kind, as `task.started`, is wanted,
    /// in order, without holding more than one. Looks at `limit` events at most; answers the number of the last that it
    /// looked at, none when there are no more.
    ///
    /// # Errors
    /// As [`Self::events`]. Some may have been taken.
    pub fn each_event_since(
        &self,
        (after, limit): (u64, u32),
        wants: impl Fn(&str) -> bool,
        take: impl FnMut(u64, Timestamp, &Event),
    ) -> Result<Option<u64>, ReadError> {
        self.timed(|conn| log::each_since(conn, (after, limit), wants, take))
    }

    /// Calls `take` with each entity that fits, by number, without holding more than one.
    ///
    /// # Errors
    /// When the state cannot be read. Some may have been taken.
    pub fn each<E: Entity>(&self, filter: &Filter, take: impl FnMut(E)) -> Result<(), ReadError> {
        self.timed(|conn| tables::each(conn, filter, take))
    }

    /// The entities whose ids are greater than `after`, by id and so by the time at which they were made: at most `limit`,
    /// none when there are no more. Over several reads, what is made meanwhile comes at the end.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn page<E: Entity>(&self, after: Option<E::Id>, limit: u32) -> Result<Vec<E>, ReadError> {
        let mut found = Vec::new();
        self.each_on_page((after, limit), |entity| found.push(entity))?;
        Ok(found)
    }

    /// Calls `take` with each of those that [`Self::page`] answers, without holding more than one.
    ///
    /// # Errors
    /// When the state cannot be read. Some may have been taken.
    pub fn each_on_page<E: Entity>(&self, page: (Option<E::Id>, u32), take: impl FnMut(E)) -> Result<(), ReadError> {
        self.timed(|conn| tables::each_on_page(conn, page, take))
    }

    /// Calls `take` with each of the open entities behind the one with this number in this project, by project and number, without
    /// holding more than one: at most so many, none when there are no more. Over several reads, what became open or is open no more
    /// meanwhile may be missed: the log says of it.
    ///
    /// # Errors
    /// When the state cannot be read. Some may have been taken.
    pub fn each_open_on_page<E: Entity>(
        &self,
        page: (Option<(ProjectId, u32)>, u32),
        take: impl FnMut(E),
    ) -> Result<(), ReadError> {
        self.timed(|conn| tables::each_open_on_page(conn, page, take))
    }

    /// The entity with this number in its project.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn by_number<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        self.timed(|conn| tables::by_number(conn, project, number))
    }

    /// The newest entity, of a project or of all: ids sort by time.
    ///
    /// # Errors
    /// When the state cannot be read in time.
    pub fn newest<E: Entity>(&self, project: Option<ProjectId>) -> Result<Option<E>, ReadError> {
        self.timed(|conn| tables::newest(conn, project))
    }

    /// The project of the thing with this full id, if there is such a thing.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn project_of_subject(&self, kind: EntityKind, id: &str) -> Result<Option<ProjectId>, ReadError> {
        self.timed(|conn| tables::project_of(conn, kind, id))
    }

    /// Calls `take` with each entity that fits and is in one of the states (in any, if none is named), the newest first,
    /// until it wants no more. What is not taken is not read, however much there is.
    ///
    /// # Errors
    /// When the state cannot be read. Some may have been taken.
    pub fn each_newest<E: Entity>(
        &self,
        filter: &Filter,
        states: &[&str],
        take: impl FnMut(E) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.timed(|conn| newest::each(conn, filter, states, take))
    }

    /// How many things of the kind are in each state, in a project or over all. Counted as they change: this reads no more
    /// when there are more.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn count_by_state(
        &self,
        kind: EntityKind,
        project: Option<ProjectId>,
    ) -> Result<BTreeMap<String, u64>, ReadError> {
        self.timed(|conn| counts::by_state(conn, kind, project))
    }

    fn timed<T>(&self, read: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, ReadError> {
        let deadline_ms = self.deadline.ms.load(Ordering::Relaxed);
        let fault = || ReadError(Box::new(ReadFault::Deadline { deadline_ms }));
        if self.deadline.is_over() {
            return Err(fault());
        }
        read(self.conn).map_err(|error| if error.is_interrupted() { fault() } else { error.into() })
    }
}

impl View for ReadView<'_> {
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError> {
        self.timed(|conn| tables::get(conn, id))
    }

    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError> {
        self.timed(|conn| tables::list(conn, filter))
    }

    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError> {
        self.timed(|conn| tables::last_number(conn, kind, project))
    }

    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        self.by_number(project, number)
    }
}

/// When the read of a connection has to end. Shared with SQLite's progress handler.
#[derive(Debug)]
pub(crate) struct Deadline {
    origin: Instant,
    /// Milliseconds that the read was given.
    ms: AtomicU64,
    /// Milliseconds after `origin`; `u64::MAX` between reads.
    until_ms: AtomicU64,
}

impl Deadline {
    fn new() -> Self {
        Self { origin: Instant::now(), ms: AtomicU64::new(0), until_ms: AtomicU64::new(u64::MAX) }
    }

    /// One that no read meets.
    pub(crate) fn never() -> Self {
        Self::new()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn set(&self, ms: u64) {
        self.ms.store(ms, Ordering::Relaxed);
        self.until_ms.store(self.now_ms().saturating_add(ms), Ordering::Relaxed);
    }

    fn clear(&self) {
        self.until_ms.store(u64::MAX, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.now_ms() >= self.until_ms.load(Ordering::Relaxed)
    }
}

struct Reader {
    conn: Connection,
    deadline: Arc<Deadline>,
}

impl Reader {
    fn open(location: &Location) -> Result<Self, DbError> {
        let mut conn = open_reader(location)?;
        let deadline = Arc::new(Deadline::new());
        let seen = Arc::clone(&deadline);
        conn.progress_handler(OPS_PER_LOOK, Some(move || seen.is_over())).during("set up a reading connection")?;
        Ok(Self { conn, deadline })
    }
}

/// The connections.
pub(crate) struct Pool {
    location: Location,
    state: Mutex<PoolState>,
    returned: Condvar,
}

#[derive(Default)]
struct PoolState {
    idle: Vec<Reader>,
    in_use: usize,
}

impl Pool {
    pub(crate) fn new(location: Location) -> Self {
        Self { location, state: Mutex::default(), returned: Condvar::new() }
    }

    pub(crate) fn read<T, E: From<ReadError>>(
        &self,
        deadline_ms: u64,
        reader: impl FnOnce(&ReadView<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let lease = self.lease()?;
        let Reader { conn, deadline } = lease.reader();
        deadline.set(deadline_ms.clamp(READ_DEADLINE_MS_MIN, READ_DEADLINE_MS_MAX));
        conn.execute_batch("BEGIN").during("begin a read").map_err(ReadError::from)?;
        // The first statement that reads takes the snapshot.
        let seq = log::head(conn).map_err(ReadError::from)?.seq;
        reader(&ReadView { conn, deadline, seq })
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        // The state is counted before and after what may panic, never within.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> Result<Lease<'_>, ReadError> {
        let wait = Duration::from_millis(READ_DEADLINE_MS_MAX);
        let (mut state, waited) = self
            .returned
            .wait_timeout_while(self.lock(), wait, |state| state.in_use >= READERS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(ReadError(Box::new(ReadFault::Busy)));
        }
        state.in_use += 1;
        let idle = state.idle.pop();
        drop(state);
        let mut lease = Lease { pool: self, reader: None };
        lease.reader = Some(match idle {
            Some(reader) => reader,
            None => Reader::open(&self.location)?,
        });
        Ok(lease)
    }
}

/// A connection in use. Ends its transaction and gives it back, also when the reader panics.
struct Lease<'a> {
    pool: &'a Pool,
    reader: Option<Reader>,
}

impl Lease<'_> {
    const fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("a lease holds its reader until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let reader = self.reader.take().filter(|reader| {
            reader.deadline.clear();
            reader.conn.is_autocommit() || reader.conn.execute_batch("ROLLBACK").is_ok()
        });
        let mut state = self.pool.lock();
        state.in_use -= 1;
        state.idle.extend(reader);
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite itself is interrupted, not only the calls between statements.
    #[test]
    fn one_statement_that_takes_too_long_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::new(&dir.path().join("orch.db"), None);
        drop(crate::sqlite::open_writer(&location).unwrap());
        let pool = Pool::new(location);
        let lease = pool.lease().unwrap();
        let Reader { conn, deadline } = lease.reader();
        deadline.set(50);
        let endless = "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up) SELECT count(*) FROM up";
        let error = conn.query_row(endless, [], |row| row.get::<_, i64>(0)).during("count for ever").unwrap_err();
        assert!(error.is_interrupted(), "{error:?}");
        deadline.clear();
        assert_eq!(conn.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }
}
