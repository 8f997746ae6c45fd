//! Gives every open run a task that launches it, follows its log, and takes in its result.
//!
//! The run itself lives under its shim. What is kept here can be lost at any moment: all of it is found again in the
//! state and in the run's directory.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use orch_adapters::executor::Observed;
use orch_adapters::run_log::Piece;
use orch_adapters::{executor, run_log};
use orch_core::command::Command;
use orch_core::entity::{Observation, Run};
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::id::RunId;
use orch_sandbox::control;
use orch_sandbox::log::ReadLogError;
use orch_store::ExecuteError;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::steering::{self, Steering, cancel};
use super::tasks::Tasks;
use super::{PassError, launch, settle};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// How often a run is looked at although nothing was heard of it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a start waits for runs of the last daemon to be looked at.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How long looking at a run may fail before it is given up.
const UNREADABLE_MAX: Duration = Duration::from_secs(10);
/// How much of a log is read at once.
const LOG_PIECE_BYTES: usize = 1 << 20;

/// Runs that somebody here looks after.
pub(crate) type Runs = Tasks<RunId>;

/// Looks after runs until the daemon stops. The runs go on.
pub(super) async fn run(app: Arc<App>, mut runs: Runs) {
    let mut changed = app.store.subscribe();
    loop {
        changed.mark_unchanged();
        let wait = match adopt(&app, &mut runs).await {
            Ok(_looked) => super::LOOK_AGAIN,
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to look for runs");
                super::AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.stopped() => break,
            _ = changed.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    // A piece of work that is under way is brought to its end.
    runs.finish().await;
}

/// Takes up every open run that was under way when the last daemon ended. Returns once each was looked at: who lives is
/// followed, who is over is settled or being settled, and the scheduler knows nothing that is not so any more.
pub(super) async fn recover(app: &Arc<App>) -> Runs {
    let mut runs = Runs::default();
    let all = async {
        let looked = loop {
            match adopt(app, &mut runs).await {
                Ok(looked) => break looked,
                Err(error) => tracing::warn!(error = chain(&error), "failed to look for runs; trying again"),
            }
            tokio::time::sleep(super::AFTER_FAILURE).await;
        };
        for looked in looked {
            // A follower that ends drops its end, which says the same: it has looked.
            let _ended = looked.await.is_err();
        }
    };
    if tokio::time::timeout(RECOVERY_MAX, all).await.is_err() {
        tracing::warn!("not every run was looked at in time; going on with the others");
    }
    runs
}

/// Takes up every open run that nobody looks after. What is returned says when each was looked at.
async fn adopt(app: &Arc<App>, runs: &mut Runs) -> Result<Vec<oneshot::Receiver<()>>, ReadError> {
    runs.tidy();
    let open = app.read(|view| view.list::<Run>(&Filter::default().open())).await?;
    let mut looked = Vec::new();
    for run in open {
        runs.start(run.id, || {
            let (tell, told) = oneshot::channel();
            looked.push(told);
            look_after(Arc::clone(app), run.id, tell)
        });
    }
    Ok(looked)
}

/// Brings one run to its end, over failures of the state and restarts of itself.
async fn look_after(app: Arc<App>, id: RunId, looked: oneshot::Sender<()>) {
    let mut pause = Duration::from_millis(100);
    let mut looked = Some(looked);
    loop {
        match follow(&app, id, &mut looked).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(run = %id, error = chain(&error), "following a run was interrupted"),
        }
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// One go at a run: to its end, or until the daemon stops.
async fn follow(app: &Arc<App>, id: RunId, looked: &mut Option<oneshot::Sender<()>>) -> Result<(), PassError> {
    let Some(run) = load(app, id).await? else { return Ok(()) };
    if run.state.is_final() {
        return Ok(());
    }
    let directory = app.dirs.run(id);
    // Nothing starts while an attack on the sandbox works, whoever chose it and when. What was not started may wait.
    if is_before_start(&run) && run.cancel_requested.is_none() && app.jails_hold().is_err() {
        drop(looked.take());
        return wait_for_jails(app, id).await;
    }
    if !begin(app, &run, &directory).await? {
        // A request to cancel came in between; the next go sees it.
        return Box::pin(follow(app, id, looked)).await;
    }
    let mut changed = app.store.subscribe();
    let mut watch = Watch::new(&directory);
    let mut scanned = 0;
    let mut steering = Steering::default();
    let mut readable_at = Instant::now();
    loop {
        changed.mark_unchanged();
        let Some(run) = load(app, id).await? else { return Ok(()) };
        if run.state.is_final() {
            return Ok(());
        }
        let pause_ends_in = steering::pause_ends_in(&run);
        let observed = observe(app, &directory, &run).await;
        if observed.is_ok() {
            readable_at = Instant::now();
        }
        // Who is over is settled first; for the others it is enough to know that they live.
        if matches!(observed, Ok(Observed::Running | Observed::Absent)) {
            drop(looked.take());
        }
        match observed {
            Ok(Observed::Absent) if run.cancel_requested.is_none() && app.jails_hold().is_err() => {
                tracing::debug!(run = %run.id, "a run waits until the sandbox withstands everything again");
            }
            Ok(Observed::Absent) => launch::submit(app, &run).await?,
            Ok(Observed::Running) => {
                steering.steer(app, &run, &directory).await;
                record(app, &run, &directory, &mut scanned).await?;
                watch.shim(&directory).await;
            }
            Ok(Observed::Exited(exit)) => {
                drain(app, id, &directory, &mut scanned).await?;
                return match load_open(app, id).await? {
                    Some(run) => settle::with_result(app, run, *exit).await,
                    None => Ok(()),
                };
            }
            Ok(Observed::Lost) => {
                drain(app, id, &directory, &mut scanned).await?;
                let reason = "its processes are gone and left no result".to_owned();
                let lost = RunOutcome::Lost { reason };
                let outcome = run.cancel_requested.map_or(lost, |reason| RunOutcome::Cancelled { reason });
                return settle::without_result(app, id, run.fence, outcome).await;
            }
            // It may live, and what is missing may be a descriptor: given up too early there would be two of it.
            Err(error) if readable_at.elapsed() < UNREADABLE_MAX => {
                tracing::warn!(run = %id, error = chain(&error), "failed to look at a run; looking again");
            }
            Err(error) => return give_up_unreadable(app, &run, &directory, &chain(&error)).await,
        }
        let look_again = pause_ends_in.map_or(LOOK_AGAIN, |ends| ends.min(LOOK_AGAIN));
        tokio::select! {
            () = app.stopped() => return Ok(()),
            _ = changed.changed() => {}
            () = watch.changed() => {}
            () = tokio::time::sleep(look_again) => {}
        }
    }
}

const fn is_before_start(run: &Run) -> bool {
    matches!(run.state, RunState::Queued | RunState::Leased { .. })
}

/// Waits until the sandbox withstands everything again, or the run is not to start any more; then it is looked at anew.
async fn wait_for_jails(app: &Arc<App>, id: RunId) -> Result<(), PassError> {
    let mut changed = app.store.subscribe();
    let mut woken = app.woken.subscribe();
    loop {
        changed.mark_unchanged();
        let Some(run) = load_open(app, id).await? else { return Ok(()) };
        if run.cancel_requested.is_some() || app.jails_hold().is_ok() {
            return Box::pin(follow(app, id, &mut None)).await;
        }
        tokio::select! {
            () = app.stopped() => return Ok(()),
            _ = changed.changed() => {}
            _ = woken.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Settles a run whose directory could not be read for too long.
async fn give_up_unreadable(app: &Arc<App>, run: &Run, directory: &Path, why: &str) -> Result<(), PassError> {
    // What lives in there is of no use to anybody.
    cancel(app, directory).await;
    let reason = format!("its directory cannot be read: {why}");
    let outcome = RunOutcome::Failed { class: FailureClass::Infrastructure, reason };
    settle::without_result(app, run.id, run.fence, outcome).await
}

/// Puts on record that a run that was not started yet is to be. Whether it still is.
async fn begin(app: &Arc<App>, run: &Run, directory: &Path) -> Result<bool, PassError> {
    if !is_before_start(run) {
        return Ok(true);
    }
    if let Some(reason) = run.cancel_requested.clone() {
        settle::without_result(app, run.id, run.fence, RunOutcome::Cancelled { reason }).await?;
        return Ok(false);
    }
    launch::prepare(directory);
    match app.execute("runner", Command::MarkRunStarting { run: run.id }).await {
        Ok(_) => Ok(true),
        Err(ExecuteError::Rejected(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes in the rest of a log that does not grow any more.
async fn drain(app: &Arc<App>, id: RunId, directory: &Path, scanned: &mut u64) -> Result<(), PassError> {
    while let Some(run) = load_open(app, id).await? {
        if !record(app, &run, directory, scanned).await? {
            break;
        }
    }
    Ok(())
}

/// Records what the log says since the run's cursor. Whether there was anything. `scanned` is how far the log is known
/// to say nothing more.
async fn record(app: &Arc<App>, run: &Run, directory: &Path, scanned: &mut u64) -> Result<bool, PassError> {
    let log = executor::log_path(directory);
    let from = run.log_cursor;
    *scanned = from.max(executor::LOG_START).max(*scanned);
    let offset = *scanned;
    let piece = match blocking(move || next_observations(&log, offset)).await {
        Ok(piece) => piece,
        Err(error) => {
            // The exit record stands for itself; a log that cannot be read costs the steps' times, not the result.
            tracing::warn!(run = %run.id, error = chain(&error), "failed to read a run's log");
            return Ok(false);
        }
    };
    *scanned = piece.next_offset;
    // Output alone is no event: the stored cursor moves with the next one.
    if piece.items.is_empty() {
        return Ok(false);
    }
    let command = Command::RecordRun {
        run: run.id,
        fence: run.fence,
        from,
        cursor: piece.next_offset,
        observations: piece.items,
    };
    match app.execute("runner", command).await {
        Ok(_) => {}
        // Sent again it would be refused again, and the run would never end: its log is not worth that.
        Err(error @ (ExecuteError::Rejected(_) | ExecuteError::Apply(_))) => {
            tracing::error!(run = %run.id, offset, error = chain(&error), "a part of a run's log makes no sense");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// The next observations, over any amount of output between them.
fn next_observations(log: &Path, mut offset: u64) -> Result<Piece<Observation>, ReadLogError> {
    loop {
        let piece = run_log::observations(log, offset, LOG_PIECE_BYTES)?;
        if !piece.items.is_empty() || piece.next_offset == offset {
            return Ok(piece);
        }
        offset = piece.next_offset;
    }
}

async fn observe(app: &Arc<App>, directory: &Path, run: &Run) -> Result<Observed, orch_sandbox::run_dir::InspectError> {
    let (executor, directory, fence) = (Arc::clone(&app.executor), directory.to_owned(), run.fence);
    blocking(move || executor.observe(&directory, fence)).await
}

async fn load(app: &Arc<App>, id: RunId) -> Result<Option<Run>, PassError> {
    Ok(app.read(move |view| view.get::<Run>(id)).await?)
}

async fn load_open(app: &Arc<App>, id: RunId) -> Result<Option<Run>, PassError> {
    Ok(load(app, id).await?.filter(|run| !run.state.is_final()))
}

/// Wakes when something in a run's directory changes or its shim ends. Without either the run is only looked at now and
/// then.
struct Watch {
    /// Inotify on the directory.
    events: Option<Receiver>,
    /// A connection to the shim, which ends with it.
    shim: Option<UnixStream>,
    /// The shim was asked for one already.
    asked: bool,
}

impl Watch {
    fn new(directory: &Path) -> Self {
        let events = match Self::open(directory) {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::debug!(%error, "no inotify for a run");
                None
            }
        };
        Self { events, shim: None, asked: false }
    }

    fn open(directory: &Path) -> std::io::Result<Receiver> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        inotify.add_watch(directory, flags)?;
        // An inotify descriptor is read like a pipe.
        Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)
    }

    /// Connects to the shim of a living run, once.
    async fn shim(&mut self, directory: &Path) {
        if self.asked {
            return;
        }
        self.asked = true;
        let directory = directory.to_owned();
        let connected = blocking(move || {
            let stream = control::watch(&directory).map_err(|error| chain(&error))?;
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            Ok::<_, String>(stream)
        });
        let connected =
            connected.await.and_then(|stream| UnixStream::from_std(stream).map_err(|error| error.to_string()));
        match connected {
            Ok(stream) => self.shim = Some(stream),
            Err(error) => tracing::debug!(error, "no connection to a shim"),
        }
    }

    async fn changed(&mut self) {
        let Self { events, shim, .. } = self;
        let ended = tokio::select! {
            () = readable(events.as_ref()) => false,
            () = ended(shim.as_ref()) => true,
        };
        if ended {
            self.shim = None;
        }
    }
}

/// Waits for events of a directory. Which they are does not matter: the directory is looked at as a whole.
async fn readable(events: Option<&Receiver>) {
    let Some(events) = events else { return std::future::pending().await };
    if events.readable().await.is_err() {
        return std::future::pending().await;
    }
    let mut bytes = [0; 4096];
    while events.try_read(&mut bytes).is_ok_and(|read| read > 0) {}
}

/// Waits for the end of a connection on which nothing is ever sent.
async fn ended(shim: Option<&UnixStream>) {
    let Some(shim) = shim else { return std::future::pending().await };
    if shim.readable().await.is_err() {
        std::future::pending::<()>().await;
    }
}
