//! Reads the history of how long things took: once from the beginning, and from then on whenever it is far behind.

use std::sync::Arc;

use super::AFTER_FAILURE;
use crate::app::App;
use crate::error_chain::chain;
use crate::kept_history::BEHIND_MAX;

/// Keeps the history from falling far behind, until the daemon stops. Changes nothing.
pub(super) async fn follow(app: Arc<App>) {
    let mut newest = app.store.subscribe();
    loop {
        let far = match read_all(&app).await {
            Ok(seq) => seq.saturating_add(BEHIND_MAX),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the history was not read to its end");
                tokio::select! {
                    () = app.stopped() => return,
                    () = tokio::time::sleep(AFTER_FAILURE) => continue,
                }
            }
        };
        // Who asks brings it up to date, so a few events are not worth waking up for.
        tokio::select! {
            () = app.stopped() => return,
            waited = newest.wait_for(|newest| *newest >= far) => if waited.is_err() { return },
        }
    }
}

/// Reads page by page, so that no read lasts and the daemon can stop; answers how far.
async fn read_all(app: &Arc<App>) -> Result<u64, orch_core::view::ReadError> {
    loop {
        let read = {
            let app = Arc::clone(app);
            crate::app::blocking(move || app.store.read(|view| app.history.read_on(view))).await?
        };
        match read {
            (_, true) if !*app.stopping.borrow() => {}
            (seq, _) => return Ok(seq),
        }
    }
}
