//! The directory: which names there are, and which of them would be there after a power cut.

use std::collections::{BTreeMap, BTreeSet};

use super::wear::{Fate, Wear};

/// Says which contents; never used for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node(pub(super) u64);

/// A change of the directory that was not synced.
#[derive(Debug)]
enum Change {
    Made(String, Node),
    Removed(String),
}

/// The one directory of a disk.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    unsynced: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.live.get(name).copied()
    }

    pub(super) fn make(&mut self, name: &str, node: Node) {
        self.live.insert(name.to_owned(), node);
        self.unsynced.push(Change::Made(name.to_owned(), node));
    }

    /// Answers what had the name.
    pub(super) fn remove(&mut self, name: &str) -> Option<Node> {
        let node = self.live.remove(name)?;
        self.unsynced.push(Change::Removed(name.to_owned()));
        Some(node)
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.drain(..).for_each(|change| change.apply(&mut self.durable));
    }

    /// The power is cut: of what was not synced, chance says what is there.
    pub(super) fn cut(&mut self, wear: &mut Wear) {
        let fates = wear.fates(self.unsynced.len());
        for (change, fate) in self.unsynced.drain(..).zip(fates) {
            // A name is there or is not: file systems keep a journal of them.
            if fate == Fate::Whole {
                change.apply(&mut self.durable);
            }
        }
        self.live.clone_from(&self.durable);
    }

    /// All that have a name, or may have one again after a power cut.
    pub(super) fn reachable(&self) -> BTreeSet<Node> {
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Made(_, node) => Some(*node),
            Change::Removed(_) => None,
        });
        self.live.values().chain(self.durable.values()).copied().chain(unsynced).collect()
    }
}

impl Change {
    fn apply(self, to: &mut BTreeMap<String, Node>) {
        match self {
            Self::Made(name, node) => drop(to.insert(name, node)),
            Self::Removed(name) => drop(to.remove(&name)),
        }
    }
}
