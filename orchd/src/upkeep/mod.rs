//! Work on the state as a whole: backups, restoring them, checks, repair.
//!
//! What a running daemon does of it is one work at a time, which goes on whether anybody watches or not; what needs a
//! stopped one is in `offline`. In reading order: `names` is what the state says must be there, `backup` with `manifest`
//! and `draft` writes it elsewhere, `verify` and `restore` are the way back, `check` and `repair` look after it in place, `gc` removes
//! what was kept for long enough.

mod backup;
mod check;
mod draft;
mod files;
pub(crate) mod gc;
mod manifest;
mod names;
mod offline;
mod progress;
mod quick;
mod repair;
mod restore;
mod verify;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use orch_proto::view::{UpkeepOutcome, UpkeepRequest, UpkeepView};
use orch_proto::{ErrorCode, RpcError, Timestamp};

pub(crate) use backup::clear_left_over;
pub(crate) use offline::{Command, run as run_offline};
pub(crate) use restore::refuse_half_restored;

use crate::app::App;
use progress::{Ended, Progress};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Checks what can be checked in seconds: the newest part of the database, and that its blobs are there. Blocks.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn check_quickly(app: &App) -> Result<orch_proto::view::CheckReport, RpcError> {
    let _whole = app.upkeep.whole();
    match quick::check(app) {
        Ok(report) => Ok(report),
        Err(Ended::Failed(error)) => Err(error),
        Err(Ended::Cancelled) => Err(RpcError::new(ErrorCode::Internal, "the check was cancelled")),
    }
}

/// How long a collection waits before it looks again whether somebody looks at all there is.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The one place for work on the state.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    slot: Mutex<Slot>,
    /// Held by who reads all there is, and alone by who removes some of it.
    whole: RwLock<()>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Works that were begun.
    begun: u64,
    /// The one that is under way, or the last one.
    work: Option<Arc<Work>>,
}

/// One work, under way or over.
#[derive(Debug)]
pub(crate) struct Work {
    number: u64,
    request: UpkeepRequest,
    user: String,
    started_at: Timestamp,
    progress: Arc<Progress>,
    outcome: OnceLock<UpkeepOutcome>,
}

impl Upkeep {
    /// The work that is under way or was the last.
    pub(crate) fn work(&self) -> Option<Arc<Work>> {
        self.slot().work.clone()
    }

    /// As long as it is held nothing of the state is removed. Blocks until a step of that is over.
    fn whole(&self) -> RwLockReadGuard<'_, ()> {
        self.whole.blocking_read()
    }

    /// Held while something is removed. Waits while a backup or a check looks at all there is, and in no queue: whoever wants to look
    /// meanwhile would wait behind it until the backup is over.
    ///
    /// # Errors
    /// When the work is to end.
    async fn removing(&self, progress: &Progress) -> Result<RwLockWriteGuard<'_, ()>, Ended> {
        loop {
            if let Ok(alone) = self.whole.try_write() {
                return Ok(alone);
            }
            progress.go_on()?;
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Takes the place for a work.
    fn begin(&self, request: UpkeepRequest, user: &str) -> Result<Arc<Work>, RpcError> {
        let mut slot = self.slot();
        if let Some(other) = slot.work.as_ref().filter(|work| work.outcome.get().is_none()) {
            let (what, user) = (other.request.label(), &other.user);
            return Err(RpcError::new(ErrorCode::Conflict, format!("a {what} that `{user}` began is under way"))
                .hint("wait for its end with `orchctl backup --status`, or end it with `orchctl backup --cancel`"));
        }
        slot.begun += 1;
        let work = Arc::new(Work {
            number: slot.begun,
            request,
            user: user.to_owned(),
            started_at: crate::clock::now(),
            progress: Arc::default(),
            outcome: OnceLock::new(),
        });
        work.progress.phase("beginning", 0);
        slot.work = Some(Arc::clone(&work));
        Ok(work)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// The role that beginning it needs, and so ending it.
    pub(crate) const fn role(&self) -> orch_proto::request::Role {
        self.request.role()
    }

    /// Asks it to end.
    pub(crate) fn cancel(&self) {
        self.progress.cancel();
    }

    /// Waits until its view is newer than `after`.
    pub(crate) async fn changed(&self, after: u64) {
        self.progress.changed(after).await;
    }

    /// What clients see of it.
    pub(crate) fn view(&self) -> UpkeepView {
        // The outcome first: with it the step does not change any more.
        let outcome = self.outcome.get().cloned();
        let step = self.progress.step();
        UpkeepView {
            number: self.number,
            request: self.request.clone(),
            user: self.user.clone(),
            started_at: self.started_at,
            revision: step.revision,
            phase: step.phase,
            done: step.done,
            total: step.total,
            outcome,
        }
    }

    fn end(&self, outcome: Result<UpkeepOutcome, Ended>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(Ended::Cancelled) => UpkeepOutcome::Cancelled,
            Err(Ended::Failed(error)) => UpkeepOutcome::Failed(error),
        };
        let what = self.request.label();
        match &outcome {
            UpkeepOutcome::Failed(error) => tracing::error!(what, error = error.message, "work on the state failed"),
            UpkeepOutcome::Cancelled => tracing::info!(what, "work on the state was cancelled"),
            UpkeepOutcome::Backup(report) => tracing::info!(
                directory = report.directory,
                event = report.head_seq,
                bytes = report.size_bytes,
                damage = report.damage.len(),
                "a backup was written"
            ),
            UpkeepOutcome::Gc(report) => gc::told(report),
            UpkeepOutcome::Check(report) => tracing::info!(ok = report.is_ok(), "the state was checked"),
        }
        // Only this thread ends it, and once.
        drop(self.outcome.set(outcome));
        self.progress.phase("over", 0);
    }
}

