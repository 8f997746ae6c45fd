//! Patterns that name files below a directory.
//!
//! `*` stands for any characters of one name, `?` for one, `**` as a whole component for any number of directories. They
//! match names that begin with a dot, too.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::str::FromStr;

/// Most components of a pattern.
const COMPONENTS_MAX: usize = 64;

/// A pattern that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    components: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    AnyDirectories,
    Name(Vec<u8>),
}

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("pattern is not a relative path of 1 to 64 components without `..`: `{}`", .0.escape_default())]
pub struct PatternError(String);

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refused = || PatternError(text.to_owned());
        if text.starts_with('/') || text.contains('\0') {
            return Err(refused());
        }
        let mut components = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            match name {
                ".." => return Err(refused()),
                "**" if components.last() == Some(&Part::AnyDirectories) => {}
                "**" => components.push(Part::AnyDirectories),
                name => components.push(Part::Name(name.as_bytes().to_vec())),
            }
        }
        if components.is_empty() || components.len() > COMPONENTS_MAX {
            return Err(refused());
        }
        // `dir/**` means every file below.
        if components.last() == Some(&Part::AnyDirectories) {
            components.push(Part::Name(b"*".to_vec()));
        }
        Ok(Self { components })
    }
}

/// Where a walk is within a pattern: every component that the next name may have to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress(Vec<usize>);

impl Pattern {
    /// Nothing matched yet.
    pub(super) fn start(&self) -> Progress {
        self.closure(vec![0])
    }

    /// Whether `name` ends the pattern here.
    pub(super) fn ends_with(&self, progress: &Progress, name: &OsStr) -> bool {
        let last = self.components.len() - 1;
        progress.0.contains(&last) && self.matches(last, name)
    }

    /// Where the walk is after entering the directory `name`; `None` when nothing below can match.
    pub(super) fn enter(&self, progress: &Progress, name: &OsStr) -> Option<Progress> {
        let mut next = Vec::new();
        for index in &progress.0 {
            match &self.components[*index] {
                Part::AnyDirectories => next.push(*index),
                Part::Name(_) if self.matches(*index, name) && index + 1 < self.components.len() => {
                    next.push(index + 1);
                }
                Part::Name(_) => {}
            }
        }
        (!next.is_empty()).then(|| self.closure(next))
    }

    fn matches(&self, index: usize, name: &OsStr) -> bool {
        match &self.components[index] {
            Part::AnyDirectories => false,
            Part::Name(pattern) => name_matches(pattern, name.as_bytes()),
        }
    }

    /// Adds what follows a `**`, which may stand for no directory.
    fn closure(&self, mut indices: Vec<usize>) -> Progress {
        let mut at = 0;
        while at < indices.len() {
            if self.components[indices[at]] == Part::AnyDirectories {
                indices.push(indices[at] + 1);
            }
            at += 1;
        }
        indices.sort_unstable();
        indices.dedup();
        Progress(indices)
    }
}

/// Matches one name in time proportional to the product of both lengths.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[read] => {
                at += 1;
                read += 1;
            }
            Some(_) | None => match star {
                Some((from, taken)) => {
                    star = Some((from, taken + 1));
                    at = from + 1;
                    read = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the pattern matches the path, walking like [`super::super::find`].
    fn check(pattern: &str, path: &str) -> bool {
        let pattern: Pattern = pattern.parse().unwrap();
        let mut progress = pattern.start();
        let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
        for directory in directories.split('/').filter(|directory| !directory.is_empty()) {
            match pattern.enter(&progress, OsStr::new(directory)) {
                Some(next) => progress = next,
                None => return false,
            }
        }
        pattern.ends_with(&progress, OsStr::new(name))
    }

    #[test]
    fn patterns_match_like_those_of_a_shell() {
        for (pattern, path) in [
            ("a.txt", "a.txt"),
            ("./out/*.log", "out/x.log"),
            ("**/*.xml", "r.xml"),
            ("**/*.xml", "a/b/r.xml"),
            ("a/**", "a/b/c"),
            ("a/**/z", "a/z"),
            ("a/**/m/**/z", "a/x/m/y/y/z"),
            ("*a*b*", "xxaxxbxx"),
            ("?.c", "x.c"),
        ] {
            assert!(check(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("a.txt", "b/a.txt"), ("*.log", "out/x.log"), ("a/**", "a"), ("a/**/z", "b/z"), ("?", "xx"), ("*ab", "ba")]
        {
            assert!(!check(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_stay_below_the_root() {
        for text in ["", "/etc/passwd", "../x", "a/../b", "."] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
