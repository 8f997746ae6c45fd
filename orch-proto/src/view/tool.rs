//! Tools of recipes: what is installed for runs, and what the host has to provide.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How far a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolState {
    /// It is not installed for runs: the host has it or not.
    Host,
    /// It is not installed.
    Absent,
    /// It is to be installed.
    Wanted,
    Downloading,
    /// The steps of its recipe run.
    Building,
    Failed,
    Ready,
}

impl ToolState {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Absent => "absent",
            Self::Wanted => "wanted",
            Self::Downloading => "downloading",
            Self::Building => "building",
            Self::Failed => "failed",
            Self::Ready => "ready",
        }
    }
}

/// A tool that a recipe describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolView {
    pub name: String,
    pub version: String,
    pub description: Option<String>,
    /// What is executed.
    pub program: String,
    pub state: ToolState,
    /// How far it is, or why it is not there.
    pub detail: Option<String>,
    /// It comes to another state by itself.
    pub is_under_way: bool,
    /// What is downloaded for this host, and what that has to hash to.
    pub url: Option<String>,
    pub checksum: Option<String>,
    /// Hosts that its installation asks or may be sent to.
    pub hosts: Vec<String>,
    /// Digest of all that decides it, and of all its files.
    pub recipe: Option<String>,
    pub content: Option<String>,
    pub files: u64,
    pub size_bytes: u64,
    pub installed_at: Option<Timestamp>,
    /// On whose word.
    pub by: Option<String>,
    /// Runs under way that have it.
    pub runs: Vec<String>,
}
