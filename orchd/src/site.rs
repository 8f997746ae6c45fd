//! The world as those see it who bring runs and changes to their end: the state, the time, processes, branches.
//!
//! The daemon's is its `App`. A simulation has one of its own, in which everything can fail, come late or end at
//! any moment; what is played there are the reconcilers themselves. What blocks says so, and is called by [`Site::blocking`].

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orch_adapters::executor::Observed;
use orch_adapters::run_log::Piece;
use orch_core::command::Command;
use orch_core::entity::{AgentUse, Change, Inputs, Observation, Project, Run, Task};
use orch_core::state::run::RunOutcome;
use orch_core::toolchain::Toolchain;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};
use orch_sandbox::exit_record::ExitRecord;
use orch_store::{Committed, ExecuteError, ReadView, Store};
use tokio::sync::{Notify, watch};

use crate::kept_book::KeptBook;
use crate::reconcile::{Ended, Front};
use crate::troubles::Troubles;

/// The world, one per life of a daemon.
pub trait Site: Send + Sync + Sized + 'static {
    /// Tells when to look at a run again.
    type Watch: Lookout<Self>;

    /// The time that the clock shows.
    fn now(&self) -> Timestamp;
    /// A time that only grows.
    fn instant(&self) -> Instant;
    /// Ends after so long.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
    /// Whether the daemon is to stop.
    fn is_stopping(&self) -> bool;
    /// Ends when the daemon is to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send;
    /// Changes when it is worth looking again at something that is no part of the state.
    fn woken(&self) -> watch::Receiver<u64>;
    /// Has everybody look again at something that is no part of the state.
    fn look_again(&self);
    /// Does a piece of work beside the others.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static);
    /// Does what blocks where that holds nobody up.
    fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send;

    /// The state.
    fn store(&self) -> &Store;
    /// Executes a command of one of the daemon's own parts. It is queued at once, not when the future is first polled.
    fn execute(&self, part: &str, command: Command) -> impl Future<Output = Result<Committed, ExecuteError>> + Send;
    /// The scheduler's book.
    fn book(&self) -> &KeptBook;
    /// Changes that could not go on.
    fn troubles(&self) -> &Troubles;
    /// Tells the book what may be used at the moment. Blocks.
    fn renew_limits(&self);
    /// Isolation that runs need, 0 to 4.
    fn required_level(&self) -> u8;
    /// Lease of a run that begins now, in milliseconds.
    fn lease_ms(&self) -> u64;
    /// Time without a proof after which whoever has a run with such a lease is dead for sure.
    fn dead_after(&self, lease_ms: u64) -> Duration;
    /// Whether the host was started anew since the daemon before this one.
    fn is_new_boot(&self) -> bool;

    /// Whether the sandbox withstands all attacks that are known.
    fn holds(&self) -> bool;
    /// Makes the directory of a run, so that it can be watched.
    fn prepare(&self, run: RunId);
    /// What to wait at for news of a run.
    fn watch(&self, run: RunId) -> Self::Watch;
    /// Starts the processes of a run unless this attempt was started before.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn launch(self: &Arc<Self>, run: &Run) -> impl Future<Output = Result<LaunchedOf<Self>, ReadError>> + Send;
    /// What has become of a run. Blocks.
    ///
    /// # Errors
    /// When its directory cannot be read, with the reason.
    fn observe(&self, run: &Run) -> Result<Observed, String>;
    /// Whether a run has a directory.
    fn has_directory(&self, run: RunId) -> bool;
    /// When whoever looks after a run has last proven that it is the one, by some clock, if that can be known. Blocks.
    fn renewed_at(&self, run: RunId) -> Option<SystemTime>;
    /// Ends whoever looks after this attempt and has not proven for too long that it is the one; whether there was one. Blocks.
    ///
    /// # Errors
    /// When they cannot be found or reached, with the reason.
    fn end_stuck(&self, run: &Run) -> Result<bool, String>;
    /// What the log of a run says of a lease that was lost. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, with the reason.
    fn last_words(&self, run: RunId) -> Result<Option<String>, String>;
    /// Takes in what a run left that has ended so; `hindered` is what follows when the host keeps it from that. Blocks.
    ///
    /// # Errors
    /// When the state cannot be read, or the host is in the way and it is to be tried again.
    fn result(&self, run: &Run, exit: &ExitRecord, hindered: Hindered) -> Result<Ended, NotTaken>;
    /// The agent for work of a project that asks for this.
    fn agent_for(&self, project: &Project, capability: &str) -> Option<AgentUse>;
    /// Passes on what a living run asks of models, until what this answers is dropped.
    fn serve_models(self: &Arc<Self>, run: &Run) -> Option<Served>;
    /// Nobody follows the run of an agent any more: what it asked of models comes to its end on record if it is over.
    fn end_models(self: &Arc<Self>, run: RunId);
    /// Takes what a living run says over its channel, until what this answers is dropped.
    fn serve_channel(self: &Arc<Self>, run: &Run) -> Option<Served>;
    /// What decides what the next attempt at a task leaves, which this agent makes if one does, when something of that is to be kept, by
    /// the state in `view`. Blocks.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn inputs(
        &self,
        view: &ReadView<'_>,
        of: (&Task, &Project),
        agent: Option<&AgentUse>,
    ) -> Result<Option<Inputs>, ReadError>;
    /// Takes in what a run kept that is over with this outcome; what is to be put on record of that.
    fn take_kept(self: &Arc<Self>, run: Run, outcome: RunOutcome) -> impl Future<Output = Option<Command>> + Send;
    /// Forgets what runs of a project kept and no attempt will go on from. Blocks.
    fn forget_kept(&self, project: ProjectId);
    /// Makes sure that an attempt which was not seen to start never does; false when it has started all the same. Blocks.
    ///
    /// # Errors
    /// When its directory cannot be written, with the reason.
    fn forestall(&self, run: &Run) -> Result<bool, String>;
    /// Whether nobody looks after a run any more, as far as can be told without its directory. Blocks.
    fn is_gone(&self, run: RunId) -> bool;
    /// Asks a run to end. Blocks.
    ///
    /// # Errors
    /// When it lives and cannot be reached, with the reason.
    fn cancel(&self, run: RunId) -> Result<(), String>;
    /// Has the processes of a run stand still or go on. Blocks.
    ///
    /// # Errors
    /// When it lives and cannot be reached, or does not run a step at the moment, with the reason.
    fn suspend(&self, run: RunId, stands_still: bool) -> Result<(), String>;
    /// What the log of a run says from `offset` on. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, with the reason.
    fn log(&self, run: RunId, offset: u64) -> Result<Piece<Observation>, String>;
    /// Removes what a run that is over does not need any more; `is_collected` says that all of it was taken in. Blocks.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn clean_up(&self, run: RunId, is_collected: bool) -> Result<(), ReadError>;

    /// How the check of a change begins, or what is in its way. Blocks.
    ///
    /// # Errors
    /// When that cannot be found out, with the reason.
    fn check(&self, change: &Change, project: &Project) -> Result<Command, String>;
    /// The commit that a project's branch is at. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, with the reason.
    fn head(&self, project: &Project) -> Result<Option<String>, String>;
    /// Makes the commit that would be merged; the same change on the same base always gives the same. Blocks.
    ///
    /// # Errors
    /// When it cannot be made, with the reason.
    fn commit(&self, front: &Front, base: Option<&str>, tree: &str) -> Result<String, String>;
    /// Moves the branch of a project from one commit to another, if it is there. Blocks.
    ///
    /// # Errors
    /// When it is not known whether it moved, with the reason.
    fn advance(&self, front: &Front, base: Option<&str>, commit: &str) -> Result<Moved, String>;

    /// Reads the state where that holds nobody up.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&ReadView<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> impl Future<Output = Result<T, ReadError>> + Send {
        let app = Arc::clone(self);
        self.blocking(move || app.store().read(read))
    }
}

