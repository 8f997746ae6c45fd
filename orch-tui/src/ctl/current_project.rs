//! Which project a command is about when it needs one: the one given, or the only one there is.

use orch_proto::view::{ProjectState, ProjectView};
use orch_proto::{ErrorCode, Ref};

use super::failure::Failure;
use super::session::Session;

/// The project to work on.
pub(crate) async fn current(session: &Session) -> Result<Ref, Failure> {
    if let Some(given) = session.given_project() {
        return Ok(given);
    }
    let projects = session.read(async |orch, context| orch.projects(context).await).await?;
    only(&projects).map(Ref)
}

fn only(projects: &[ProjectView]) -> Result<String, Failure> {
    let open: Vec<_> = projects.iter().filter(|project| project.state != ProjectState::Archived).collect();
    match open.as_slice() {
        [project] => Ok(project.name.clone()),
        [] => Err(Failure::new(
            ErrorCode::NotFound,
            "there is no project yet",
            "make one with `orchctl project create NAME [--repo PATH]`",
        )),
        several => {
            let names: Vec<_> = several.iter().map(|project| project.name.as_str()).collect();
            Err(Failure::new(
                ErrorCode::Usage,
                format!("which project? there are {}", names.join(", ")),
                "name one with `--project`, or in ORCH_PROJECT",
            ))
        }
    }
}
