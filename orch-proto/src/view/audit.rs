//! The event log as clients see it, and the reports of its checks.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    pub seq: u64,
    pub at: Timestamp,
    /// `user:alice`, `daemon:scheduler`, ...
    pub actor: String,
    /// `task.approved`.
    pub kind: String,
    /// Slug of the project it belongs to.
    pub project: Option<String>,
    /// Short name of what it happened to.
    pub subject: String,
    /// What happened, in a line. May hold hostile text.
    pub text: String,
    /// SHA-256 of this link of the chain, in hex.
    pub hash: String,
    /// The event's data as stored, when asked for by the audit export.
    pub data: Option<serde_json::Value>,
}

/// A piece of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPage {
    pub events: Vec<EventView>,
    /// Cursor for the next call. Equal to the one given when nothing happened in time.
    pub next: u64,
    /// Newest sequence number there is.
    pub head: u64,
    /// Whether the state cannot be written at the moment, of which there can be no event. A call that is held is answered
    /// when that changes.
    pub outage: bool,
}

/// Result of verifying the hash chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    pub events: u64,
    /// Hash of the last event, in hex.
    pub head_hash: String,
    /// First event whose hash does not fit, and what was found there. None: the chain is whole.
    pub broken_at: Option<(u64, String)>,
}

/// Result of comparing the tables with a replay of the log, and of the other checks of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    pub audit: AuditReport,
    pub rows_compared: u64,
    /// Differences between tables and replay, one per line.
    pub differences: Vec<String>,
    /// Blobs that events name and the disk has not.
    pub blobs_missing: Vec<String>,
    /// What SQLite says of its file; `ok` when all is well.
    pub integrity: String,
    /// Blobs whose content was compared with their name, if that was asked for.
    #[serde(default)]
    pub blobs_read: u64,
    /// Blobs whose content is not that of their name.
    #[serde(default)]
    pub blobs_damaged: Vec<String>,
    /// Repositories that were looked at, if that was asked for, and what is wrong with them.
    #[serde(default)]
    pub repositories: u64,
    #[serde(default)]
    pub repositories_wrong: Vec<String>,
    /// What lies in the state directory and nothing names. It takes space and does no harm.
    #[serde(default)]
    pub orphans: Vec<Orphan>,
    /// What a quick check left out because there is much of it, one per line.
    #[serde(default)]
    pub not_looked_at: Vec<String>,
}

/// Something in the state directory that nothing names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// Its path within the state directory.
    pub path: String,
    /// What it is, and why nothing needs it.
    pub what: String,
}

impl CheckReport {
    /// Whether everything was found right.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.audit.broken_at.is_none()
            && self.differences.is_empty()
            && self.blobs_missing.is_empty()
            && self.blobs_damaged.is_empty()
            && self.repositories_wrong.is_empty()
            && self.integrity == "ok"
    }
}
