//! Looking into commits: files, contents, differences.
//!
//! Everything answered here was written by somebody else: paths are [`RepoPath`], texts are bytes, and each answer has
//! a bound. No attribute, filter, text conversion or external diff program takes part.

use std::str;
use std::time::Duration;

use super::bare::BareRepo;
use super::call::{Call, CallError};
use super::name::CommitId;
use super::path::{PathError, RepoPath};

/// Longest time of what a run waits for and can do without.
const SHORT_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a commit could not be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A git command failed.
    #[error("failed to read from the repository")]
    Git(#[from] CallError),
    /// Git answered something unexpected.
    #[error("unexpected answer of `{command}`")]
    Answer { command: &'static str },
    /// A path that cannot be one.
    #[error("unexpected path in the repository")]
    Path(#[from] PathError),
    /// The commit has no such path.
    #[error("no such file: `{0}`")]
    NoSuchPath(RepoPath),
    /// It is a directory, a link or a submodule.
    #[error("not a regular file: `{0}`")]
    NotAFile(RepoPath),
    /// It is larger than the caller wants.
    #[error("`{path}` has {size} bytes, more than {max}")]
    TooLarge { path: RepoPath, size: u64, max: u64 },
    /// More entries than the caller wants.
    #[error("more than {max} entries")]
    TooMany { max: usize },
}

/// What a path is in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A regular file that may be executed.
    Executable,
    /// A symbolic link.
    Link,
    /// A submodule: a commit of another repository.
    Submodule,
}

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Where it is.
    pub path: RepoPath,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; 0 for a submodule.
    pub size: u64,
}

/// What happened to a path between two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or its executable bit changed.
    Modified,
    /// It became something else, as a link instead of a file.
    TypeChanged,
}

/// A path that differs between two commits. A rename is a deletion and an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// Where it is.
    pub path: RepoPath,
    /// What happened.
    pub kind: ChangeKind,
    /// What it is now; `None` if it is gone.
    pub now: Option<EntryKind>,
}

/// Lines changed in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// The file.
    pub path: RepoPath,
    /// Lines added and removed; `None` for a binary file.
    pub lines: Option<(u64, u64)>,
}

/// A difference as text, raw: it must be escaped before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffText {
    /// The unified diff, cut at the bound.
    pub bytes: Vec<u8>,
    /// Whether it was cut.
    pub truncated: bool,
}

impl BareRepo {
    /// Every file of a commit, in git's order, up to `max` entries.
    ///
    /// # Errors
    /// [`ReadError::TooMany`] over the bound; others if git fails.
    pub fn list_tree(&self, commit: &CommitId, max: usize) -> Result<Vec<TreeEntry>, ReadError> {
        let answer = self.call("ls-tree").args(["-r", "-z", "-l", "--full-tree", commit.as_str()]).output()?;
        let entries: Vec<&[u8]> = records(&answer).take(max.saturating_add(1)).collect();
        if entries.len() > max {
            return Err(ReadError::TooMany { max });
        }
        entries.into_iter().map(|record| Ok(tree_record(record)?.0)).collect()
    }

    /// The content of a regular file, at most `max` bytes.
    ///
    /// # Errors
    /// [`ReadError`]: no such path, not a regular file, too large, or git fails.
    pub fn read_blob(&self, commit: &CommitId, path: &RepoPath, max: u64) -> Result<Vec<u8>, ReadError> {
        let call = self.call("ls-tree").args(["-z", "-l", "--full-tree", commit.as_str(), "--"]);
        let answer = call.arg(os(path.as_bytes())).output()?;
        let Some(record) = records(&answer).next() else { return Err(ReadError::NoSuchPath(path.clone())) };
        if record.get(7..11) != Some(b"blob") {
            return Err(ReadError::NotAFile(path.clone()));
        }
        let (entry, object) = tree_record(record)?;
        if !matches!(entry.kind, EntryKind::File | EntryKind::Executable) || entry.path != *path {
            return Err(ReadError::NotAFile(path.clone()));
        }
        if entry.size > max {
            return Err(ReadError::TooLarge { path: path.clone(), size: entry.size, max });
        }
        Ok(self.call("cat-file").args(["blob", object]).output_max(max).output()?)
    }

    /// The paths that differ between two commits, in git's order; without a base, every path of `head`.
    ///
    /// # Errors
    /// [`ReadError`] if git fails.
    pub fn changed_paths(&self, base: Option<&CommitId>, head: &CommitId) -> Result<Vec<ChangedPath>, ReadError> {
        const UNEXPECTED: ReadError = ReadError::Answer { command: "git diff-tree" };
        let answer = self.diff(base, head, &["--raw", "-z", "--no-renames", "--no-abbrev"]).output()?;
        let mut fields = records(&answer);
        let mut changes = Vec::new();
        while let Some(status) = fields.next() {
            let path = RepoPath::parse(fields.next().ok_or(UNEXPECTED)?)?;
            let text = str::from_utf8(status).map_err(|_| UNEXPECTED)?;
            let mut parts = text.trim_start_matches(':').split(' ');
            let now = parts.nth(1).and_then(entry_kind);
            let kind = match parts.nth(2) {
                Some("A") => ChangeKind::Added,
                Some("D") => ChangeKind::Deleted,
                Some("M") => ChangeKind::Modified,
                Some("T") => ChangeKind::TypeChanged,
                _ => return Err(UNEXPECTED),
            };
            changes.push(ChangedPath { path, kind, now });
        }
        Ok(changes)
    }

