//! Tells when it is worth looking at a run: when its log grows, though not too often, and at once when its shim ends.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orch_sandbox::control;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::site::Lookout;
use crate::watches::Watched;

/// Shortest time between two looks because of the log: people see steps begin and end soon enough, and a run that writes
/// all the time is no work.
const LOOK_REST: Duration = Duration::from_millis(50);

/// Wakes when something in a run's directory changes or its shim ends. Without either the run is only looked at now and
/// then.
pub(crate) struct Watch {
    directory: PathBuf,
    /// The directory with the log.
    log: Option<Watched>,
    /// Readable when the shim has ended.
    end: Option<Receiver>,
    /// The shim was asked for such a thing already.
    asked: bool,
    /// The process of the shim has ended, for sure.
    has_ended: bool,
    /// Whether `end` is that process. A connection can also be closed because there are too many.
    is_process: bool,
    /// When the log is worth a look again.
    rested_at: Instant,
}

impl Watch {
    pub(super) fn new(app: &App, directory: &Path) -> Self {
        let log = match app.watches.as_ref().map(|watches| watches.watch(directory)) {
            Some(Ok(watched)) => Some(watched),
            Some(Err(error)) => {
                tracing::debug!(%error, "no inotify for a run");
                None
            }
            None => None,
        };
        Self {
            directory: directory.to_owned(),
            log,
            end: None,
            asked: false,
            has_ended: false,
            is_process: false,
            rested_at: Instant::now(),
        }
    }

    fn until_readable(&mut self, end: Option<OwnedFd>) {
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

    async fn changed(&mut self) {
        let Self { log, end, rested_at, .. } = self;
        let grows = async {
            let Some(log) = log else { return std::future::pending().await };
            log.changed().await;
            tokio::time::sleep_until(*rested_at).await;
            // The directory is looked at as a whole.
            log.forget();
        };
        let ended = tokio::select! {
            () = grows => false,
            () = ended(end.as_ref()) => true,
        };
        if ended {
            self.end = None;
            self.has_ended |= self.is_process;
        }
        self.rested_at = Instant::now() + LOOK_REST;
    }
}

impl Lookout<App> for Watch {
    type End = OwnedFd;

    fn until(&mut self, end: Option<OwnedFd>) {
        self.is_process = end.is_some();
        self.until_readable(end);
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Connects to the shim of a living run whose end nobody told of.
    async fn ask(&mut self, _app: &App) {
        if self.asked {
            return;
        }
        let directory = self.directory.clone();
        match blocking(move || control::watch(&directory)).await {
            Ok(stream) => self.until_readable(Some(stream.into())),
            Err(error) => {
                self.asked = true;
                tracing::debug!(error = chain(&error), "no connection to a shim");
            }
        }
    }

    async fn wait(&mut self, app: &App, bell: &Notify, at_most: Duration) {
        tokio::select! {
            () = app.stopped() => {}
            () = bell.notified() => {}
            () = self.changed() => {}
            () = tokio::time::sleep(at_most) => {}
        }
    }
}

/// Has followers told when the log of their run grows, until the daemon stops.
pub(super) async fn follow(app: Arc<App>) {
    let Some(watches) = &app.watches else { return };
    tokio::select! {
        () = app.stopped() => {}
        error = watches.follow() => tracing::warn!(%error, "what runs write is seen late from now on"),
    }
}

async fn ended(end: Option<&Receiver>) {
    let Some(end) = end else { return std::future::pending().await };
    if end.readable().await.is_err() {
        std::future::pending::<()>().await;
    }
}
