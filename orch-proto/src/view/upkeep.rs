//! Long work on the state itself: what can be asked for, how far it is, what came of it.
//!
//! There is one such work at a time. It goes on whether anybody watches or not.

use serde::{Deserialize, Serialize};

use crate::error::RpcError;
use crate::request::Role;
use crate::time::Timestamp;
use crate::view::CheckReport;

/// What the daemon is to do with its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum UpkeepRequest {
    /// Writes a backup.
    Backup {
        /// Absolute path on the daemon's machine, which must not exist.
        directory: String,
        /// Take the values of secrets along, and the key to them unless it is a credential of the service.
        with_secrets: bool,
        /// Leave out the logs of runs.
        without_logs: bool,
    },
    /// Looks at everything that is kept, also at what only reading all of it shows.
    Check,
    /// Removes what was kept for long enough by the settings, which happens by itself once a day, too.
    Gc {
        /// Only says what would go.
        dry_run: bool,
    },
}

impl UpkeepRequest {
    /// The role that it needs.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Backup { .. } | Self::Gc { dry_run: false } => Role::Admin,
            Self::Check | Self::Gc { dry_run: true } => Role::Operator,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Backup { .. } => "backup",
            Self::Check => "check",
            Self::Gc { .. } => "garbage collection",
        }
    }
}

/// Work on the state that is under way, or the last that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepView {
    /// Counts the works since the start of the daemon, from 1.
    pub number: u64,
    pub request: UpkeepRequest,
    /// Who asked for it.
    pub user: String,
    pub started_at: Timestamp,
    /// Grows with every change of this view.
    pub revision: u64,
    /// What is done at the moment, as `copying blobs`.
    pub phase: String,
    /// How much of the phase is done, and of how much; 0 where that is not known.
    pub done: u64,
    pub total: u64,
    /// What came of it; none while it is under way.
    pub outcome: Option<UpkeepOutcome>,
}

/// What came of work on the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum UpkeepOutcome {
    Backup(BackupReport),
    Check(CheckReport),
    Gc(GcReport),
    /// It was cancelled; nothing is left of it.
    Cancelled,
    /// Nothing is left of it.
    Failed(RpcError),
}

/// What was removed because it was kept for long enough, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Nothing was removed: it is what would be.
    pub dry_run: bool,
    /// By kind: `log`, `files` and `artifacts` of runs, `result` for refs, `blob`. What artifacts held is freed with its
    /// blobs, and counted there.
    pub kinds: Vec<GcKind>,
    /// Runs that are old enough and stay, because their change was merged or a person decided about it.
    pub evidence: u64,
    /// Runs that are old enough and stay, because something open refers to them.
    pub in_use: u64,
    /// What could not be removed, one per line. It is tried again the next time.
    pub failed: Vec<String>,
}

/// How much of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcKind {
    pub kind: String,
    pub count: u64,
    pub size_bytes: u64,
}

/// A backup that was written and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    pub directory: String,
    pub made_at: Timestamp,
    /// Newest event that is in it, and its hash in hex: note it elsewhere to know the backup again.
    pub head_seq: u64,
    pub head_hash: String,
    pub files: u64,
    pub size_bytes: u64,
    /// Names of the secrets whose values are in it, and of those whose values are not.
    pub secrets: Vec<String>,
    pub secrets_left_out: Vec<String>,
    /// What was missing or damaged in the state already when it was made, one per line.
    pub damage: Vec<String>,
}
