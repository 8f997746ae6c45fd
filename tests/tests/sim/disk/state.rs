//! A disk at one moment, and what each request does to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contents::Contents;
use super::faults::{Failure, Faults, Request};
use super::locks::{FileLocks, HandleId, Level, Memory, Shared};
use super::names::{Names, Node};
use super::wear::Wear;
use super::{Stop, Traits};
use crate::dice::Dice;

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The disk failed, or what asks is dead.
    Broken,
    /// There is no room.
    Full,
    /// There is no such file.
    Missing,
    /// Somebody else holds a lock.
    Busy,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) create: bool,
    /// It is read only, and not locked for more than that.
    pub(super) reads_only: bool,
    /// It must not be there yet.
    pub(super) exclusive: bool,
    /// The directory is synced with the first sync of the file, as the VFS of Unix does for journals.
    pub(super) syncs_directory: bool,
    pub(super) deletes_on_close: bool,
}

/// A file that is open.
#[derive(Debug)]
struct OpenFile {
    name: String,
    node: Node,
    reads_only: bool,
    syncs_directory: bool,
    deletes_on_close: bool,
}

/// What belongs to contents as long as a process has them open.
#[derive(Debug, Default)]
struct InUse {
    locks: FileLocks,
    shared: Option<Shared>,
}

/// All of a disk.
#[derive(Debug)]
pub(super) struct State {
    pub(super) traits: Traits,
    pub(super) faults: Faults,
    pub(super) stopped: Option<Stop>,
    pub(super) failures: u64,
    pub(super) trace: u64,
    dice: Dice,
    /// Most bytes that fit.
    capacity: Option<usize>,
    contents: BTreeMap<Node, Contents>,
    names: Names,
    open: BTreeMap<HandleId, OpenFile>,
    in_use: BTreeMap<Node, InUse>,
    next: u64,
}

