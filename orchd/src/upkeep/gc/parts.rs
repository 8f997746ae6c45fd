//! The parts of a run on the disk: how large they are and what they are, and how they go. Blocks.
//!
//! **Invariant:** what a run left to be taken in is not touched; whoever takes it in removes it. Removing is harmless to
//! repeat, so that what was cut off is done again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orch_adapters::executor::{Observed, log_path};
use orch_adapters::git::{CommitId, RefName};
use orch_core::digest::Digest;
use orch_core::entity::{Removal, Run, RunPart};
use orch_core::state::run::RunState;

use super::super::files::{self, FileFault};
use super::super::progress::{Ended, Progress};
use super::due::Due;
use crate::app::App;
use crate::error_chain::chain;
use crate::exchanges;

/// What a part takes and what it is; none when nothing of it is there, or it cannot go yet.
pub(super) fn measure(app: &App, run: &Run, due: Due, progress: &Progress) -> Result<Option<Removal>, Ended> {
    let found = match due.part {
        RunPart::Log => log(app, run, progress)?,
        RunPart::Files => listed(app, run, progress)?,
        RunPart::Artifacts => Some(artifacts(run)),
        RunPart::Texts => texts(app, run),
        RunPart::Result => None,
    };
    Ok(found.map(|(size_bytes, content)| Removal { part: due.part, size_bytes, content, policy: due.policy }))
}

fn log(app: &App, run: &Run, progress: &Progress) -> Result<Option<(u64, String)>, Ended> {
    match files::digest(&log_path(&app.dirs.run(run.id)), progress) {
        Ok((size, digest)) => Ok(Some((size, digest.to_string()))),
        // What cannot be read is not what it was; that it goes says so.
        Err(FileFault::Source(error) | FileFault::Target(error)) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(run = %run.id, %error, "the log of a run cannot be read");
            Ok(None)
        }
        Err(FileFault::Source(_) | FileFault::Target(_)) => Ok(None),
        Err(FileFault::Ended(ended)) => Err(ended),
    }
}

/// All files but the log, as a list with their digests, whose digest is what is known of them.
fn listed(app: &App, run: &Run, progress: &Progress) -> Result<Option<(u64, String)>, Ended> {
    let directory = app.dirs.run(run.id);
    if is_in_use(app, run, &directory) {
        return Ok(None);
    }
    let Ok(found) = files::walk(&directory) else { return Ok(None) };
    let log = log_path(Path::new(""));
    let (mut size, mut list) = (0, String::new());
    for path in found.into_iter().filter(|path| *path != log) {
        let line = match files::digest(&directory.join(&path), progress) {
            Ok((bytes, digest)) => {
                size += bytes;
                format!("{digest}  {}\n", path.display())
            }
            // A socket, or what this user may not read.
            Err(FileFault::Source(_) | FileFault::Target(_)) => format!("-  {}\n", path.display()),
            Err(FileFault::Ended(ended)) => return Err(ended),
        };
        list.push_str(&line);
    }
    Ok((!list.is_empty()).then(|| (size, Digest::of(list.as_bytes()).to_string())))
}

/// Whether somebody looks after the run, or has to take something in of it.
fn is_in_use(app: &App, run: &Run, directory: &Path) -> bool {
    let is_left = [app.dirs.workspace(run.id), app.dirs.run_out(run.id), app.dirs.artifact_copy(run.id)]
        .iter()
        .any(|path| path.exists());
    // A run that is lost can have a shim that nobody could reach.
    let lives = || !matches!(run.state, RunState::Succeeded) && is_alive(app, run, directory);
    is_left || lives()
}

fn is_alive(app: &App, run: &Run, directory: &Path) -> bool {
    match app.executor.observe(directory, run.fence) {
        Ok(Observed::Running | Observed::Unseen) => true,
        Ok(Observed::Absent | Observed::Exited(_) | Observed::Lost) => false,
        Err(error) => {
            tracing::warn!(run = %run.id, error = chain(&error), "it is not known whether a run lives");
            true
        }
    }
}

fn artifacts(run: &Run) -> (u64, String) {
    let lines = run.artifacts.iter().map(|kept| format!("{}  {}\n", kept.digest, kept.path));
    let size = run.artifacts.iter().map(|kept| kept.size_bytes).sum();
    (size, Digest::of(lines.collect::<String>().as_bytes()).to_string())
}

fn texts(app: &App, run: &Run) -> Option<(u64, String)> {
    let found = app.store.read(|view| exchanges::texts(view, run.id));
    let found = found.inspect_err(|error| {
        tracing::warn!(run = %run.id, error = chain(error), "it is not known what a run said to models");
    });
    let texts: BTreeMap<Digest, u64> = found.ok()?.into_iter().collect();
    let list: String = texts.keys().map(|digest| format!("{digest}\n")).collect();
    Some((texts.values().sum(), Digest::of(list.as_bytes()).to_string()))
}

/// Removes what is on record as removed. Answers when all of it is gone, also from the disk.
pub(super) fn remove(app: &App, run: &Run, removals: &[Removal]) -> Result<(), String> {
    let directory = app.dirs.run(run.id);
    for removal in removals {
        let removed = match removal.part {
            RunPart::Log => remove_file(&log_path(&directory)).map_err(|error| error.to_string()),
            RunPart::Files => remove_files(&directory).map_err(|error| error.to_string()),
            // Whoever looks after blobs sees that the run holds them no more.
            RunPart::Artifacts | RunPart::Texts => Ok(()),
            RunPart::Result => remove_result(app, run, &removal.content),
        };
        removed.map_err(|error| format!("{} of R-{} ({}): {error}", removal.part.label(), run.number, run.id))?;
    }
    tidy(&directory).map_err(|error| format!("directory of R-{} ({}): {error}", run.number, run.id))
}

/// Removes the directory when nothing is in it, and brings what was removed to the disk.
fn tidy(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return files::sync_folder(directory),
        Err(error) => return Err(error),
    }
    directory.parent().map_or(Ok(()), files::sync_folder)
}

fn remove_files(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let log: PathBuf = log_path(directory);
    for entry in entries {
        let entry = entry?;
        if entry.path() == log {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { remove_file(&entry.path())? }
    }
    Ok(())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_result(app: &App, run: &Run, commit: &str) -> Result<(), String> {
    let name = RefName::run_result(&format!("R-{}", run.number)).map_err(|error| chain(&error))?;
    let commit = CommitId::parse(commit).map_err(|error| chain(&error))?;
    let repository = app.repository(run.project).map_err(|error| chain(&error))?;
    repository.delete_ref(&name, &commit).map_err(|error| chain(&error))
}
