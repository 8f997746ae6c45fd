//! The disk space of a run: what its directories hold, and what is left of the file system that they are on.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::statvfs::fstatvfs;
use nix::unistd::Pid;

use super::descendants;
use super::unnamed::unnamed;
use super::walk::{Progress, Walk};
use crate::limit::{Excess, FREE_PART, LimitKind};

/// Entries that one look goes through: some milliseconds on a warm cache.
const ENTRIES_MAX: usize = if cfg!(test) { 64 } else { 2048 };
/// The same of a walk that lasts: it must be faster than a tree can grow, or it never ends.
const ENTRIES_MAX_OF_LONG: usize = 4 * ENTRIES_MAX;
/// The same when the disk is nearly full, and nothing matters more than who fills it.
const ENTRIES_MAX_IN_SHORTAGE: usize = 16 * ENTRIES_MAX;
/// When a walk is a long one.
const LONG: Duration = Duration::from_secs(2);
/// The rest that looks leave to everything else, in times of what they took: usually, during a long walk, in a shortage.
const REST_PARTS: [u32; 3] = [10, 3, 1];
/// Shortest rest between two walks; a long walk is followed by a rest as long as itself.
const REST_MIN: Duration = Duration::from_secs(1);
/// A run that grows by less than this, in bytes, is not what fills a disk.
const GROWTH_MIN: u64 = 1 << 20;
/// What an inode counts for at most, where a file system has a number of them: what ext4 gives one for, usually.
const INODE_BYTES_MAX: u64 = 16 << 10;
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
    /// What the run began with, as long as no walk was over and nobody was blamed.
    beginning: Option<u64>,
    /// What an inode counts for.
    inode_bytes: u64,
    rest_part: u32,
}

impl DiskWatch {
    /// Watches the trees in `roots`, which may together have `bound` bytes, and the free space of the first, of which
    /// `floor` bytes are to be left.
    pub(crate) fn new(roots: Vec<OwnedFd>, bound: Option<u64>, floor: Option<u64>, now: Instant) -> Self {
        let inode_bytes = roots.first().and_then(Room::of).map_or(0, Room::inode_bytes);
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
            beginning: Some(0),
            inode_bytes,
            rest_part: REST_PARTS[0],
        }
    }

    /// The rest that is due after a look, in times of what it took.
    pub(crate) const fn rest_part(&self) -> u32 {
        self.rest_part
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
        self.look_in(now, self.shortage())
    }

    fn look_in(&mut self, now: Instant, shortage: Option<Excess>) -> Option<Excess> {
        if shortage.is_none() {
            self.at_shortage = None;
        }
        if self.bound.is_none() && shortage.is_none() {
            self.walk = None;
            return None;
        }
        if self.walk.is_none() && (now >= self.next_walk || shortage.is_some()) {
            self.walk = Some((Walk::over(&self.roots, self.inode_bytes).ok()?, now));
            let deleted = |(init, tmpfs): &(Pid, Vec<u64>)| unnamed(&descendants(*init), tmpfs).disk;
            self.deleted = self.init.as_ref().map(deleted).unwrap_or_default();
        }
        let (walk, since) = self.walk.as_mut()?;
        let (budget, rest_part) = match &shortage {
            Some(_) => (ENTRIES_MAX_IN_SHORTAGE, REST_PARTS[2]),
            None if now.saturating_duration_since(*since) > LONG => (ENTRIES_MAX_OF_LONG, REST_PARTS[1]),
            None => (ENTRIES_MAX, REST_PARTS[0]),
        };
        self.rest_part = rest_part;
        let progress = walk.go_on(budget);
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
            // What is left of the walk would only add to it, and may take longer than the disk has space. As long as no
            // walk was over, the run is taken to have begun with nothing: else one that grows faster than it is walked
            // would never be blamed.
            Progress::UnderWay => {
                let base = self.at_shortage.or(self.last).or(self.beginning)?;
                return self.growth(base, found, shortage?);
            }
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
    fn hindered(&mut self, now: Instant, found: u64, shortage: Option<Excess>) -> Option<Excess> {
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
            (None, shortage) => shortage,
        }
    }

    /// Takes in what a walk to its end found; with a `shortage`, whether the run is a part of it.
    fn walked(&mut self, found: u64, shortage: Option<Excess>) -> Option<Excess> {
        let before = self.last.replace(found);
        self.beginning = None;
        let shortage = shortage?;
        let base = *self.at_shortage.get_or_insert(before.unwrap_or(found));
        self.growth(base, found, shortage)
    }

    /// The `shortage`, if the run has grown from `base` to what was `found` at least. From then on it may not grow further,
    /// so that what runs whatever happens is not blamed for what is there.
    fn growth(&mut self, base: u64, found: u64, shortage: Excess) -> Option<Excess> {
        if found < base.saturating_add(GROWTH_MIN) {
            return None;
        }
        self.walk = None;
        self.at_shortage = None;
        self.last = None;
        self.beginning = None;
        Some(shortage)
    }

    /// What the file system lacks.
    fn shortage(&self) -> Option<Excess> {
        Room::of(self.roots.first()?)?.lacks(self.floor?)
    }
}

