//! A tool that was installed for runs, as one of them has it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A tool that was installed for runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstalledTool {
    pub name: String,
    pub version: String,
    /// What it was made from and how: the digest of all that decides it of its recipe.
    pub recipe: Digest,
    /// All of its files, with names and modes.
    pub content: Digest,
}

impl InstalledTool {
    /// For people, with the digest of its files.
    #[must_use]
    pub fn line(&self) -> String {
        format!("tool: {} {} {}", self.name, self.version, self.content)
    }
}
