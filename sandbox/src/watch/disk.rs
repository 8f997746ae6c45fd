//! The disk space of a run: what its directories hold, and what is left of the file system that they are on.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::statvfs::fstatvfs;
use nix::unistd::Pid;

use super::descendants;
use super::unnamed::unnamed;
use super::walk::{Progress, Walk};
use crate::limit::{Excess, LimitKind};

/// Entries that one look goes through: some milliseconds on a warm cache.
const ENTRIES_MAX: usize = 2048;
/// Shortest rest between two walks; a long walk is followed by a rest as long as itself.
const REST_MIN: Duration = Duration::from_secs(1);
/// A run that grows by less than this, in bytes, is not what fills a disk.
const GROWTH_MIN: u64 = 1 << 20;
/// The free space that a file system must have is never more than this part of it.
const FLOOR_PART: u64 = 20;

/// What a run may take beyond what was found when it exceeded its bound, as a part of that bound.
const AFTERWARDS_PART: u64 = 4;

/// Walks in a row that a run may hinder. Its tools may move a directory away under one of them, or change its rights.
const HINDERED_MAX: u32 = 8;

/// Watches the space of one run.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    roots: Vec<OwnedFd>,
    bound: Option<u64>,
    floor: Option<u64>,
    walk: Option<(Walk, Instant)>,
    /// Init of the run and the devices of its temporary file systems, once it is there.
    init: Option<(Pid, Vec<u64>)>,
    /// Deleted files that were open when the walk began, in bytes.
    deleted: u64,
    /// Not before then.
    next_walk: Instant,
    /// A walk found more than the bound. What is moved under a walk counts twice, so a second one has to agree.
    suspected: bool,
    /// How many walks in a row were hindered; `None` when the run was said to be over its bound for that.
    hindered: Option<u32>,
    /// What the run had when the disk began to be nearly full.
    at_shortage: Option<u64>,
    /// What the last walk to its end found.
    last: Option<u64>,
}

impl DiskWatch {
    /// Watches the trees in `roots`, which may together have `bound` bytes, and the free space of the first, of which
    /// `floor` bytes are to be left.
    pub(crate) fn new(roots: Vec<OwnedFd>, bound: Option<u64>, floor: Option<u64>, now: Instant) -> Self {
        Self {
            roots,
            bound,
            floor,
            walk: None,
            init: None,
            deleted: 0,
            next_walk: now,
            suspected: false,
            hindered: Some(0),
            at_shortage: None,
            last: None,
        }
    }

    /// Counts deleted files, too, that processes of the run of `init` have open; those on the devices `tmpfs` are on no disk.
    pub(crate) fn count_deleted(&mut self, init: Pid, tmpfs: Vec<u64>) {
        self.init = Some((init, tmpfs));
    }

