//! What people want of a run under way, brought to it: that it ends, that its processes stand still or go on.

use std::sync::Arc;
use std::time::Duration;

use orch_core::entity::{Run, RunPause};
use orch_proto::Timestamp;

use crate::site::Site;

/// What a run was asked for already.
#[derive(Debug, Default)]
pub(super) struct Steering {
    to_end: bool,
    /// Unknown of a run that others have followed before: asking for what is so already is harmless, and its log says that it
    /// stands still only once all of it does.
    stands_still: Option<bool>,
}

impl Steering {
    /// For a run that nobody has begun before.
    pub(super) fn of_new() -> Self {
        Self { to_end: false, stands_still: Some(false) }
    }

    /// Asks for what is wanted and was not asked for. What fails is asked for again the next time.
    pub(super) async fn steer<S: Site>(&mut self, app: &Arc<S>, run: &Run) {
        if run.cancel_requested.is_some() && !self.to_end {
            self.to_end = cancel(app, run).await;
        }
        let wanted = pause_of(run, app.now()).is_some() && run.cancel_requested.is_none();
        if self.stands_still != Some(wanted) && suspend(app, run, wanted).await {
            self.stands_still = Some(wanted);
        }
    }
}

/// The pause that lasts.
fn pause_of(run: &Run, now: Timestamp) -> Option<&RunPause> {
    run.pause.as_ref().filter(|pause| pause.lasts(now))
}

/// How long until the pause of a run is over by itself.
pub(super) fn pause_ends_in(run: &Run, now: Timestamp) -> Option<Duration> {
    // One of a run that waits for a place lasts beyond that, until it has one.
    let until = pause_of(run, now)?.until.filter(|until| *until > now)?;
    Some(Duration::from_millis(until.ms_since(now) + 1))
}

async fn suspend<S: Site>(app: &Arc<S>, run: &Run, stands_still: bool) -> bool {
    let (site, id) = (Arc::clone(app), run.id);
    match app.blocking(move || site.suspend(id, stands_still)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(run = %run.id, error, "failed to pause or resume a run; trying again");
            false
        }
    }
}

/// Asks a run to end; whether it was reached.
async fn cancel<S: Site>(app: &Arc<S>, run: &Run) -> bool {
    let (site, id) = (Arc::clone(app), run.id);
    match app.blocking(move || site.cancel(id)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(run = %run.id, error, "failed to cancel a run; trying again");
            false
        }
    }
}
