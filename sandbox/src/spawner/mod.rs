//! The spawner: a single-threaded process that forks a shim per run, because a daemon with threads must not fork.
//!
//! [`Spawner`] is the daemon's side; `serve` is the process: `home` is where it lives, `children` what it has started and what
//! came to it, `templates`, `networks` and `pool` what it has ready. A request is one JSON object in a packet on a socket
//! that is the standard input of the process; a channel comes with it, on which the shim itself answers.
//! **Invariant:** the spawner keeps no state that matters; it can die at any time and costs nothing but a restart.
//! **Invariant:** shims outlive it.

mod children;
mod client;
mod home;
mod networks;
mod pool;
mod serve;
mod templates;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limit::Ceilings;

pub use client::{SpawnError, Spawned, Spawner, SpawnerOptions};
pub(crate) use serve::{ServeError, serve};

/// Longest message in either direction, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// How long after a request a shim may take the attempt.
const CLAIM_MAX: Duration = Duration::from_secs(10);
/// When nobody takes an attempt any more that was asked for: what hangs while it does is ended, to the second that follows.
pub const START_MAX: Duration = Duration::from_secs(12);

/// Grows when requests or answers change.
const PROTOCOL: u32 = 1;

/// How a spawner serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeOptions {
    /// What the daemon speaks; 0 is the version before there was a number.
    pub(crate) protocol: u32,
    /// What it prepares ahead.
    pub(crate) prewarm: Prewarm,
    /// What all its runs together keep to.
    pub(crate) ceilings: Ceilings,
}

/// What is prepared ahead of the runs that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prewarm {
    /// Sandboxes for each shape that runs have had lately. A sandbox that waits costs about half a MiB.
    pub slots: usize,
    /// Network namespaces.
    pub networks: usize,
}

impl Default for Prewarm {
    /// Two sandboxes and four network namespaces.
    fn default() -> Self {
        Self { slots: 2, networks: 4 }
    }
}

/// What the daemon asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpawnRequest {
    run_dir: PathBuf,
    /// Until when on the monotonic clock the attempt may be taken, in nanoseconds: whoever asked does not wait any longer.
    claim_until_ns: u64,
    /// Whoever was to answer before has gone without: the run gets a shim of its own.
    is_repeated: bool,
}

/// What whoever asked for a run is told, by its shim where there is one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StartAnswer {
    /// The shim holds lock and claim. A descriptor comes with it that names its process.
    Started { pid: i32 },
    /// Another shim lives in this directory, or the attempt was taken before, or a newer one was.
    Fenced { reason: String },
    /// The shim could not start.
    Failed { reason: String },
}
