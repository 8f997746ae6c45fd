//! When a run of which nothing is seen can be taken for dead, and who has not proven for too long that it is the one.
//!
//! A lock that is free, a process that has ended and a boot that is over say at once that nothing lives. Where none of that
//! can be known, because the directory of a run is gone or is another one, its shim may live: it ends the run by itself when
//! its lease is over, and only after that another attempt may begin. Time is counted while this host is awake, which is
//! less than what a shim counts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orch_adapters::{executor, run_log};
use orch_core::entity::Run;
use orch_core::state::run::{RunOutcome, RunState};
use orch_proto::Timestamp;
use orch_sandbox::log::ReadLogError;

use crate::site::Site;

/// How long after the end of its lease a run that was chosen is still begun, in milliseconds: whoever chose it may have much
/// to do.
const BEGIN_LATE_MS: u64 = 60_000;
/// How much of a log is read at once.
const LOG_PIECE_BYTES: usize = 1 << 20;

/// What is seen of a run, for as long as somebody looks after it.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// This daemon has started it.
    is_ours: bool,
    /// Somebody must have taken it, though nothing says so any more.
    was_taken: bool,
    /// It was begun in an earlier boot of the host.
    is_of_earlier_boot: bool,
    /// Since when nothing was seen of it.
    unseen_since: Option<Instant>,
    /// The last proof, and since when it is the last one.
    renewed: Option<(Option<SystemTime>, Instant)>,
}

impl Sight {
    /// Takes note of a run that was begun by this daemon or an earlier one.
    pub(super) fn taken_up(&mut self, app: &impl Site, run: &Run) {
        self.is_of_earlier_boot = app.is_new_boot() && !self.is_ours;
        // It is made before a run is said to begin. Power that is lost can take it, and a boot ends then.
        self.was_taken |= run.state == RunState::Starting && !app.has_directory(run.id) && !self.is_of_earlier_boot;
    }

    /// Passes on what a start has answered.
    pub(super) fn launched<T>(&mut self, end: Option<T>) -> Option<T> {
        self.is_ours |= end.is_some();
        end
    }

    /// Whether somebody has taken this attempt, whatever its directory says now.
    pub(super) fn has_begun(&self, run: &Run) -> bool {
        self.is_ours || self.was_taken || run.started_at.is_some() || run.log_cursor > 0
    }

    /// Takes note of a run that lives. One whose shim has not proven for too long that it is the one is ended: it stands still,
    /// and when it goes on it ends by itself.
    pub(super) async fn seen<S: Site>(&mut self, app: &Arc<S>, run: &Run, renewed: Option<SystemTime>) {
        self.unseen_since = None;
        let now = app.instant();
        match &self.renewed {
            Some((last, since)) if *last == renewed => {
                if now.duration_since(*since) < app.dead_after(run.lease_ms) {
                    return;
                }
                end_stuck(app, run).await;
                // Ended or of a version without leases: there is time until it is looked at again.
                self.renewed = Some((renewed, now));
            }
            _ => self.renewed = Some((renewed, now)),
        }
    }

    /// Takes note of a run whose shim lives and holds what is not there any more. It ends by itself; one that does not is ended.
    pub(super) async fn hidden<S: Site>(&mut self, app: &Arc<S>, run: &Run) {
        let unseen_for = self.unseen_for(app.instant());
        if unseen_for >= app.dead_after(run.lease_ms) {
            end_stuck(app, run).await;
        }
    }

    fn unseen_for(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.unseen_since.get_or_insert(now))
    }

    /// Why a run that has begun, and of which its directory says nothing, is dead for sure, if it is. `has_ended`: its process is
    /// known to have.
    pub(super) fn why_dead(&mut self, app: &impl Site, run: &Run, has_ended: bool) -> Option<String> {
        let dead_after = app.dead_after(run.lease_ms);
        let unseen_for = self.unseen_for(app.instant());
        if has_ended || self.is_of_earlier_boot {
            return Some("its directory was taken away, and its processes are gone".to_owned());
        }
        (unseen_for >= dead_after).then(|| {
            let (unseen, lease) = (dead_after.as_secs(), Duration::from_millis(run.lease_ms).as_secs());
            format!(
                "its directory was taken away, and nothing was seen of it for {unseen} s: it ends by itself when its lease of \
                 {lease} s is over"
            )
        })
    }
}

/// Ends the shim of a run, if it is there.
async fn end_stuck<S: Site>(app: &Arc<S>, run: &Run) {
    let (site, stuck) = (Arc::clone(app), run.clone());
    match app.blocking(move || site.end_stuck(&stuck)).await {
        Ok(true) => tracing::warn!(run = %run.id, "its shim did not renew the lease for too long and was ended"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(run = %run.id, error, "a shim that does not renew its lease was not ended");
        }
    }
}

/// Whether a run was chosen so long ago that it is to be chosen again. Nobody has started it.
pub(super) fn is_over(run: &Run, now: Timestamp) -> bool {
    matches!(run.state, RunState::Leased { until } if until.plus_ms(BEGIN_LATE_MS) < now)
}

/// Why a run whose shim is gone left no result.
pub(super) async fn lost_of<S: Site>(app: &Arc<S>, run: &Run) -> String {
    let (site, id) = (Arc::clone(app), run.id);
    let said = app.blocking(move || site.last_words(id)).await.unwrap_or_else(|error| {
        tracing::debug!(run = %id, error, "the log of a lost run cannot be read");
        None
    });
    said.unwrap_or_else(|| "its processes are gone and left no result".to_owned())
}

/// What the log of a run says of a lease that was lost. Blocks.
pub(super) fn last_words(directory: &Path) -> Result<Option<String>, ReadLogError> {
    run_log::lease_lost(&executor::log_path(directory), executor::LOG_START, LOG_PIECE_BYTES)
}

/// The end of a run that left no result. One that was to be ended is so, but what it may have done that is not to be done twice is
/// not known then either.
pub(super) fn outcome(run: &Run, reason: String) -> RunOutcome {
    match &run.cancel_requested {
        Some(_) if run.steps.iter().any(|step| step.once) => RunOutcome::Lost { reason },
        Some(reason) => RunOutcome::Cancelled { reason: reason.clone() },
        None => RunOutcome::Lost { reason },
    }
}
