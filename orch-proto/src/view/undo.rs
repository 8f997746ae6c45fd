//! What an undo would do.

use serde::{Deserialize, Serialize};

use crate::error::RpcError;
use crate::time::Timestamp;

/// A decision of a person, and what it would be to take it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoView {
    /// Number of its first event, which names it.
    pub event: u64,
    /// Number of its last event.
    pub last_event: u64,
    pub at: Timestamp,
    /// `user:alice`.
    pub actor: String,
    /// What was done, an event a line: `task.cancelled shop/T-3: cancelled: not now`. Cut when it is long. May hold hostile
    /// text.
    pub done: Vec<String>,
    /// The decision that it took back, by the number of its first event: to take it back, too, is to do that again.
    pub undid: Option<u64>,
    /// What would be as it was, a thing a line.
    pub back: Vec<String>,
    /// What stands against it, as the undo would answer; none: it can be taken back.
    pub against: Option<RpcError>,
}
