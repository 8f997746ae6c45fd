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

/// Most paths that are named one by one, and the longest part of one that is shown, in characters. They become part of
/// events and views, and whoever made the tree chose their number and length.
const SHOWN_MAX: usize = 50;
const SHOWN_CHARS_MAX: usize = 300;

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
pub(crate) fn on(app: &App, project: &Project, commit: &str) -> GatesOn {
    project.gates_on(&projects::detect(app, project.id, commit).unwrap_or_default())
}

/// The paths among these that the project protects, as many as can be shown.
pub(super) fn protected<'a>(globs: &[Glob], paths: impl IntoIterator<Item = &'a RepoPath>) -> Vec<String> {
    let guarded = |path: &&RepoPath| {
        let path = String::from_utf8_lossy(path.as_bytes());
        globs.iter().any(|glob| glob.guards(&path))
    };
    shown(paths.into_iter().filter(guarded))
}

/// Paths for people, as many and as much of each as can be shown.
pub(super) fn shown<'a>(paths: impl IntoIterator<Item = &'a RepoPath>) -> Vec<String> {
    paths.into_iter().take(SHOWN_MAX).map(cut).collect()
}

fn cut(path: &RepoPath) -> String {
    let text = path.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX).and_then(|(end, _)| text.get(..end)) {
        Some(start) => format!("{start}..."),
        None => text,
    }
}

/// What a person has to know of the merge as `merged` beside the protected paths of its proposal: what only the merge
/// touches, and what was not protected yet when the run proposed it.
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
    let named = &change.proposal.protected;
    let was_asked =
        |path: &RepoPath| proposed.contains(path) && (named.len() >= SHOWN_MAX || named.contains(&cut(path)));
    let moved = moved.iter().map(|change| &change.path).filter(|path| !was_asked(path));
    let moved = protected(&project.protected_paths, moved);
    Ok(moved.into_iter().map(|path| format!("protected, by the merge: {path}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_paths_is_bounded() {
        let long = RepoPath::parse("\u{1b}/".repeat(2_000).trim_end_matches('/').as_bytes()).unwrap();
        let paths = vec![long; 10_000];
        let shown = shown(&paths);
        assert_eq!((shown.len(), shown[0].len()), (SHOWN_MAX, SHOWN_CHARS_MAX + 3));
        let all = [Glob::parse("**").unwrap()];
        assert_eq!(protected(&all, &paths).len(), SHOWN_MAX);
    }

    #[test]
    fn protected_paths_are_found_in_any_spelling() {
        let globs = [Glob::parse(".github/**").unwrap(), Glob::parse("secrets/*").unwrap()];
        let paths = [&b".GitHub/x"[..], b"secrets/\xff", b"secrets", b"src/.github/x"];
        let paths = paths.map(|path| RepoPath::parse(path).unwrap());
        assert_eq!(protected(&globs, &paths), [".GitHub/x", "secrets/\\xff"]);
    }
}
