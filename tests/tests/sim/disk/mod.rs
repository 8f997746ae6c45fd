//! A disk in memory under SQLite: keeps what was synced, loses or tears what was not when the power is cut, and fails
//! when it is told to.
//!
//! A disk is one directory with files. It does for SQLite what the VFS of Unix does, and promises no more: by its traits
//! less. Same seed, same requests: same answers. Deliberately absent: delays, threads of its own, and any knowledge of
//! what is stored.

mod contents;
mod faults;
mod locks;
mod names;
mod vfs;
mod wear;

mod state;
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(crate) use faults::{Failure, Fault, Request};
pub(crate) use vfs::name as vfs_name;

use state::State;

/// What a disk promises, and what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Bytes that are written at once: 512 or 4096.
    pub(crate) sector: usize,
    /// Whether it says, and keeps, that bytes beside a write are safe when the power is cut. The VFS of Unix says so.
    pub(crate) powersafe: bool,
    /// Whether what a failed sync did not write is not written by a later one either. Linux does so.
    pub(crate) forgets: bool,
    /// Whether a sync answers and does nothing. No store can live on such a disk.
    pub(crate) lies: bool,
}

/// How all that is open comes to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// The power is cut: what was not synced is in doubt.
    PowerCut,
    /// The process is killed: what it gave to the kernel stays, synced or not.
    Killed,
}

/// A disk. Paths on it are known to [`vfs_name`] as long as it is there.
#[derive(Debug)]
pub(crate) struct Disk(Arc<Device>);

/// What the owner of a disk and its open files share.
#[derive(Debug)]
struct Device {
    directory: String,
    state: Mutex<State>,
}

/// All disks by their directories.
static DEVICES: Mutex<BTreeMap<String, Weak<Device>>> = Mutex::new(BTreeMap::new());

impl Disk {
    /// An empty disk.
    pub(crate) fn new(traits: Traits, seed: u64) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let directory = format!("/disk-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let device = Arc::new(Device { directory: directory.clone(), state: Mutex::new(State::new(traits, seed)) });
        devices().insert(directory, Arc::downgrade(&device));
        Self(device)
    }

    /// The path of a file with this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.0.directory))
    }

    /// Has something go wrong later.
    pub(crate) fn plan(&self, fault: Fault) {
        self.0.state().faults.plan(fault);
    }

    /// Leaves room for so many bytes more.
    pub(crate) fn leave_room(&self, bytes: usize) {
        self.0.state().leave_room(bytes);
    }

    /// Nothing goes wrong any more, and there is room.
    pub(crate) fn heal(&self) {
        self.0.state().heal();
    }

    /// Ends all that is open: from here on every request of it fails and changes nothing.
    pub(crate) fn stop(&self, how: Stop) {
        self.0.state().stop(how);
    }

    /// How it was ended and not started again, by hand or by a fault.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.0.state().stopped
    }

    /// Starts after an end; `chance` says what is left of what was not synced, if the power was cut.
    pub(crate) fn start(&self, chance: u64) {
        self.0.state().start(chance);
    }

    /// How many requests failed on purpose so far.
    pub(crate) fn failures(&self) -> u64 {
        self.0.state().failures
    }

    /// A number that two disks share when they were asked for the same things in the same order.
    pub(crate) fn trace(&self) -> u64 {
        self.0.state().trace
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        devices().remove(&self.0.directory);
    }
}

impl Device {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn devices() -> MutexGuard<'static, BTreeMap<String, Weak<Device>>> {
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk of a path, and the name on it.
fn find(path: &str) -> Option<(Arc<Device>, &str)> {
    let (directory, name) = path.rsplit_once('/')?;
    let device = devices().get(directory)?.upgrade()?;
    Some((device, name))
}
