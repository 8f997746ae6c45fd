//! Gives back memory that was needed for a while, once it is quiet: a burst of work leaves holes that the allocator keeps.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

/// How long nothing was committed when it is quiet.
const QUIET: Duration = Duration::from_millis(500);

/// Waits for quiet after work, again and again, until the daemon stops.
pub(super) async fn give_memory_back(app: Arc<App>) {
    let mut changed = app.store.subscribe_to(|_| true);
    loop {
        tokio::select! {
            () = app.stopped() => return,
            more = changed.changed() => if more.is_err() { return },
        }
        // While work goes on it would be asked for again at once.
        loop {
            tokio::select! {
                () = app.stopped() => return,
                () = tokio::time::sleep(QUIET) => {}
            }
            if !changed.has_changed().unwrap_or(false) {
                break;
            }
            changed.mark_unchanged();
        }
        crate::app::blocking(orch_sandbox::give_memory_back).await;
    }
}
