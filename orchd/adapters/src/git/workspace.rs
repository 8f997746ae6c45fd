//! The first and the last step of a run, as argument lists for the sandbox: `checkout.sh` and `collect.sh`.
//!
//! Nothing is executed here. The scripts are fixed texts that get everything as arguments, so no value is ever parsed
//! as shell. Files pass byte for byte in both directions: no attribute, filter or line-ending conversion is in force,
//! and large-file pointers stay pointers.
//!
//! The run may do what it likes to the workspace's own `.git`: `collect.sh` does not read it. The result is the
//! workspace's files compared with the base, as one commit. Files that `.gitignore` names are left out unless the base
//! has them; so are repositories that the run made or cloned inside the workspace, which the report counts.

use std::path::PathBuf;

use super::merge::Identity;
use super::name::{CommitId, ObjectFormat, RefName};

/// Where a project's objects appear inside.
pub const OBJECTS_INSIDE: &str = "/orch/objects";
/// Name of the bundle in the run's folder for results.
pub(super) const BUNDLE_NAME: &str = "result.bundle";
/// Name of the report there.
pub(super) const REPORT_NAME: &str = "result.txt";
/// The one ref in the bundle.
pub(super) const RESULT_REF: &str = "refs/heads/result";

const CHECKOUT: &str = include_str!("checkout.sh");
const COLLECT: &str = concat!(include_str!("scratch.sh"), include_str!("collect.sh"));

/// What a workspace is made from. Paths are those inside the sandbox.
#[derive(Debug, Clone)]
pub struct CheckoutSpec {
    /// The empty workspace.
    pub workspace_at: PathBuf,
    /// Where [`super::BareRepo::objects_dir`] is mounted.
    pub objects_at: PathBuf,
    /// The commit to start from; `None` for a repository without one.
    pub base: Option<CommitId>,
    /// The branch that the run finds itself on.
    pub branch: RefName,
    /// Who the run's own commits are by.
    pub author: Identity,
    /// Hash function of the repository.
    pub format: ObjectFormat,
    /// The checkpoint whose files take the place of those of the base.
    pub kept: Option<CommitId>,
}

impl CheckoutSpec {
    /// The argument list of the first step.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        argv(
            CHECKOUT,
            "orch-checkout",
            [
                self.workspace_at.display().to_string(),
                self.objects_at.display().to_string(),
                self.base.as_ref().map(ToString::to_string).unwrap_or_default(),
                self.branch.to_string(),
                self.author.name().to_owned(),
                self.author.email().to_owned(),
                self.format.as_str().to_owned(),
                self.kept.as_ref().map(ToString::to_string).unwrap_or_default(),
            ],
        )
    }
}

/// How a workspace becomes a result. Paths are those inside the sandbox.
#[derive(Debug, Clone)]
pub struct CollectSpec {
    /// The workspace.
    pub workspace_at: PathBuf,
    /// Where [`super::BareRepo::objects_dir`] is mounted.
    pub objects_at: PathBuf,
    /// The folder for results.
    pub out_at: PathBuf,
    /// The commit that the workspace was made from.
    pub base: Option<CommitId>,
    /// Where the index of the prepared checkout is mounted, if the workspace is on one: no file has to be read then to
    /// see that it is unchanged.
    pub index_at: Option<PathBuf>,
    /// Author and committer of the one commit.
    pub author: Identity,
    /// Its message.
    pub message: String,
    /// Its time, in seconds since 1970.
    pub at_unix_s: i64,
    /// Hash function of the repository.
    pub format: ObjectFormat,
}

impl CollectSpec {
    /// The argument list of the last step.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        argv(
            COLLECT,
            "orch-collect",
            [
                self.workspace_at.display().to_string(),
                self.objects_at.display().to_string(),
                self.out_at.display().to_string(),
                self.base.as_ref().map(ToString::to_string).unwrap_or_default(),
                self.author.name().to_owned(),
                self.author.email().to_owned(),
                self.message.replace('\0', ""),
                self.at_unix_s.to_string(),
                self.format.as_str().to_owned(),
                self.index_at.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            ],
        )
    }
}

/// A report that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("report lacks a usable `{field}`")]
pub struct ReportError {
    field: &'static str,
}

/// What `collect.sh` says it found. Written inside the sandbox: a hint, not a truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectReport {
    /// Whether the workspace differs from the base.
    pub changed: bool,
    /// Repositories inside the workspace that were left out.
    pub nested_repositories: u32,
    /// Subjects of the run's own commits, newest first, escaped; best effort.
    pub subjects: Vec<String>,
}

impl CollectReport {
    /// Most subjects that are kept.
    const SUBJECTS_MAX: usize = 50;

    /// Reads the report's text.
    ///
    /// # Errors
    /// [`ReportError`] naming what is missing.
    pub fn parse(text: &str) -> Result<Self, ReportError> {
        let value = |field: &'static str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(' '));
            lines.next().ok_or(ReportError { field })
        };
        let changed = match value("changed")? {
            "yes" => true,
            "no" => false,
            _ => return Err(ReportError { field: "changed" }),
        };
        let nested_repositories = value("nested")?.parse().map_err(|_| ReportError { field: "nested" })?;
        let subject = |line: &str| {
            let subject: String = line.strip_prefix("subject ")?.chars().take(200).collect();
            Some(super::path::escape(subject.as_bytes()))
        };
        let subjects = text.lines().filter_map(subject).take(Self::SUBJECTS_MAX).collect();
        Ok(Self { changed, nested_repositories, subjects })
    }
}

/// `sh -c SCRIPT NAME ARGS...`
pub(crate) fn argv(script: &str, name: &str, args: impl IntoIterator<Item = String>) -> Vec<String> {
    ["/bin/sh", "-c", script, name].map(str::to_owned).into_iter().chain(args).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_strictly_and_shown_escaped() {
        let text = "changed yes\nnested 2\nsubject feat: a\x1b[2J\nsubject b\n";
        let report = CollectReport::parse(text).unwrap();
        let subjects = vec!["feat: a\\u{1b}[2J".to_owned(), "b".to_owned()];
        assert_eq!(report, CollectReport { changed: true, nested_repositories: 2, subjects });
        assert_eq!(CollectReport::parse("changed maybe\nnested 0\n"), Err(ReportError { field: "changed" }));
        assert_eq!(CollectReport::parse("changed no\n"), Err(ReportError { field: "nested" }));
        assert_eq!(CollectReport::parse(""), Err(ReportError { field: "changed" }));
    }
}
