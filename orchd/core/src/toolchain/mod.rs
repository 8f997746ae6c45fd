//! Toolchain detection: which languages a repository uses, from its files and never from titles.
//!
//! `detect` is given a listing and a way to read single files; it reads few, small, well-known ones. What it reads is
//! hostile: a broken manifest becomes evidence, never an error. Every command it proposes works without a network and
//! only ever runs in a sandbox.

use serde::{Deserialize, Serialize};

use crate::recipe::{RelPath, Step};

/// Largest file that detection looks into, bytes; a larger one counts as present but unreadable.
pub const READ_BYTES_MAX: usize = 1024 * 1024;
/// Deepest directory (counted in segments) that can be the root of a toolchain.
pub const ROOT_DEPTH_MAX: usize = 4;
/// Most toolchains reported for one repository.
pub const TOOLCHAINS_MAX: usize = 64;

/// One file of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoFile {
    /// Path relative to the repository, `/` between segments.
    pub path: String,
    /// Size, bytes.
    pub size: u64,
}

/// One toolchain found at one place of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// `cargo`, `npm`, `pnpm`, `yarn`, `python`, `go`, `make`, `cmake`, `maven`, `gradle`, `bundler`, `mix`, `deno`,
    /// `composer` or `dotnet`.
    pub name: String,
    /// Directory it was found in; the steps run there.
    pub root: RelPath,
    /// What was seen, one line each, for people.
    pub evidence: Vec<String>,
    /// Builds, if the files say how.
    pub build: Option<Step>,
    /// Tests, if the files say how.
    pub test: Option<Step>,
    /// Lints, if the files say how.
    pub lint: Option<Step>,
    /// Programs that the steps need.
    pub tools: Vec<String>,
    /// Whether the dependencies are in the repository, or there are none: the steps can work without a network.
    pub vendored: bool,
}
