//! `cargo xtask ci`: the checks of CI on this machine. What they are stands in `.ci/run` alone.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::workspace;

/// Becomes `.ci/run`.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let error = Command::new(root.join(".ci/run")).arg("--no-install").current_dir(&root).exec();
    Err(error).context("failed to start `.ci/run`")
}
