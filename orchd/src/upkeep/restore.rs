//! Puts a backup into an empty state directory.
//!
//! Never over anything: what is there already stays as it is. A note in the directory says that it is not whole yet; no
//! daemon starts on it, and restoring again begins anew. The restored installation is one of its own: it gets a new id,
//! and attempts that were under way are claimed, so that none of them can start here as well as there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orch_adapters::git::Hardened;
use orch_proto::id::InstanceId;
use orch_proto::{ErrorCode, RpcError};
use orch_sandbox::run_dir;
use orch_store::DatabaseFile;

use super::files::{self, FileFault};
use super::manifest::{DATABASE_FILE, Manifest};
use super::names::Names;
use super::progress::{Ended, Progress};
use super::verify;
use crate::daemon;
use crate::error_chain::chain;
use crate::state_dir::{self, StateDir};

/// What a state directory may hold that counts as empty: what is not of a daemon's making, or says nothing.
const NOTHING: [&str; 2] = ["lost+found", LOCK_NAME];
const LOCK_NAME: &str = "orchd.lock";

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) manifest: Manifest,
    pub(crate) instance: InstanceId,
    /// Runs that were under way.
    pub(crate) runs_open: usize,
}

/// Restores the backup in `from` to the state directory `to`.
pub(crate) fn restore(git: &Hardened, from: &Path, to: &Path, progress: &Progress) -> Result<Restored, Ended> {
    // Looked at first, so that nothing is made for a backup that cannot be used.
    let begun = look_at_target(to)?;
    let (manifest, problems) = verify::backup(git, from, progress)?;
    if let Some(problem) = problems.first() {
        let message = format!("the backup `{}` is damaged ({} found): {problem}", from.display(), problems.len());
        return Err(RpcError::new(ErrorCode::Invalid, message)
            .hint("nothing was restored; `orchd verify-backup` lists all of it; take another backup")
            .into());
    }
    files::make_folder(to).map_err(|error| state_dir::unusable("state directory", to, &error))?;
    let _lock = daemon::lock_now(&to.join(LOCK_NAME))?;
    // Somebody may have been quicker.
    look_at_target(to)?;
    if begun {
        clear(to)?;
    }
    let restored = put(from, to, manifest, progress);
    if restored.is_err()
        && let Err(error) = clear(to)
            .map_err(|error| error.message)
            .and_then(|()| fs::remove_file(note(to)).map_err(|error| error.to_string()))
    {
        tracing::warn!(error, "what was begun is left; restoring again begins anew");
    }
    restored
}

/// Whether a restore into the directory was begun and not finished, in which case it may go on.
fn look_at_target(to: &Path) -> Result<bool, RpcError> {
    let entries = match fs::read_dir(to) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(state_dir::unusable("state directory", to, &error)),
    };
    if note(to).exists() {
        return Ok(true);
    }
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut others = names.iter().filter(|name| !NOTHING.contains(&name.as_str())).collect::<Vec<_>>();
    // What says most is named.
    others.sort_by_key(|name| (name.as_str() != DATABASE_FILE, name.as_str()));
    let Some(first) = others.first() else { return Ok(false) };
    // The more telling refusal of the two.
    drop(daemon::lock_now(&to.join(LOCK_NAME))?);
    let message = format!("the state directory `{}` is not empty: it has `{}`", to.display(), first.escape_default());
    Err(RpcError::new(ErrorCode::Exists, message).hint(
        "a backup is never restored over anything: move that directory away, or name an empty one with `--state-dir`",
    ))
}

