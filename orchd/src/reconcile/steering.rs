//! What people want of a run under way, brought to it: that it ends, that its processes stand still or go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orch_core::entity::{Run, RunPause};
use orch_core::state::run::RunState;

use crate::app::{App, blocking};
use crate::error_chain::chain;

/// What a run was asked for already.
#[derive(Debug, Default)]
pub(super) struct Steering {
    to_end: bool,
    /// Unknown to a daemon that has just begun: asking for what is so already is harmless.
    stands_still: Option<bool>,
}

impl Steering {
    /// Asks for what is wanted and was not asked for. What fails is asked for again the next time.
    pub(super) async fn steer(&mut self, app: &Arc<App>, run: &Run, directory: &Path) {
        if run.cancel_requested.is_some() && !self.to_end {
            self.to_end = cancel(app, directory).await;
        }
        let wanted = pause_of(run).is_some() && run.cancel_requested.is_none();
        // Nobody ever asked for it to stand still.
        let is_moot = self.stands_still.is_none() && !wanted && run.state != RunState::Paused;
        if !is_moot && self.stands_still != Some(wanted) && suspend(app, run, directory, wanted).await {
            self.stands_still = Some(wanted);
        }
    }
}

/// The pause that lasts.
fn pause_of(run: &Run) -> Option<&RunPause> {
    let now = crate::clock::now();
    run.pause.as_ref().filter(|pause| pause.lasts(now))
}

/// How long until the pause of a run is over by itself.
pub(super) fn pause_ends_in(run: &Run) -> Option<Duration> {
    let until = pause_of(run)?.until?;
    Some(Duration::from_millis(until.ms_since(crate::clock::now()) + 1))
}

async fn suspend(app: &Arc<App>, run: &Run, directory: &Path, stands_still: bool) -> bool {
    let (executor, path) = (Arc::clone(&app.executor), directory.to_owned());
    match blocking(move || executor.suspend(&path, stands_still)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(run = %run.id, error = chain(&error), "failed to pause or resume a run; trying again");
            false
        }
    }
}

/// Asks a run to end; whether it was reached.
async fn cancel(app: &Arc<App>, directory: &Path) -> bool {
    let (executor, directory) = (Arc::clone(&app.executor), directory.to_owned());
    match blocking(move || executor.cancel(&directory)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = chain(&error), "failed to cancel a run; trying again");
            false
        }
    }
}