/// Tells when it is worth looking at one run.
pub trait Lookout<S>: Send {
    /// What becomes readable when a run has ended.
    type End: Send;

    /// The run was started, and ends with that.
    fn until(&mut self, end: Option<Self::End>);
    /// Whether its process is known to have ended, with everything inside.
    fn has_ended(&self) -> bool;
    /// Asks who looks after a living run to tell of its end, once.
    fn ask(&mut self, app: &S) -> impl Future<Output = ()> + Send;
    /// Waits until it is worth looking again, somebody decided something about the run, or the daemon stops.
    fn wait(&mut self, app: &S, bell: &Notify, at_most: Duration) -> impl Future<Output = ()> + Send;
}

/// Work for a run that goes on until this is dropped.
#[derive(Debug)]
pub struct Served(tokio::task::AbortHandle);

impl Served {
    /// For a task that does it.
    #[must_use]
    pub const fn by(task: tokio::task::AbortHandle) -> Self {
        Self(task)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How an attempt at starting a run went.
#[derive(Debug)]
pub enum Launched<E> {
    /// It was started, now or before. What becomes readable at its end, if there is such a thing.
    Started(Option<E>),
    /// It may be under way: the next look at its directory says.
    Unknown,
    /// Nothing was tried: the daemon stops, or the sandbox does not hold any more.
    NotNow,
    /// It was not started by this, and ends so unless an earlier try was a start.
    Refused(RunOutcome),
}

/// What follows when the host, and not what a run left, keeps its result from being taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindered {
    /// It is tried again.
    IsTriedAgain,
    /// It was tried for long enough: it is the end of the run.
    IsTheEnd,
}

/// Why the result of a run is not taken in now. Nothing is on record of it, and all that the run left is there.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] ReadError),
    /// The host is in the way: its disk is full or fails, a program cannot be run or took too long.
    #[error("{0}")]
    Host(String),
}

/// How it went at a site.
pub type LaunchedOf<S> = Launched<<<S as Site>::Watch as Lookout<S>>::End>;

/// How moving a branch went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The commit is on the branch: it is its newest, or somebody moved it on from there. What builds the project now.
    There { toolchains: Vec<Toolchain> },
    /// Somebody moved it to where the commit is not.
    Elsewhere,
}
