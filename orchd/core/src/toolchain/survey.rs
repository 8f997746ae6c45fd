//! Index over a repository listing: which directories can be a root, what is in them, bounded reading.
//!
//! Paths of the listing are hostile: one that is absolute, leaves the tree or carries control characters or ones that turn text around is left out.
//! Directories that hold other people's code or build output are never roots. Knows no language.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{READ_BYTES_MAX, ROOT_DEPTH_MAX, RepoFile, Toolchain};
use crate::printable::misleads;
use crate::recipe::{EnvName, RelPath, Step};

/// Directories under which nothing is a root: dependencies, build output, test data.
const NEVER_ROOTS: &[&str] = &[
    ".git",
    ".hg",
    ".tox",
    ".venv",
    "__pycache__",
    "_build",
    "bower_components",
    "build",
    "deps",
    "dist",
    "fixtures",
    "node_modules",
    "obj",
    "out",
    "site-packages",
    "target",
    "testdata",
    "third_party",
    "vendor",
    "vendored",
    "venv",
];
/// Most directories looked at.
const DIRS_MAX: usize = 4096;
/// Most bytes read of one repository.
const ALL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// All usable files of a repository.
pub(super) struct Survey<'a> {
    files: BTreeMap<&'a str, u64>,
    read: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// What may still be read: a file above many others is read for each of them, so single limits are not enough.
    bytes_left: Cell<usize>,
}

/// One directory that may be the root of a toolchain.
pub(super) struct Site<'a> {
    /// Empty for the repository itself.
    pub(super) dir: &'a str,
    survey: &'a Survey<'a>,
}

/// What reading a file gave.
pub(super) enum Content {
    Absent,
    /// Why it cannot be used, as evidence.
    Unreadable(&'static str),
    Text(String),
}

impl<'a> Survey<'a> {
    pub(super) fn new(listing: &'a [RepoFile], read: &'a dyn Fn(&str) -> Option<Vec<u8>>) -> Self {
        // A root becomes part of titles and commands that people approve.
        let plain = |path: &str| !path.chars().any(misleads);
        let usable = |file: &&RepoFile| {
            RelPath::parse(&file.path).is_ok_and(|path| path.as_str() == file.path && plain(&file.path))
        };
        let bytes_left = Cell::new(ALL_BYTES_MAX);
        let files = listing.iter().filter(usable).map(|file| (file.path.as_str(), file.size)).collect();
        Self { files, read, bytes_left }
    }

    /// Directories that hold a file and can be a root, the repository itself first, then by depth and name.
    pub(super) fn roots(&self) -> Vec<&'a str> {
        let mut dirs = BTreeSet::from([(0, "")]);
        for path in self.files.keys() {
            let Some((dir, _)) = path.rsplit_once('/') else { continue };
            let depth = dir.split('/').count();
            if depth <= ROOT_DEPTH_MAX && !dir.split('/').any(|segment| NEVER_ROOTS.contains(&segment)) {
                dirs.insert((depth, dir));
            }
        }
        dirs.into_iter().take(DIRS_MAX).map(|(_, dir)| dir).collect()
    }

    pub(super) fn site(&'a self, dir: &'a str) -> Site<'a> {
        Site { dir, survey: self }
    }
}

impl<'a> Site<'a> {
    fn path_of(&self, name: &str) -> String {
        if self.dir.is_empty() { name.to_owned() } else { format!("{}/{name}", self.dir) }
    }

    /// Whether there is a file of this name (or path below the directory).
    pub(super) fn has(&self, name: &str) -> bool {
        self.survey.files.contains_key(self.path_of(name).as_str())
    }

    /// The first of `names` that is there.
    pub(super) fn first_of(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().find(|name| self.has(name)).copied()
    }

