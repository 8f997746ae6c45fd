//! Copies one regular file out of a hostile directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use sha2::{Digest as _, Sha256};

const BUFFER_BYTES: usize = 128 << 10;

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Artifact {
    /// It was copied.
    Collected {
        /// Size of the copy, in bytes.
        size_bytes: u64,
        /// SHA-256 of the copy, 64 lowercase hex digits.
        sha256: String,
    },
    /// It was not, and nothing is left at the destination.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
}

/// Why a file was not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// There is no such file.
    Missing,
    /// The path is absolute, empty or has `..`.
    BadPath,
    /// A symlink is on the way or at its end, or the path leaves the directory or its file system.
    Link,
    /// It is a directory, pipe, socket or device.
    NotAFile,
    /// It is larger than allowed.
    TooLarge {
        /// What is allowed, in bytes.
        max_bytes: u64,
    },
    /// The job took away the right to read it.
    Unreadable,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => out.write_str("does not exist"),
            Self::BadPath => out.write_str("path is not relative without `..`"),
            Self::Link => out.write_str("a link on the way is not followed"),
            Self::NotAFile => out.write_str("not a regular file"),
            Self::TooLarge { max_bytes } => write!(out, "larger than {max_bytes} bytes"),
            Self::Unreadable => out.write_str("cannot be read"),
        }
    }
}

/// Failure of the collector itself; the job cannot cause it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The root cannot be opened.
    #[error("failed to open `{}`", root.display())]
    OpenRoot {
        /// The root.
        root: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file cannot be opened for a reason that is not the job's.
    #[error("failed to open `{}`", relative.display())]
    OpenFile {
        /// The path below the root.
        relative: PathBuf,
        /// The cause.
        #[source]
        errno: Errno,
    },
    /// The file cannot be read.
    #[error("failed to read `{}`", relative.display())]
    Read {
        /// The path below the root.
        relative: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The copy cannot be written; it exists already, or the disk is full.
    #[error("failed to write `{}`", dest.display())]
    Write {
        /// The destination.
        dest: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Copies the regular file `relative` below `root` to the new file `dest`, readable for its owner only.
///
/// # Errors
/// When the root, the disk or the destination fail. Whatever the job did to the file makes it [`Artifact::Skipped`].
pub fn collect(root: &Path, relative: &Path, dest: &Path, max_bytes: u64) -> Result<Artifact, CollectError> {
    let skipped = |reason| Ok(Artifact::Skipped { reason });
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if relative.as_os_str().is_empty() || !relative.components().all(plain) {
        return skipped(SkipReason::BadPath);
    }
    let root = File::open(root).map_err(|source| CollectError::OpenRoot { root: root.to_owned(), source })?;
    // Without waiting for a writer of a pipe, without becoming the owner of a terminal.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match openat2(&root, relative, OpenHow::new().flags(flags).resolve(INSIDE_ONLY)) {
        Ok(file) => file,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => return skipped(SkipReason::Missing),
        Err(Errno::ELOOP | Errno::EXDEV | Errno::EAGAIN) => return skipped(SkipReason::Link),
        Err(Errno::ENXIO | Errno::ENODEV | Errno::EOPNOTSUPP) => return skipped(SkipReason::NotAFile),
        Err(Errno::EACCES | Errno::EPERM) => return skipped(SkipReason::Unreadable),
        Err(Errno::EINVAL) => return skipped(SkipReason::BadPath),
        Err(errno) => return Err(CollectError::OpenFile { relative: relative.to_owned(), errno }),
    };
    let stat = fstat(&file).map_err(|errno| CollectError::OpenFile { relative: relative.to_owned(), errno })?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return skipped(SkipReason::NotAFile);
    }
    if u64::try_from(stat.st_size).is_ok_and(|size| size > max_bytes) {
        return skipped(SkipReason::TooLarge { max_bytes });
    }
    let write = |source| CollectError::Write { dest: dest.to_owned(), source };
    let copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dest).map_err(write)?;
    let copied = copy_hashed(File::from(file), copy, max_bytes);
    if !matches!(copied, Ok(Some(_))) {
        std::fs::remove_file(dest).map_err(write)?;
    }
    match copied {
        Ok(Some((size_bytes, sha256))) => Ok(Artifact::Collected { size_bytes, sha256 }),
        Ok(None) => skipped(SkipReason::TooLarge { max_bytes }),
        Err(CopyError::Read(source)) => Err(CollectError::Read { relative: relative.to_owned(), source }),
        Err(CopyError::Write(source)) => Err(write(source)),
    }
}

/// Every way out of the root is closed.
pub(super) const INSIDE_ONLY: ResolveFlag = ResolveFlag::RESOLVE_BENEATH
    .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS)
    .union(ResolveFlag::RESOLVE_NO_XDEV);

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies and hashes in one pass; `None` when there was more than `max_bytes`, whatever the size said before.
fn copy_hashed(mut from: File, mut to: File, max_bytes: u64) -> Result<Option<(u64, String)>, CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut hash, mut size_bytes) = (Sha256::new(), 0_u64);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        size_bytes += count as u64;
        if size_bytes > max_bytes {
            return Ok(None);
        }
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(CopyError::Write)?;
    }
    to.sync_all().map_err(CopyError::Write)?;
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some((size_bytes, sha256)))
}
