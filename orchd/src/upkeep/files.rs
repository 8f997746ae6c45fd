//! Files of backups: copied and read with their digest, made for the daemon's user alone, and how that fails.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use orch_core::digest::Digest;
use orch_proto::{ErrorCode, RpcError};
use sha2::{Digest as _, Sha256};

use super::progress::{Ended, Progress};

/// Bytes that are copied and hashed at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Why a file was not copied or read.
#[derive(Debug)]
pub(crate) enum FileFault {
    /// What was to be read cannot be.
    Source(io::Error),
    /// What was to be written cannot be.
    Target(io::Error),
    /// The work is to end.
    Ended(Ended),
}

/// Reads a file to its end; its size and digest.
pub(crate) fn digest(path: &Path, progress: &Progress) -> Result<(u64, Digest), FileFault> {
    pass(open(path).map_err(FileFault::Source)?, progress, |_| Ok(()))
}

/// Copies a file to a new one; its size and digest. A link is not followed.
pub(crate) fn copy(from: &Path, to: &Path, progress: &Progress) -> Result<(u64, Digest), FileFault> {
    let source = open(from).map_err(FileFault::Source)?;
    let mut target = create(to).map_err(FileFault::Target)?;
    pass(source, progress, |bytes| target.write_all(bytes))
}

/// Makes a file that must not be there yet, with the folders above it.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a folder and those above it, for the daemon's user alone.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Brings everything that was written to the file system of `path` to the disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    nix::unistd::syncfs(&File::open(path)?)?;
    Ok(())
}

/// Brings the entries of a folder to the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// All regular files below a folder, by their path within it, and whatever else is no folder.
pub(crate) fn walk(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// A failure of the file system that a person has to know of. `place` is where the trouble is.
pub(crate) fn failed(what: &str, place: &Path, error: &io::Error) -> RpcError {
    let message = format!("failed to {what} `{}`: {error}", place.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RpcError::new(ErrorCode::StorageFull, message)
            .hint("nothing is left of what was begun; make room there, or name a place on another disk"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            RpcError::new(ErrorCode::Permission, message).hint(
                "the daemon's user must be able to write there; under systemd `ReadWritePaths=` may be needed, too",
            )
        }
        _ => RpcError::new(ErrorCode::Storage, message).hint("look at the disk, then try again"),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn pass(
    mut source: File,
    progress: &Progress,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(u64, Digest), FileFault> {
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => return Ok((size, Digest::from_bytes(hasher.finalize().into()))),
            Ok(read) => chunk.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FileFault::Source(error)),
        };
        hasher.update(read);
        take(read).map_err(FileFault::Target)?;
        size = size.saturating_add(read.len() as u64);
        progress.advance(read.len() as u64).map_err(FileFault::Ended)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_copy_is_private_has_its_digest_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("a/b/to"));
        fs::write(&from, "hello").unwrap();
        let progress = Progress::default();
        assert_eq!(copy(&from, &to, &progress).unwrap(), (5, Digest::of(b"hello")));
        assert_eq!(digest(&to, &progress).unwrap(), (5, Digest::of(b"hello")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&to), mode(&dir.path().join("a"))), (0o600, 0o700));
        assert!(matches!(copy(&from, &to, &progress), Err(FileFault::Target(_))));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&from, &link).unwrap();
        assert!(matches!(copy(&link, &dir.path().join("other"), &progress), Err(FileFault::Source(_))));
        assert_eq!(walk(dir.path()).unwrap(), ["a/b/to", "from", "link"].map(PathBuf::from));
        progress.cancel();
        assert!(matches!(digest(&to, &progress), Err(FileFault::Ended(Ended::Cancelled))));
    }

    #[test]
    fn a_full_disk_and_a_forbidden_one_say_what_to_do() {
        let code = |errno: i32| {
            let error = failed("write", Path::new("/b"), &io::Error::from_raw_os_error(errno));
            assert!(error.hint.is_some() && error.message.contains("`/b`"));
            error.code
        };
        assert_eq!(code(libc::ENOSPC), ErrorCode::StorageFull);
        assert_eq!(code(libc::EDQUOT), ErrorCode::StorageFull);
        assert_eq!(code(libc::EROFS), ErrorCode::Permission);
        assert_eq!(code(libc::EIO), ErrorCode::Storage);
    }
}