    /// Whether a walk is under way, which goes on with the next look.
    pub(crate) fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// Looks on; what the run has exceeded, if it has.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Excess> {
        let shortage = self.shortage();
        if shortage.is_none() {
            self.at_shortage = None;
        }
        if self.bound.is_none() && shortage.is_none() {
            self.walk = None;
            return None;
        }
        if self.walk.is_none() && (now >= self.next_walk || shortage.is_some()) {
            self.walk = Some((Walk::over(&self.roots).ok()?, now));
            let deleted = |(init, tmpfs): &(Pid, Vec<u64>)| unnamed(&descendants(*init), tmpfs).disk;
            self.deleted = self.init.as_ref().map(deleted).unwrap_or_default();
        }
        let (walk, since) = self.walk.as_mut()?;
        let progress = walk.go_on(ENTRIES_MAX);
        let found = walk.bytes().saturating_add(self.deleted);
        let too_much = self.bound.filter(|bound| found > *bound);
        if let Some(allowed) = too_much {
            self.walk = None;
            self.next_walk = now;
            if std::mem::replace(&mut self.suspected, true) {
                // What runs whatever happens needs room for what it has to save.
                self.bound = Some(found.saturating_add(allowed / AFTERWARDS_PART));
                self.suspected = false;
                return Some(Excess { limit: LimitKind::Disk, allowed, found });
            }
            return None;
        }
        let took = now.saturating_duration_since(*since);
        match progress {
            Progress::UnderWay => return None,
            Progress::Hindered => return self.hindered(now, found, shortage),
            Progress::Over => {}
        }
        self.next_walk = now + REST_MIN.max(took);
        self.walk = None;
        self.suspected = false;
        self.hindered = self.hindered.map(|_| 0);
        self.walked(found, shortage)
    }

    /// Takes in that the run has hindered a walk which had found that much. A run that does it again and again has space
    /// that cannot be counted, which is as good as too much. Said once: what hindered may be there for ever, and what runs
    /// whatever happens is not its author.
    fn hindered(&mut self, now: Instant, found: u64, shortage: Option<(u64, u64)>) -> Option<Excess> {
        self.walk = None;
        self.next_walk = now + REST_MIN;
        let times = self.hindered? + 1;
        self.next_walk = now;
        self.hindered = (times < HINDERED_MAX).then_some(times);
        if self.hindered.is_some() {
            return None;
        }
        match (self.bound, shortage) {
            (Some(allowed), _) => Some(Excess { limit: LimitKind::Disk, allowed, found }),
            (None, shortage) => {
                shortage.map(|(free, allowed)| Excess { limit: LimitKind::DiskFree, allowed, found: free })
            }
        }
    }

    /// Takes in what a walk to its end found; with a `shortage`, whether the run is a part of it.
    fn walked(&mut self, found: u64, shortage: Option<(u64, u64)>) -> Option<Excess> {
        let before = self.last.replace(found);
        let (free, allowed) = shortage?;
        let base = *self.at_shortage.get_or_insert(before.unwrap_or(found));
        let has_grown = found >= base.saturating_add(GROWTH_MIN);
        has_grown.then_some(Excess { limit: LimitKind::DiskFree, allowed, found: free })
    }

    /// Free space and what should be free, in bytes, when there is less than that.
    fn shortage(&self) -> Option<(u64, u64)> {
        let floor = self.floor?;
        let found = fstatvfs(self.roots.first()?).ok()?;
        let (unit, whole) = (found.fragment_size(), found.blocks());
        let free = found.blocks_available().saturating_mul(unit);
        let floor = floor.min(whole.saturating_mul(unit) / FLOOR_PART);
        (free < floor).then_some((free, floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(path: &std::path::Path, bound: Option<u64>) -> DiskWatch {
        let root = std::fs::File::open(path).unwrap().into();
        DiskWatch::new(vec![root], bound, Some(0), Instant::now())
    }

    /// Looks until a walk was over; the excess that was found on the way.
    fn walked(watch: &mut DiskWatch, now: Instant) -> Option<Excess> {
        for _ in 0..1_000 {
            let found = watch.look(now);
            if found.is_some() || !watch.is_walking() {
                return found;
            }
        }
        panic!("the walk does not end");
    }

    #[test]
    fn two_walks_have_to_agree() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), vec![1; 1 << 20]).unwrap();
        let mut watch = watch(home.path(), Some(512 << 10));
        let now = Instant::now();
        assert_eq!(walked(&mut watch, now), None);
        let excess = walked(&mut watch, now).unwrap();
        assert_eq!((excess.limit, excess.allowed), (LimitKind::Disk, 512 << 10));
        assert!(excess.found >= 1 << 20);
        // Said once; only what grows much further is said again.
        let later = now + 2 * REST_MIN;
        assert_eq!(walked(&mut watch, later), None);
        assert!(!watch.suspected);
    }

    /// Space that is in a tree too deep to be walked, however little was found on the way.
    #[test]
    fn what_cannot_be_counted_is_too_much() {
        let home = tempfile::tempdir().unwrap();
        let mut at: OwnedFd = std::fs::File::open(home.path()).unwrap().into();
        for _ in 0..600 {
            let all = nix::sys::stat::Mode::S_IRWXU;
            nix::sys::stat::mkdirat(&at, "d", all).unwrap();
            at = nix::fcntl::openat(&at, "d", nix::fcntl::OFlag::O_RDONLY, all).unwrap();
        }
        let mut watch = watch(home.path(), Some(1 << 30));
        let now = Instant::now();
        for _ in 1..HINDERED_MAX {
            assert_eq!(walked(&mut watch, now), None);
        }
        let excess = walked(&mut watch, now).unwrap();
        assert_eq!((excess.limit, excess.allowed), (LimitKind::Disk, 1 << 30));
        for _ in 0..2 * HINDERED_MAX {
            assert_eq!(walked(&mut watch, now), None, "it is said once");
        }
        crate::remove_tree(&home.path().join("d")).unwrap();
    }

    #[test]
    fn what_shrinks_in_between_is_forgiven() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        let mut watch = watch(home.path(), Some(512 << 10));
        let now = Instant::now();
        assert_eq!(walked(&mut watch, now), None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(walked(&mut watch, now), None);
        // The next walk comes after a rest.
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        assert_eq!(watch.look(now), None);
        assert!(!watch.is_walking());
        assert_eq!(walked(&mut watch, now + REST_MIN), None);
        assert!(walked(&mut watch, now + REST_MIN).is_some());
    }

    #[test]
    fn on_a_full_disk_only_the_run_that_grows_is_killed() {
        let home = tempfile::tempdir().unwrap();
        let mut watch = watch(home.path(), None);
        let shortage = Some((1 << 20, 2 << 20));
        assert_eq!(watch.walked(80 << 20, shortage), None, "it may have been there all along");
        assert_eq!(watch.walked(80 << 20, shortage), None);
        assert_eq!(watch.walked((81 << 20) - 1, shortage), None);
        let excess = Excess { limit: LimitKind::DiskFree, allowed: 2 << 20, found: 1 << 20 };
        assert_eq!(watch.walked(81 << 20, shortage), Some(excess));
        assert_eq!(watch.walked(200 << 20, None), None, "there is room again");
    }

    #[test]
    fn a_disk_with_room_needs_no_walk() {
        let home = tempfile::tempdir().unwrap();
        let mut watch = watch(home.path(), None);
        assert_eq!(watch.look(Instant::now()), None);
        assert!(!watch.is_walking());
    }
}
