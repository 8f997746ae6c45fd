//! Watches whether the state can be written, and has everybody look again when that changes.
//!
//! The scheduler asks for it with its limits and starts nothing meanwhile. What runs does not need the daemon; what it left
//! to be taken in is taken in when the state can be written again.

use std::sync::Arc;

use crate::site::Site;

/// Looks until the daemon stops.
pub(super) async fn follow<S: Site>(app: Arc<S>) {
    let mut outage = app.store().outage();
    loop {
        let now = outage.borrow_and_update().clone();
        if let Some(now) = now {
            let reason = now.reason.as_str();
            tracing::error!(since = %now.since, reason, full = now.is_full, "the state cannot be written; nothing new begins");
        }
        tokio::select! {
            biased;
            () = app.stopped() => return,
            changed = outage.changed() => if changed.is_err() { return },
        }
        app.look_again();
    }
}
