//! One command inside the transaction of its batch: idempotency, decision, log, tables.
//!
//! A refused command leaves no trace and does not touch its neighbours. Nearly all are refused before they write anything. One
//! that fails later has its batch executed again, without it and with a savepoint for each command, which costs a tenth of all
//! that a batch takes. Knows no thread and no queue.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use orch_core::actor::Actor;
use orch_core::command::Envelope;
use orch_core::decide::{DecideError, decide};
use orch_core::digest::Digest;
use orch_core::entity::{ApplyError, Entity, Meta};
use orch_core::ids::IdSource;
use orch_core::names::name_by_text;
use orch_core::view::{Filter, ReadError, View};
use orch_proto::id::{CommandId, ProjectId};
use orch_proto::{EntityKind, Timestamp};
use rusqlite::Connection;

use crate::fault::{FailPoint, Faults};
use crate::kept::Kept;
use crate::listeners::Listeners;
use crate::log::{self, Finished, Head, Outcome};
use crate::sqlite::{Cause, DbError, During as _};
use crate::tables::{self, TableError};

/// Most things that are named in an answer.
pub const NAMED_MAX: usize = 1_000;

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Number of its first event; none when it made none.
    pub first_seq: Option<u64>,
    /// Number of its last event; when it made none, of the newest event at that time.
    pub last_seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// This command was committed before; this is the first answer.
    pub duplicate: bool,
    /// Kind and full id of what it made or changed, the most important first.
    pub touched: Vec<(EntityKind, String)>,
    /// What people call the first [`NAMED_MAX`] of them now; nothing for the daemon's own parts, who know ids.
    pub names: Vec<String>,
    /// Worth knowing, no errors.
    pub notes: Vec<String>,
}

/// Why a command did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// It is against the rules. A refused command is not recorded: sent again, it is judged anew.
    #[error(transparent)]
    Rejected(DecideError),
    /// Its events do not fit the state.
    #[error(transparent)]
    Apply(ApplyError),
    /// The id was used before for another request.
    #[error("command `{id}` was used before for another request")]
    KeyReused { id: CommandId },
    /// Too many commands wait already. Nothing happened.
    #[error("{waiting} commands wait already")]
    Busy { waiting: usize },
    /// There is no space left. Nothing is lost; otherwise as [`Self::Storage`].
    #[error("no space left to write the state")]
    StorageFull(#[source] Cause),
    /// The state could not be read or written. The command did not happen, unless all of it was in the write-ahead log when
    /// its commit failed and that is found there after a crash or at the next try. Sending it again is safe and tells.
    #[error("failed to read or write the state")]
    Storage(#[source] Cause),
    /// A fault of the program in this command. Nothing of it happened; others are not touched.
    #[error("a fault in the program: {message}")]
    Panicked { message: String },
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// A failure that puts the whole batch in doubt.
#[derive(Debug)]
pub(crate) enum BatchFailed {
    /// Of the file. `full`: for want of space.
    Storage { full: bool, cause: Cause },
    /// A fault of the program between commands.
    Panicked { message: String },
}

impl BatchFailed {
    /// The answer for one command of the batch.
    pub(crate) fn answer(&self) -> ExecuteError {
        match self {
            Self::Storage { full: true, cause } => ExecuteError::StorageFull(cause.clone()),
            Self::Storage { full: false, cause } => ExecuteError::Storage(cause.clone()),
            Self::Panicked { message } => ExecuteError::Panicked { message: message.clone() },
        }
    }
}

impl From<DbError> for BatchFailed {
    fn from(error: DbError) -> Self {
        Self::Storage { full: error.is_full(), cause: std::sync::Arc::new(error) }
    }
}

impl From<DbError> for ExecuteError {
    fn from(error: DbError) -> Self {
        BatchFailed::from(error).answer()
    }
}

impl From<TableError> for ExecuteError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Apply(ApplyError::Illegal(illegal)) => Self::Rejected(DecideError::Illegal(illegal)),
            TableError::Apply(error) => Self::Apply(error),
            TableError::Db(error) => Self::from(error),
        }
    }
}

/// What commands of one batch share.
pub(crate) struct Batch<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) ids: &'a mut IdSource,
    pub(crate) faults: &'a Faults,
    pub(crate) listeners: &'a Listeners,
    pub(crate) kept: &'a mut Kept,
    /// End of the log, with what this batch appended.
    pub(crate) head: Head,
    /// Commands have savepoints.
    pub(crate) guarded: bool,
}

/// What became of one command of a batch.
pub(crate) struct Executed {
    /// Its answer, if the batch is committed.
    pub(crate) answer: Result<Committed, ExecuteError>,
    /// It failed with something written, so that the transaction can only be rolled back.
    pub(crate) tainted: bool,
}

