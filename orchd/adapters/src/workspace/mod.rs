//! Workspaces at any size: prepared checkouts that many runs start from, and the few files that are a run's own.
//!
//! The tree of a commit is checked out once, by a git in a sandbox, into the cache; a run sees it through an overlay
//! whose upper directory is its own (`workspace_base` of its spec). The next tree of the same project is a thin layer on
//! a whole checkout: only what differs is written. Reading order: `cache` has the entries and who uses them, `draft`
//! makes one, `seed` writes what a run has of its own.
//!
//! **Invariant:** an entry is whole or absent, and nothing changes it. **Invariant:** an entry goes only when no
//! workspace on the disk, no draft and no other entry names it. **Invariant:** nothing that a run wrote becomes part of
//! an entry, or is read here.

mod cache;
mod draft;
mod seed;
mod store;

pub use cache::{CacheError, CacheLimits, WorkspaceCache};
pub use draft::{Draft, try_spec};
pub use seed::Seed;
pub use store::UPPER;
