//! The writer: the one thread with the one read-write connection. Makes batches of what waits and commits each once.
//!
//! A batch is what is in the queue while it is being worked on; there is no timer. Everybody in it is answered after the
//! commit, and by the same error when it fails: nothing is ever half done. After a failure of the file the connection is
//! opened anew before the next batch, and the thread lives on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use orch_core::command::Envelope;
use orch_core::ids::IdSource;
use orch_proto::Timestamp;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::execute::{Batch, BatchFailed, Committed, ExecuteError, Executed, panic_text};
use crate::fault::{FailPoint, Faults};
use crate::kept::Kept;
use crate::listeners::Listeners;
use crate::log;
use crate::schema;
use crate::sqlite::{DbError, During as _, LOCK_WAIT, Location, open_writer};
use crate::store::Clock;

/// Most commands that wait to be executed. More are refused at once.
pub const WRITE_QUEUE_MAX: usize = 4_096;
/// Most commands that are committed together.
pub const BATCH_COMMANDS_MAX: usize = 1_000;
/// Events in a batch after which no further command is taken into it.
const BATCH_EVENTS_MAX: u64 = 10_000;
/// Pages in the write-ahead log after which it is brought home between two batches: 16 MiB. A batch of a hundred commands has
/// some hundreds of pages, mostly those of the batch before, and each is brought home once only.
const WAL_PAGES_PASSIVE: u64 = 4_000;
/// Pages after which the writer also waits for readers, so that the log starts anew: 64 MiB.
const WAL_PAGES_RESTART: u64 = 16_384;
/// Pages by which the log grows before readers are waited for once more that did not let it start anew: 16 MiB. One who copies
/// the whole file does so for minutes, in which everybody else is to be answered.
const WAL_PAGES_AGAIN: u64 = 4_096;
/// How long they are waited for. Most reads take a few milliseconds.
const RESTART_WAIT: Duration = Duration::from_millis(20);
/// Quiet time after which the log is brought home.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) type Answer = Result<Committed, ExecuteError>;

/// How long after a failure it is tried whether the file can be written again, while nobody asks for anything.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What waits, and who waits for it.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are commands")]
pub(crate) enum Job {
    /// A command to execute.
    Command { envelope: Envelope, answer: oneshot::Sender<Answer> },
    /// Records of commands to forget, of those that were executed before the given time, and how many of them at most.
    Forget { before: Timestamp, most: u32, answer: oneshot::Sender<Forgotten> },
}

/// How many records were forgotten.
pub(crate) type Forgotten = Result<u64, ExecuteError>;

/// A job and what it came to, to be told after the commit.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are commands")]
enum Done {
    Command { envelope: Envelope, answer: oneshot::Sender<Answer>, result: Answer },
    Forget { before: Timestamp, most: u32, answer: oneshot::Sender<Forgotten>, result: Forgotten },
}

impl Done {
    /// Tells who waits for it. Whoever asked may have gone; what was done stands.
    fn tell(self, failed: Option<&BatchFailed>) {
        match self {
            Self::Command { answer, result, .. } => {
                drop(answer.send(failed.map_or(result, |failed| Err(failed.answer()))));
            }
            Self::Forget { answer, result, .. } => {
                drop(answer.send(failed.map_or(result, |failed| Err(failed.answer()))));
            }
        }
    }

    /// Does it once more, in a transaction that was begun anew.
    fn again(&mut self, batch: &mut Batch<'_>, now: Timestamp) -> Result<(), BatchFailed> {
        match self {
            Self::Command { envelope, result, .. } => *result = batch.execute(envelope, now)?.answer,
            Self::Forget { before, most, result, .. } => {
                *result = Ok(log::forget(batch.conn, batch.head, *before, *most)?);
            }
        }
        Ok(())
    }
}

impl Job {
    /// The same job as one that was not done because the batch failed.
    fn not_done(self) -> Done {
        match self {
            Self::Command { envelope, answer } => Done::Command { envelope, answer, result: Err(ExecuteError::Closed) },
            Self::Forget { before, most, answer } => {
                Done::Forget { before, most, answer, result: Err(ExecuteError::Closed) }
            }
        }
    }
}

/// The state cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the first commit failed.
    pub since: Timestamp,
    /// For want of space.
    pub is_full: bool,
    /// What failed, with its causes.
    pub reason: String,
}

/// Counts of what the writer did, readable by all threads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
    pub(crate) wal_pages: Arc<AtomicU64>,
}

/// What the thread owns.
pub(crate) struct Writer {
    pub(crate) location: Location,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) ids: IdSource,
    pub(crate) queue: Receiver<Job>,
    pub(crate) newest: Arc<watch::Sender<u64>>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) counters: Arc<Counters>,
    /// Whether the file cannot be written.
    pub(crate) outage: Arc<watch::Sender<Option<Outage>>>,
    /// What the rows say that were used last, in the transactions of `conn`.
    pub(crate) kept: Kept,
    /// None after a failure of the file, until it is opened anew.
    pub(crate) conn: Option<Connection>,
    /// Pages in the write-ahead log with which readers are waited for.
    pub(crate) restart_at: u64,
}

