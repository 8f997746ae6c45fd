//! Adding up the space of a directory tree that changes under the walk, some entries at a time.
//!
//! Goes down by descriptor, follows nothing, and leaves nothing out, however deep or wide the tree is. Only the innermost
//! directories of the way are held open; of the others it is known which they were and how far they were read. The way back
//! to one of those is `..`, and only if it leads to the very directory that the walk came from: no name is looked up twice.
//! **Invariant:** at most [`HELD_MAX`] directories are open, and what is known of the way is at most a few megabytes.
//! **Invariant:** a walk either counts every entry that stays where it is while it walks, or says that it was hindered.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::entries::Entries;
use super::rights::{Trouble, give_back, try_hard, unlock};

/// Directories that are held open: more than the depth of trees that people and their tools make.
const HELD_MAX: usize = 32;
/// Most directories on the way down. No path can name one so deep, so nobody but a run that hides something has them.
const DEPTH_MAX: usize = if cfg!(test) { 1 << 9 } else { 1 << 16 };
/// Unit of `st_blocks`, in bytes, whatever the file system.
const BLOCK_BYTES: u64 = 512;
/// What each entry costs besides its content, in bytes: a name, and an inode where those are not counted.
const ENTRY_BYTES: u64 = 512;

/// A walk that is under way.
#[derive(Debug)]
pub(super) struct Walk {
    /// Those that are still to be walked.
    roots: Vec<OwnedFd>,
    /// Every directory from a root to where the walk is.
    way: Vec<Place>,
    /// The last ones of the way.
    held: VecDeque<Held>,
    bytes: u64,
    /// What an inode counts for in addition.
    inode_bytes: u64,
}

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    UnderWay,
    /// Everything was counted.
    Over,
    /// Something of the run's own kept it from counting everything: a directory was moved away under it, or lay too deep, or
    /// lost its rights as often as it got them.
    Hindered,
}

/// A directory on the way.
#[derive(Debug, Clone, Copy)]
struct Place {
    identity: Identity,
    /// From where on it is still to be read.
    next: i64,
}

