//! Adding up the space of a directory tree that changes under the walk, some entries at a time.
//!
//! Goes by descriptor and follows nothing. Directories below [`DEPTH_MAX`] are put aside and walked afterwards, so that
//! depth costs no descriptors; of the ones that are put aside only so many are kept, and the rest is left out.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat};
use nix::unistd::{AccessFlags, faccessat};

/// Directories open at once on the way down.
const DEPTH_MAX: usize = 32;
/// Most directories that wait for their turn.
const ASIDE_MAX: usize = 64;
/// Unit of `st_blocks`, in bytes, whatever the file system.
const BLOCK_BYTES: u64 = 512;
/// What each entry costs besides its content, in bytes: an inode and a name.
const ENTRY_BYTES: u64 = 512;

/// A walk that is under way.
#[derive(Debug)]
pub(super) struct Walk {
    open: Vec<Open>,
    aside: Vec<Found>,
    bytes: u64,
}

/// A directory that is being read.
#[derive(Debug)]
struct Open {
    found: Found,
    entries: OwningIter,
}

/// A directory that can be read.
#[derive(Debug)]
struct Found {
    dir: OwnedFd,
    /// What its mode is to be when it was read, where it had to be changed for that.
    mode: Option<Mode>,
}

impl Drop for Found {
    fn drop(&mut self) {
        if let Some(mode) = self.mode {
            fchmod(&self.dir, mode).unwrap_or_default();
        }
    }
}

impl Walk {
    /// A walk over the trees in `roots`.
    pub(super) fn over(roots: &[OwnedFd]) -> Self {
        let aside = roots.iter().filter_map(|root| listed(root, c".").ok()).collect();
        Self { open: Vec::new(), aside, bytes: 0 }
    }

    /// What was found so far, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Looks at `budget` entries; whether the walk is over.
    pub(super) fn go_on(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(at) = self.open.last_mut() else {
                match self.aside.pop() {
                    Some(dir) => self.enter(dir),
                    None => return true,
                }
                continue;
            };
            match at.entries.next() {
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_owned();
                    if name.as_c_str() != c"." && name.as_c_str() != c".." {
                        self.count(&name);
                    }
                }
                // A directory that cannot be read to its end is over, too.
                Some(Err(_)) | None => drop(self.open.pop()),
            }
        }
        false
    }

    /// Adds one entry of the innermost directory.
    fn count(&mut self, name: &CStr) {
        let Some(at) = self.open.last() else { return };
        // What is gone in between has no space.
        let Ok(stat) = fstatat(&at.found.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return };
        self.bytes = self.bytes.saturating_add(space(&stat));
        if !is_directory(&stat) {
            return;
        }
        let Ok(dir) = listed(&at.found.dir, name) else { return };
        if self.open.len() < DEPTH_MAX {
            self.enter(dir);
        } else if self.aside.len() < ASIDE_MAX {
            self.aside.push(dir);
        }
    }

    fn enter(&mut self, found: Found) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        if let Ok(listing) = Dir::openat(&found.dir, ".", flags, Mode::empty()) {
            self.open.push(Open { found, entries: listing.into_iter() });
        }
    }
}

/// What an entry occupies, in bytes. A file with several names is in the tree under all of them: no link leads out of a
/// mount of the run.
fn space(stat: &FileStat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(BLOCK_BYTES);
    let names = if is_directory(stat) { 1 } else { stat.st_nlink.max(1) };
    (blocks / names).saturating_add(ENTRY_BYTES)
}

fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// Opens the directory `name` in `dir` for reading.
fn listed(dir: &OwnedFd, name: &CStr) -> Result<Found, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(dir) if faccessat(&dir, ".", AccessFlags::X_OK, AtFlags::AT_EACCESS).is_ok() => {
            Ok(Found { dir, mode: None })
        }
        Ok(_) | Err(Errno::EACCES) => unlock(dir, name),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory that its owner may not read or search, so that nothing is hidden from the count by taking a right away.
/// It has the right while it is being read.
fn unlock(dir: &OwnedFd, name: &CStr) -> Result<Found, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = openat(dir, name, flags, Mode::empty())?;
    let mode = Mode::from_bits_truncate(fstat(&handle)?.st_mode & 0o7777);
    // By descriptor, so that it is this directory and no other that has come to its name.
    let magic = format!("/proc/self/fd/{}", handle.as_raw_fd());
    fchmodat(AT_FDCWD, magic.as_str(), mode | Mode::S_IRUSR | Mode::S_IXUSR, FchmodatFlags::FollowSymlink)?;
    let dir = openat(&handle, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(Found { dir, mode: Some(mode) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn root(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn whole(path: &std::path::Path, budget: usize) -> (u64, usize) {
        let mut walk = Walk::over(&[root(path)]);
        let mut turns = 1;
        while !walk.go_on(budget) {
            turns += 1;
            assert!(turns < 100_000, "the walk does not end");
        }
        (walk.bytes(), turns)
    }

    #[test]
    fn a_tree_is_added_up_in_bounded_turns() {
        let home = tempfile::tempdir().unwrap();
        for index in 0..100 {
            let dir = home.path().join(format!("{}", index % 7));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(index.to_string()), vec![1; 8192]).unwrap();
        }
        let (all, turns) = whole(home.path(), 10);
        assert!(all >= 100 * 8192, "{all}");
        assert!(all < 100 * 8192 + 200 * 8192, "{all}");
        assert!(turns > 10, "{turns}");
        assert_eq!(whole(home.path(), usize::MAX).0, all);
    }

    #[test]
    fn names_share_holes_do_not_count_and_nothing_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(home.path().join("outside"), vec![1; 8 << 20]).unwrap();
        fs::write(tree.join("file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(tree.join("file"), tree.join("again")).unwrap();
        std::os::unix::fs::symlink(home.path(), tree.join("link")).unwrap();
        fs::File::create(tree.join("hole")).unwrap().set_len(1 << 40).unwrap();
        let (all, _) = whole(&tree, 100);
        assert!((1 << 20..2 << 20).contains(&all), "{all}");
    }

    #[test]
    fn what_its_owner_may_not_read_is_counted_and_stays_so() {
        let home = tempfile::tempdir().unwrap();
        let locked = home.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("file"), vec![1; 1 << 20]).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let (all, _) = whole(home.path(), 100);
        let mode = fs::metadata(&locked).unwrap().permissions().mode() & 0o7777;
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(all >= 1 << 20, "{all}");
        assert_eq!(mode, 0);
    }

    #[test]
    fn what_lies_deep_is_counted() {
        let home = tempfile::tempdir().unwrap();
        let mut at = root(home.path());
        for _ in 0..150 {
            nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = openat(&at, "d", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
        let file = openat(&at, "file", flags, Mode::S_IRWXU).unwrap();
        std::io::Write::write_all(&mut fs::File::from(file), &[1; 1 << 20]).unwrap();
        let (all, _) = whole(home.path(), 10);
        assert!(all >= 1 << 20, "{all}");
        crate::remove_tree(&home.path().join("d")).unwrap();
    }
}
