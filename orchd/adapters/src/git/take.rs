//! Taking the result of a run: its one commit, checked, under a ref of its own.
//!
//! Knows the folder that `collect.sh` wrote and believes nothing in it: what counts is what the bundle's objects say.
//! Safe to repeat after a crash at any point.

use std::path::Path;

use super::bare::BareRepo;
use super::bundle::{Bundle, IngestError, IngestLimits, Strictness, read_small};
use super::call::{CallError, is_hosts_fault};
use super::inspect::{EntryKind, ReadError};
use super::merge::CommitError;
use super::name::{CommitId, NameError, RefName, TreeId};
use super::refs::UpdateRefError;
use super::workspace::{BUNDLE_NAME, CollectReport, REPORT_NAME, RESULT_REF, ReportError};

/// Longest report, in bytes.
const REPORT_BYTES_MAX: u64 = 64 << 10;

/// Why a result was not taken. The repository is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The run has no name that a ref can have.
    #[error("run has no usable name")]
    Name(#[from] NameError),
    /// The report is missing or malformed: the collecting step did not finish.
    #[error("no report of what the run left")]
    Report(#[from] ReportError),
    /// The report or bundle cannot be taken in.
    #[error("result of the run is refused")]
    Ingest(#[from] IngestError),
    /// The bundle is not one commit on the base; `what` says how it differs.
    #[error("result of the run is not one commit on its base: {what}")]
    Shape { what: &'static str },
    /// A submodule was added or moved, whose commit no repository of the daemon has.
    #[error("result of the run adds or changes a submodule at `{0}`")]
    Submodule(super::path::RepoPath),
    /// Its files cannot even be listed.
    #[error("result of the run has more files than can be looked at")]
    TooManyFiles,
    /// The new commit cannot be read.
    #[error("failed to read the result")]
    Read(#[from] ReadError),
    /// The new commit has no content.
    #[error("failed to read the result's content")]
    Commit(#[from] CommitError),
    /// A git command failed.
    #[error("failed to look at the result")]
    Git(#[from] CallError),
    /// Its ref names another result already, or cannot be set.
    #[error("failed to record the result")]
    UpdateRef(#[from] UpdateRefError),
}

impl TakeError {
    /// Whether the host kept the result from being taken, and not the result: it may well be taken later.
    #[must_use]
    pub fn is_hosts_fault(&self) -> bool {
        matches!(self, Self::Ingest(IngestError::Store(_))) || is_hosts_fault(self)
    }
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The workspace holds what it held at the start.
    Unchanged { report: CollectReport },
    /// One commit on the base, kept by `kept_by`.
    Changed { commit: CommitId, tree: TreeId, kept_by: RefName, report: CollectReport },
}

impl BareRepo {
    /// Takes the result of a run from its folder, where `collect.sh` wrote it; every process of the run must be gone.
    ///
    /// `base` is the commit that the workspace was made from; `run` is the run's unique name, as `R-31`.
    ///
    /// # Errors
    /// [`TakeError`]; nothing is recorded then.
    pub fn take_result(
        &self,
        out: &Path,
        base: Option<&CommitId>,
        run: &str,
        limits: &IngestLimits,
    ) -> Result<Taken, TakeError> {
        let kept_by = RefName::run_result(run)?;
        let report = CollectReport::parse(&read_small(&out.join(REPORT_NAME), REPORT_BYTES_MAX)?)?;
        if !report.changed {
            return Ok(Taken::Unchanged { report });
        }
        let bundle = Bundle::open(&out.join(BUNDLE_NAME), limits)?;
        if bundle.format != self.format {
            return Err(TakeError::Shape { what: "another hash function" });
        }
        if let Some(other) = bundle.prerequisites.iter().find(|id| Some(*id) != base) {
            return Err(IngestError::Prerequisite(other.clone()).into());
        }
        let [(name, commit)] = bundle.refs.as_slice() else {
            return Err(TakeError::Shape { what: "other than one ref" });
        };
        if name != RESULT_REF.as_bytes() {
            return Err(TakeError::Shape { what: "another ref" });
        }
        let commit = commit.clone();
        let quarantine = bundle.unpack(self, limits, Strictness::Everything)?;
        let inside = &quarantine.repo;
        inside.check_parents(&commit, base)?;
        let tree = inside.tree_of(&commit)?;
        inside.check_files(&commit)?;
        let changes = inside.changed_paths(base, &commit)?;
        if let Some(change) = changes.into_iter().find(|change| change.now == Some(EntryKind::Submodule)) {
            return Err(TakeError::Submodule(change.path));
        }
        quarantine.admit().map_err(IngestError::Store)?;
        self.update_ref(&kept_by, &commit, None, "result of a run")?;
        Ok(Taken::Changed { commit, tree, kept_by, report })
    }

    /// Checks that the commit's files can be listed. A few folders that name each other are more files than any memory
    /// holds, and a comparison holds all of them.
    pub(super) fn check_files(&self, commit: &CommitId) -> Result<(), TakeError> {
        let listed = self.call("ls-tree").args(["-r", "-z", "--name-only", commit.as_str()]).output();
        match listed {
            Ok(_) => Ok(()),
            Err(CallError::OutputTooLarge { .. }) => Err(TakeError::TooManyFiles),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that the object is a commit whose only parent is the base.
    pub(super) fn check_parents(&self, commit: &CommitId, base: Option<&CommitId>) -> Result<(), TakeError> {
        if self.call("cat-file").args(["-t", commit.as_str()]).line()? != "commit" {
            return Err(TakeError::Shape { what: "no commit" });
        }
        let line = self.call("rev-list").args(["--parents", "--max-count=1", commit.as_str()]).line()?;
        let parents: Vec<&str> = line.split(' ').skip(1).collect();
        if parents == base.map(CommitId::as_str).into_iter().collect::<Vec<_>>() {
            Ok(())
        } else {
            Err(TakeError::Shape { what: "other parents than the base" })
        }
    }
}
