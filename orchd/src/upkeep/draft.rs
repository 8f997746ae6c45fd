//! A backup under another name, beside its place, until it is whole; removed when it does not get that far.
//!
//! Where it is stands in the state directory before it is made, so that a daemon that was killed finds and removes it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use orch_core::digest::Digest;
use orch_proto::id::CommandId;
use orch_proto::{ErrorCode, RpcError};

use super::files::{self, FileFault};
use super::manifest::{FileEntry, MANIFEST_FILE, Manifest};
use super::progress::{Ended, Progress};
use crate::state_dir::StateDir;

/// What names of drafts have in them.
const DRAFT_MARK: &str = ".partial-";

/// A backup that is being written.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    root: PathBuf,
    target: PathBuf,
    /// The file in the state directory that says where the draft is.
    note: PathBuf,
    progress: &'a Progress,
    files: Vec<FileEntry>,
}

impl<'a> Draft<'a> {
    /// Makes it beside `target`.
    pub(crate) fn create(dirs: &StateDir, target: &Path, progress: &'a Progress) -> Result<Self, Ended> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let root = target.with_file_name(format!(".{name}{DRAFT_MARK}{}", CommandId::generate()));
        let note = dirs.backup_note();
        // A full disk of the state is when a backup to another one is wanted most.
        if let Err(error) = std::fs::write(&note, root.as_os_str().as_encoded_bytes()) {
            tracing::warn!(%error, "not noted where a backup is written; cut off, it would be left there");
        }
        let draft = Self { root, target: target.to_owned(), note, progress, files: Vec::new() };
        let made = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&draft.root);
        made.map_err(|error| files::failed("write", target, &error))?;
        Ok(draft)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Copies a file to its place, `to`, which is counted by its bytes.
    ///
    /// The outer error is of the backup, the inner one of what was to be copied.
    pub(crate) fn copy(&mut self, from: &Path, to: &str) -> Result<io::Result<Digest>, Ended> {
        let place = self.root.join(to);
        match files::copy(from, &place, self.progress) {
            Ok((size_bytes, sha256)) => {
                self.files.push(FileEntry { path: to.to_owned(), size_bytes, sha256 });
                Ok(Ok(sha256))
            }
            Err(FileFault::Source(error)) => {
                self.discard(to)?;
                Ok(Err(error))
            }
            Err(FileFault::Target(error)) => Err(self.failed(&error)),
            Err(FileFault::Ended(ended)) => Err(ended),
        }
    }

    /// Takes a file away again.
    pub(crate) fn discard(&mut self, path: &str) -> Result<(), Ended> {
        self.files.retain(|file| file.path != path);
        match std::fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(&error)),
            _ => Ok(()),
        }
    }

    /// Writes a small file.
    pub(crate) fn write(&mut self, to: &str, bytes: &[u8]) -> Result<(), Ended> {
        let written = files::create(&self.root.join(to)).and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| self.failed(&error))?;
        let (size_bytes, sha256) = (bytes.len() as u64, Digest::of(bytes));
        self.files.push(FileEntry { path: to.to_owned(), size_bytes, sha256 });
        Ok(())
    }

    /// Takes in a file that others have written to its place.
    pub(crate) fn adopt(&mut self, path: &str) -> Result<(), Ended> {
        use std::os::unix::fs::PermissionsExt as _;
        let place = self.root.join(path);
        let private = std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600));
        private.map_err(|error| self.failed(&error))?;
        let (size_bytes, sha256) = files::digest(&place, self.progress).map_err(|fault| match fault {
            FileFault::Source(error) | FileFault::Target(error) => self.failed(&error),
            FileFault::Ended(ended) => ended,
        })?;
        self.files.push(FileEntry { path: path.to_owned(), size_bytes, sha256 });
        Ok(())
    }

    /// Makes the folders of a repository.
    pub(crate) fn repository(&self, folder: &str) -> Result<PathBuf, Ended> {
        let place = self.root.join(folder);
        orch_adapters::git::BareRepo::make_folders(&place).map_err(|error| self.failed(&error))?;
        Ok(place)
    }

    /// Writes the manifest with all files, and brings everything to the disk.
    pub(crate) fn finish(&mut self, manifest: &mut Manifest) -> Result<(), Ended> {
        self.files.sort_by(|one, other| one.path.cmp(&other.path));
        manifest.files = std::mem::take(&mut self.files);
        let json = serde_json::to_vec_pretty(manifest)
            .map_err(|error| RpcError::new(ErrorCode::Internal, format!("failed to write the manifest: {error}")))?;
        self.write(MANIFEST_FILE, &json)?;
        files::sync(&self.root).map_err(|error| self.failed(&error))
    }

    /// Gives it its name.
    pub(crate) fn publish(self) -> Result<(), Ended> {
        if self.target.symlink_metadata().is_ok() {
            return Err(taken(&self.target).into());
        }
        std::fs::rename(&self.root, &self.target).map_err(|error| self.failed(&error))?;
        let parent = self.target.parent().unwrap_or(&self.target);
        files::sync_folder(parent).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Ended {
        files::failed("write the backup", &self.target, error).into()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After `publish` there is nothing under this name.
        if remove(&self.root) {
            drop(std::fs::remove_file(&self.note));
        }
    }
}

