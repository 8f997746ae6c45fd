//! From the names that people use to entities.

use orch_core::entity::{Entity, Project};
use orch_core::view::{Filter, ReadError, View};
use orch_proto::reference::{Ref, RefForm};
use orch_proto::{EntityKind, ErrorCode, RpcError};
use orch_store::ReadView;

use super::errors;

/// Most projects that a hint names.
const NAMED_MAX: usize = 20;

/// The project that a reference names, by slug or id.
///
/// # Errors
/// `E_NOT_FOUND` that lists what there is.
pub(super) fn project(view: &impl View, reference: &Ref) -> Result<Project, RpcError> {
    let text = reference.0.trim();
    if let Ok(id) = text.parse()
        && let Some(found) = view.get::<Project>(id).map_err(|error| errors::read(&error))?
    {
        return Ok(found);
    }
    if let Some(found) = view.project_by_slug(text).map_err(|error| errors::read(&error))? {
        return Ok(found);
    }
    let known = view.list::<Project>(&Filter::default()).map_err(|error| errors::read(&error))?;
    let names: Vec<&str> = known.iter().map(|project| project.slug.as_str()).collect();
    let error = RpcError::new(ErrorCode::NotFound, format!("there is no project `{text}`"));
    let near = names.iter().max_by(|a, b| strsim::jaro_winkler(text, a).total_cmp(&strsim::jaro_winkler(text, b)));
    Err(match near {
        Some(near) if strsim::jaro_winkler(text, near) > 0.8 => error.hint(format!("did you mean `{near}`?")),
        Some(_) if names.len() > NAMED_MAX => error.hint("`orchctl project list` shows all"),
        Some(_) => error.hint(format!("there are: {}", names.join(", "))),
        None => error.hint("make one with `orchctl project create NAME`"),
    })
}

/// The entity of the kind that a reference names.
///
/// # Errors
/// `E_NOT_FOUND`, or `E_AMBIGUOUS` when several projects have such a number.
pub(super) fn entity<E: Entity>(view: &ReadView<'_>, reference: &Ref) -> Result<E, RpcError> {
    let kind = E::KIND;
    let missing = || RpcError::new(ErrorCode::NotFound, format!("there is no {kind} `{reference}`"));
    let found = match reference.form() {
        RefForm::Number { project, letter, number } => {
            if kind.letter() != Some(letter.as_str()) {
                return Err(missing().hint(form(kind, number)));
            }
            numbered::<E>(view, project.as_deref(), number)?
        }
        RefForm::Latest { project: name } => {
            let of = name.map(|name| Ok(project(view, &Ref::from(name.as_str()))?.id)).transpose()?;
            let newest = view.newest::<E>(of).map_err(|error| errors::read(&error))?;
            return newest.ok_or_else(|| RpcError::new(ErrorCode::NotFound, format!("there is no {kind} yet")));
        }
        RefForm::Name { name, .. } => match name.parse::<E::Id>() {
            Ok(id) => view.get::<E>(id).map_err(|error| errors::read(&error))?.into_iter().collect(),
            Err(_) => return Err(missing().hint(form(kind, 12))),
        },
    };
    match <[E; 1]>::try_from(found) {
        Ok([found]) => Ok(found),
        Err(none) if none.is_empty() => Err(missing()),
        Err(several) => {
            let names =
                several.iter().map(|found| crate::convert::name_of(view, found)).collect::<Result<Vec<_>, ReadError>>();
            let names = names.map_err(|error| errors::read(&error))?.join(", ");
            Err(RpcError::new(ErrorCode::Ambiguous, format!("`{reference}` fits several: {names}"))
                .hint("put the project in front"))
        }
    }
}

fn form(kind: EntityKind, number: u32) -> String {
    let article = if matches!(kind, EntityKind::Approval | EntityKind::InfoRequest) { "an" } else { "a" };
    format!("{article} {kind} is named like `{}`", kind.short(number))
}

/// The entities with this number: one at most in a project that is named, else one of each project at most.
fn numbered<E: Entity>(view: &ReadView<'_>, project_name: Option<&str>, number: u32) -> Result<Vec<E>, RpcError> {
    let projects = match project_name {
        Some(name) => vec![project(view, &Ref::from(name))?],
        None => view.list::<Project>(&Filter::default()).map_err(|error| errors::read(&error))?,
    };
    let found = projects.iter().map(|project| view.by_number::<E>(project.id, number));
    let found = found.collect::<Result<Vec<_>, ReadError>>().map_err(|error| errors::read(&error))?;
    Ok(found.into_iter().flatten().collect())
}