/// Which directory it is, by device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Walk {
    /// A walk over the trees in `roots`, on a file system where an inode is worth `inode_bytes`.
    pub(super) fn over(roots: &[OwnedFd], inode_bytes: u64) -> Result<Self, Errno> {
        let cloned = roots.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let roots = cloned.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
        Ok(Self { roots, way: Vec::new(), held: VecDeque::new(), bytes: 0, inode_bytes })
    }

    /// What was found so far, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Looks at `budget` entries.
    pub(super) fn go_on(&mut self, budget: usize) -> Progress {
        for _ in 0..budget {
            match self.step() {
                Ok(Progress::UnderWay) => {}
                Ok(end) => return end,
                Err(Trouble::Hindered) => return Progress::Hindered,
                // With fewer descriptors of its own, or when there are some again.
                Err(Trouble::Starved) if self.held.len() > 1 => self.hold_only(1),
                Err(Trouble::Starved) => return Progress::UnderWay,
            }
        }
        Progress::UnderWay
    }

    /// Looks at one entry, or goes where the next one is. Changes nothing when there is trouble.
    fn step(&mut self) -> Result<Progress, Trouble> {
        let Some(at) = self.held.back_mut() else { return self.begin() };
        // A directory that cannot be read to its end, as one that is deleted, is over, too.
        let Ok(Some(entry)) = at.entries.peek(&at.dir) else {
            self.leave()?;
            return Ok(Progress::UnderWay);
        };
        let (name, next) = (entry.name.to_owned(), entry.next);
        let stat = at.try_hard(|dir| fstatat(dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW))?;
        let child = match &stat {
            Some(stat) if is_directory(stat) => at.try_hard(|dir| Held::open(dir, &name))?,
            Some(_) | None => None,
        };
        let is_done = at.done.is_some() && child.as_ref().map(|child| child.identity) == at.done;
        at.entries.advance();
        if is_done {
            return Ok(Progress::UnderWay);
        }
        self.bytes = self.bytes.saturating_add(stat.map_or(0, |stat| space(&stat, self.inode_bytes)));
        child.map_or(Ok(Progress::UnderWay), |child| self.enter(child, next))
    }

    /// Begins with the next root.
    fn begin(&mut self) -> Result<Progress, Trouble> {
        let Some(root) = self.roots.last() else { return Ok(Progress::Over) };
        let mut mode = None;
        let opened = try_hard(root, &mut mode, |dir| Held::open(dir, c"."));
        let Ok(Some(mut held)) = opened else {
            give_back(root, mode);
            return Err(opened.err().unwrap_or(Trouble::Hindered));
        };
        held.mode = held.mode.or(mode);
        self.roots.pop();
        self.enter(held, 0)
    }

    /// Goes down into `child`; what comes behind it is at the place `next`.
    fn enter(&mut self, child: Held, next: i64) -> Result<Progress, Trouble> {
        if self.way.len() >= DEPTH_MAX {
            return Err(Trouble::Hindered);
        }
        if let Some(parent) = self.way.last_mut() {
            parent.next = next;
        }
        self.way.push(Place { identity: child.identity, next: 0 });
        self.held.push_back(child);
        self.hold_only(HELD_MAX);
        Ok(Progress::UnderWay)
    }

    /// Goes back up from the innermost directory.
    fn leave(&mut self) -> Result<(), Trouble> {
        if let ([.., parent, left], [at]) = (self.way.as_slice(), self.held.make_contiguous()) {
            let opened = at.try_hard(|dir| Held::open(dir, c".."))?;
            let mut opened = opened.filter(|opened| opened.identity == parent.identity).ok_or(Trouble::Hindered)?;
            match Entries::from(&opened.dir, parent.next) {
                Ok(entries) => opened.entries = entries,
                // One that is deleted has no entries and no places.
                Err(_) if fstat(&opened.dir).is_ok_and(|stat| stat.st_nlink == 0) => {}
                Err(_) => return Err(Trouble::Hindered),
            }
            opened.done = Some(left.identity);
            self.held.push_front(opened);
        }
        self.held.pop_back();
        self.way.pop();
        Ok(())
    }

    /// Closes all but the `count` innermost directories.
    fn hold_only(&mut self, count: usize) {
        self.held.drain(..self.held.len().saturating_sub(count));
    }
}

/// A directory that is open and can be read and searched.
#[derive(Debug)]
struct Held {
    dir: OwnedFd,
    identity: Identity,
    entries: Entries,
    /// The directory in it that was walked last, when it was opened anew after that: the place of a file system that knows
    /// none between two names may be the one before it.
    done: Option<Identity>,
    /// What its mode is to be when it was read, where it had to be changed for that.
    mode: Option<Mode>,
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back(&self.dir, self.mode);
    }
}

impl Held {
    /// Opens the directory `name` in `dir`.
    fn open(dir: &OwnedFd, name: &CStr) -> Result<Self, Errno> {
        let plain = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let (dir, mode) = match openat(dir, name, OFlag::O_RDONLY | plain, Mode::empty()) {
            Ok(dir) => (dir, None),
            Err(Errno::EACCES) => {
                let handle = openat(dir, name, OFlag::O_PATH | plain, Mode::empty())?;
                let mode = unlock(&handle)?;
                match openat(&handle, c".", OFlag::O_RDONLY | plain, Mode::empty()) {
                    Ok(dir) => (dir, mode),
                    Err(errno) => {
                        give_back(&handle, mode);
                        // It was locked again in between, which is worth another try.
                        return Err(if mode.is_some() && errno == Errno::EACCES { Errno::EAGAIN } else { errno });
                    }
                }
            }
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&dir)?;
        let identity = Identity(stat.st_dev, stat.st_ino);
        Ok(Self { dir, identity, entries: Entries::all(), done: None, mode })
    }

    /// See [`try_hard`].
    fn try_hard<T>(&mut self, look: impl Fn(&OwnedFd) -> Result<T, Errno>) -> Result<Option<T>, Trouble> {
        try_hard(&self.dir, &mut self.mode, look)
    }
}