impl State {
    pub(super) fn new(traits: Traits, seed: u64) -> Self {
        Self {
            traits,
            faults: Faults::default(),
            stopped: None,
            failures: 0,
            trace: 0,
            dice: Dice::new(seed),
            capacity: None,
            contents: BTreeMap::new(),
            names: Names::default(),
            open: BTreeMap::new(),
            in_use: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn leave_room(&mut self, bytes: usize) {
        self.capacity = Some(self.used() + bytes);
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.capacity = None;
    }

    pub(super) fn stop(&mut self, how: Stop) {
        self.stopped = Some(how);
        self.open.clear();
        self.in_use.clear();
    }

    pub(super) fn start(&mut self, chance: u64) {
        if self.stopped.take() == Some(Stop::PowerCut) {
            let mut wear = Wear::new(chance, self.traits.sector, self.traits.powersafe);
            self.names.cut(&mut wear);
            self.contents.values_mut().for_each(|contents| contents.cut(&mut wear));
        }
        self.sweep();
    }

    pub(super) fn open(&mut self, name: &str, how: Opening) -> Result<HandleId, Refused> {
        if self.stopped.is_some() {
            return Err(Refused::Broken);
        }
        self.ask(Request::Open, (0, name.len()))?;
        let node = match self.names.get(name) {
            Some(_) if how.create && how.exclusive => return Err(Refused::Missing),
            Some(node) => node,
            None if !how.create => return Err(Refused::Missing),
            None => {
                let node = Node(self.number());
                self.contents.insert(node, Contents::default());
                self.names.make(name, node);
                node
            }
        };
        let id = HandleId(self.number());
        let Opening { reads_only, syncs_directory, deletes_on_close, .. } = how;
        let name = name.to_owned();
        self.open.insert(id, OpenFile { name, node, reads_only, syncs_directory, deletes_on_close });
        self.in_use.entry(node).or_default();
        Ok(id)
    }

    pub(super) fn close(&mut self, id: HandleId) {
        self.lower(id, Level::None);
        self.detach(id);
        let Some(file) = self.open.remove(&id) else { return };
        if file.deletes_on_close {
            self.names.remove(&file.name);
        }
        if !self.open.values().any(|other| other.node == file.node) {
            self.in_use.remove(&file.node);
        }
        self.sweep();
    }

    pub(super) fn read(&mut self, id: HandleId, at: usize, into: &mut [u8]) -> Result<usize, Refused> {
        let node = self.node(id)?;
        self.ask(Request::Read, (at, into.len()))?;
        Ok(self.contents(node)?.read(at, into))
    }

    pub(super) fn write(&mut self, id: HandleId, at: usize, data: &[u8]) -> Result<(), Refused> {
        let node = self.writable(id)?;
        let asked = self.ask(Request::Write, (at, data.len()));
        let fits = self.fits(node, at, data.len());
        // Of a write that fails, the kernel may have taken some.
        let taken = match asked {
            Ok(()) => fits,
            Err(_) => fits.min(self.some_of(data.len())),
        };
        if taken > 0 {
            self.contents(node)?.write(at, &data[..taken]);
        }
        asked?;
        if taken < data.len() {
            self.failures += 1;
            return Err(Refused::Full);
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, id: HandleId, len: usize) -> Result<(), Refused> {
        let node = self.writable(id)?;
        self.ask(Request::Resize, (len, 0))?;
        self.contents(node)?.resize(len);
        Ok(())
    }

    pub(super) fn len(&mut self, id: HandleId) -> Result<usize, Refused> {
        let node = self.node(id)?;
        Ok(self.contents(node)?.len())
    }

    pub(super) fn sync(&mut self, id: HandleId) -> Result<(), Refused> {
        let node = self.node(id)?;
        if let Err(refused) = self.ask(Request::Sync, (0, 0)) {
            if self.stopped.is_none() && self.traits.forgets {
                let mut wear = Wear::new(self.dice.number(), self.traits.sector, self.traits.powersafe);
                self.contents(node)?.forget(&mut wear);
            } else if self.stopped.is_none() && self.dice.once_in(2) {
                self.contents(node)?.sync();
            }
            return Err(refused);
        }
        if self.traits.lies {
            return Ok(());
        }
        self.contents(node)?.sync();
        if self.open.get_mut(&id).is_some_and(|file| std::mem::take(&mut file.syncs_directory)) {
            self.names.sync();
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str, syncs_directory: bool) -> Result<(), Refused> {
        if self.stopped.is_some() {
            return Err(Refused::Broken);
        }
        self.ask(Request::Delete, (0, name.len()))?;
        self.names.remove(name).ok_or(Refused::Missing)?;
        if syncs_directory && !self.traits.lies {
            self.names.sync();
        }
        self.sweep();
        Ok(())
    }

    /// Whether a file has this name, as far as can be known.
    pub(super) fn exists(&self, name: &str) -> Result<bool, Refused> {
        if self.stopped.is_some() { Err(Refused::Broken) } else { Ok(self.names.get(name).is_some()) }
    }

    pub(super) fn take(&mut self, id: HandleId, level: Level) -> Result<(), Refused> {
        if level > Level::Shared {
            self.writable(id)?;
        }
        let taken = self.in_use(id)?.locks.take(id, level);
        if taken { Ok(()) } else { Err(Refused::Busy) }
    }

    pub(super) fn lower(&mut self, id: HandleId, to: Level) {
        if let Ok(in_use) = self.in_use(id) {
            in_use.locks.lower(id, to);
        }
    }

    pub(super) fn is_reserved(&mut self, id: HandleId) -> Result<bool, Refused> {
        Ok(self.in_use(id)?.locks.is_reserved())
    }

    /// The memory that users of this file share, with room for a region more if it must be made.
    pub(super) fn attach(&mut self, id: HandleId, grows_by: Option<usize>) -> Result<Arc<Memory>, Refused> {
        let used = self.used();
        let full = grows_by.is_some_and(|bytes| self.capacity.is_some_and(|capacity| used + bytes > capacity));
        let shared = self.in_use(id)?.shared.get_or_insert_default();
        shared.attach(id);
        let memory = Arc::clone(&shared.memory);
        if full {
            self.failures += 1;
            return Err(Refused::Full);
        }
        Ok(memory)
    }

    pub(super) fn detach(&mut self, id: HandleId) {
        let Ok(in_use) = self.in_use(id) else { return };
        if in_use.shared.as_mut().is_some_and(|shared| shared.detach(id)) {
            in_use.shared = None;
        }
    }

    pub(super) fn take_slots(
        &mut self,
        id: HandleId,
        slots: std::ops::Range<usize>,
        exclusive: bool,
    ) -> Result<(), Refused> {
        let shared = self.in_use(id)?.shared.as_mut().ok_or(Refused::Broken)?;
        if shared.take(id, slots, exclusive) { Ok(()) } else { Err(Refused::Busy) }
    }

    pub(super) fn release_slots(&mut self, id: HandleId, slots: std::ops::Range<usize>) {
        if let Ok(InUse { shared: Some(shared), .. }) = self.in_use(id) {
            shared.release(id, slots);
        }
    }

    /// Counts a request, and fails it if that was planned.
    fn ask(&mut self, request: Request, (at, len): (usize, usize)) -> Result<(), Refused> {
        for word in [request as usize, at, len] {
            self.trace = (self.trace ^ word as u64).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
        let Some(failure) = self.faults.strike(request) else { return Ok(()) };
        self.failures += 1;
        match failure {
            Failure::Broken => Err(Refused::Broken),
            Failure::Full => Err(Refused::Full),
            Failure::PowerCut => {
                self.stop(Stop::PowerCut);
                Err(Refused::Broken)
            }
            Failure::Killed => {
                self.stop(Stop::Killed);
                Err(Refused::Broken)
            }
        }
    }

    /// How much of a write of `len` bytes fits.
    fn fits(&self, node: Node, at: usize, len: usize) -> usize {
        let Some(capacity) = self.capacity else { return len };
        let has = self.contents.get(&node).map_or(0, Contents::len);
        let may_have = has + capacity.saturating_sub(self.used());
        may_have.max(has).saturating_sub(at).min(len)
    }

    fn used(&self) -> usize {
        let shared = self.in_use.values().filter_map(|in_use| in_use.shared.as_ref());
        let shared: usize = shared.map(|shared| shared.memory.bytes()).sum();
        shared + self.contents.values().map(Contents::len).sum::<usize>()
    }

    fn some_of(&mut self, len: usize) -> usize {
        usize::try_from(self.dice.below(len as u64 + 1)).unwrap_or(0)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn node(&self, id: HandleId) -> Result<Node, Refused> {
        self.open.get(&id).map(|file| file.node).ok_or(Refused::Broken)
    }

    fn writable(&self, id: HandleId) -> Result<Node, Refused> {
        self.open.get(&id).filter(|file| !file.reads_only).map(|file| file.node).ok_or(Refused::Broken)
    }

    fn contents(&mut self, node: Node) -> Result<&mut Contents, Refused> {
        self.contents.get_mut(&node).ok_or(Refused::Broken)
    }

    fn in_use(&mut self, id: HandleId) -> Result<&mut InUse, Refused> {
        let node = self.node(id)?;
        self.in_use.get_mut(&node).ok_or(Refused::Broken)
    }

    /// Forgets contents that nobody can reach any more.
    fn sweep(&mut self) {
        let mut reachable = self.names.reachable();
        reachable.extend(self.open.values().map(|file| file.node));
        self.contents.retain(|node, _| reachable.contains(node));
    }
}
