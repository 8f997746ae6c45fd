//! Measures the sandbox again where the disk was too full for that, at the start or when somebody asked `doctor`: without a
//! level nothing runs.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::app::App;
use crate::host;

/// How often it is looked whether there is room.
const LOOK: Duration = Duration::from_secs(2);

/// Looks until the daemon stops: in turns while nothing was measured for want of room, and otherwise when it is told of something.
pub(super) async fn measure_when_there_is_room(app: Arc<App>) {
    let mut woken = app.woken.subscribe();
    loop {
        woken.mark_unchanged();
        let is_cramped = app.host.read().unwrap_or_else(PoisonError::into_inner).is_cramped;
        if is_cramped && host::has_space(app.dirs.root()).unwrap_or(false) {
            let facts = app.measure_host("probe").await;
            tracing::info!(level = facts.level, "there is room: the sandbox was measured");
        }
        tokio::select! {
            () = app.stopped() => return,
            _ = woken.changed(), if !is_cramped => {}
            () = tokio::time::sleep(LOOK), if is_cramped => {}
        }
    }
}