    /// Lines added and removed in each file that differs.
    ///
    /// # Errors
    /// [`ReadError`] if git fails.
    pub fn diff_stat(&self, base: Option<&CommitId>, head: &CommitId) -> Result<Vec<FileStat>, ReadError> {
        const UNEXPECTED: ReadError = ReadError::Answer { command: "git diff-tree" };
        let answer = self.diff(base, head, &["--numstat", "-z", "--no-renames"]).output()?;
        let parse = |record: &[u8]| {
            let mut fields = record.splitn(3, |&byte| byte == b'\t');
            let mut count = || str::from_utf8(fields.next()?).ok().map(|text| text.parse().ok());
            let (added, removed) = (count().ok_or(UNEXPECTED)?, count().ok_or(UNEXPECTED)?);
            let path = RepoPath::parse(fields.next().ok_or(UNEXPECTED)?)?;
            Ok(FileStat { path, lines: added.zip(removed) })
        };
        records(&answer).map(parse).collect()
    }

    /// The difference as a unified diff with renames found, cut at `max` bytes.
    ///
    /// # Errors
    /// [`ReadError`] if git fails.
    pub fn diff_text(&self, base: Option<&CommitId>, head: &CommitId, max: u64) -> Result<DiffText, ReadError> {
        Self::patch(|options| self.diff(base, head, options), &["--full-index"], max)
    }

    /// The same with as little around what differs as tells where it is.
    ///
    /// # Errors
    /// [`ReadError`] if git fails.
    pub fn minimal_diff(&self, base: Option<&CommitId>, head: &CommitId, max: u64) -> Result<DiffText, ReadError> {
        // Not `--minimal`: that takes minutes of what somebody means to take minutes.
        let call = |options: &[&str]| self.diff(base, head, options).time_max(SHORT_TIME_MAX);
        Self::patch(call, &["--unified=1"], max)
    }

    fn patch(call: impl Fn(&[&str]) -> Call, more: &[&str], max: u64) -> Result<DiffText, ReadError> {
        let options = ["--patch", "-M", "-l1000", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/"];
        let options = [&options[..], more].concat();
        let finished = call(&options).output_max(max).run()?;
        if finished.truncated || finished.code == Some(0) {
            Ok(DiffText { truncated: finished.truncated, bytes: finished.stdout })
        } else {
            Err(ReadError::Git(finished.failure("git diff-tree".to_owned())))
        }
    }

    /// A diff of two commits' trees that runs no program and obeys no attribute.
    fn diff(&self, base: Option<&CommitId>, head: &CommitId, options: &[&str]) -> Call {
        let call =
            self.call("diff-tree").args(["-r", "--no-ext-diff", "--no-textconv", "--no-color", "--no-commit-id"]);
        call.args(options).args([base.map_or(self.format.empty_tree(), CommitId::as_str), head.as_str()])
    }
}

/// Bytes as an argument.
pub(super) fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// The non-empty parts of an answer whose parts end with NUL.
fn records(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    answer.split(|&byte| byte == 0).filter(|record| !record.is_empty())
}

/// What a mode is; `None` for absent and for directories.
fn entry_kind(mode: &str) -> Option<EntryKind> {
    match mode {
        "100644" | "100664" => Some(EntryKind::File),
        "100755" => Some(EntryKind::Executable),
        "120000" => Some(EntryKind::Link),
        "160000" => Some(EntryKind::Submodule),
        _ => None,
    }
}

/// One line of `ls-tree -l`: mode, type, object and size, then the path after a tab.
fn tree_record(record: &[u8]) -> Result<(TreeEntry, &str), ReadError> {
    const UNEXPECTED: ReadError = ReadError::Answer { command: "git ls-tree" };
    let tab = record.iter().position(|&byte| byte == b'\t').ok_or(UNEXPECTED)?;
    let (facts, path) = (record.get(..tab).unwrap_or_default(), record.get(tab + 1..).unwrap_or_default());
    let mut facts = str::from_utf8(facts).map_err(|_| UNEXPECTED)?.split_ascii_whitespace();
    let kind = facts.next().and_then(entry_kind).ok_or(UNEXPECTED)?;
    let object = facts.nth(1).ok_or(UNEXPECTED)?;
    let size = facts.next().and_then(|size| size.parse().ok()).unwrap_or(0);
    Ok((TreeEntry { path: RepoPath::parse(path)?, kind, size }, object))
}
