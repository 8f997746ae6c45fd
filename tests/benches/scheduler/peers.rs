//! Other queues, as they are installed: each runs the same tasks that do nothing, from the first handed in to the last done.
//!
//! What is not installed is not measured. Each is held to having run them all.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::bwrap;

/// A queue of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    TaskSpooler,
    Parallel,
    Pueue,
    /// No queue: what starting the processes costs.
    Xargs,
    /// The same with a sandbox for each.
    XargsBwrap,
}

/// Hands in tasks one by one, as people do, and waits for the last. Its numbers begin with 0. A hundred can still run when
/// the last has ended.
const TASK_SPOOLER: &str = r#"
set -eu
tsp -S "$2"
i=0
while [ "$i" -lt "$1" ]; do tsp true > /dev/null; i=$((i + 1)); done
tsp -w
while tsp | grep -q -E '^[0-9]+ +(queued|running|allocating)'; do :; done
tsp | awk '$2 == "finished" && $4 != 0 { exit 1 }'
test "$(tsp | awk '$2 == "finished" && $1 > last { last = $1 } END { print last + 1 }')" -eq "$1"
"#;

/// With its log, from which it would go on after a crash. The log's first line says what is in it.
const PARALLEL: &str = r#"
set -eu
seq "$1" | parallel --will-cite -j "$2" -N0 --joblog "$3/log" true
test "$(wc -l < "$3/log")" -eq "$(($1 + 1))"
"#;

/// The daemon is started by hand and ends with the script.
const PUEUE: &str = r#"
set -eu
pueued -c "$3/pueue.yml" &
trap 'pueue -c "$3/pueue.yml" shutdown > /dev/null; wait' EXIT
until pueue -c "$3/pueue.yml" status > /dev/null 2>&1; do :; done
pueue -c "$3/pueue.yml" parallel "$2" > /dev/null
i=0
while [ "$i" -lt "$1" ]; do pueue -c "$3/pueue.yml" add -- true > /dev/null; i=$((i + 1)); done
pueue -c "$3/pueue.yml" wait > /dev/null
"#;

const XARGS: &str = r#"set -eu; seq "$1" | xargs -P "$2" -I{} true"#;
/// What follows the directory is the sandbox's command.
const XARGS_BWRAP: &str = r#"set -eu; n="$1"; p="$2"; shift 3; seq "$n" | xargs -P "$p" -I{} "$@""#;

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TaskSpooler => "task-spooler",
            Self::Parallel => "GNU parallel",
            Self::Pueue => "pueue",
            Self::Xargs => "xargs -P",
            Self::XargsBwrap => "xargs -P of bwrap",
        }
    }

    /// Programs that it needs, and what to do when one is not there.
    const fn needs(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::TaskSpooler => {
                (&["tsp"], "task-spooler is not installed; install it with: apt-get install task-spooler")
            }
            Self::Parallel => {
                (&["parallel"], "GNU parallel is not installed; install it with: apt-get install parallel")
            }
            Self::Pueue => {
                (&["pueue", "pueued"], "pueue is not installed; install it with: cargo install pueue --locked")
            }
            Self::Xargs => (&["xargs"], "xargs is not installed; install it with: apt-get install findutils"),
            Self::XargsBwrap => (&["bwrap"], bwrap::NO_PEER),
        }
    }

    /// Why it cannot be measured here.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let (programs, advice) = self.needs();
        programs.iter().any(|program| bwrap::in_path(program).is_none()).then_some(advice)
    }

    /// Runs `count` tasks, so many at once; how long it took, in seconds, and the directory with what it left.
    pub(crate) fn run(self, count: u32, at_once: u32) -> anyhow::Result<(f64, TempDir)> {
        let place = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let directory = place.path();
        let seconds = match self {
            Self::TaskSpooler => {
                let seconds = script(&place, TASK_SPOOLER, (count, at_once), &[]);
                // It stays after its last client.
                let ended = command(directory, "tsp").arg("-K").status().context("failed to end task-spooler")?;
                ensure!(ended.success(), "task-spooler did not end");
                seconds
            }
            Self::Parallel => script(&place, PARALLEL, (count, at_once), &[]),
            Self::Pueue => {
                let text = format!("shared:\n  pueue_directory: {0}\n  runtime_directory: {0}\n", directory.display());
                std::fs::write(directory.join("pueue.yml"), format!("{text}client: {{}}\ndaemon: {{}}\n"))?;
                script(&place, PUEUE, (count, at_once), &[])
            }
            Self::Xargs => script(&place, XARGS, (count, at_once), &[]),
            Self::XargsBwrap => {
                let mut words = vec!["bwrap".into()];
                words.extend(bwrap::arguments(directory));
                script(&place, XARGS_BWRAP, (count, at_once), &words)
            }
        };
        Ok((seconds?, place))
    }
}

/// Runs a script with count, number at once, directory and more as its arguments; how long it took.
fn script(
    place: &TempDir,
    text: &str,
    (count, at_once): (u32, u32),
    more: &[std::ffi::OsString],
) -> anyhow::Result<f64> {
    let mut shell = command(place.path(), "sh");
    shell.args(["-c", text, "sh"]).args([count, at_once].map(|number| number.to_string())).arg(place.path()).args(more);
    let begun = Instant::now();
    let output = shell.output().context("failed to start a shell")?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(output.status.success(), "the peer failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(seconds)
}

/// A command that sees the programs of the machine and has everything of its own in `directory`.
fn command(directory: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path: PathBuf = std::env::var_os("PATH").unwrap_or_default().into();
    command.env_clear().env("PATH", path).env("LC_ALL", "C").current_dir(directory).stdin(Stdio::null());
    for name in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"] {
        command.env(name, directory);
    }
    command.env("TS_SOCKET", directory.join("tsp.sock")).env("TS_MAXCONN", "20000");
    command
}
