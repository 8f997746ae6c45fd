//! The narrowest run: what it may have beyond that, its caller says by name.
//!
//! For callers in Rust alone. A `spec.json` says everything, so that nobody has to know what is meant without words.

use std::path::PathBuf;

use super::{Egress, Isolation, Limits, Phase, RunSpec, StepSpec, SyscallProfile};
use crate::level::Level;

impl RunSpec {
    /// A first attempt at a run that sees its workspace, at `/work`, and nothing else, reaches nobody, knows no secret, and
    /// is refused below [`Level::Full`].
    #[must_use]
    pub fn narrow(name: &str, workspace: PathBuf, steps: Vec<StepSpec>, limits: Limits) -> Self {
        Self {
            name: name.to_owned(),
            fence: 1,
            workspace,
            workspace_base: None,
            workspace_at: "/work".into(),
            mounts: Vec::new(),
            out: None,
            env: [].into(),
            steps,
            limits,
            required_level: Level::Full,
            isolation: Isolation::Sandboxed,
            egress: Egress::None,
            listeners: Vec::new(),
            secrets: Vec::new(),
            syscalls: SyscallProfile::Standard,
            lease: None,
        }
    }
}

impl StepSpec {
    /// A main step in the workspace itself, with the environment of its run.
    #[must_use]
    pub fn main(name: &str, argv: impl IntoIterator<Item = impl Into<String>>, timeout_ms: u64) -> Self {
        Self {
            name: name.to_owned(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: [].into(),
            cwd: PathBuf::new(),
            timeout_ms,
            phase: Phase::Main,
        }
    }
}

impl Limits {
    /// Enough for a small program, for so long. Memory, processors, disk and silence have no bound of the whole run.
    #[must_use]
    pub fn small(wall_ms: u64) -> Self {
        Self {
            wall_ms,
            cpu_seconds: (wall_ms / 1_000).max(1),
            memory_bytes: None,
            run_memory_bytes: None,
            run_cpu_millis: None,
            disk_bytes: None,
            idle_ms: None,
            processes: 64,
            open_files: 256,
            file_size_bytes: 1 << 20,
            log_bytes_max: 1 << 20,
            tmp_bytes: 1 << 20,
        }
    }
}