/// Begins what is asked for. It goes on when the caller has gone; a daemon that stops ends it first.
///
/// # Errors
/// When other work is under way, or a backup could not be written where it is to be.
pub(crate) fn start(app: &Arc<App>, request: UpkeepRequest, user: &str) -> Result<UpkeepView, RpcError> {
    let wanted = match &request {
        UpkeepRequest::Backup { directory, with_secrets, without_logs } => {
            Some(backup::Wanted::new(&app.dirs, directory, *with_secrets, !*without_logs)?)
        }
        UpkeepRequest::Check | UpkeepRequest::Gc { .. } => None,
    };
    let work = app.upkeep.begin(request, user)?;
    tracing::info!(user, what = work.request.label(), "work on the state begins");
    let view = work.view();
    tokio::spawn(supervise(Arc::clone(app), work, wanted));
    Ok(view)
}

async fn supervise(app: Arc<App>, work: Arc<Work>, wanted: Option<backup::Wanted>) {
    let (doing, at) = (Arc::clone(&work), Arc::clone(&app));
    let runtime = tokio::runtime::Handle::current();
    let mut done = tokio::task::spawn_blocking(move || {
        if let UpkeepRequest::Gc { dry_run } = doing.request {
            let how = gc::How { dry_run, breath: Duration::ZERO };
            return runtime.block_on(gc::collect(&at, &doing.progress, how)).map(UpkeepOutcome::Gc);
        }
        let _whole = at.upkeep.whole();
        match wanted {
            Some(wanted) => backup::make(&at, &wanted, &doing.progress).map(UpkeepOutcome::Backup),
            None => check::online(&at, &doing.progress).map(UpkeepOutcome::Check),
        }
    });
    let joined = tokio::select! {
        joined = &mut done => joined,
        () = app.stopped() => {
            work.cancel();
            done.await
        }
    };
    work.end(joined.unwrap_or_else(|_| {
        Err(RpcError::new(ErrorCode::Internal, "the work hit a fault in the daemon")
            .hint("please report it with the daemon's log")
            .into())
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backup reads, a collection waits for its end, and a check that comes then waits for neither.
    #[test]
    fn who_wants_to_remove_holds_up_nobody_who_looks() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (upkeep, progress) = (Arc::new(Upkeep::default()), Arc::new(Progress::default()));
        let backup = upkeep.whole();
        runtime.block_on(async {
            let (at, told) = (Arc::clone(&upkeep), Arc::clone(&progress));
            let mut collection = tokio::spawn(async move { at.removing(&told).await.map(drop) });
            assert!(tokio::time::timeout(Duration::from_millis(20), &mut collection).await.is_err(), "it waits");
            drop(upkeep.whole.try_read().unwrap());
            drop(backup);
            collection.await.unwrap().unwrap();
            let _looking = upkeep.whole.read().await;
            progress.cancel();
            assert!(matches!(upkeep.removing(&progress).await, Err(Ended::Cancelled)));
        });
    }

    #[test]
    fn there_is_one_work_at_a_time_and_its_outcome_stays() {
        let upkeep = Upkeep::default();
        assert!(upkeep.work().is_none());
        let first = upkeep.begin(UpkeepRequest::Check, "alice").unwrap();
        let refused = upkeep.begin(UpkeepRequest::Check, "bob").unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains("`alice`") && refused.hint.is_some(), "{refused:?}");
        first.progress.phase("reading", 10);
        first.progress.advance(4).unwrap();
        let view = first.view();
        assert_eq!((view.number, view.phase.as_str(), view.done, view.total), (1, "reading", 4, 10));
        assert_eq!(view.outcome, None);
        first.cancel();
        assert!(matches!(first.progress.advance(1), Err(Ended::Cancelled)));
        first.end(Err(Ended::Cancelled));
        let over = upkeep.work().unwrap().view();
        assert_eq!(over.outcome, Some(UpkeepOutcome::Cancelled));
        assert!(over.revision > view.revision);
        assert_eq!(upkeep.begin(UpkeepRequest::Check, "bob").unwrap().view().number, 2);
    }
}
