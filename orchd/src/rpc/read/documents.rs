//! Projects, Visions, requirements and plans.

use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::entity::{Entity, Plan, Project, Requirements, Vision};
use orch_core::view::Filter;
use orch_proto::view::{PlanView, ProjectView, RequirementsDiff, RequirementsView, TraceView, VisionView};
use orch_proto::{ErrorCode, Ref, RpcError};
use orch_store::ReadView;

use super::super::errors;
use super::super::identity::Caller;
use super::super::resolve;
use super::stats::with_outlook;
use super::{newest_first, newest_last, readable, with_view};
use crate::app::{App, blocking};
use crate::convert;

pub(crate) async fn projects(app: &Arc<App>, _: &Caller) -> Result<Vec<ProjectView>, RpcError> {
    let dirs = app.dirs.clone();
    with_view(app, move |view| {
        let repository = |project: &Project| dirs.repository(project.id).display().to_string();
        let shown = |project: &Project| readable(convert::project_view(view, project, repository(project))).map(Some);
        newest_last(view, Filter::default(), shown)
    })
    .await
}

pub(crate) async fn project(app: &Arc<App>, _: &Caller, project: Ref) -> Result<ProjectView, RpcError> {
    let dirs = app.dirs.clone();
    with_view(app, move |view| {
        let project = resolve::project(view, &project)?;
        let repository = dirs.repository(project.id).display().to_string();
        readable(convert::project_view(view, &project, repository))
    })
    .await
}

pub(crate) async fn visions(app: &Arc<App>, _: &Caller, project: Ref) -> Result<Vec<VisionView>, RpcError> {
    with_view(app, move |view| {
        newest_first(view, versions(view, &project)?, |vision: &Vision| {
            readable(convert::vision_view(view, vision, None)).map(Some)
        })
    })
    .await
}

pub(crate) async fn vision(
    app: &Arc<App>,
    _: &Caller,
    project: Ref,
    number: Option<u32>,
) -> Result<VisionView, RpcError> {
    let mut found = with_view(app, move |view| {
        let vision = version::<Vision>(view, &project, number)?;
        Ok((readable(convert::vision_view(view, &vision, None))?, vision.text))
    })
    .await?;
    let (app, digest) = (Arc::clone(app), found.1);
    found.0.text = Some(blocking(move || blob_text(&app, digest)).await?);
    Ok(found.0)
}

pub(crate) async fn requirements_list(
    app: &Arc<App>,
    _: &Caller,
    project: Ref,
) -> Result<Vec<RequirementsView>, RpcError> {
    with_view(app, move |view| {
        newest_first(view, versions(view, &project)?, |document: &Requirements| {
            readable(convert::requirements_view(view, document)).map(Some)
        })
    })
    .await
}

pub(crate) async fn requirements(
    app: &Arc<App>,
    _: &Caller,
    project: Ref,
    number: Option<u32>,
) -> Result<RequirementsView, RpcError> {
    with_view(app, move |view| {
        readable(convert::requirements_view(view, &version::<Requirements>(view, &project, number)?))
    })
    .await
}

pub(crate) async fn requirements_diff(
    app: &Arc<App>,
    _: &Caller,
    project: Ref,
    from: u32,
    to: u32,
) -> Result<RequirementsDiff, RpcError> {
    with_view(app, move |view| {
        let from = version::<Requirements>(view, &project, Some(from))?;
        let to = version::<Requirements>(view, &project, Some(to))?;
        Ok(convert::requirements_diff(&from, &to))
    })
    .await
}

pub(crate) async fn trace(app: &Arc<App>, _: &Caller, project: Ref, key: String) -> Result<TraceView, RpcError> {
    with_view(app, move |view| {
        let document = version::<Requirements>(view, &project, None)?;
        let wanted = key.trim().to_uppercase();
        let found = document.content.requirements.iter().find(|found| found.id.as_str().to_uppercase() == wanted);
        let Some(found) = found else {
            return Err(RpcError::new(
                ErrorCode::NotFound,
                format!("there is no requirement `{key}` in version {}", document.version),
            )
            .hint("`orchctl req show` lists them"));
        };
        readable(convert::trace_view(view, &document, found))
    })
    .await
}

pub(crate) async fn plans(app: &Arc<App>, _: &Caller, project: Ref) -> Result<Vec<PlanView>, RpcError> {
    let outlook = Arc::clone(app);
    with_view(app, move |view| {
        let mut is_newest = true;
        newest_first(view, versions(view, &project)?, |plan: &Plan| {
            if std::mem::take(&mut is_newest) {
                return plan_with_outlook(&outlook, view, plan).map(Some);
            }
            readable(convert::plan_view(view, plan, None)).map(Some)
        })
    })
    .await
}

pub(crate) async fn plan(app: &Arc<App>, _: &Caller, project: Ref, number: Option<u32>) -> Result<PlanView, RpcError> {
    let outlook = Arc::clone(app);
    with_view(app, move |view| plan_with_outlook(&outlook, view, &version::<Plan>(view, &project, number)?)).await
}

fn plan_with_outlook(app: &App, view: &ReadView<'_>, plan: &Plan) -> Result<PlanView, RpcError> {
    let limits = readable(app.book.at(view, crate::clock::now()))?.book.limits().clone();
    let shown = with_outlook(app, view, |outlook| convert::plan_view(view, plan, Some((outlook, &limits))));
    readable(shown.flatten())
}

/// Text of a blob that is known to be text.
pub(in crate::rpc) fn blob_text(app: &App, digest: Digest) -> Result<String, RpcError> {
    let bytes = app
        .blobs
        .read_verified(&digest, orch_proto::VISION_BYTES_MAX as u64)
        .map_err(|error| errors::internal("failed to read a stored text", &error))?;
    String::from_utf8(bytes).map_err(|error| errors::internal("a stored text is not UTF-8", &error))
}

/// All versions of a project's document.
fn versions(view: &ReadView<'_>, project: &Ref) -> Result<Filter, RpcError> {
    Ok(Filter::of(resolve::project(view, project)?.id))
}

/// A version of a project's document; the newest when none is named.
pub(in crate::rpc) fn version<E: Entity>(
    view: &ReadView<'_>,
    project: &Ref,
    number: Option<u32>,
) -> Result<E, RpcError> {
    let id = resolve::project(view, project)?.id;
    let found = readable(match number {
        Some(number) => view.by_number::<E>(id, number),
        None => view.newest::<E>(Some(id)),
    })?;
    let kind = E::KIND;
    found.ok_or_else(|| match number {
        Some(number) => {
            RpcError::new(ErrorCode::NotFound, format!("project `{project}` has no {kind} version {number}"))
        }
        None => {
            let make = match kind {
                orch_proto::EntityKind::Vision => "orchctl vision submit FILE",
                orch_proto::EntityKind::Plan => "orchctl plan propose",
                _ => "orchctl req propose",
            };
            RpcError::new(ErrorCode::NotFound, format!("project `{project}` has no {kind} yet"))
                .hint(format!("`{make}`"))
        }
    })
}