    /// Paths of all files below the directory, relative to it, in order.
    pub(super) fn below(&self) -> impl Iterator<Item = &'a str> {
        let prefix = self.path_of("");
        let end = prefix.clone();
        let from = self.survey.files.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let cut = prefix.len();
        from.take_while(move |(path, _)| path.starts_with(&end)).filter_map(move |(path, _)| path.get(cut..))
    }

    /// Files below the directory that are its own: not in a directory of dependencies or build output.
    pub(super) fn own(&self) -> impl Iterator<Item = &'a str> {
        self.below().filter(|path| !path.split('/').any(|segment| NEVER_ROOTS.contains(&segment)))
    }

    /// Names of the files directly in the directory.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.below().filter(|path| !path.contains('/'))
    }

    /// Whether a subdirectory holds any file.
    pub(super) fn has_dir(&self, name: &str) -> bool {
        let prefix = self.path_of(name) + "/";
        let next = self.survey.files.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded)).next();
        next.is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    /// Reads a file of the directory, at most `READ_BYTES_MAX` of text.
    pub(super) fn read(&self, name: &str) -> Content {
        let path = self.path_of(name);
        let limit = u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX);
        match self.survey.files.get(path.as_str()) {
            None => return Content::Absent,
            Some(size) if *size > limit => return Content::Unreadable("too large to read"),
            Some(_) if self.survey.bytes_left.get() == 0 => return Content::Unreadable("one of too many to read"),
            Some(_) => {}
        }
        let Some(bytes) = (self.survey.read)(&path) else { return Content::Unreadable("not readable") };
        self.survey.bytes_left.set(self.survey.bytes_left.get().saturating_sub(bytes.len()));
        if bytes.len() > READ_BYTES_MAX {
            return Content::Unreadable("too large to read");
        }
        String::from_utf8(bytes).map_or(Content::Unreadable("not UTF-8"), Content::Text)
    }

    /// The text of a file, or nothing when it is absent or unusable.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.read(name) {
            Content::Text(text) => Some(text),
            Content::Absent | Content::Unreadable(_) => None,
        }
    }

    /// The directory above, if this is not the repository itself.
    pub(super) fn parent(&self) -> Option<Self> {
        let above = || self.dir.rsplit_once('/').map_or("", |(above, _)| above);
        (!self.dir.is_empty()).then(|| self.survey.site(above()))
    }

    /// The directories above that have `name`, the nearest first, each with the path from there to here.
    pub(super) fn all_above_with(&self, name: &str) -> impl Iterator<Item = (Self, &'a str)> {
        let here = self.dir;
        std::iter::successors(self.parent(), Self::parent).filter(move |site| site.has(name)).map(move |site| {
            let cut = if site.dir.is_empty() { 0 } else { site.dir.len() + 1 };
            (site, here.get(cut..).unwrap_or_default())
        })
    }

    /// The nearest directory above that has `name`, and the path from there to here.
    pub(super) fn above_with(&self, name: &str) -> Option<(Self, &'a str)> {
        self.all_above_with(name).next()
    }

    /// Starts a toolchain that was found here by `evidence`.
    pub(super) fn found(&self, name: &str, evidence: impl Into<String>, tools: &[&str]) -> Toolchain {
        let root = if self.dir.is_empty() { Ok(RelPath::workspace()) } else { RelPath::parse(self.dir) };
        Toolchain {
            name: name.to_owned(),
            root: root.expect("directories of a survey come from checked paths"),
            evidence: vec![evidence.into()],
            build: None,
            test: None,
            lint: None,
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            lint_tools: Vec::new(),
            vendored: true,
        }
    }
}

impl Toolchain {
    /// A step at the root of this toolchain.
    pub(super) fn step(&self, action: &str, run: impl Into<String>, env: &[(&str, &str)]) -> Step {
        let mut step = Step::new(format!("{} {action}", self.name), run);
        step.cwd = self.root.clone();
        for (name, value) in env {
            let name = EnvName::parse(name).expect("detectors name valid variables");
            step.env.insert(name, (*value).to_owned());
        }
        step
    }

    pub(super) fn saw(&mut self, evidence: impl Into<String>) {
        self.evidence.push(evidence.into());
    }
}
