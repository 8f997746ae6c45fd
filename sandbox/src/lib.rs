//! `orch-sandbox`: a spec in, a confined process tree out.
//!
//! Knows specs, steps, run directories, fences, logs and exit records; nothing of what they are used for. Reading order:
//!
//! - [`spec`]: what to run and what it may touch. [`level`]: what the sandbox guarantees. [`limit`]: what the whole run may
//!   use. [`exit_record`]: how it ended.
//! - [`run_dir`]: the directory in which one attempt lives; [`log`]: its log; [`control`]: its control socket.
//! - [`spawner`]: starts shims for a daemon. `shim`: owns one run, and without isolation runs its steps. `init`: pid 1 inside,
//!   builds the sandbox and runs the steps. `view` and `seccomp`: what they see and may call. `probes`: what really holds.
//!   `leftovers`: what is left where no sandbox ends it.
//! - [`secrets`]: values on their way to the steps. [`redact`]: takes them out of what the steps write.
//! - [`egress`]: what a run may reach over the network, and the proxy through which it does. `listeners`: what it finds
//!   listening inside, served from outside.
//! - [`advice`]: what a person can do about what does not hold. [`attempt`]: what a step tries to see that the rest does.
//! - [`artifacts`]: takes results out of a workspace; [`remove_tree`] deletes it. `sys`: every unsafe call.
//!
//! Synchronous throughout. **Invariant:** every process here that forks has one thread.

pub mod advice;
pub mod artifacts;
pub mod attempt;
mod cgroup;
mod clock;
pub mod control;
pub mod egress;
pub mod exit_record;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod init;
mod leftovers;
pub mod level;
pub mod limit;
mod listeners;
pub mod log;
mod probes;
pub mod redact;
mod remove;
pub mod run_dir;
mod seccomp;
pub mod secrets;
mod shim;
mod small_file;
pub mod spawner;
pub mod spec;
mod sys;
mod view;
mod watch;

mod cli;

pub use cli::main_impl;
pub use level::{Level, LevelReport};
pub use probes::host::{HostFeature, HostReport, Presence, probe_host, probe_host_for};
pub use remove::{RemoveError, remove_tree};
pub use secrets::Secrets;
pub use spawner::{Prewarm, START_MAX, SpawnError, Spawned, Spawner, SpawnerOptions};
pub use spec::RunSpec;
pub use sys::memory::{give_memory_back, share_heaps};

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
