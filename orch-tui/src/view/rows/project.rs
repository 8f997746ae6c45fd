//! Projects.

use orch_proto::id::ProjectId;
use orch_proto::view::{ProjectState, ProjectView};

use crate::text::SafeText;

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProjectRow {
    pub(crate) id: ProjectId,
    /// As the daemon knows it, for comparison with what a person asked for.
    pub(crate) slug: String,
    pub(crate) name: SafeText,
    pub(crate) state: &'static str,
    pub(crate) problem: Option<SafeText>,
}

impl From<ProjectView> for ProjectRow {
    fn from(view: ProjectView) -> Self {
        let (state, problem) = match &view.state {
            ProjectState::Preparing => ("preparing", None),
            ProjectState::Ready => ("ready", None),
            ProjectState::Failed { reason } => ("failed", Some(SafeText::line(reason))),
            ProjectState::Archived => ("archived", None),
        };
        Self { id: view.id, name: SafeText::line(&view.name), slug: view.name, state, problem }
    }
}
