//! Looking at the repository that the daemon made. Only commands that execute nothing from it.

use std::path::Path;
use std::process::Stdio;

use orch_proto::ErrorCode;
use tokio::process::Command;

use super::place::Place;
use crate::ctl::failure::Failure;

/// Settings by which git runs no hook, no filter and no helper, and takes no configuration of this user.
const HARDENING: [&str; 8] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "protocol.allow=never",
    "-c",
    "protocol.file.allow=always",
];

/// Runs git and gives what it wrote.
pub(super) async fn git(place: &Place, directory: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(HARDENING)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", &place.path)
        .env("HOME", &place.root)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(
        ErrorCode::Repository,
        format!("git {}: {message}", arguments.first().copied().unwrap_or("")),
        format!("look at the repository in `{}`", directory.display()),
    ))
}

/// Clones without links to the original, so that every object is copied and checked.
pub(super) async fn clone(place: &Place, repository: &Path, target: &Path) -> Result<(), Failure> {
    let (repository, target) = (repository.display().to_string(), target.display().to_string());
    let arguments =
        ["clone", "--quiet", "--no-local", "--no-recurse-submodules", "--template=", "--", &repository, &target];
    git(place, &place.root, &arguments).await.map(drop)
}
