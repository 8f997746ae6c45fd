//! Where it is measured: directories, programs, and the peer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tempfile::TempDir;

use crate::bwrap;
pub(crate) use crate::bwrap::NO_PEER;
use crate::options::Options;

/// A tmpfs that every Linux has.
const MEMORY: &str = "/dev/shm";

/// Directories of this measurement, which go with it, and the programs.
#[derive(Debug)]
pub(crate) struct Place {
    memory: TempDir,
    disk: TempDir,
    /// `orch-sandbox`.
    pub(crate) sandbox: PathBuf,
    /// `sbx-probe`.
    pub(crate) probe: PathBuf,
    /// This program.
    pub(crate) own: PathBuf,
    /// `bwrap`, where it is installed.
    pub(crate) peer: Option<PathBuf>,
}

impl Place {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let kind = statfs(MEMORY).with_context(|| format!("failed to look at {MEMORY}"))?.filesystem_type();
        ensure!(kind == TMPFS_MAGIC, "{MEMORY} is no tmpfs, so a disk would be measured with every run");
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("sandbox-bench-");
            builder
        };
        let program = options.program.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_orch-sandbox")));
        let sandbox = program.canonicalize().with_context(|| format!("no program `{}`", program.display()))?;
        let beside = sandbox.with_file_name("sbx-probe");
        let probe = if beside.exists() { beside } else { env!("CARGO_BIN_EXE_sbx-probe").into() };
        Ok(Self {
            memory: builder().tempdir_in(MEMORY)?,
            disk: builder().tempdir()?,
            sandbox,
            probe,
            own: std::env::current_exe()?.canonicalize()?,
            peer: bwrap::in_path("bwrap"),
        })
    }

    /// A new directory on a tmpfs.
    pub(crate) fn in_memory(&self, name: &str) -> anyhow::Result<PathBuf> {
        directory(self.memory.path(), name)
    }

    /// A new directory where files of programs are, usually on a disk.
    pub(crate) fn on_disk(&self, name: &str) -> anyhow::Result<PathBuf> {
        directory(self.disk.path(), name)
    }
}

fn directory(below: &Path, name: &str) -> anyhow::Result<PathBuf> {
    // The sandbox takes no path with a symlink in it.
    let path = below.canonicalize()?.join(name);
    std::fs::create_dir(&path).with_context(|| format!("failed to make `{}`", path.display()))?;
    Ok(path)
}

/// `bwrap` with what a run of ours has.
pub(crate) fn peer_command(peer: &Path, workspace: &Path) -> Command {
    let mut command = Command::new(peer);
    command.args(bwrap::arguments(workspace));
    quiet(&mut command);
    command
}

/// Runs `program` silently from start to exit; a failure is an error.
pub(crate) fn time(command: &mut Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    // Without anything to do between fork and exec this is a vfork, so the size of this process is not in the time.
    let status = command.status().with_context(|| format!("failed to start {:?}", command.get_program()))?;
    let time = start.elapsed();
    ensure!(status.success(), "{:?} ended with {status}", command.get_program());
    Ok(time)
}

/// Gives `command` nothing to read, nowhere to write and no environment.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit())
}
