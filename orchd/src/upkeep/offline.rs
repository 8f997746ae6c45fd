//! What `orchd` does with a state that no daemon uses, and with backups: verify, restore, check, repair.
//!
//! Prints what it found to standard output and answers whether all is well. Holds the lock of the state directory while
//! it looks at one, so that no daemon starts meanwhile.

use std::path::{Path, PathBuf};

use orch_adapters::git::Hardened;
use orch_proto::view::CheckReport;
use orch_proto::{ErrorCode, RpcError};

use super::check::{self, Ground};
use super::manifest::Manifest;
use super::progress::{Ended, Progress};
use super::repair::Plan;
use super::{restore, verify};
use crate::config::Config;
use crate::daemon;
use crate::error_chain::chain;
use crate::state_dir::StateDir;

/// What the program does instead of being the daemon.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check that a backup is whole; exit code 1 if it is not
    VerifyBackup {
        /// Directory that `orchctl backup` wrote
        directory: PathBuf,
    },
    /// Put a backup into the state directory, which must be empty
    Restore {
        /// Directory that `orchctl backup` wrote
        directory: PathBuf,
    },
    /// Check the state while no daemon uses it; exit code 1 if anything is wrong
    Check,
    /// Show what of the state can be mended from what is whole, while no daemon uses it
    Repair {
        /// Mend it; what was there before is kept in a folder beside
        #[arg(long)]
        apply: bool,
    },
}

/// Executes it. Whether all is well.
///
/// # Errors
/// When it cannot be done.
pub(crate) fn run(command: &Command, config: &Config) -> Result<bool, RpcError> {
    let git =
        Hardened::probe().map_err(|error| RpcError::new(ErrorCode::ToolMissing, chain(&error)).hint(error.hint()))?;
    let state = &config.state_dir;
    let done = match command {
        Command::VerifyBackup { directory } => verify_backup(&git, directory),
        Command::Restore { directory } => restore_to(&git, directory, state),
        Command::Check => check_state(&git, state),
        Command::Repair { apply } => repair(&git, state, *apply),
    };
    done.map_err(|ended| match ended {
        Ended::Failed(error) => error,
        // Nobody here asks for that.
        Ended::Cancelled => RpcError::new(ErrorCode::Internal, "the work was cancelled"),
    })
}

fn verify_backup(git: &Hardened, directory: &Path) -> Result<bool, Ended> {
    let (manifest, problems) = verify::backup(git, directory, &Progress::default())?;
    say(&about(&manifest));
    for line in manifest.damage() {
        say(&format!("not in it, since the state had it not: {line}"));
    }
    for problem in &problems {
        say(&format!("WRONG: {problem}"));
    }
    say(if problems.is_empty() { "whole" } else { "damaged: take another backup" });
    Ok(problems.is_empty())
}

fn restore_to(git: &Hardened, directory: &Path, state: &Path) -> Result<bool, Ended> {
    let restored = restore::restore(git, directory, state, &Progress::default())?;
    let manifest = &restored.manifest;
    say(&about(manifest));
    say(&format!("restored to {} as installation {}", state.display(), restored.instance));
    if restored.runs_open > 0 {
        let runs = restored.runs_open;
        say(&format!("runs under way when it was made: {runs}; they are lost, and tried again by their policy"));
    }
    for line in manifest.damage() {
        say(&format!("missing: {line}"));
    }
    if !manifest.secrets.left_out.is_empty() {
        say(&format!("set again with `orchctl secret set NAME`: {}", manifest.secrets.left_out.join(", ")));
    }
    say("before you start it, make sure that the original is stopped and has no runs: both would work on their own");
    Ok(true)
}