/// That something is at the place of a backup already.
pub(crate) fn taken(target: &Path) -> RpcError {
    RpcError::new(ErrorCode::Exists, format!("`{}` exists already", target.display()))
        .hint("a backup is never written over anything: name a directory that is not there yet")
}

/// Removes what a daemon that was killed left of a backup.
pub(crate) fn clear(dirs: &StateDir) {
    use std::os::unix::ffi::OsStringExt as _;
    let note = dirs.backup_note();
    let Ok(path) = std::fs::read(&note) else { return };
    let root = PathBuf::from(std::ffi::OsString::from_vec(path));
    let is_draft = root.is_absolute()
        && root.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with('.') && name.contains(DRAFT_MARK)
        });
    if is_draft && root.is_dir() {
        tracing::info!(directory = %root.display(), "removing a backup that was not finished");
    }
    if !is_draft || remove(&root) {
        drop(std::fs::remove_file(&note));
    }
}

fn remove(root: &Path) -> bool {
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, directory = %root.display(), "failed to remove a backup that was not finished");
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (tempfile::TempDir, StateDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let dirs = StateDir::create(&dir.path().join("state")).unwrap();
        let target = dir.path().join("backup");
        (dir, dirs, target)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_draft_that_is_not_finished_leaves_nothing() {
        let (dir, dirs, target) = places();
        let progress = Progress::default();
        let mut draft = Draft::create(&dirs, &target, &progress).unwrap();
        draft.write("blobs/x", b"x").unwrap();
        assert!(draft.copy(Path::new("/nonexistent"), "blobs/y").unwrap().is_err());
        assert!(dirs.backup_note().exists());
        drop(draft);
        assert_eq!(names(dir.path()), ["state"]);
        assert!(!dirs.backup_note().exists());
    }

    #[test]
    fn what_a_killed_daemon_left_is_removed_and_nothing_else() {
        let (dir, dirs, target) = places();
        let progress = Progress::default();
        std::mem::forget(Draft::create(&dirs, &target, &progress).unwrap());
        assert_eq!(names(dir.path()).len(), 2);
        clear(&dirs);
        assert_eq!(names(dir.path()), ["state"]);
        // A note that was changed leads nowhere.
        let mine = dir.path().join("mine");
        std::fs::create_dir(&mine).unwrap();
        std::fs::write(dirs.backup_note(), mine.as_os_str().as_encoded_bytes()).unwrap();
        clear(&dirs);
        assert!(mine.is_dir() && !dirs.backup_note().exists());
    }
}
