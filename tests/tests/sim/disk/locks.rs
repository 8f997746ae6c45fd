//! Locks between connections: those of a file, and the memory that connections in WAL mode share with its locks.
//!
//! The rules are those of SQLite's interface (`xLock`, `xShmLock`); nobody waits here, a refusal is the answer.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// Says which open file; never used for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HandleId(pub(super) u64);

/// Locks of the shared memory.
pub(super) const SLOTS: usize = 8;

/// How strongly a connection holds a file, in the order of SQLite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    None,
    Shared,
    Reserved,
    Pending,
    Exclusive,
}

/// Who holds a file, and how.
#[derive(Debug, Default)]
pub(super) struct FileLocks {
    held: BTreeMap<HandleId, Level>,
}

impl FileLocks {
    fn strongest_of_others(&self, me: HandleId) -> Level {
        self.held.iter().filter(|(id, _)| **id != me).map(|(_, level)| *level).max().unwrap_or_default()
    }

    /// Takes a lock, or leaves what can be had of it, and answers whether it was taken.
    pub(super) fn take(&mut self, me: HandleId, wanted: Level) -> bool {
        let has = self.held.get(&me).copied().unwrap_or_default();
        if has >= wanted {
            return true;
        }
        let others = self.strongest_of_others(me);
        let (got, taken) = match wanted {
            Level::None => return true,
            Level::Shared => (Level::Shared, others < Level::Pending),
            Level::Reserved => (Level::Reserved, others < Level::Reserved),
            // Nobody new comes in while it waits for those who are there.
            Level::Pending | Level::Exclusive if others == Level::Shared => (Level::Pending, true),
            Level::Pending | Level::Exclusive => (wanted, others < Level::Shared),
        };
        if taken {
            self.held.insert(me, got);
        }
        taken && got == wanted
    }

    /// Holds the file no more strongly than this.
    pub(super) fn lower(&mut self, me: HandleId, to: Level) {
        match to {
            Level::None => drop(self.held.remove(&me)),
            to if self.held.get(&me).is_some_and(|level| *level > to) => drop(self.held.insert(me, to)),
            _ => {}
        }
    }

    /// Whether anybody is about to write.
    pub(super) fn is_reserved(&self) -> bool {
        self.held.values().any(|level| *level >= Level::Reserved)
    }
}

/// Memory that the connections of a file share. Never given back before the last of them lets go of it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// In words, so that it is aligned for all that SQLite keeps there. Atomic, since others write to it.
    regions: Mutex<Vec<Box<[AtomicU64]>>>,
}

impl Memory {
    /// The start of a region of so many bytes; none when it is not there and must not be made.
    pub(super) fn region(&self, at: usize, bytes: usize, make: bool) -> Option<*mut u8> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        while regions.len() <= at && make {
            regions.push((0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
        }
        regions.get(at).map(|region| region.as_ptr().cast::<u8>().cast_mut())
    }

    /// How many bytes there are.
    pub(super) fn bytes(&self) -> usize {
        let regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.iter().map(|region| region.len() * 8).sum()
    }
}

/// Which slots a connection holds.
#[derive(Clone, Copy, Debug, Default)]
struct Slots {
    shared: [bool; SLOTS],
    exclusive: [bool; SLOTS],
}

/// The shared memory of a file, and who uses it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) memory: Arc<Memory>,
    users: BTreeMap<HandleId, Slots>,
}

impl Shared {
    pub(super) fn attach(&mut self, me: HandleId) {
        self.users.entry(me).or_default();
    }

    /// Answers whether that was the last user.
    pub(super) fn detach(&mut self, me: HandleId) -> bool {
        self.users.remove(&me);
        self.users.is_empty()
    }

    /// Takes these slots, all or none, and answers whether it did.
    pub(super) fn take(&mut self, me: HandleId, slots: std::ops::Range<usize>, exclusive: bool) -> bool {
        let is_held = |held: &Slots, slot| held.exclusive[slot] || (exclusive && held.shared[slot]);
        let others = self.users.iter().filter(|(id, _)| **id != me);
        if others.into_iter().any(|(_, held)| slots.clone().any(|slot| is_held(held, slot))) {
            return false;
        }
        let Some(mine) = self.users.get_mut(&me) else { return false };
        let kind = if exclusive { &mut mine.exclusive } else { &mut mine.shared };
        slots.for_each(|slot| kind[slot] = true);
        true
    }

    pub(super) fn release(&mut self, me: HandleId, slots: std::ops::Range<usize>) {
        let Some(mine) = self.users.get_mut(&me) else { return };
        for slot in slots {
            (mine.shared[slot], mine.exclusive[slot]) = (false, false);
        }
    }
}