/// Removes all that a restore may have made, and what a daemon that refused to start on it has.
fn clear(to: &Path) -> Result<(), RpcError> {
    let failed = |error: &io::Error| files::failed("clear", to, error);
    for entry in fs::read_dir(to).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let name = entry.file_name();
        if NOTHING.iter().any(|nothing| name == *nothing) || entry.path() == note(to) {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        removed.map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn put(from: &Path, to: &Path, manifest: Manifest, progress: &Progress) -> Result<Restored, Ended> {
    let failed = |error: &io::Error| Ended::from(files::failed("restore to", to, error));
    let noted = fs::write(note(to), format!("of {}\n", from.display())).and_then(|()| files::sync_folder(to));
    noted.map_err(|error| failed(&error))?;
    progress.phase("restoring files", manifest.size_bytes());
    for file in &manifest.files {
        let Some(place) = file.place() else { continue };
        match files::copy(&from.join(&place), &to.join(&place), progress) {
            // What is restored is what was verified, also when somebody changes the backup meanwhile.
            Ok((_, digest)) if digest == file.sha256 => {}
            Ok(_) => {
                let message = format!("`{}` changed while it was restored", file.path);
                return Err(RpcError::new(ErrorCode::Invalid, message).hint("nothing is left; try again").into());
            }
            Err(FileFault::Source(error)) => {
                return Err(files::failed("read", &from.join(&place), &error).into());
            }
            Err(FileFault::Target(error)) => return Err(failed(&error)),
            Err(FileFault::Ended(ended)) => return Err(ended),
        }
    }
    for repository in &manifest.repositories {
        let place = to.join(repository.folder());
        if place.is_dir() {
            orch_adapters::git::BareRepo::make_folders(&place).map_err(|error| failed(&error))?;
        }
    }
    progress.phase("settling what was under way", 0);
    let database = to.join(DATABASE_FILE);
    let unusable = |error: &dyn std::error::Error| RpcError::new(ErrorCode::Storage, chain(error)).hint("try again");
    let file = DatabaseFile::open(&database).map_err(|error| unusable(&error))?;
    let names = Names::read(&file).map_err(|error| unusable(&error))?;
    drop(file);
    let dirs = StateDir::create(to).map_err(|error| failed(&error))?;
    for (run, fence) in &names.runs_open {
        run_dir::forestall(&dirs.run(*run), *fence).map_err(|error| unusable(&error))?;
    }
    let seed = daemon::seed()?;
    let instance = DatabaseFile::become_another(&database, seed, crate::clock::now());
    let instance = instance.map_err(|error| unusable(&error))?;
    files::sync(to).map_err(|error| failed(&error))?;
    fs::remove_file(note(to)).and_then(|()| files::sync_folder(to)).map_err(|error| failed(&error))?;
    Ok(Restored { manifest, instance, runs_open: names.runs_open.len() })
}

fn note(to: &Path) -> PathBuf {
    to.join("restore-under-way")
}

/// Refuses to use a state directory into which a restore was begun and not finished.
///
/// # Errors
/// When it is one.
pub(crate) fn refuse_half_restored(root: &Path) -> Result<(), RpcError> {
    if !note(root).exists() {
        return Ok(());
    }
    let message = format!("the state directory `{}` is half restored from a backup", root.display());
    Err(RpcError::new(ErrorCode::Storage, message).hint("restore again with `orchd restore DIRECTORY`: it begins anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_or_one_half_restored_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("state");
        assert!(!look_at_target(&to).unwrap());
        fs::create_dir(&to).unwrap();
        fs::create_dir(to.join("lost+found")).unwrap();
        assert!(!look_at_target(&to).unwrap());
        fs::write(to.join("note.txt"), "mine").unwrap();
        let refused = look_at_target(&to).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Exists);
        assert!(refused.message.contains("note.txt") && refused.hint.is_some(), "{refused:?}");
        assert_eq!(fs::read(to.join("note.txt")).unwrap(), b"mine");
        let held = daemon::lock_now(&to.join(LOCK_NAME)).unwrap();
        assert_eq!(look_at_target(&to).unwrap_err().code, ErrorCode::Locked);
        drop(held);
        fs::write(note(&to), "").unwrap();
        assert!(look_at_target(&to).unwrap());
        assert_eq!(refuse_half_restored(&to).unwrap_err().code, ErrorCode::Storage);
        clear(&to).unwrap();
        let left: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}
