//! The specification of a run: everything that decides what is executed and what it may touch.
//!
//! Plain data, written by the caller as `spec.json`. Unknown fields are errors and nothing that widens access has a
//! default. **Invariant:** the rest of the crate works on [`CheckedSpec`], which only [`RunSpec::check`] makes.

mod check;
mod narrow;
mod shape;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::egress::{AllowEntry, Egress, EgressPolicy};
use crate::level::Level;
#[cfg(test)]
pub(crate) use check::tests;
pub use check::{CheckedSpec, SpecError};
pub(crate) use shape::Shape;

/// Most steps of one run.
pub const STEPS_MAX: usize = 256;
/// Most extra read-only mounts of one run.
pub const MOUNTS_MAX: usize = 64;
/// Most bytes of one `spec.json`.
pub const SPEC_BYTES_MAX: u64 = 4 << 20;
/// Home directory inside, a tmpfs that vanishes with the run; `HOME` unless the spec sets it.
pub const HOME_INSIDE: &str = "/home/run";
/// Where [`RunSpec::out`] is mounted inside.
pub const OUT_INSIDE: &str = "/out";

/// Most directories that one workspace is made from. Each costs time in every look-up of a name.
pub const LAYERS_MAX: usize = 8;
/// Most secrets of one run.
pub const SECRETS_MAX: usize = 64;
/// Most sockets that a run finds listening.
pub const LISTENERS_MAX: usize = 8;
/// Shortest and longest time for which a run can go on without a proof that it is the one, in milliseconds.
pub const LEASE_MS_MIN: u64 = 1_000;
/// See [`LEASE_MS_MIN`].
pub const LEASE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Where secrets that are files appear inside, on a tmpfs that vanishes with the run.
pub const SECRETS_INSIDE: &str = "/run/secrets";

/// One run: a workspace, what else is visible, and the steps to execute in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Host name inside: 1-63 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// Number of this attempt; only grows for the same work.
    pub fence: u64,
    /// Host directory that the run may change. Absolute, no symlink on the way.
    pub workspace: PathBuf,
    /// Host directories that the workspace starts as, however large, without being copied; the run never changes them.
    /// What an earlier one has hides what a later one has at the same path; 1 to [`LAYERS_MAX`]. The run sees them merged
    /// with `upper` in `workspace`, which holds only what differs; `work-0` beside it is scratch space of the kernel for one
    /// mount. `upper` is made if it is missing; every `work-*` that is there is removed. `None`: the run sees `workspace` itself.
    pub workspace_base: Option<Vec<PathBuf>>,
    /// Where the workspace appears inside, for example `/work`.
    pub workspace_at: PathBuf,
    /// Further host paths, visible read-only.
    pub mounts: Vec<ReadOnlyMount>,
    /// Host directory for results, writable at [`OUT_INSIDE`].
    pub out: Option<PathBuf>,
    /// Environment of every step. Nothing of the host's environment is added.
    pub env: BTreeMap<String, String>,
    /// What to execute, ordered `Setup`, `Main`, `Always`.
    pub steps: Vec<StepSpec>,
    /// Upper bounds of what the run may use.
    pub limits: Limits,
    /// The run is refused when the sandbox reaches less.
    pub required_level: Level,
    /// Sandboxed unless the caller says otherwise by name.
    pub isolation: Isolation,
    /// What the run may reach over the network.
    pub egress: Egress,
    /// Sockets on the run's loopback that somebody outside serves.
    pub listeners: Vec<ListenerSpec>,
    /// Secrets by name. The values are never in the spec: they are handed over beside it.
    pub secrets: Vec<SecretSpec>,
    /// Which system calls the steps may make.
    pub syscalls: SyscallProfile,
    /// Until when the run goes on without a proof that it still is the one; `None`: whatever becomes of its run directory,
    /// and as long as it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseSpec>,
}

/// How long a run goes on without a proof that it still is the one. Its shim looks for that proof itself, several times
/// within that time: the run directory is where it was and can be written, lock and claim in it are its own, and no later
/// attempt was taken. Time in which the host sleeps, or the shim is stopped, counts; setting the clock changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSpec {
    /// How long a proof is worth, in milliseconds: [`LEASE_MS_MIN`] to [`LEASE_MS_MAX`]. A run without one for longer
    /// is killed and leaves no record.
    pub ttl_ms: u64,
    /// Who wants the result, when the run is to end without them.
    pub owner: Option<OwnerSpec>,
}

