//! Where the repository is, and what cargo says about it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Root of the repository that this program was built from.
///
/// # Errors
/// When that directory is not there any more.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .context("failed to find the repository that xtask was built from")
}

/// The cargo that started this program, so that a toolchain that was chosen for it stays chosen.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// `cargo metadata` of the members of the workspace. Needs no network and no downloaded crate.
///
/// # Errors
/// When cargo fails or its answer is not JSON.
pub(crate) fn metadata(root: &Path) -> anyhow::Result<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("failed to start cargo")?;
    ensure!(output.status.success(), "`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("failed to read the answer of `cargo metadata`")
}