/// What an entry occupies, in bytes. A file with several names is in the tree under all of them: no link leads out of a
/// mount of the run.
fn space(stat: &FileStat, inode_bytes: u64) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(BLOCK_BYTES);
    let names = if is_directory(stat) { 1 } else { stat.st_nlink.max(1) };
    (blocks.saturating_add(inode_bytes) / names).saturating_add(ENTRY_BYTES)
}

fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn root(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn to_the_end(walk: &mut Walk, budget: usize) -> (Progress, u64, usize) {
        for turn in 1..100_000 {
            let progress = walk.go_on(budget);
            if progress != Progress::UnderWay {
                return (progress, walk.bytes(), turn);
            }
        }
        panic!("the walk does not end");
    }

    fn whole(path: &std::path::Path, budget: usize) -> (u64, usize) {
        let (progress, bytes, turns) = to_the_end(&mut Walk::over(&[root(path)], 0).unwrap(), budget);
        assert_eq!(progress, Progress::Over);
        (bytes, turns)
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

    /// Also the root itself, which belongs to the run.
    #[test]
    fn what_its_owner_may_not_read_is_counted_and_stays_so() {
        let home = tempfile::tempdir().unwrap();
        let modes = [("", 0o300), ("none", 0o000), ("no-search", 0o600), ("no-list", 0o300)];
        let path = |name: &str| home.path().join("root").join(name);
        fs::create_dir(path("")).unwrap();
        for (name, _) in &modes[1..] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), vec![1; 1 << 20]).unwrap();
        }
        let opened = root(&path(""));
        for root_mode in [0o000, 0o300, 0o600] {
            for (name, mode) in modes.iter().rev() {
                let mode = if name.is_empty() { root_mode } else { *mode };
                fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
            }
            let mut walk = Walk::over(&[opened.try_clone().unwrap()], 0).unwrap();
            let (progress, all, _) = to_the_end(&mut walk, 100);
            drop(walk);
            let left = mode_of(&path(""));
            fs::set_permissions(path(""), fs::Permissions::from_mode(0o700)).unwrap();
            let inner: Vec<u32> = modes[1..].iter().map(|(name, _)| mode_of(&path(name))).collect();
            for (name, _) in &modes[1..] {
                fs::set_permissions(path(name), fs::Permissions::from_mode(0o700)).unwrap();
            }
            assert_eq!((progress, left), (Progress::Over, root_mode));
            assert!(all >= 3 << 20, "{all}");
            assert_eq!(inner, [0o000, 0o600, 0o300]);
        }
    }

    fn mode_of(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// A run that takes rights away as fast as they are given is found out, or its space is: it never hides any.
    #[test]
    fn rights_that_are_taken_away_again_hide_nothing() {
        let home = tempfile::tempdir().unwrap();
        let locked = home.path().join("locked");
        fs::create_dir(&locked).unwrap();
        for index in 0..64 {
            fs::create_dir(locked.join(index.to_string())).unwrap();
            fs::write(locked.join(index.to_string()).join("file"), vec![1; 16 << 10]).unwrap();
        }
        let is_over = std::sync::atomic::AtomicBool::new(false);
        let walks = std::thread::scope(|scope| {
            let lock = || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
                }
            };
            scope.spawn(lock);
            let walk = |_| to_the_end(&mut Walk::over(&[root(home.path())], 0).unwrap(), 10);
            let walks: Vec<_> = (0..200).map(walk).collect();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            walks
        });
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        for (progress, all, _) in walks {
            assert!(progress == Progress::Hindered || all >= 1 << 20, "{all} {progress:?}");
        }
    }

    /// Makes `depth` directories in each other, below each other one in `side`, and a file in each of those and in the last.
    /// Returns the directories.
    fn deep(home: &std::path::Path, depth: usize, name: &str) -> Vec<OwnedFd> {
        let mut all = vec![root(home)];
        let make = |at: &OwnedFd, name: &str| {
            nix::sys::stat::mkdirat(at, name, Mode::S_IRWXU).unwrap();
            openat(at, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap()
        };
        let fill = |at: &OwnedFd| {
            let file = openat(at, "file", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRWXU).unwrap();
            std::io::Write::write_all(&mut fs::File::from(file), &[1; 16 << 10]).unwrap();
        };
        for _ in 0..depth {
            let at = all.last().unwrap();
            for index in 0..3 {
                fill(&make(at, &format!("side-{index}")));
            }
            all.push(make(at, name));
        }
        fill(all.last().unwrap());
        all
    }

    /// Deeper than any path can name, and whichever of the way is open.
    #[test]
    fn what_lies_deep_is_counted() {
        let home = tempfile::tempdir().unwrap();
        drop(deep(home.path(), 150, &"d".repeat(200)));
        let content = (3 * 150 + 1) * (16 << 10);
        let (all, _) = whole(home.path(), 10);
        assert!((content..content + (4 * 150 + 1) * (8 << 10)).contains(&all), "{all}");
        let mut walk = Walk::over(&[root(home.path())], 0).unwrap();
        loop {
            assert!(walk.held.len() <= HELD_MAX);
            walk.hold_only(1);
            match walk.go_on(1) {
                Progress::UnderWay => {}
                end => break assert_eq!((end, walk.bytes()), (Progress::Over, all)),
            }
        }
        crate::remove_tree(&home.path().join("d".repeat(200))).unwrap();
    }

    #[test]
    fn what_lies_beside_many_others_is_counted() {
        let home = tempfile::tempdir().unwrap();
        // At the last depth that is held, and the next one.
        for depth in [HELD_MAX - 2, HELD_MAX - 1] {
            let wide = home.path().join(format!("{depth}-{}", "/d".repeat(depth)));
            for index in 0..200 {
                let dir = wide.join(index.to_string());
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("file"), vec![1; 64 << 10]).unwrap();
            }
        }
        let all = whole(home.path(), 100).0;
        assert!(all >= 2 * 200 * (64 << 10), "{all}");
    }

    #[test]
    fn what_lies_too_deep_hinders() {
        let home = tempfile::tempdir().unwrap();
        let mut at = root(home.path());
        for _ in 0..DEPTH_MAX {
            nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = openat(&at, "d", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(to_the_end(&mut Walk::over(&[root(home.path())], 0).unwrap(), 1000).0, Progress::Hindered);
        crate::remove_tree(&home.path().join("d")).unwrap();
    }

    /// Goes down to the depth of 100, moves the directory at `depth` to the root, and goes on.
    fn moved_away(depth: usize) -> (Progress, u64, u64) {
        let home = tempfile::tempdir().unwrap();
        let dirs = deep(home.path(), 100, "d");
        let (all, _) = whole(home.path(), 100);
        let mut walk = Walk::over(&[root(home.path())], 0).unwrap();
        while walk.way.len() < 101 {
            assert_eq!(walk.go_on(1), Progress::UnderWay);
        }
        nix::fcntl::renameat(&dirs[depth - 1], "d", &dirs[0], "moved").unwrap();
        let (progress, bytes, _) = to_the_end(&mut walk, 100);
        // There may be new space for names in the root.
        assert!(whole(home.path(), 100).0.abs_diff(all) <= 8 << 10);
        (progress, bytes, all)
    }

    #[test]
    fn what_is_moved_under_the_walk_is_counted_or_hinders() {
        let (progress, bytes, all) = moved_away(100 - HELD_MAX / 2);
        assert_eq!(progress, Progress::Over);
        assert!(bytes >= all, "{bytes} {all}");
        assert_eq!(moved_away(20).0, Progress::Hindered);
    }

    /// What is deleted, with the whole way to it, does not hinder.
    #[test]
    fn what_is_deleted_under_the_walk_is_gone() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("last"), vec![1; 1 << 20]).unwrap();
        drop(deep(home.path(), 100, "d"));
        let mut walk = Walk::over(&[root(home.path())], 0).unwrap();
        while walk.way.len() < 90 {
            assert_eq!(walk.go_on(1), Progress::UnderWay);
        }
        fs::remove_dir_all(home.path().join("d")).unwrap();
        assert_eq!(to_the_end(&mut walk, 100).0, Progress::Over);
        assert!(walk.bytes() >= 1 << 20);
    }
}
