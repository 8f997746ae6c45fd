//! What was removed of a run that is over, because it was kept for long enough: which part, what that was, and by which
//! setting. What nobody can look at any more is still known to have been there.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

/// A part of a run that can go by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPart {
    /// What it wrote.
    Log,
    /// Its directory without the log: the spec, the exit record, and what its shim wrote beside.
    Files,
    /// Files that it kept. Their content goes when nothing else has the same.
    Artifacts,
    /// The ref that keeps its commit in the repository.
    Result,
    /// What its agent was told, and what passed between it and models. Their content goes when nothing else has the same.
    Texts,
}

impl RunPart {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Log, Self::Files, Self::Artifacts, Self::Result, Self::Texts];

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Files => "files",
            Self::Artifacts => "artifacts",
            Self::Result => "result",
            Self::Texts => "texts",
        }
    }
}

/// The removal of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub part: RunPart,
    /// What it took, in bytes; nothing for a ref, whose commit stays in the repository.
    pub size_bytes: u64,
    /// What it was: the SHA-256 of a log, and of the list of files or texts with theirs; the commit of a ref.
    pub content: String,
    /// The setting by which it went, as `retention.logs_days = 90`.
    pub policy: String,
}

/// A part that is gone, or about to go: nobody is shown it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub removal: Removal,
    /// When that was put on record.
    pub at: Timestamp,
}
