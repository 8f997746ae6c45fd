//! Deleting a directory tree that hostile programs have written.
//!
//! Goes by descriptor, follows nothing, and copes with directories without permissions, any depth and any name: a
//! directory that lies too deep is moved up first, so that neither path length, descriptors nor stack limit the depth.
//! **Invariant:** nothing outside of the tree is touched, and no mount below it is entered.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::sys::rename::rename_to_free;

/// Directories open at once on the way down; deeper ones are moved up.
const DEPTH_MAX: usize = 32;

/// Failure to delete a tree. What could be deleted is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The tree itself cannot be opened.
    #[error("failed to open `{}`", path.display())]
    Open {
        /// The tree.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Something in it cannot be deleted.
    #[error("failed to delete `{}` in `{}`", name.escape_default(), path.display())]
    Entry {
        /// The tree.
        path: PathBuf,
        /// The entry.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Deletes the tree at `path`. A tree that does not exist is no error; a symlink at `path` is.
///
/// # Errors
/// The first entry that cannot be deleted, for example one of another user or a mount point.
pub fn remove_tree(path: &Path) -> Result<(), RemoveError> {
    let opening = |source: io::Error| RemoveError::Open { path: path.to_owned(), source };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = match open(path, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(opening(errno.into())),
    };
    let device = fstat(&handle).map_err(|errno| opening(errno.into()))?.st_dev;
    let root = readable(&handle).map_err(|errno| opening(errno.into()))?;
    let mut removal = Removal { root: root.as_fd(), device, moved: 0, failed: None };
    // Each round deletes everything but what the round itself moved up.
    loop {
        let moved_before = removal.moved;
        removal.empty(root.as_fd(), 0).map_err(|errno| opening(errno.into()))?;
        if let Some((name, errno)) = removal.failed {
            let name = name.to_string_lossy().into_owned();
            return Err(RemoveError::Entry { path: path.to_owned(), name, source: errno.into() });
        }
        if removal.moved == moved_before {
            break;
        }
    }
    unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir).map_err(|errno| opening(errno.into()))
}

struct Removal<'a> {
    root: BorrowedFd<'a>,
    device: libc::dev_t,
    moved: u64,
    failed: Option<(CString, Errno)>,
}

impl Removal<'_> {
    /// Deletes everything in `dir`, or moves it up.
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        // Reading moves the position of a descriptor, and the caller's must stay at its start.
        let mut listing =
            Dir::openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let names: Vec<(CString, Option<Type>)> = listing
            .iter()
            .filter_map(Result::ok)
            .map(|entry| (entry.file_name().to_owned(), entry.file_type()))
            .filter(|(name, _)| name.as_c_str() != c"." && name.as_c_str() != c"..")
            .collect();
        for (name, kind) in names {
            if let Err(errno) = self.entry(dir, &name, kind, depth) {
                self.failed.get_or_insert((name, errno));
            }
        }
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: Option<Type>, depth: usize) -> Result<(), Errno> {
        let is_dir = match kind {
            Some(kind) => kind == Type::Directory,
            None => {
                let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
            }
        };
        if !is_dir {
            return gone_is_fine(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir));
        }
        // Most directories are empty by the time they are reached or soon after.
        match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = openat(dir, name, flags, Mode::empty())?;
        if fstat(&handle)?.st_dev != self.device {
            return Err(Errno::EBUSY);
        }
        let child = readable(&handle)?;
        if depth >= DEPTH_MAX {
            return self.move_up(dir, name);
        }
        let moved_before = self.moved;
        self.empty(child.as_fd(), depth + 1)?;
        match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
            // Said already, by the entry that is left.
            Err(Errno::ENOTEMPTY) if self.failed.is_some() || self.moved > moved_before => Ok(()),
            done => gone_is_fine(done),
        }
    }

    /// Moves the directory `name` to the root of the tree, under a name that is free there.
    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        loop {
            self.moved += 1;
            let place =
                CString::new(format!(".remove-{}-{}", std::process::id(), self.moved)).map_err(|_| Errno::EINVAL)?;
            match rename_to_free(dir, name, self.root, &place) {
                // The job may have guessed the name; it cannot have guessed all of them.
                Err(Errno::EEXIST) => {}
                done => return done,
            }
        }
    }
}

/// Opens the directory behind `handle` for reading and changing, giving its owner the right to if need be.
fn readable(handle: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let all = Mode::S_IRWXU;
    if Mode::from_bits_truncate(fstat(handle)?.st_mode).contains(all)
        && let Ok(dir) = openat(handle, ".", flags, Mode::empty())
    {
        return Ok(dir);
    }
    // By descriptor, so that it is this directory and no other that has come to its name.
    let magic = format!("/proc/self/fd/{}", handle.as_raw_fd());
    match fchmodat(AT_FDCWD, magic.as_str(), all, FchmodatFlags::FollowSymlink) {
        Ok(()) | Err(Errno::EPERM) => openat(handle, ".", flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

fn gone_is_fine(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn removes_what_a_job_can_leave() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        let canary = home.path().join("canary");
        fs::create_dir_all(tree.join("locked/inner")).unwrap();
        fs::write(&canary, "here").unwrap();
        fs::write(tree.join("locked/inner/file"), "x").unwrap();
        fs::write(tree.join(std::ffi::OsStr::from_bytes(b"-rf\n\xff\x1b")), "x").unwrap();
        std::os::unix::fs::symlink(home.path(), tree.join("link")).unwrap();
        fs::set_permissions(tree.join("locked/inner"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(&canary).unwrap(), "here");
        remove_tree(&tree).unwrap();
    }

    /// Deeper than a path can be long, made step by step like a job would.
    #[test]
    fn removes_a_tree_deeper_than_any_path() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at = open(&tree, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let name = "d".repeat(200);
        for level in 0..300 {
            nix::sys::stat::mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
            if level % 7 == 0 {
                nix::sys::stat::mkdirat(&at, "side", Mode::S_IRWXU).unwrap();
            }
            at = openat(&at, name.as_str(), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_symlink_is_not_a_tree() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("real")).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path().join("real"), &link).unwrap();
        assert!(matches!(remove_tree(&link), Err(RemoveError::Open { .. })));
        assert!(home.path().join("real").exists());
    }
}