/// Whoever wants the result of a run, and for how long it goes on without them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerSpec {
    /// Name of a file beside the run directory, on which the owner has an open-file-description write lock (`F_OFD_SETLK`) as
    /// long as it lives: 1-63 of `a-z`, `0-9`, `-` and `.`, not starting with a dot.
    pub lock: String,
    /// How long the run goes on while nobody has that lock, in milliseconds; at least `ttl_ms`. It is killed then, and its
    /// record says why.
    pub absent_ms: u64,
}

/// A host path that is visible read-only, with everything mounted below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyMount {
    /// Absolute host path, no symlink on the way; a directory or a file.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: PathBuf,
}

/// One command of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// Unique within the run: 1-63 printable ASCII characters.
    pub name: String,
    /// Program and arguments; a program without `/` is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Overrides of [`RunSpec::env`].
    pub env: BTreeMap<String, String>,
    /// Working directory relative to the workspace, without `..`; empty is the workspace itself.
    pub cwd: PathBuf,
    /// Time until the step and everything it left running is killed, in milliseconds; at least 1.
    pub timeout_ms: u64,
    /// When the step runs.
    pub phase: Phase,
}

/// When a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Prepares; its failure ends the run like one of `Main`.
    Setup,
    /// The work. The first step that fails ends the phase.
    Main,
    /// Runs whatever happened before, after every process that is left inside has been killed.
    Always,
}

/// Upper bounds of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Time for the `Setup` and `Main` steps together, in milliseconds; at least 1.
    pub wall_ms: u64,
    /// Processor time of each process, in seconds; at least 1.
    pub cpu_seconds: u64,
    /// Address space of each process, in bytes; `None` sets no bound.
    pub memory_bytes: Option<u64>,
    /// Memory of all processes of the run together, with its temporary files, in bytes; `None` sets no bound. Enforced
    /// by a cgroup where one is delegated, otherwise watched. At least 1 MiB.
    pub run_memory_bytes: Option<u64>,
    /// Processor time of all processes together, in thousandths of one processor; `None` sets no bound. Needs a cgroup.
    pub run_cpu_millis: Option<u64>,
    /// Disk space that the workspace and the directory for results may grow to together, in bytes; `None` sets no bound.
    pub disk_bytes: Option<u64>,
    /// Time without any output until the step is killed, in milliseconds; `None` sets no bound.
    pub idle_ms: Option<u64>,
    /// Processes and threads of the run; at least 1.
    pub processes: u64,
    /// Open files of each process; at least 16.
    pub open_files: u64,
    /// Largest file that can be written, in bytes.
    pub file_size_bytes: u64,
    /// Payload that the log keeps, in bytes; the rest is counted and dropped.
    pub log_bytes_max: u64,
    /// Size of each of `/tmp`, `/dev/shm` and the home directory, in bytes; at least 64 KiB.
    pub tmp_bytes: u64,
}

/// Whether a sandbox is used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Namespaces, landlock, system call filter, empty root view.
    Sandboxed,
    /// Plain processes of the caller's user, started in the workspace itself. `mounts` and `workspace_at` must be
    /// empty and the workspace, because nothing is mounted.
    None,
}

/// A socket on the loopback of the run, made before its first step and served from outside by whoever takes it: see
/// [`take_listener`](crate::control::take_listener). While nobody serves it, connections wait; none is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// By which it is taken: 1-63 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// TCP port on 127.0.0.1 inside; not 0 and used once.
    pub port: u16,
    /// Environment variable of every step that says where it is, as `127.0.0.1:PORT`: letters, digits and `_`, not
    /// starting with a digit, and set by nothing else of the spec.
    pub variable: String,
}

/// A secret that the run gets. Never in argv, never in the workspace; its value is taken out of logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// By which the value is handed over: 1-63 of `A-Z`, `a-z`, `0-9`, `_`, `-` and `.`, not starting with a dot.
    pub name: String,
    /// How the steps get it.
    pub delivery: SecretDelivery,
}

/// How a secret reaches the steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretDelivery {
    /// As a file named like the secret in [`SECRETS_INSIDE`], readable by the run alone.
    File,
    /// As this environment variable of every step. Every process of the run can pass it on.
    Env(String),
}

/// Which system calls the steps of a run may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyscallProfile {
    /// All but those that reach past the sandbox: builds and agents run anything.
    Standard,
    /// Only what ordinary programs need, for steps that hold keys to something else.
    Strict,
}
