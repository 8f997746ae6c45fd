//! Every unsafe call of this crate: the system calls that no safe wrapper covers.
//!
//! **Invariant:** nothing outside this folder is unsafe. Each function makes one call, returns its errno, and knows
//! nothing of what it is used for.

pub(crate) mod attributes;
pub(crate) mod caps;
pub(crate) mod channel;
pub(crate) mod descriptors;
pub(crate) mod execute;
pub(crate) mod filter;
pub(crate) mod interface;
pub(crate) mod listing;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod refused;
pub(crate) mod rename;
pub(crate) mod route;
pub(crate) mod ruleset;