/// What a file system has room for.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    bytes_free: u64,
    /// 0 where files have no bound of their own.
    files: u64,
    files_free: u64,
}

impl Room {
    fn of(root: &OwnedFd) -> Option<Self> {
        let found = fstatvfs(root).ok()?;
        let unit = found.fragment_size();
        Some(Self {
            bytes: found.blocks().saturating_mul(unit),
            bytes_free: found.blocks_available().saturating_mul(unit),
            files: found.files(),
            files_free: found.files_available(),
        })
    }

    /// What an inode is worth where there is a number of them: who uses a part of them uses that part of the disk.
    fn inode_bytes(self) -> u64 {
        self.bytes.checked_div(self.files).map_or(0, |each| each.min(INODE_BYTES_MAX))
    }

    /// What is free and what should be, when there is less than that: space, of which `floor` bytes are to be left, or
    /// further files.
    fn lacks(self, floor: u64) -> Option<Excess> {
        let allowed = floor.min(self.bytes / FREE_PART);
        let space = Excess { limit: LimitKind::DiskFree, allowed, found: self.bytes_free };
        // Nothing is to be left of files either when nothing is of space.
        let allowed = if floor > 0 { self.files / FREE_PART } else { 0 };
        let files = Excess { limit: LimitKind::FilesFree, allowed, found: self.files_free };
        [space, files].into_iter().find(|free| free.found < free.allowed)
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

    const SHORTAGE: Excess = Excess { limit: LimitKind::DiskFree, allowed: 2 << 20, found: 1 << 20 };

    #[test]
    fn on_a_full_disk_only_the_run_that_grows_is_killed() {
        let home = tempfile::tempdir().unwrap();
        let mut watch = watch(home.path(), None);
        assert_eq!(watch.walked(80 << 20, Some(SHORTAGE)), None, "it may have been there all along");
        assert_eq!(watch.walked(80 << 20, Some(SHORTAGE)), None);
        assert_eq!(watch.walked((81 << 20) - 1, Some(SHORTAGE)), None);
        assert_eq!(watch.walked(81 << 20, Some(SHORTAGE)), Some(SHORTAGE));
        assert_eq!(watch.walked(81 << 20, Some(SHORTAGE)), None, "only what grows further is blamed again");
        assert_eq!(watch.walked(82 << 20, Some(SHORTAGE)), Some(SHORTAGE));
        assert_eq!(watch.walked(200 << 20, None), None, "there is room again");
    }

    /// A wide tree takes long to walk; the disk would be full before its end.
    #[test]
    fn on_a_full_disk_nobody_waits_for_the_end_of_a_walk() {
        let home = tempfile::tempdir().unwrap();
        for file in 0..6 * ENTRIES_MAX_IN_SHORTAGE {
            std::fs::File::create(home.path().join(file.to_string())).unwrap();
        }
        let mut watch = watch(home.path(), None);
        let now = Instant::now();
        let looks = (1..).find(|_| watch.look_in(now, Some(SHORTAGE)).is_some()).unwrap();
        assert!(looks < 4, "{looks} looks of 6");
    }

    /// A tree that grows faster than it is walked has no walk that is ever over.
    #[test]
    fn on_a_full_disk_the_first_walk_need_not_be_over() {
        let home = tempfile::tempdir().unwrap();
        let grow = |files: std::ops::Range<usize>| {
            files.for_each(|file| drop(std::fs::File::create(home.path().join(file.to_string())).unwrap()));
        };
        grow(0..2 * ENTRIES_MAX_IN_SHORTAGE);
        let mut watch = watch(home.path(), Some(1 << 30));
        let (now, mut made) = (Instant::now(), 2 * ENTRIES_MAX_IN_SHORTAGE);
        let looks = (1..20).find(|_| {
            grow(made..made + 2 * ENTRIES_MAX_IN_SHORTAGE);
            made += 2 * ENTRIES_MAX_IN_SHORTAGE;
            watch.look_in(now, Some(SHORTAGE)).is_some()
        });
        assert!(looks.is_some() && watch.last.is_none(), "{looks:?}");
    }

    /// What was left by steps that were killed is not what those do that run whatever happens.
    #[test]
    fn who_was_blamed_before_a_walk_was_over_is_not_blamed_again_for_the_same() {
        let home = tempfile::tempdir().unwrap();
        let entries = 6 * ENTRIES_MAX_IN_SHORTAGE;
        (0..entries).for_each(|file| drop(std::fs::File::create(home.path().join(file.to_string())).unwrap()));
        let mut watch = watch(home.path(), Some(1 << 30));
        let now = Instant::now();
        let looks = |watch: &mut DiskWatch| (0..50).filter(|_| watch.look_in(now, Some(SHORTAGE)).is_some()).count();
        assert_eq!(looks(&mut watch), 1);
        assert_eq!(looks(&mut watch), 0);
    }

    #[test]
    fn a_walk_that_lasts_hurries() {
        let home = tempfile::tempdir().unwrap();
        (0..2 * ENTRIES_MAX_OF_LONG)
            .for_each(|file| drop(std::fs::File::create(home.path().join(file.to_string())).unwrap()));
        let mut watch = watch(home.path(), Some(1 << 30));
        let now = Instant::now();
        watch.look_in(now, None);
        assert_eq!((watch.rest_part(), watch.is_walking()), (REST_PARTS[0], true));
        watch.look_in(now + LONG * 2, None);
        assert_eq!((watch.rest_part(), watch.is_walking()), (REST_PARTS[1], true));
        watch.look_in(now + LONG * 2, Some(SHORTAGE));
        assert_eq!(watch.rest_part(), REST_PARTS[2]);
    }

    #[test]
    fn an_inode_is_worth_its_part_of_the_disk() {
        let room = Room { bytes: 1 << 40, bytes_free: 0, files: 1 << 27, files_free: 0 };
        assert_eq!(room.inode_bytes(), 8 << 10);
        assert_eq!(Room { files: 1 << 20, ..room }.inode_bytes(), INODE_BYTES_MAX);
        assert_eq!(Room { files: 0, ..room }.inode_bytes(), 0, "not every file system has a number of them");
    }

    #[test]
    fn space_and_files_can_both_be_short() {
        let room = Room { bytes: 100 << 20, bytes_free: 50 << 20, files: 1_000, files_free: 500 };
        let lack = |room: Room| room.lacks(1 << 20).map(|excess| (excess.limit, excess.allowed));
        assert_eq!(lack(room), None);
        assert_eq!(lack(Room { bytes_free: 1 << 19, ..room }), Some((LimitKind::DiskFree, 1 << 20)));
        assert_eq!(lack(Room { files_free: 50, ..room }), None);
        assert_eq!(lack(Room { files_free: 49, ..room }), Some((LimitKind::FilesFree, 50)));
        assert_eq!(lack(Room { files: 0, files_free: 0, ..room }), None, "not every file system bounds them");
        assert_eq!(Room { files_free: 0, ..room }.lacks(0), None, "nothing is to be left");
    }

    #[test]
    fn a_disk_with_room_needs_no_walk() {
        let home = tempfile::tempdir().unwrap();
        let mut watch = watch(home.path(), None);
        assert_eq!(watch.look(Instant::now()), None);
        assert!(!watch.is_walking());
    }
}
