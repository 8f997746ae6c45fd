//! The processes of a story, found by its directory, which every one of them names or holds open.
//!
//! Knows `/proc` and nothing of what the processes are for. **Invariant:** only processes of the story are ever killed:
//! the name of its directory is like no other.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::run_dir::{SHIM_FILE, ShimIdentity};

use crate::env::tell;

/// Place of a process's start time among what `/proc/PID/stat` says after its name: field 22 of proc(5).
const START_TICKS: usize = 19;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Its arguments, joined by spaces.
    pub command: String,
}

/// All processes that have to do with `root`: by their arguments, environment, working directory or open files.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn of(root: &Path) -> anyhow::Result<Vec<Process>> {
    let text = root.to_str().context("the directory is no text")?;
    let mut found: Vec<Process> =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| look(&entry.path(), text)).collect();
    for shim in shims(root) {
        if !found.iter().any(|process| process.pid == shim.pid) {
            found.push(shim);
        }
    }
    Ok(found)
}

/// Shims that live. They tell nothing about themselves to an ordinary user, so they are found by what they wrote down.
fn shims(root: &Path) -> Vec<Process> {
    let below = |directory: &Path| -> Vec<PathBuf> {
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let runs = below(root).into_iter().flat_map(|state| {
        let jails = below(&state.join("jail")).into_iter().map(|jail| jail.join("run"));
        below(&state.join("runs")).into_iter().chain(jails)
    });
    runs.filter_map(|run| {
        let shim: ShimIdentity = serde_json::from_slice(&fs::read(run.join(SHIM_FILE)).ok()?).ok()?;
        let proc = Path::new("/proc").join(shim.pid.to_string());
        // Another process may have its number by now.
        let stat = fs::read_to_string(proc.join("stat")).ok()?;
        let started = stat.rsplit_once(')')?.1.split_whitespace().nth(START_TICKS)?.parse().ok();
        if started == Some(shim.start_ticks) { read(&proc) } else { None }
    })
    .collect()
}

/// The children of a process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn children(parent: i32) -> anyhow::Result<Vec<Process>> {
    let all = fs::read_dir("/proc")?.flatten().filter_map(|entry| read(&entry.path()));
    Ok(all.filter(|process| process.parent == parent).collect())
}

/// A process and all those below it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn tree(top: i32) -> anyhow::Result<Vec<Process>> {
    let mut found: Vec<Process> = read(&Path::new("/proc").join(top.to_string())).into_iter().collect();
    let mut at = 0;
    while let Some(process) = found.get(at) {
        found.extend(children(process.pid)?);
        at += 1;
    }
    Ok(found)
}

/// Whether there is such a process, and it is more than the memory of one.
#[must_use]
pub fn lives(pid: i32) -> bool {
    read(&Path::new("/proc").join(pid.to_string())).is_some()
}

/// Whether a process was stopped by a signal.
#[must_use]
pub fn stands_still(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

/// Kills a process the hard way.
///
/// # Errors
/// When there is none, or it may not be killed.
pub fn kill9(pid: i32) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("failed to kill process {pid}"))
}

/// Has a process stand still until [`go_on`].
///
/// # Errors
/// When there is none, or it may not be stopped.
pub fn stop(pid: i32) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGSTOP).with_context(|| format!("failed to stop process {pid}"))
}

/// Lets a process go on that was stopped.
///
/// # Errors
/// When there is none, or it may not be reached.
pub fn go_on(pid: i32) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGCONT).with_context(|| format!("failed to let process {pid} go on"))
}

/// Kills all processes that have to do with `root`, as far as that is possible.
pub fn end_all(root: &Path) {
    // A process that is just being born is seen in the next round.
    for _ in 0..20 {
        let left = of(root).unwrap_or_default();
        if left.is_empty() {
            return;
        }
        for process in left {
            if let Err(error) = kill9(process.pid) {
                tell(&format!("{error:#}"));
            }
        }
    }
}

/// What `/proc` says of a process, if it belongs to `root` and still lives. Files that are gone meanwhile say nothing.
fn look(proc: &Path, root: &str) -> Option<Process> {
    // A child of another story between fork and exec still holds what this process holds.
    if fs::read_link(proc.join("exe")).ok() == std::env::current_exe().ok() {
        return None;
    }
    let names = |file: &str| fs::read(proc.join(file)).is_ok_and(|bytes| contains(&bytes, root.as_bytes()));
    let links = |path: &Path| {
        fs::read_link(path).is_ok_and(|target| contains(target.as_os_str().as_encoded_bytes(), root.as_bytes()))
    };
    let descriptors = || fs::read_dir(proc.join("fd")).into_iter().flatten().flatten().any(|fd| links(&fd.path()));
    let belongs = names("cmdline") || names("environ") || links(&proc.join("cwd")) || descriptors();
    if belongs { read(proc) } else { None }
}

/// A process that lives.
fn read(proc: &Path) -> Option<Process> {
    let pid = proc.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    // The name in parentheses can hold anything; what follows the last one is state and parent.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    if state == "Z" || state == "X" {
        return None;
    }
    let command = fs::read(proc.join("cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
    Some(Process { pid, parent, command })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
