//! Long work of the daemon on its state, watched from here: progress on standard error, the outcome at the end.
//!
//! The work goes on without a watcher. What ends a watch early says so, and how to look again.

use std::time::Duration;

use orch_proto::view::{UpkeepOutcome, UpkeepRequest, UpkeepView};
use orch_proto::{ErrorCode, WAIT_MS_MAX};
use tokio::time::Instant;

use super::failure::Failure;
use super::follow;
use super::session::Session;

/// Least time between two looks: the work moves with every piece of a file.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Time after which a phase that goes on is said again.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Begins work and watches it to its end.
pub(crate) async fn begin(session: &Session, request: UpkeepRequest) -> Result<UpkeepOutcome, Failure> {
    let view = start(session, request).await?;
    watch(session, view).await
}

/// Begins work.
pub(crate) async fn start(session: &Session, request: UpkeepRequest) -> Result<UpkeepView, Failure> {
    session.read(async |orch, context| orch.upkeep_start(context, request.clone()).await).await
}

/// Watches work to its end. What it failed with is a failure; that it was cancelled is, too.
pub(crate) async fn watch(session: &Session, view: UpkeepView) -> Result<UpkeepOutcome, Failure> {
    let what = format!("the {}", view.request.label());
    let outcome = follow::detachable(session, &what, to_its_end(session, view)).await?;
    match outcome {
        UpkeepOutcome::Failed(error) => Err(error.into()),
        UpkeepOutcome::Cancelled => Err(Failure::Negative(format!("{what} was cancelled; nothing is left of it"))),
        outcome => Ok(outcome),
    }
}

async fn to_its_end(session: &Session, mut view: UpkeepView) -> Result<UpkeepOutcome, Failure> {
    let number = view.number;
    let deadline = session.options.timeout.map(|timeout| Instant::now() + timeout);
    let mut said: Option<(String, Instant)> = None;
    loop {
        if let Some(outcome) = view.outcome {
            return Ok(outcome);
        }
        let is_news = said.as_ref().is_none_or(|(phase, at)| *phase != view.phase || at.elapsed() >= SAY_AGAIN);
        if is_news && !view.phase.is_empty() {
            session.note(&progress(&view));
            said = Some((view.phase.clone(), Instant::now()));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = format!("the {} is not over yet, the time given is", view.request.label());
            return Err(Failure::new(ErrorCode::Timeout, message, "it goes on; look with `orchctl backup --status`"));
        }
        let (looked, after) = (Instant::now(), view.revision);
        let wait_ms = deadline.map_or(WAIT_MS_MAX, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            u32::try_from(left).unwrap_or(WAIT_MS_MAX).clamp(1, WAIT_MS_MAX)
        });
        let newest = session.read(async |orch, context| orch.upkeep(context, after, wait_ms).await).await?;
        view = newest.filter(|newest| newest.number == number).ok_or_else(|| {
            Failure::new(
                ErrorCode::NotFound,
                "the daemon was started again or began other work: what came of this is not known here",
                "the daemon's log says; a backup that was not finished leaves nothing",
            )
        })?;
        tokio::time::sleep_until(looked + LOOK_PAUSE).await;
    }
}

/// How far it is, in a line.
pub(crate) fn progress(view: &UpkeepView) -> String {
    match (view.done, view.total) {
        (_, 0) => view.phase.clone(),
        (done, total) => format!("{}: {} %", view.phase, done.saturating_mul(100) / total.max(done)),
    }
}
