//! Forgets what the configuration says was kept for long enough, a small piece at a time.
//!
//! The record of events is never touched.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::error_chain::chain;
use crate::upkeep::gc;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// Commands that are forgotten at once: a millisecond of the writer's time.
const PIECE: u32 = 200;
/// Time that others have between two pieces.
const BREATH: Duration = Duration::from_millis(100);

/// When files, blobs and refs are looked at after the start, and how often from then on.
const FIRST_COLLECTION: Duration = Duration::from_secs(15 * 60);
const COLLECTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes what was kept for long enough until the daemon stops.
pub(super) async fn collect(app: Arc<App>) {
    let mut wait = FIRST_COLLECTION;
    loop {
        let collection = async {
            tokio::time::sleep(wait).await;
            let how = gc::How { dry_run: false, breath: BREATH };
            match gc::collect(&app, &Arc::default(), how).await {
                Ok(report) => gc::told(&report),
                Err(error) => tracing::warn!(?error, "what was kept for long enough is not removed"),
            }
        };
        // What is cut off is on record, and finished by the next collection.
        tokio::select! {
            () = app.stopped() => return,
            () = collection => {}
        }
        wait = COLLECTION;
    }
}

/// Looks until the daemon stops.
pub(super) async fn run(app: Arc<App>) {
    loop {
        let forget = async {
            match forget_commands(&app).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "forgot what old commands came to"),
                Err(error) => tracing::warn!(error = chain(&error), "old commands are not forgotten"),
            }
            tokio::time::sleep(LOOK).await;
        };
        tokio::select! {
            () = app.stopped() => return,
            () = forget => {}
        }
    }
}

/// Forgets what commands came to that nobody sends again after so long; answers how many.
async fn forget_commands(app: &App) -> Result<u64, orch_store::ExecuteError> {
    let kept_ms = u64::try_from(app.config.retention.commands.as_millis()).unwrap_or(u64::MAX);
    let before = crate::clock::now().minus_ms(kept_ms);
    let mut count = 0;
    loop {
        let forgotten = app.store.forget_commands(before, PIECE).await?;
        count += forgotten;
        if forgotten < u64::from(PIECE) {
            return Ok(count);
        }
        tokio::time::sleep(BREATH).await;
    }
}
