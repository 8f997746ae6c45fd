//! What is in a file: as programs see it, as the platter has it, and what lies between the two.

use super::wear::{Fate, Wear};

/// A change that was not synced.
#[derive(Debug)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Resize { len: usize },
}

/// One file's bytes, whatever its name is and whether it has one.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// With all changes: the page cache.
    live: Vec<u8>,
    /// With the synced ones only: what a power cut cannot take.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Contents {
    pub(super) const fn len(&self) -> usize {
        self.live.len()
    }

    /// Reads from `at` and answers how many bytes there were.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) -> usize {
        let there = self.live.get(at..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        count
    }

    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        put(&mut self.live, at, data);
        self.unsynced.push(Change::Write { at, data: data.to_vec() });
    }

    pub(super) fn resize(&mut self, len: usize) {
        self.live.resize(len, 0);
        self.unsynced.push(Change::Resize { len });
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed and will not be made up for: some of the changes reached the platter, and the others count as
    /// written from now on, as on Linux. Programs still see them until the power is cut.
    pub(super) fn forget(&mut self, wear: &mut Wear) {
        self.reach_the_platter(wear);
    }

    /// The power is cut: of what was not synced, chance says what reached the platter.
    pub(super) fn cut(&mut self, wear: &mut Wear) {
        self.reach_the_platter(wear);
        self.live.clone_from(&self.durable);
    }

    fn reach_the_platter(&mut self, wear: &mut Wear) {
        let changes = std::mem::take(&mut self.unsynced);
        let fates = wear.fates(changes.len());
        for (change, fate) in changes.into_iter().zip(fates) {
            match (&change, fate) {
                (_, Fate::Whole) => change.apply(&mut self.durable),
                (Change::Write { at, data }, Fate::Torn) => tear(&mut self.durable, *at, data, wear),
                (Change::Resize { .. }, Fate::Torn) | (_, Fate::Lost) => {}
            }
        }
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => put(to, *at, data),
            Self::Resize { len } => to.resize(*len, 0),
        }
    }
}

fn put(to: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[at..end].copy_from_slice(data);
}

/// Some sectors of a write reach the platter. The one that was being written may be anything then, beyond what was
/// written too, unless the disk promises not to touch other bytes.
fn tear(to: &mut Vec<u8>, at: usize, data: &[u8], wear: &mut Wear) {
    let end = at + data.len();
    let mut from = at;
    while from < end {
        let next = (from / wear.sector + 1) * wear.sector;
        let until = next.min(end);
        if wear.keeps_sector() {
            put(to, from, &data[from - at..until - at]);
        } else if wear.spoils_sector() {
            let first = if wear.powersafe { from } else { next - wear.sector };
            let last = if wear.powersafe { until } else { next.min(to.len().max(until)) };
            let garbage: Vec<u8> = (first..last).map(|_| wear.byte()).collect();
            put(to, first, &garbage);
        }
        from = next;
    }
}