impl Batch<'_> {
    /// Begins anew after a command has tainted the transaction: nothing is executed, and from here on commands are guarded.
    pub(crate) fn anew(&mut self) -> Result<(), BatchFailed> {
        self.conn.execute_batch("ROLLBACK; BEGIN IMMEDIATE").during("begin a transaction anew")?;
        *self.kept = Kept::default();
        self.head = log::head(self.conn)?;
        self.guarded = true;
        Ok(())
    }

    /// Executes one command.
    pub(crate) fn execute(&mut self, envelope: &Envelope, now: Timestamp) -> Result<Executed, BatchFailed> {
        if self.guarded {
            self.statement("SAVEPOINT command")?;
        }
        let before = self.head;
        let done = catch_unwind(AssertUnwindSafe(|| self.attempt(envelope, now)));
        let (error, wrote) = match done {
            Ok(Ok(committed)) => {
                if self.guarded {
                    self.statement("RELEASE command")?;
                }
                return Ok(Executed { answer: Ok(committed), tainted: false });
            }
            Ok(Err(Attempt::Db(error))) if error.is_of_the_file() => return Err(error.into()),
            Ok(Err(Attempt::Db(error))) => (error.into(), true),
            // What refuses an event does so before the event is written, so only those before it may have been.
            Ok(Err(Attempt::Refused(error))) => (error, self.head.seq != before.seq),
            Err(panic) => (ExecuteError::Panicked { message: panic_text(&*panic) }, true),
        };
        if self.guarded {
            self.head = before;
            *self.kept = Kept::default();
            self.statement("ROLLBACK TO command")?;
            self.statement("RELEASE command")?;
        }
        Ok(Executed { answer: Err(error), tainted: wrote && !self.guarded })
    }

    fn statement(&self, sql: &str) -> Result<(), DbError> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).during("mark a command")?;
        Ok(())
    }

    fn attempt(&mut self, envelope: &Envelope, now: Timestamp) -> Result<Committed, Attempt> {
        if let Some(finished) = log::finished(self.conn, envelope.id)? {
            let view = TxView { conn: self.conn, kept: RefCell::new(self.kept) };
            return again(&view, envelope.id, (envelope.request, finished))?.map_err(Attempt::Refused);
        }
        self.faults.point(FailPoint::Deciding)?;
        // The log's time never runs backward, whatever the clock does, and neither do ids. Rules look at the clock, as those do
        // who choose by it.
        let at = now.max(self.head.at);
        self.ids.sort_from(at);
        let view = TxView { conn: self.conn, kept: RefCell::new(self.kept) };
        let decided = decide(&view, &envelope.command, &envelope.actor, now, self.ids)?;
        let first_seq = (!decided.events.is_empty()).then_some(self.head.seq + 1);
        for event in &decided.events {
            let meta = Meta { at, actor: &envelope.actor };
            let project = tables::apply((self.conn, self.kept), self.head.seq + 1, event, meta)?;
            self.faults.point(FailPoint::Applied)?;
            self.head = log::append(self.conn, self.head, envelope, (at, project), event)?;
            self.listeners.written(event);
            self.faults.point(FailPoint::Appended)?;
        }
        let outcome = Outcome { touched: decided.touched, notes: decided.notes };
        let finished = Finished { request: envelope.request, first_seq, last_seq: self.head.seq, at, outcome };
        // The daemon's parts look again and again; that they found nothing to do is not worth a row and a sync. What they did
        // has one although nobody sends it again: these records also tell when the end of the log was cut off.
        let is_idle = first_seq.is_none() && matches!(envelope.actor, Actor::Daemon { .. });
        if !is_idle {
            log::finish(self.conn, envelope.id, &finished)?;
            self.faults.point(FailPoint::Finished)?;
        }
        let asks = !matches!(envelope.actor, Actor::Daemon { .. });
        let view = TxView { conn: self.conn, kept: RefCell::new(self.kept) };
        let names = if asks { names(&view, &finished)? } else { Vec::new() };
        Ok(committed(finished, names, false))
    }
}

/// Why one attempt ended.
enum Attempt {
    Refused(ExecuteError),
    Db(DbError),
}

impl From<DbError> for Attempt {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<TableError> for Attempt {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Db(error) => Self::Db(error),
            TableError::Apply(_) => Self::Refused(error.into()),
        }
    }
}

impl From<ReadError> for Attempt {
    fn from(error: ReadError) -> Self {
        DecideError::Read(error).into()
    }
}

impl From<DecideError> for Attempt {
    fn from(error: DecideError) -> Self {
        match error {
            // What a view of this crate reports is an error of this crate, whatever the core says about it.
            DecideError::Read(ReadError(cause)) => match cause.downcast::<DbError>() {
                Ok(error) => Self::Db(*error),
                Err(cause) => Self::Refused(ExecuteError::Storage(Cause::from(cause))),
            },
            rejected => Self::Refused(ExecuteError::Rejected(rejected)),
        }
    }
}

/// The first answer to a command that was committed before, if it was this request's.
pub(crate) fn again(
    view: &impl View,
    id: CommandId,
    (request, finished): (Digest, Finished),
) -> Result<Result<Committed, ExecuteError>, ReadError> {
    if finished.request != request {
        return Ok(Err(ExecuteError::KeyReused { id }));
    }
    let names = names(view, &finished)?;
    Ok(Ok(committed(finished, names, true)))
}

fn names(view: &impl View, finished: &Finished) -> Result<Vec<String>, ReadError> {
    let touched = finished.outcome.touched.iter().take(NAMED_MAX);
    touched.map(|(kind, id)| name_by_text(view, *kind, id)).collect()
}

fn committed(finished: Finished, names: Vec<String>, duplicate: bool) -> Committed {
    let Finished { first_seq, last_seq, at, outcome: Outcome { touched, notes }, request: _ } = finished;
    Committed { first_seq, last_seq, at, duplicate, touched, names, notes }
}

/// The text that a panic came with.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// What `decide` sees: the state inside the transaction, with what earlier commands of the batch did.
struct TxView<'a> {
    conn: &'a Connection,
    kept: RefCell<&'a mut Kept>,
}

impl View for TxView<'_> {
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError> {
        Ok(tables::get_kept(self.conn, &mut self.kept.borrow_mut(), id)?)
    }

    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError> {
        Ok(tables::list(self.conn, filter)?)
    }

    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError> {
        Ok(tables::last_number(self.conn, kind, project)?)
    }

    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        Ok(tables::by_number(self.conn, project, number)?)
    }
}
