//! Tells when it is worth looking at a run: when its log grows, though not too often, and at once when its shim ends.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use orch_sandbox::control;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::app::{App, blocking};
use crate::error_chain::chain;

/// Shortest time between two looks because of the log: people see steps begin and end soon enough, and a run that writes
/// all the time is no work.
const LOOK_REST: Duration = Duration::from_millis(50);

/// Wakes when something in a run's directory changes or its shim ends. Without either the run is only looked at now and
/// then.
pub(super) struct Watch {
    /// Inotify on the directory.
    events: Option<Receiver>,
    /// Readable when the shim has ended.
    end: Option<Receiver>,
    /// The shim was asked for such a thing already.
    asked: bool,
    /// When the log is worth a look again.
    rested_at: Instant,
}

impl Watch {
    pub(super) fn new(directory: &Path) -> Self {
        let events = match Self::open(directory) {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::debug!(%error, "no inotify for a run");
                None
            }
        };
        Self { events, end: None, asked: false, rested_at: Instant::now() }
    }

    fn open(directory: &Path) -> std::io::Result<Receiver> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        inotify.add_watch(directory, flags)?;
        // An inotify descriptor is read like a pipe, and that of a process or a connection is waited for like one.
        Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)
    }

    /// The run was started, and ends when `end` becomes readable.
    pub(super) fn until(&mut self, end: Option<OwnedFd>) {
        self.rested_at = Instant::now() + LOOK_REST;
        self.asked |= end.is_some();
        self.end = end.and_then(|end| match Receiver::from_owned_fd_unchecked(end) {
            Ok(end) => Some(end),
            Err(error) => {
                tracing::debug!(%error, "no watch for the end of a run");
                None
            }
        });
    }

    /// Connects to the shim of a living run whose end nobody told of, once.
    pub(super) async fn shim(&mut self, directory: &Path) {
        if self.asked {
            return;
        }
        let directory = directory.to_owned();
        match blocking(move || control::watch(&directory)).await {
            Ok(stream) => self.until(Some(stream.into())),
            Err(error) => {
                self.asked = true;
                tracing::debug!(error = chain(&error), "no connection to a shim");
            }
        }
    }

    /// Waits until it is worth looking again, somebody decided something about the run, or the daemon stops.
    pub(super) async fn wait(&mut self, app: &App, bell: &Notify, at_most: Duration) {
        tokio::select! {
            () = app.stopped() => {}
            () = bell.notified() => {}
            () = self.changed() => {}
            () = tokio::time::sleep(at_most) => {}
        }
    }

    async fn changed(&mut self) {
        let Self { events, end, rested_at, .. } = self;
        let log = async {
            readable(events.as_ref()).await;
            tokio::time::sleep_until(*rested_at).await;
            discard(events.as_ref());
        };
        let ended = tokio::select! {
            () = log => false,
            () = ended(end.as_ref()) => true,
        };
        if ended {
            self.end = None;
        }
        self.rested_at = Instant::now() + LOOK_REST;
    }
}

/// Waits for events of a directory.
async fn readable(events: Option<&Receiver>) {
    let Some(events) = events else { return std::future::pending().await };
    if events.readable().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Which events there were does not matter: the directory is looked at as a whole.
fn discard(events: Option<&Receiver>) {
    let mut bytes = [0; 4096];
    while events.is_some_and(|events| events.try_read(&mut bytes).is_ok_and(|read| read > 0)) {}
}

async fn ended(end: Option<&Receiver>) {
    let Some(end) = end else { return std::future::pending().await };
    if end.readable().await.is_err() {
        std::future::pending::<()>().await;
    }
}
