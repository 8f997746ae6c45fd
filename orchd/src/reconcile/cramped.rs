//! Measures the sandbox again where the disk was too full for that at the start: without a level nothing runs.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::app::App;

/// How often it is looked whether there is room.
const LOOK: Duration = Duration::from_secs(2);
/// Free space with which it is tried, in bytes.
const ROOM: u64 = 4 << 20;

/// Looks until there was room or the daemon stops.
pub(super) async fn measure_when_there_is_room(app: Arc<App>) {
    while app.host.read().unwrap_or_else(PoisonError::into_inner).is_cramped {
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let room = nix::sys::statvfs::statvfs(app.dirs.root())
            .map_or(0, |found| found.blocks_available().saturating_mul(found.fragment_size()));
        if room >= ROOM {
            let facts = app.measure_host("probe").await;
            tracing::info!(level = facts.level, "there is room: the sandbox was measured");
        }
    }
}
