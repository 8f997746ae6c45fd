//! A history: what was counted so far, and what is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::bounded::Bounded;
use super::figures::Figures;
use super::kinds::{Kind, Scope};
use super::open::{Now, Open, Stage};

/// Most kinds of work that are told apart, over all and within projects. Those that were not seen for longest are
/// forgotten.
pub const KINDS_MAX: usize = 1_000;
/// Most projects that are told apart, in the same way.
pub const PROJECTS_MAX: usize = 200;
/// Most failed and cancelled tasks of which it is known when they ended. One that is tried again after it was forgotten
/// is not counted.
pub const RESTING_MAX: usize = 4_000;

/// What was counted so far, and what is open. Told events in the order of the log by [`History::tell`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub(super) first_at: Option<Timestamp>,
    pub(super) all: OfProject,
    pub(super) projects: Bounded<ProjectId, OfProject>,
    pub(super) in_project: Bounded<(ProjectId, Arc<str>), Kind>,
    pub(super) anywhere: Bounded<Arc<str>, Kind>,
    pub(super) open: Open,
}

/// What is known of a project, or of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfProject {
    pub(super) figures: Figures,
    /// All its work as if it were of one kind.
    pub(super) kind: Kind,
    /// When its merge queue first did not take a change after the last one that it took. Of a project only.
    pub(super) broken_since: Option<Timestamp>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            first_at: None,
            all: OfProject::default(),
            projects: Bounded::new(PROJECTS_MAX),
            in_project: Bounded::new(KINDS_MAX),
            anywhere: Bounded::new(KINDS_MAX),
            open: Open::default(),
        }
    }
}

impl History {
    /// When the first event that counts happened; none when there was none.
    #[must_use]
    pub const fn since(&self) -> Option<Timestamp> {
        self.first_at
    }

    /// What was counted of a project, or of everything. None of a project of which nothing was.
    #[must_use]
    pub fn figures(&self, project: Option<ProjectId>) -> Option<&Figures> {
        self.of(project).map(|of| &of.figures)
    }

    /// How many tasks are in each state now, and since when.
    #[must_use]
    pub fn now(&self, project: Option<ProjectId>) -> BTreeMap<Stage, Now> {
        self.open.now(project)
    }

    /// Since when the merge queue of the project takes no change; none when it does.
    #[must_use]
    pub fn broken_since(&self, project: ProjectId) -> Option<Timestamp> {
        self.projects.get(&project)?.broken_since
    }

    /// Kinds of work by label, in a project or over all.
    #[must_use]
    pub fn kinds(&self, project: Option<ProjectId>) -> Vec<(&str, &Kind)> {
        match project {
            None => self.anywhere.iter().map(|(label, kind)| (&**label, kind)).collect(),
            Some(project) => {
                let of_project = self.in_project.iter().filter(|((of, _), _)| *of == project);
                of_project.map(|((_, label), kind)| (&**label, kind)).collect()
            }
        }
    }

    /// How long work that is counted together takes.
    #[must_use]
    pub fn kind(&self, scope: &Scope) -> Option<&Kind> {
        match scope {
            Scope::LikeInProject(project, label) => self.in_project.get(&(*project, Arc::clone(label))),
            Scope::LikeAnywhere(label) => self.anywhere.get(label),
            Scope::Project(project) => self.projects.get(project).map(|of| &of.kind),
            Scope::Everything => Some(&self.all.kind),
        }
    }

    /// When the first attempt at the task began since a person queued it last.
    #[must_use]
    pub fn begun_at(&self, task: TaskId) -> Option<Timestamp> {
        self.open.tasks.get(&task)?.begun_at
    }

    fn of(&self, project: Option<ProjectId>) -> Option<&OfProject> {
        match project {
            None => Some(&self.all),
            Some(project) => self.projects.get(&project),
        }
    }
}
