//! `orch-sandbox`: a spec in, a confined process tree out.
//!
//! Knows specs, steps, run directories, fences, logs and exit records; nothing of what they are used for. Reading order:
//!
//! - [`spec`]: what to run and what it may touch. [`level`]: what the sandbox guarantees. [`exit_record`]: how it ended.
//! - [`run_dir`]: the directory in which one attempt lives; [`log`]: its log; [`control`]: its control socket.
//! - [`spawner`]: starts shims for a daemon. The shim owns a run; pid 1 inside builds the sandbox and runs the steps.
//! - `sys`: every unsafe call.
//!
//! Synchronous throughout. **Invariant:** every process here that forks has one thread.

mod clock;
pub mod control;
pub mod exit_record;
pub mod level;
pub mod log;
pub mod run_dir;
pub mod spawner;
pub mod spec;

pub use level::{Level, LevelReport};
pub use spawner::{SpawnError, Spawned, Spawner, SpawnerOptions};
pub use spec::RunSpec;
