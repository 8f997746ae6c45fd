//! What guards a merge: the gates that are run on its tree, and what a person has to be asked about it.
//!
//! A proposal is not all: a merge can touch what the run did not (a file that the branch has renamed), and a tree can
//! be without what a gate is found by. So everything here looks at the merged tree and the branch that it would replace.

use std::collections::BTreeSet;

use orch_adapters::git::{BareRepo, CommitId, NameError, ReadError, RepoPath};
use orch_core::entity::{Change, GatesOn, Project};
use orch_core::recipe::Glob;

use super::projects;
use crate::app::App;

/// Most protected paths that are named one by one.
const PROTECTED_SHOWN_MAX: usize = 50;

/// Why it is not known what a merge does.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConcernError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("failed to look at what the merge changes")]
    Read(#[from] ReadError),
}

/// The gates for the tree of `commit`, which is to become the branch. Of a tree that cannot be looked at all are lost, so
/// that a person is asked.
pub(super) fn on(app: &App, project: &Project, commit: &str) -> GatesOn {
    project.gates_on(&projects::detect(app, project.id, commit).unwrap_or_default())
}

/// The paths among these that the project protects, as many as can be shown.
pub(super) fn protected<'a>(globs: &[Glob], paths: impl IntoIterator<Item = &'a RepoPath>) -> Vec<String> {
    let guarded = |path: &&RepoPath| {
        let path = String::from_utf8_lossy(path.as_bytes());
        globs.iter().any(|glob| glob.guards(&path))
    };
    paths.into_iter().filter(guarded).take(PROTECTED_SHOWN_MAX).map(ToString::to_string).collect()
}

/// What a person has to know of the merge as `merged` beside the protected paths that the run itself touched.
pub(super) fn concerns(
    repository: &BareRepo,
    project: &Project,
    change: &Change,
    (base, merged): (Option<&CommitId>, &CommitId),
) -> Result<Vec<String>, ConcernError> {
    let run_base = change.proposal.base.as_deref().map(CommitId::parse).transpose()?;
    let proposed = repository.changed_paths(run_base.as_ref(), &CommitId::parse(&change.proposal.head)?)?;
    let proposed: BTreeSet<RepoPath> = proposed.into_iter().map(|change| change.path).collect();
    let moved = repository.changed_paths(base, merged)?;
    let moved = moved.iter().map(|change| &change.path).filter(|path| !proposed.contains(*path));
    let moved = protected(&project.protected_paths, moved);
    Ok(moved.into_iter().map(|path| format!("protected, by the merge: {path}")).collect())
}
