//! What `decide` may look at: the state as of the transaction that it runs in.

use orch_proto::EntityKind;
use orch_proto::id::ProjectId;

use crate::entity::{Entity, Project};

/// Which entities to list. Empty fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub project: Option<ProjectId>,
    /// Full id of what they hang on; for projects the slug.
    pub parent: Option<String>,
    /// Only those to which something can still happen.
    pub open: bool,
    /// Only those that hang on something: of tasks those that a plan made.
    pub hangs: bool,
    /// Only those in this state, by its label.
    pub state: Option<&'static str>,
}

/// The state could not be read. The cause is the store's.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the state")]
pub struct ReadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Read access to entities.
pub trait View {
    /// The entity with this id.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError>;

    /// The entities that fit, by number.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError>;

    /// The highest number given to an entity of this kind in the project (over all projects for projects); 0 if none.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError>;

    /// The entity with this number in its project.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError>;

    /// The entity with the highest number in the project.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn last<E: Entity>(&self, project: ProjectId) -> Result<Option<E>, ReadError> {
        self.numbered(project, self.last_number(E::KIND, Some(project))?)
    }

    /// The project with this slug.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn project_by_slug(&self, slug: &str) -> Result<Option<Project>, ReadError> {
        let filter = Filter { parent: Some(slug.to_owned()), ..Filter::default() };
        Ok(self.list::<Project>(&filter)?.pop())
    }
}

impl Filter {
    /// All of a project.
    #[must_use]
    pub fn of(project: ProjectId) -> Self {
        Self { project: Some(project), ..Self::default() }
    }

    /// All that hang on something.
    #[must_use]
    pub fn under(parent: impl ToString) -> Self {
        Self { parent: Some(parent.to_string()), ..Self::default() }
    }

    /// The same, but only those that hang on something.
    #[must_use]
    pub fn hanging(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// The same, but only those in this state.
    #[must_use]
    pub const fn in_state(mut self, label: &'static str) -> Self {
        self.state = Some(label);
        self
    }

    /// The same, but only open ones.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }
}
