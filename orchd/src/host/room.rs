//! Room on the disk that runs write to: what is free of it, whether that is too little to begin anything, and what runs have written
//! of the parts that they asked for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use orch_core::schedule::Shortage;
use orch_proto::id::RunId;
use orch_sandbox::limit::FREE_PART;

/// How often it is looked what runs have written.
pub(crate) const WRITTEN_EVERY: Duration = Duration::from_secs(30);
/// Most entries of all of them that one look goes through: some 100 ms on a cold cache. What is beyond counts as not written, so
/// that rather too little is taken for free than too much.
const ENTRIES_MAX: usize = 20_000;
/// Once there was too little, this part more than enough has to be free: what begins writes, and would bring it back at once.
const MARGIN_PART: u64 = 16;

/// What a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) free: u64,
    /// Files that it can have; 0 where they have no bound of their own.
    pub(crate) files: u64,
    pub(crate) files_free: u64,
}

impl Room {
    /// What the file system of this path has; none when it does not say.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = statvfs(path).ok()?;
        let unit = found.fragment_size();
        Some(Self {
            size: found.blocks().saturating_mul(unit),
            free: found.blocks_available().saturating_mul(unit),
            files: found.files(),
            files_free: found.files_available(),
        })
    }

    /// Free space that runs leave where `wanted` is to be left: a small disk is not kept empty for that. Sandboxes end runs that
    /// write when there is less.
    pub(crate) fn floor(self, wanted: u64) -> u64 {
        wanted.min(self.size / FREE_PART)
    }

    /// What is too little of it to begin anything, where `wanted` bytes are to be left.
    fn shortage(self, wanted: u64, was_short: bool) -> Option<Shortage> {
        let enough = |floor: u64| if was_short { floor.saturating_add(floor / MARGIN_PART) } else { floor };
        let needed = enough(self.floor(wanted));
        if self.free < needed {
            return Some(Shortage::Space { free: self.free, needed });
        }
        // Nothing is to be left of files either when nothing is of space.
        let needed = if wanted > 0 { enough(self.files / FREE_PART) } else { 0 };
        (self.files_free < needed).then_some(Shortage::Files { free: self.files_free, needed })
    }
}

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct KnownRoom(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    was_short: bool,
    /// What runs have written, in bytes, and when that was found.
    written: BTreeMap<RunId, u64>,
    measured_at: Option<Instant>,
}

impl KnownRoom {
    /// Whether there is too little of `room`; remembers it.
    pub(crate) fn shortage(&self, room: Room, wanted: u64) -> Option<Shortage> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shortage = room.shortage(wanted, known.was_short);
        known.was_short = shortage.is_some();
        shortage
    }

    /// What these runs have written of what they asked for, in bytes. Looks at `trees` of each now and then. Blocks.
    pub(crate) fn written(
        &self,
        asked: &BTreeMap<RunId, u64>,
        now: Instant,
        trees: impl Fn(RunId) -> [PathBuf; 2],
    ) -> u64 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_empty() {
            *known = Known { was_short: known.was_short, ..Known::default() };
            return 0;
        }
        if known.measured_at.is_none_or(|before| now.saturating_duration_since(before) >= WRITTEN_EVERY) {
            let mut left = ENTRIES_MAX;
            let found = asked.keys().map(|run| (*run, blocks_in(trees(*run).to_vec(), &mut left)));
            (known.written, known.measured_at) = (found.collect(), Some(now));
        }
        let of = |(run, asked): (&RunId, &u64)| known.written.get(run).copied().unwrap_or(0).min(*asked);
        asked.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// Bytes on the disk of what lies in these trees, as far as that many entries say. They are a run's: nothing of them is
/// followed or opened, and what cannot be read counts for nothing.
fn blocks_in(mut trees: Vec<PathBuf>, left: &mut usize) -> u64 {
    let mut bytes = 0_u64;
    while let Some(directory) = trees.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if *left == 0 {
                return bytes;
            }
            *left -= 1;
            let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
            // One of several names has its part of it.
            let own = if found.is_dir() { 1 } else { found.nlink().max(1) };
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512) / own);
            if found.is_dir() {
                trees.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use orch_core::ids::sample_id;

    use super::*;

    const ROOM: Room = Room { size: 100 << 30, free: 3 << 30, files: 1_000, files_free: 500 };

    #[test]
    fn what_begins_again_has_a_little_more_than_what_it_lacked() {
        let known = KnownRoom::default();
        let space = |free: u64, needed: u64| Some(Shortage::Space { free, needed });
        let look = |free: u64| known.shortage(Room { free, ..ROOM }, 2 << 30);
        assert_eq!(look(2 << 30), None);
        assert_eq!(look((2 << 30) - 1), space((2 << 30) - 1, 2 << 30));
        let more = (2 << 30) + (2 << 30) / MARGIN_PART;
        assert_eq!(look(2 << 30), space(2 << 30, more));
        assert_eq!((look(more), look(2 << 30)), (None, None));
    }

    #[test]
    fn a_small_disk_is_not_kept_empty_and_files_can_be_short_too() {
        let small = Room { size: 1 << 30, free: 100 << 20, ..ROOM };
        assert_eq!(small.shortage(2 << 30, false), None);
        assert!(small.free > small.floor(2 << 30));
        let few = Room { files_free: 49, ..ROOM };
        assert_eq!(few.shortage(2 << 30, false), Some(Shortage::Files { free: 49, needed: 50 }));
        let (full, unbounded) = (Room { free: 0, ..few }, Room { files: 0, files_free: 0, ..ROOM });
        assert_eq!((full.shortage(0, false), unbounded.shortage(1, false)), (None, None));
    }

    #[test]
    fn what_was_written_counts_up_to_what_was_asked_for_and_is_looked_at_now_and_then() {
        let root = tempfile::tempdir().unwrap();
        let run: RunId = sample_id(1);
        let trees = |_: RunId| ["a", "b"].map(|name| root.path().join(name));
        fs::create_dir_all(root.path().join("a/deep")).unwrap();
        fs::write(root.path().join("a/deep/file"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("/", root.path().join("a/out")).unwrap();
        let (known, now) = (KnownRoom::default(), Instant::now());
        let asked = |bytes: u64| BTreeMap::from([(run, bytes)]);
        let found = known.written(&asked(8 << 20), now, trees);
        assert!((1 << 20..2 << 20).contains(&found), "{found}");
        assert_eq!(known.written(&asked(1 << 19), now, trees), 1 << 19);
        fs::write(root.path().join("a/more"), vec![1; 1 << 20]).unwrap();
        assert_eq!(known.written(&asked(8 << 20), now, trees), found, "not yet");
        assert!(known.written(&asked(8 << 20), now + WRITTEN_EVERY, trees) >= found + (1 << 20));
        assert_eq!(known.written(&BTreeMap::new(), now, trees), 0);
    }
}
