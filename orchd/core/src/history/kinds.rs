//! How long work of a kind takes. Like work is work from the same source: the same task of a blueprint, the same command of
//! a toolchain, the same recipe, the same capability of an agent.

use std::sync::Arc;

use orch_proto::id::ProjectId;

use super::samples::Samples;

/// Most characters of a label that tell kinds apart.
const LABEL_CHARS_MAX: usize = 120;

/// How long work of one kind took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Attempts that succeeded, from their run's beginning to its end.
    pub attempts: Samples,
    /// Tasks that were done, from the first attempt to the end, with retries, gates and the merge.
    pub tasks: Samples,
    /// Attempts that did not succeed.
    pub failed: u64,
}

/// Which work is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Like work in one project.
    LikeInProject(ProjectId, Arc<str>),
    /// Like work in any project.
    LikeAnywhere(Arc<str>),
    /// All work of a project.
    Project(ProjectId),
    Everything,
}

/// The label as it tells kinds apart.
pub(super) fn label_of(work: &str) -> Arc<str> {
    match work.char_indices().nth(LABEL_CHARS_MAX) {
        Some((at, _)) => work.get(..at).unwrap_or(work).into(),
        None => work.into(),
    }
}
