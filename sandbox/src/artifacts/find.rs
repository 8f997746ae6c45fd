//! Lists what a pattern names below a hostile directory: a bounded walk by descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, openat2};

use super::collect::INSIDE_ONLY;
use super::pattern::{Pattern, Progress};

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most files that are returned.
    pub files_max: usize,
    /// Most directory entries that are looked at.
    pub entries_max: usize,
    /// Most directories below each other.
    pub depth_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { files_max: 10_000, entries_max: 1_000_000, depth_max: 64 }
    }
}

/// What a walk has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Everything but directories that the pattern names, relative to the root, in byte order. What is no regular file
    /// is listed, too, so that [`collect`](super::collect) can say why it is skipped.
    pub paths: Vec<PathBuf>,
    /// A bound was reached, or a directory could not be read: there may be more.
    pub incomplete: bool,
}

/// Failure to walk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The root cannot be read.
    #[error("failed to read `{}`", root.display())]
    Root {
        /// The root.
        root: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Lists what `pattern` names below `root`.
///
/// # Errors
/// When the root cannot be read. What the job did to anything below makes the list incomplete.
pub fn find(root: &Path, pattern: &Pattern, bounds: Bounds) -> Result<Found, FindError> {
    let failed = |source| FindError::Root { root: root.to_owned(), source };
    let fd: OwnedFd = File::open(root).map_err(failed)?.into();
    let mut walk = Walk { pattern, bounds, entries: 0, found: Found::default() };
    walk.directory(fd, Path::new(""), &pattern.start(), 0).map_err(|errno| failed(errno.into()))?;
    walk.found.paths.sort_unstable();
    Ok(walk.found)
}

struct Walk<'a> {
    pattern: &'a Pattern,
    bounds: Bounds,
    entries: usize,
    found: Found,
}

impl Walk<'_> {
    fn directory(&mut self, fd: OwnedFd, at: &Path, progress: &Progress, depth: usize) -> Result<(), Errno> {
        let mut dir = Dir::from_fd(fd)?;
        let mut below = Vec::new();
        for entry in dir.iter() {
            let Ok(entry) = entry else {
                self.found.incomplete = true;
                break;
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            self.entries += 1;
            if self.entries > self.bounds.entries_max || self.found.paths.len() >= self.bounds.files_max {
                self.found.incomplete = true;
                return Ok(());
            }
            // A file system that does not say the type is asked by opening it as a directory.
            let maybe_directory = matches!(entry.file_type(), Some(Type::Directory) | None);
            if entry.file_type() != Some(Type::Directory) && self.pattern.ends_with(progress, name) {
                self.found.paths.push(at.join(name));
            }
            if maybe_directory && let Some(next) = self.pattern.enter(progress, name) {
                below.push((name.to_owned(), next));
            }
        }
        for (name, next) in below {
            if depth >= self.bounds.depth_max {
                self.found.incomplete = true;
                break;
            }
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            match openat2(dir.as_fd(), name.as_os_str(), OpenHow::new().flags(flags).resolve(INSIDE_ONLY)) {
                Ok(fd) => {
                    if self.directory(fd, &at.join(&name), &next, depth + 1).is_err() {
                        self.found.incomplete = true;
                    }
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(_) => self.found.incomplete = true,
            }
        }
        Ok(())
    }
}
