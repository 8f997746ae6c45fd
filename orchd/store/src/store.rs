//! The store as callers have it: open, execute, read, follow.
//!
//! Cheap to clone; the last clone that goes waits until all that was queued is committed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use orch_core::command::Envelope;
use orch_core::event::Event;
use orch_core::ids::IdSource;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::InstanceId;
use tokio::sync::{oneshot, watch};

use crate::execute::{Committed, ExecuteError};
use crate::fault::Faults;
use crate::kept::Kept;
use crate::listeners::Listeners;
use crate::log;
use crate::reader::{Pool, READ_DEADLINE_MS, ReadView};
use crate::rebuild;
use crate::schema::{self, OpenError};
use crate::sqlite::{DbError, Location};
use crate::writer::{self, Answer, Counters, Job, Outage, WRITE_QUEUE_MAX, Writer};

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a store is opened with.
pub struct OpenOptions {
    /// Ids are drawn from it. 32 random bytes, new at every start.
    pub seed: [u8; 32],
    /// The time of commands. May run backward; the log's time does not.
    pub clock: Clock,
    /// Registered name of the SQLite VFS that keeps the file; none for the files of the operating system. With one, the
    /// path is the VFS's to understand, and so is who may read the file.
    pub vfs: Option<String>,
}

/// The state of an installation. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// Counts since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Commands answered, with those that were refused.
    pub commands: u64,
    /// Transactions committed. Fewer than commands when they came together.
    pub commits: u64,
    /// Transactions that failed as a whole.
    pub failed_commits: u64,
    /// Pages in the write-ahead log after the last commit.
    pub wal_pages: u64,
}

struct Inner {
    location: Location,
    instance: InstanceId,
    /// Taken when the store is dropped, which ends the thread.
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    newest: Arc<watch::Sender<u64>>,
    listeners: Arc<Listeners>,
    counters: Arc<Counters>,
    outage: Arc<watch::Sender<Option<Outage>>>,
    readers: Pool,
}

