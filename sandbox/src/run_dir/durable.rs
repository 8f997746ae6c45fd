//! Writes a small file so that a reader sees either nothing or all of it.

use std::fs::File;
use std::io::Write as _;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Failure to write a file durably.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteDurableError {
    #[error("failed to create `{name}`")]
    Create { name: String, errno: Errno },
    #[error("failed to write `{name}`: {source}")]
    Write { name: String, source: std::io::Error },
    #[error("failed to rename `{name}` into place")]
    Rename { name: String, errno: Errno },
    #[error("failed to sync the directory of `{name}`: {source}")]
    SyncDir { name: String, source: std::io::Error },
}

impl From<WriteDurableError> for std::io::Error {
    fn from(error: WriteDurableError) -> Self {
        match error {
            WriteDurableError::Create { errno, .. } | WriteDurableError::Rename { errno, .. } => errno.into(),
            WriteDurableError::Write { source, .. } | WriteDurableError::SyncDir { source, .. } => source,
        }
    }
}

/// Writes `bytes` as `name` in the directory `dir`: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write_durable(dir: &File, name: &str, bytes: &[u8]) -> Result<(), WriteDurableError> {
    let written = write_temporary(dir, name, bytes).and_then(|file| {
        file.sync_all().map_err(|source| WriteDurableError::Write { name: name.to_owned(), source })?;
        rename_temporary(dir, name)
    });
    written.inspect_err(|_| remove_temporary(dir, name))?;
    dir.sync_all().map_err(|source| WriteDurableError::SyncDir { name: name.to_owned(), source })
}

/// Writes `bytes` as `name` in the directory `dir` so that a reader sees nothing or all of it; a power loss may take it.
pub(crate) fn write_atomic(dir: &File, name: &str, bytes: &[u8]) -> Result<(), WriteDurableError> {
    let written = write_temporary(dir, name, bytes).and_then(|_| rename_temporary(dir, name));
    written.inspect_err(|_| remove_temporary(dir, name))
}

fn write_temporary(dir: &File, name: &str, bytes: &[u8]) -> Result<File, WriteDurableError> {
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(dir, temporary(name).as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|errno| WriteDurableError::Create { name: name.to_owned(), errno })?;
    let mut file = File::from(file);
    file.write_all(bytes).map_err(|source| WriteDurableError::Write { name: name.to_owned(), source })?;
    Ok(file)
}

fn rename_temporary(dir: &File, name: &str) -> Result<(), WriteDurableError> {
    renameat(dir, temporary(name).as_str(), dir, name)
        .map_err(|errno| WriteDurableError::Rename { name: name.to_owned(), errno })
}

/// Half a file is of use to nobody, and there may be no room beside it.
fn remove_temporary(dir: &File, name: &str) {
    // Where it cannot be removed it is written over the next time.
    drop(unlinkat(dir, temporary(name).as_str(), UnlinkatFlags::NoRemoveDir).map_err(std::io::Error::from));
}

fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}
