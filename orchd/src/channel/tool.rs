//! Programs that a run asks for: where it has them, or that a person is to give them to its task.
//!
//! What is mounted in a run that is under way stays as it is, so what is given is for the next attempt.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_adapters::host_tools::SYSTEM_PATH;
use orch_core::command::Word;
use orch_core::decide::{stands, tool_digest};
use orch_core::entity::{Project, Run, Task};
use orch_core::recipe::{ToolRecipe, ToolRequest};
use orch_core::view::View as _;
use orch_proto::channel::{Answer, Answered, ApprovalAnswer, ToolAnswer, Verb};
use orch_proto::{ErrorCode, RpcError};

use super::line::Line;
use super::verbs::{decided, find_action, until};
use crate::app::{App, blocking};
use crate::reconcile::launch::{needed_tools, tool_source};
use crate::rpc::errors;

/// What a run can have of a program.
enum Found {
    /// It has it, under this path.
    Here(String),
    /// It can be given, under this name and from there.
    There { name: String, source: String },
}

/// Answers where the program is, or has a person asked.
pub(super) async fn request(line: &Line, verb: Verb) -> Answer {
    let Verb::RequestTool { name, reason, expires_ms, wait_ms } = verb else {
        return Err(RpcError::new(ErrorCode::Internal, "no tool is asked for"));
    };
    let until = until(wait_ms);
    let (name, source) = match look(line, &name).await? {
        Found::Here(path) => return Ok(Answered::Tool { state: ToolAnswer::Here { path } }),
        Found::There { name, source } => (name, source),
    };
    let digest = tool_digest(line.run, &name, &source);
    let asked = loop {
        // One that came to nothing is asked anew.
        match find_action(line, digest).await?.filter(stands) {
            Some(asked) => break asked.id,
            None => {
                let expires = crate::clock::now().plus_ms(expires_ms);
                let (name, reason, source) = (name.clone(), reason.clone(), source.clone());
                line.say(Word::AskTool { name, reason, source, expires }).await?;
            }
        }
    };
    let state = match decided(line, asked, until).await?.1 {
        ApprovalAnswer::Pending => ToolAnswer::Pending,
        ApprovalAnswer::Granted => ToolAnswer::Granted,
        ApprovalAnswer::Denied { reason } => ToolAnswer::Denied { reason },
        ApprovalAnswer::Expired => ToolAnswer::Expired,
        ApprovalAnswer::Void { reason } => ToolAnswer::Void { reason },
    };
    Ok(Answered::Tool { state })
}

async fn look(line: &Line, name: &str) -> Result<Found, RpcError> {
    let id = line.run;
    let found = line.app.read(move |view| {
        let Some(run) = view.get::<Run>(id)? else { return Ok(None) };
        let (task, project) = (view.get::<Task>(run.task)?, view.get::<Project>(run.project)?);
        Ok(task.zip(project).map(|(task, project)| (run, task, project)))
    });
    let found = found.await.map_err(|error| errors::read(&error))?;
    let Some((run, task, project)) = found else {
        return Err(RpcError::new(ErrorCode::NotFound, "the run is not there any more"));
    };
    let (app, name) = (Arc::clone(&line.app), name.to_owned());
    blocking(move || find(&app, (&run, &task, &project), &name)).await
}

/// Looks for a program: first in what the run has, then on the host. Blocks.
fn find(app: &App, of: (&Run, &Task, &Project), name: &str) -> Result<Found, RpcError> {
    let mut has = needed_tools(app, of);
    // What was given while the run was under way it has not.
    has.retain(|tool| !of.0.channel.asked.iter().any(|asked| asked.is_tool(tool)));
    let recipe = app.recipe_tools.meant(name);
    let set = app.tool_set(&has);
    let is_among = |recipe: &&ToolRecipe| has.iter().any(|tool| ToolRequest::parse(tool).name == recipe.name);
    let program = recipe.filter(is_among).map_or(name, |recipe| recipe.program.as_str());
    if let Some(path) = set.inside(program) {
        return Ok(Found::Here(path.display().to_string()));
    }
    let name = canonical(app, name);
    match tool_source(app, &name) {
        Ok(Some(source)) => Ok(Found::There { name, source }),
        Ok(None) => {
            let everywhere = SYSTEM_PATH.split(':').map(|place| Path::new(place).join(&name));
            let path = everywhere.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name));
            Ok(Found::Here(path.display().to_string()))
        }
        Err(_) => Err(nowhere(app, &name, &has)),
    }
}

/// The name by which a tool is given: that of its recipe where only its program was named and the host has no such program.
pub(super) fn canonical(app: &App, name: &str) -> String {
    match app.recipe_tools.meant(name) {
        Some(recipe) if app.tools.require(name).is_err() => recipe.name.clone(),
        _ => name.to_owned(),
    }
}

fn nowhere(app: &App, name: &str, has: &[String]) -> RpcError {
    let of_its_own = if has.is_empty() { String::new() } else { format!("{}, and ", has.join(", ")) };
    let next = match app.recipe_tools.recipe(name) {
        Some(recipe) => {
            format!("its recipe is there, and `orchctl tool install {}` is for an administrator", recipe.name)
        }
        None => format!("the run has {of_its_own}what is in /usr/bin"),
    };
    let hint = format!("{next}; go on without it, or say in a note what is missing");
    RpcError::new(ErrorCode::NotFound, "there is no such tool: this host does not have it").hint(hint)
}