impl Store {
    /// Opens the file, or creates it; brings it to the newest schema and its tables to the newest projection.
    ///
    /// # Errors
    /// When the file is of a newer version or of another program (it is untouched then), or cannot be read or written.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        Self::start(path, options, Faults::default())
    }

    /// Like [`Self::open`], with things that go wrong.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(feature = "test-util")]
    pub fn open_with_faults(path: &Path, options: OpenOptions, faults: Faults) -> Result<Self, OpenError> {
        Self::start(path, options, faults)
    }

    /// Like [`Self::open`], with a writer that has no thread.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(feature = "test-util")]
    pub fn open_by_hand(path: &Path, options: OpenOptions) -> Result<(Self, HandWriter), OpenError> {
        let (inner, writer) = Self::prepare(path, options, Faults::default())?;
        Ok((Self(Arc::new(inner)), HandWriter(writer)))
    }

    fn start(path: &Path, options: OpenOptions, faults: Faults) -> Result<Self, OpenError> {
        let (mut inner, writer) = Self::prepare(path, options, faults)?;
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        inner.thread = Some(thread);
        Ok(Self(Arc::new(inner)))
    }

    /// All but the thread.
    fn prepare(path: &Path, options: OpenOptions, faults: Faults) -> Result<(Inner, Writer), OpenError> {
        let database = |error: DbError| OpenError::database(path, error);
        let location = Location::new(path, options.vfs);
        schema::check_untouched(&location)?;
        schema::create_private(&location)?;
        let counters = Arc::new(Counters::default());
        let mut conn = writer::open(&location, &faults, &counters).map_err(database)?;
        schema::migrate(&mut conn).map_err(database)?;
        rebuild::if_outdated(&mut conn, path)?;
        let mut ids = IdSource::seeded(options.seed);
        let instance = schema::instance(&conn, ids.draw((options.clock)())).map_err(database)?;
        let newest = Arc::new(watch::Sender::new(log::head(&conn).map_err(database)?.seq));
        let listeners = Arc::new(Listeners::default());
        let outage = Arc::new(watch::Sender::new(None));
        let (queue, jobs) = sync_channel(WRITE_QUEUE_MAX);
        let mut writer = Writer {
            location: location.clone(),
            clock: options.clock,
            faults,
            ids,
            queue: jobs,
            newest: Arc::clone(&newest),
            listeners: Arc::clone(&listeners),
            counters: Arc::clone(&counters),
            outage: Arc::clone(&outage),
            kept: Kept::default(),
            conn: None,
            restart_at: 0,
        };
        // The newest header lies in the file itself from here on, and a full disk has room in the log.
        writer.settle(&conn, "TRUNCATE").map_err(database)?;
        writer.conn = Some(conn);
        let readers = Pool::new(location.clone());
        let queue = Some(queue);
        Ok((Inner { location, instance, queue, thread: None, newest, listeners, counters, outage, readers }, writer))
    }

    /// Executes a command: whole and durable when this answers, or not at all.
    ///
    /// The command is queued at once, not when the future is first polled, and a future that is dropped does not take it
    /// back: to learn what became of it, send the same envelope again.
    ///
    /// # Errors
    /// When the command is refused: nothing of it has happened then. Or when the state cannot be written, which
    /// [`ExecuteError::Storage`] and [`ExecuteError::StorageFull`] say.
    pub fn execute(
        &self,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Committed, ExecuteError>> + Send + 'static + use<> {
        let queued = self.enqueue(envelope);
        async move { queued?.await.unwrap_or(Err(ExecuteError::Closed)) }
    }

    /// Like [`Self::execute`], for threads that are not part of an async runtime.
    ///
    /// # Errors
    /// As [`Self::execute`].
    ///
    /// # Panics
    /// Within an async runtime.
    pub fn execute_blocking(&self, envelope: Envelope) -> Result<Committed, ExecuteError> {
        self.enqueue(envelope)?.blocking_recv().unwrap_or(Err(ExecuteError::Closed))
    }

    fn enqueue(&self, envelope: Envelope) -> Result<oneshot::Receiver<Answer>, ExecuteError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Command { envelope, answer })?;
        Ok(answered)
    }

    /// Forgets what old commands came to: of those that were executed before `before` the oldest, at most `most`. Answers
    /// how many; fewer than `most` when there are no more. A command that is forgotten and sent again is judged anew.
    ///
    /// The events are not touched, and the commands of the newest ones are remembered in any case.
    ///
    /// # Errors
    /// When the state cannot be written; nothing is forgotten then.
    pub fn forget_commands(
        &self,
        before: Timestamp,
        most: u32,
    ) -> impl Future<Output = Result<u64, ExecuteError>> + Send + 'static + use<> {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue(Job::Forget { before, most, answer });
        async move {
            queued?;
            answered.await.unwrap_or(Err(ExecuteError::Closed))
        }
    }

    fn queue(&self, job: Job) -> Result<(), ExecuteError> {
        let Some(queue) = &self.0.queue else { return Err(ExecuteError::Closed) };
        match queue.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(ExecuteError::Busy { waiting: WRITE_QUEUE_MAX }),
            Err(TrySendError::Disconnected(_)) => Err(ExecuteError::Closed),
        }
    }

    /// The number of the newest committed event, and every later one. Carries nothing else: read what it means.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// As [`Self::subscribe`], but changes only when something was committed that is wanted, or may have been.
    #[must_use]
    pub fn subscribe_to(&self, wants: impl Fn(&Event) -> bool + Send + 'static) -> watch::Receiver<u64> {
        let newest = *self.0.newest.borrow();
        self.0.listeners.add(Box::new(wants), newest)
    }

    /// Whether the state cannot be written at the moment, and every change of that. While it is so, it is tried again, also
    /// without a command.
    #[must_use]
    pub fn outage(&self) -> watch::Receiver<Option<Outage>> {
        self.0.outage.subscribe()
    }

    /// The id of this installation, the same at every start.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// Reads one consistent state. Blocks: not for the threads of an async runtime.
    ///
    /// # Errors
    /// What `reader` answers, and a [`ReadError`] over a [`crate::ReadFault`] or a storage error otherwise.
    pub fn read<T>(&self, reader: impl FnOnce(&ReadView<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.0.readers.read(READ_DEADLINE_MS, reader)
    }

    /// Like [`Self::read`], with an error of the caller's and a time limit, in milliseconds, kept within
    /// [`crate::READ_DEADLINE_MS_MIN`] and [`crate::READ_DEADLINE_MS_MAX`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_within<T, E: From<ReadError>>(
        &self,
        deadline_ms: u64,
        reader: impl FnOnce(&ReadView<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.readers.read(deadline_ms, reader)
    }

    /// What the writer did since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.0.counters;
        Stats {
            commands: counters.commands.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            failed_commits: counters.failed_commits.load(Ordering::Relaxed),
            wal_pages: counters.wal_pages.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.0.location
    }
}

/// The writer of a store that was opened by hand: works on the thread that tells it to, and only then, so that a
/// simulation has one order of events per seed. Dropped, it ends as a process that is killed does.
#[cfg(feature = "test-util")]
pub struct HandWriter(Writer);

#[cfg(feature = "test-util")]
impl HandWriter {
    /// Executes what waits as one batch and answers it; says whether anything waited.
    pub fn serve(&mut self) -> bool {
        self.0.serve_waiting()
    }

    /// What the thread does after a quiet second: it brings its log home, or tries whether a file that failed can be
    /// written again.
    pub fn rest(&mut self) {
        self.0.try_again();
        self.0.rest();
    }

    /// What the thread does when the store is closed.
    pub fn finish(self) {
        self.0.finish();
    }
}

#[cfg(feature = "test-util")]
impl fmt::Debug for HandWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandWriter").finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.0.location.path()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions").finish_non_exhaustive()
    }
}