impl Writer {
    /// Works until all senders of the queue are gone, then leaves a clean file.
    pub(crate) fn run(mut self) {
        while let Some(job) = self.wait() {
            self.serve(job);
        }
        self.finish();
    }

    /// Serves one batch of what waits; answers whether anything did.
    #[cfg(feature = "test-util")]
    pub(crate) fn serve_waiting(&mut self) -> bool {
        let waiting = self.queue.try_recv();
        let waits = waiting.is_ok();
        waiting.into_iter().for_each(|job| self.serve(job));
        waits
    }

    /// Leaves a clean file.
    pub(crate) fn finish(mut self) {
        self.checkpoint("TRUNCATE");
        if let Some(Err((_, error))) = self.conn.take().map(Connection::close) {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to close the state");
        }
    }

    /// Opens the file again if that works now. Nobody has to send a command for it.
    pub(crate) fn try_again(&mut self) {
        if self.conn.is_some() {
            return;
        }
        match self.reopen() {
            Ok(conn) => {
                self.conn = Some(conn);
                self.recovered();
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the state still cannot be written");
                self.note(&error.into());
            }
        }
    }

    /// Says that the file cannot be written. Since when is that of the first failure.
    fn note(&self, failed: &BatchFailed) {
        let BatchFailed::Storage { full, cause } = failed else { return };
        let causes = std::iter::successors(Some(&**cause as &dyn std::error::Error), |error| error.source());
        let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        self.outage.send_if_modified(|outage| {
            let since = outage.as_ref().map_or_else(&*self.clock, |outage| outage.since);
            let new = Some(Outage { since, is_full: *full, reason });
            let is_news = *outage != new;
            *outage = new;
            is_news
        });
    }

