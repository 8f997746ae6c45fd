//! What people call things: `shop/T-12`. Derived from what a view says, and never stored.

use orch_proto::EntityKind;

use crate::entity::{Approval, Change, Entity, InfoRequest, Plan, Project, Requirements, Run, Task, Vision};
use crate::view::{ReadError, View};

/// The name of a thing. Of one whose project cannot be found, that has the project's id.
///
/// # Errors
/// When the state cannot be read.
pub fn name_of<E: Entity>(view: &impl View, entity: &E) -> Result<String, ReadError> {
    let project = entity.project();
    let slug = view.get::<Project>(project)?.map_or_else(|| project.to_string(), |project| project.slug);
    Ok(if E::KIND == EntityKind::Project { slug } else { format!("{slug}/{}", E::KIND.short(entity.number())) })
}

/// The name of the thing with this id; the id itself when there is none.
///
/// # Errors
/// When the state cannot be read.
pub fn name_by_id<E: Entity>(view: &impl View, id: E::Id) -> Result<String, ReadError> {
    match view.get::<E>(id)? {
        Some(entity) => name_of(view, &entity),
        None => Ok(id.to_string()),
    }
}

/// The name of the thing of this kind with this full id; the id itself when there is none.
///
/// # Errors
/// When the state cannot be read.
pub fn name_by_text(view: &impl View, kind: EntityKind, id: &str) -> Result<String, ReadError> {
    fn named<E: Entity>(view: &impl View, id: &str) -> Result<String, ReadError> {
        id.parse::<E::Id>().map_or_else(|_| Ok(id.to_owned()), |id| name_by_id::<E>(view, id))
    }
    match kind {
        EntityKind::Project => named::<Project>(view, id),
        EntityKind::Vision => named::<Vision>(view, id),
        EntityKind::Requirements => named::<Requirements>(view, id),
        EntityKind::Plan => named::<Plan>(view, id),
        EntityKind::Task => named::<Task>(view, id),
        EntityKind::Run => named::<Run>(view, id),
        EntityKind::Approval => named::<Approval>(view, id),
        EntityKind::Change => named::<Change>(view, id),
        EntityKind::InfoRequest => named::<InfoRequest>(view, id),
    }
}
