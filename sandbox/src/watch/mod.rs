//! Watching what a whole run uses, where the kernel does not bound it: memory of all its processes, space of its directories.
//!
//! Runs in the shim, between two polls, and looks from outside: the run has no part in it. What it finds is late by up to one
//! interval and is an estimate, so these limits are *degraded* ones. **Invariant:** one look is bounded whatever the run
//! does: processes are bounded by their own limit, descriptors and directory entries by a budget. **Invariant:** nothing of
//! the run is changed, but for the mode of a directory that its owner may not read, while it is being read.

mod disk;
mod entries;
mod family;
mod memory;
mod rights;
mod unnamed;
mod walk;

pub(crate) use disk::DiskWatch;
pub(crate) use family::{can_list_children, children_of, descendants, runs};
pub(crate) use memory::{MemoryWatch, TMPFS_INSIDE, devices_of};
