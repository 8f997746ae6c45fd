//! Taking results out of a directory that hostile programs have written.
//!
//! [`find`] lists what a pattern names, [`collect`] copies one file. Both go by descriptor from a root that the caller
//! owns: no symlink, magic link, mount or `..` is ever followed, no special file is waited for, and everything is bounded.
//! **Invariant:** what is hashed is what is copied, from one open descriptor. Call them after everything inside is dead.

mod collect;
mod find;
mod pattern;

pub use collect::{Artifact, CollectError, SkipReason, collect};
pub use find::{Bounds, FindError, Found, FoundInLayers, find, find_in_layers};
pub use pattern::{Pattern, PatternError};