fn about(manifest: &Manifest) -> String {
    let logs = if manifest.logs { "with logs" } else { "without logs" };
    let (keys, included): (Vec<&String>, Vec<&String>) =
        manifest.secrets.included.iter().partition(|name| name.starts_with("keys/"));
    let secrets = match (included.len(), manifest.secrets.left_out.len()) {
        (0, 0) => "no secrets".to_owned(),
        (0, left_out) => format!("secrets left out: {left_out}"),
        // Those of versions that did not encrypt have no key either, and are not told from these here.
        (included, _) if keys.is_empty() => format!("secrets, without the key to them: {included}"),
        (included, _) => format!("secrets, with the key to them: {included}"),
    };
    format!(
        "backup of {} by {}, event {} {}, files: {}, bytes: {}, {logs}, {secrets}",
        manifest.made_at,
        manifest.product,
        manifest.head_seq,
        manifest.head_hash,
        manifest.files.len(),
        manifest.size_bytes()
    )
}

/// The state directory with its lock held.
fn still(state: &Path) -> Result<(StateDir, crate::instance_lock::InstanceLock), RpcError> {
    if !state.join("orch.db").is_file() {
        let message = format!("`{}` is no state directory: it has no `orch.db`", state.display());
        return Err(RpcError::new(ErrorCode::NotFound, message).hint("name one with `--state-dir`"));
    }
    restore::refuse_half_restored(state)?;
    let lock = daemon::lock_now(&state.join("orchd.lock"))?;
    let dirs = StateDir::create(state).map_err(|error| crate::state_dir::unusable("state directory", state, &error))?;
    Ok((dirs, lock))
}

fn check_state(git: &Hardened, state: &Path) -> Result<bool, Ended> {
    let (dirs, _lock) = still(state)?;
    let (report, _) = check::still(&Ground { dirs: &dirs, git, is_still: true }, &Progress::default())?;
    lines(&report).iter().for_each(|line| say(line));
    Ok(report.is_ok())
}

fn lines(report: &CheckReport) -> Vec<String> {
    let mut lines = vec![match &report.audit.broken_at {
        None => format!("events: {}, chain whole, head {}", report.audit.events, report.audit.head_hash),
        Some((seq, what)) => format!("WRONG: the audit is broken at event {seq}: {what}"),
    }];
    lines.push(format!("rows compared with a replay of the log: {}", report.rows_compared));
    if report.integrity != "ok" {
        lines.push(format!("WRONG: the database file: {}", report.integrity));
    }
    lines.push(format!("blobs read: {}, repositories checked: {}", report.blobs_read, report.repositories));
    let wrong = |what: &'static str| move |line: &String| format!("WRONG: {what}{line}");
    lines.extend(report.differences.iter().map(wrong("")));
    lines.extend(report.blobs_missing.iter().map(wrong("missing blob ")));
    lines.extend(report.blobs_damaged.iter().map(wrong("damaged blob ")));
    lines.extend(report.repositories_wrong.iter().map(wrong("repository of ")));
    lines.extend(report.orphans.iter().map(|orphan| format!("orphan: {}: {}", orphan.path, orphan.what)));
    lines
}

fn repair(git: &Hardened, state: &Path, apply: bool) -> Result<bool, Ended> {
    let (dirs, _lock) = still(state)?;
    let (report, names) = check::still(&Ground { dirs: &dirs, git, is_still: true }, &Progress::default())?;
    let plan = Plan::new(&dirs, git, &report, names.as_ref());
    for line in plan.lines() {
        say(&format!("{}{line}", if apply { "" } else { "would " }));
    }
    for line in &plan.left {
        say(&format!("cannot be mended here: {line}"));
    }
    match (plan.is_empty(), apply) {
        (true, _) => say("nothing to mend"),
        (false, false) => say("nothing was changed; `orchd repair --apply` does it"),
        (false, true) => {
            let aside = plan.apply(&dirs, git)?;
            say(&format!("done; what was there before is in {}", aside.display()));
        }
    }
    Ok(plan.left.is_empty())
}

#[expect(clippy::print_stdout, reason = "this is what the user asked for")]
fn say(line: &str) {
    // Names of files can hold anything.
    let harmless: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    println!("{harmless}");
}