    fn wait(&mut self) -> Option<Job> {
        loop {
            let is_out = self.conn.is_none();
            if !is_out && self.counters.wal_pages.load(Ordering::Relaxed) == 0 {
                return self.queue.recv().ok();
            }
            match self.queue.recv_timeout(if is_out { TRY_AGAIN } else { IDLE }) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if is_out => self.try_again(),
                Err(RecvTimeoutError::Timeout) => self.rest(),
            }
        }
    }

    /// Uses a quiet moment to bring the log home.
    pub(crate) fn rest(&self) {
        self.checkpoint("PASSIVE");
        // What a reader holds back is brought home after the next batch.
        self.counters.wal_pages.store(0, Ordering::Relaxed);
    }

    fn serve(&mut self, first: Job) {
        let mut waiting = Vec::new();
        let done = catch_unwind(AssertUnwindSafe(|| self.batch(first, &mut waiting)));
        let failed = match done {
            Ok(Ok(newest)) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.recovered();
                self.newest.send_if_modified(|seen| std::mem::replace(seen, newest) != newest);
                self.listeners.committed(newest);
                None
            }
            Ok(Err(failed)) => Some(failed),
            Err(panic) => Some(BatchFailed::Panicked { message: panic_text(&*panic) }),
        };
        if let Some(failed) = &failed {
            self.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
            // The log has it once: it is tried again and again.
            if self.outage.borrow().is_none() {
                tracing::error!(
                    error = &failed.answer() as &dyn std::error::Error,
                    "failed to commit; opening the state anew"
                );
            }
            self.note(failed);
            // Dropping the connection rolls back. The next batch opens it anew.
            self.conn = None;
            self.kept = Kept::default();
            self.listeners.in_doubt();
        }
        self.counters.commands.fetch_add(waiting.len() as u64, Ordering::Relaxed);
        waiting.into_iter().for_each(|done| done.tell(failed.as_ref()));
        self.keep_small();
    }

    /// Brings the log home when it has grown, and has it start anew when it has grown much. Whoever reads is not waited for long and
    /// not often: so long everybody waits who writes.
    fn keep_small(&mut self) {
        let wal_pages = self.counters.wal_pages.load(Ordering::Relaxed);
        if wal_pages < WAL_PAGES_RESTART {
            self.restart_at = WAL_PAGES_RESTART;
        }
        if wal_pages >= self.restart_at {
            self.restart();
            self.restart_at = wal_pages.saturating_add(WAL_PAGES_AGAIN);
        } else if wal_pages >= WAL_PAGES_PASSIVE {
            self.checkpoint("PASSIVE");
        }
    }

    fn restart(&self) {
        let Some(conn) = &self.conn else { return };
        let wait = |time| conn.busy_timeout(time).during("set up the connection");
        let restarted = wait(RESTART_WAIT).and_then(|()| self.bring_home(conn, "RESTART"));
        if let Err(error) = restarted.and(wait(LOCK_WAIT)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to bring the log home");
        }
    }

    /// Executes what waits in one transaction; answers the newest event number.
    fn batch(&mut self, first: Job, waiting: &mut Vec<Done>) -> Result<u64, BatchFailed> {
        let mut next = Some(first);
        let result = self.transaction(&mut next, waiting);
        if result.is_err() {
            // A command that was taken from the queue and not executed gets the same answer as the others.
            waiting.extend(next.map(Job::not_done));
        }
        result
    }

    fn transaction(&mut self, next: &mut Option<Job>, waiting: &mut Vec<Done>) -> Result<u64, BatchFailed> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.reopen()?,
        };
        let conn = self.conn.insert(conn);
        conn.execute_batch("BEGIN IMMEDIATE").during("begin a transaction")?;
        self.faults.point(FailPoint::Begun)?;
        let head = log::head(conn)?;
        let (ids, kept) = (&mut self.ids, &mut self.kept);
        let mut batch =
            Batch { conn, ids, faults: &self.faults, listeners: &self.listeners, kept, head, guarded: false };
        while let Some(job) = next.take() {
            match job {
                Job::Command { envelope, answer } => match batch.execute(&envelope, (self.clock)()) {
                    Ok(Executed { answer: result, tainted }) => {
                        waiting.push(Done::Command { envelope, answer, result });
                        if tainted {
                            without_last(&mut batch, waiting, &self.clock)?;
                        }
                    }
                    Err(failed) => {
                        *next = Some(Job::Command { envelope, answer });
                        return Err(failed);
                    }
                },
                Job::Forget { before, most, answer } => match log::forget(batch.conn, batch.head, before, most) {
                    Ok(forgotten) => waiting.push(Done::Forget { before, most, answer, result: Ok(forgotten) }),
                    Err(error) => {
                        *next = Some(Job::Forget { before, most, answer });
                        return Err(error.into());
                    }
                },
            }
            if waiting.len() < BATCH_COMMANDS_MAX && batch.head.seq - head.seq < BATCH_EVENTS_MAX {
                *next = self.queue.try_recv().ok();
            }
        }
        let newest = batch.head.seq;
        self.faults.point(FailPoint::Committing)?;
        conn.execute_batch("COMMIT").during("commit")?;
        self.faults.point(FailPoint::Committed)?;
        Ok(newest)
    }

    /// Opens the file again after a failure, and proves by a commit that it can be written.
    ///
    /// The commit also overwrites what the failed one may have left at the end of the write-ahead log, so that a crash
    /// cannot bring to life what was answered as failed.
    fn reopen(&self) -> Result<Connection, DbError> {
        let conn = open(&self.location, &self.faults, &self.counters)?;
        self.settle(&conn, "PASSIVE")?;
        conn.execute_batch("BEGIN IMMEDIATE").during("prove that the state can be written")?;
        let count = schema::meta(&conn, "reopened")?.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        schema::set_meta(&conn, "reopened", &(count + 1).to_string())?;
        conn.execute_batch("COMMIT").during("prove that the state can be written")?;
        Ok(conn)
    }

    /// Says that the file can be written, if that was not so: nobody waits for anything that still fails.
    fn recovered(&self) {
        if self.outage.send_if_modified(|outage| outage.take().is_some()) {
            tracing::info!("the state can be written again");
        }
    }

    /// Brings the write-ahead log home into the file, as far as readers let it.
    pub(crate) fn checkpoint(&self, mode: &'static str) {
        let Some(conn) = &self.conn else { return };
        if let Err(error) = self.bring_home(conn, mode) {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to bring the log home");
        }
    }

    /// Makes durable what a connection found in the write-ahead log when it was opened.
    ///
    /// A process that was killed, or a commit that failed, may have left it there without a sync, and SQLite takes it as
    /// committed. What is answered or written on top of it would go with it when the power is cut.
    pub(crate) fn settle(&self, conn: &Connection, mode: &'static str) -> Result<(), DbError> {
        match self.bring_home(conn, mode) {
            // The log was synced before there was no room in the file.
            Err(error) if error.is_full() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no room to bring the log home");
                Ok(())
            }
            settled => settled,
        }
    }

    fn bring_home(&self, conn: &Connection, mode: &'static str) -> Result<(), DbError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let (busy, pages, home): (bool, i64, i64) = conn
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .during("bring the write-ahead log home")?;
        if pages == home {
            self.counters.wal_pages.store(0, Ordering::Relaxed);
        } else {
            tracing::debug!(busy, pages, home, "a reader holds the write-ahead log back");
        }
        Ok(())
    }
}

/// Begins the transaction anew and does in it what was done before the last job, which has tainted it.
fn without_last(batch: &mut Batch<'_>, done: &mut [Done], clock: &Clock) -> Result<(), BatchFailed> {
    batch.anew()?;
    let before = done.split_last_mut().map_or(&mut [][..], |(_, before)| before);
    before.iter_mut().try_for_each(|done| done.again(batch, clock()))
}

/// The connection that writes, with the size of its log counted.
pub(crate) fn open(location: &Location, faults: &Faults, counters: &Counters) -> Result<Connection, DbError> {
    let mut conn = open_writer(location)?;
    let wal_pages = Arc::clone(&counters.wal_pages);
    let count = move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
        wal_pages.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    };
    conn.wal_hook(Some(count)).during("watch the write-ahead log")?;
    faults.limit(&conn)?;
    Ok(conn)
}
