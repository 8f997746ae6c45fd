//! Who did something. Stands on every event of the audit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The origin of a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Actor {
    /// A person or script, known by the uid of its end of the socket.
    User {
        uid: u32,
        /// Name of the account at that time; the uid is what counts.
        name: String,
    },
    /// A part of the daemon: `scheduler`, `runner`, `changes`, ...
    Daemon { part: String },
}

impl Actor {
    /// A part of the daemon.
    #[must_use]
    pub fn daemon(part: &str) -> Self {
        Self::Daemon { part: part.to_owned() }
    }

    /// What tells two people apart for approvals by more than one.
    #[must_use]
    pub const fn uid(&self) -> Option<u32> {
        match self {
            Self::User { uid, .. } => Some(*uid),
            Self::Daemon { .. } => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } => write!(f, "user:{name}"),
            Self::Daemon { part } => write!(f, "daemon:{part}"),
        }
    }
}
