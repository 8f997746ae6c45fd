//! Rules of the repository that neither compiler nor clippy can check, as one function that `cargo test` calls, too.
//!
//! Each rule is a function from what it looks at to findings; none reads a file itself, so each is tested on a bad
//! example. `tree` reads, `source` tells code from comments, strings and tests.

mod clippy_files;
mod code;
mod edges;
mod layout;
mod length;
mod source;
mod text;
mod tree;

use std::fmt;
use std::path::Path;

use crate::workspace;
use tree::Tree;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the root of the repository.
    pub path: String,
    /// Counted from 1; none if the whole file is meant.
    pub line: Option<usize>,
    /// The rule and how to keep it.
    pub message: String,
}

impl Finding {
    fn file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// `index` is counted from 0.
    fn at(path: &str, index: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(index + 1), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many files were looked at.
    pub files: usize,
    /// Broken rules.
    pub findings: Vec<Finding>,
    /// What comes near to breaking one.
    pub warnings: Vec<Finding>,
}

/// Checks the repository at `root`.
///
/// # Errors
/// When it cannot be read, or cargo does not describe it.
pub fn check(root: &Path) -> anyhow::Result<Report> {
    let tree = Tree::read(root)?;
    let metadata = workspace::metadata(root)?;
    let length = length::check(&tree);
    let mut findings = [
        edges::check(&metadata),
        layout::check(&tree),
        text::check(&tree),
        code::check(&tree),
        clippy_files::check(&tree),
        length.over,
    ]
    .concat();
    findings.sort();
    Ok(Report { files: tree.files.len(), findings, warnings: length.near })
}
