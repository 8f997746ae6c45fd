//! Toolchain detection: which languages a repository uses, from its files and never from titles.
//!
//! `detect` is given a listing and a way to read single files; it reads few, small, well-known ones. What it reads is
//! hostile: a broken manifest becomes evidence, never an error. Every command it proposes works without a network and
//! only ever runs in a sandbox.

mod cargo;
mod deno;
mod dotnet;
mod elixir;
mod go;
mod jvm;
mod make;
mod native;
mod node;
mod php;
mod python;
mod ruby;
mod survey;

use serde::{Deserialize, Serialize};

use self::survey::{Site, Survey};
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
    /// `composer`, `dotnet` or `meson`.
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
    /// Programs that build and test need.
    pub tools: Vec<String>,
    /// Further programs that only lint needs.
    pub lint_tools: Vec<String>,
    /// False when the files name dependencies that are not in the repository: without a network the steps then fail,
    /// unless the host has those dependencies.
    pub vendored: bool,
}

/// Looks for one kind of toolchain in one directory.
type Detector = fn(&Site<'_>) -> Option<Toolchain>;

/// In order of preference: of two toolchains at one root, the first one knows more about the code.
const DETECTORS: [Detector; 14] = [
    cargo::detect,
    go::detect,
    deno::detect,
    node::detect,
    python::detect,
    jvm::maven,
    jvm::gradle,
    dotnet::detect,
    ruby::detect,
    elixir::detect,
    php::detect,
    native::cmake,
    native::meson,
    make::detect,
];

/// Finds the toolchains of a repository: roots from the top down, at one root the preferred one first.
///
/// `listing` is all files of the tree; `read` gives the bytes of one of them, or `None`. Only files of the listing that
/// are at most `READ_BYTES_MAX` large are asked for.
pub fn detect(listing: &[RepoFile], read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Toolchain> {
    let survey = Survey::new(listing, read);
    let mut found: Vec<Toolchain> = Vec::new();
    for dir in survey.roots() {
        let site = survey.site(dir);
        for detector in DETECTORS {
            if found.len() == TOOLCHAINS_MAX {
                return found;
            }
            found.extend(detector(&site));
        }
    }
    if found.is_empty() { python::scripts_only(&survey.site("")).into_iter().collect() } else { found }
}

#[cfg(test)]
mod tests;
