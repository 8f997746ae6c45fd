//! Limits by control groups of version 2, where a subtree of them is delegated to the daemon.
//!
//! ```text
//! <the unit's group>        controllers enabled for its children; holds no process itself
//! |- daemon                 daemon, spawner, shims
//! '- runs                   the ceilings of all runs together
//!    '- <run>               init and everything that it starts, from its first instruction on; without isolation the steps
//! ```
//!
//! A group that passes controllers on to its children must hold no process (the kernel refuses it otherwise), so the daemon
//! lives in a leaf. With `DelegateSubgroup=daemon` (systemd 254 and later) it is started there; otherwise the spawner
//! moves itself, the daemon and what that has started, and only if nobody else lives in the group. That is what
//! [`Subtree::prepare`] does. **Invariant:** a group that holds processes of somebody else, and the root of the hierarchy,
//! which belongs to the whole host, are left as they are.
//!
//! **Invariant:** a run sees no file of this: no cgroup file system is mounted inside, and its cgroup namespace starts at its
//! own group. **Invariant:** the shim of a run holds a lock on the run's group; a group without lock is left over, and the
//! next [`Subtree::sweep`] kills and removes it.
//!
//! The kernel kills the largest process of a run that is out of memory and not the whole group (`memory.oom.group` stays
//! 0): init would die with it, and with init the steps that are to run whatever happens. The shim sees the kill in
//! `memory.events` and ends the run itself.

mod files;
mod group;
mod judge;
mod subtree;

pub(crate) use group::{Bounds, ReadBack, RunGroup, enter};
pub(crate) use judge::{Evidence, judge};
pub(crate) use subtree::{Missing, Subtree, find};
