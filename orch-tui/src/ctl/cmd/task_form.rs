//! `orchctl task create` and `edit`: what a task is.

use std::path::{Path, PathBuf};

use clap::Args;
use orch_proto::request::Request;
use orch_proto::{RECIPE_BYTES_MAX, Ref};

use super::task::wait_if;
use super::task_terms::{TermsArgs, dependency};
use crate::ctl::args::WaitArgs;
use crate::ctl::current_project::current;
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;

/// A new task.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it is about, in a line
    pub(crate) title: String,
    /// YAML file with the steps, `-` for standard input; without it an agent is needed
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// A task to wait for; may be repeated; `T-1:failed` waits for its failure, `T-1:ended` for any end
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    pub(crate) depends_on: Vec<String>,
    /// Put it into the queue at once
    #[arg(long)]
    pub(crate) queue: bool,
    /// It may not start before a person approves it
    #[arg(long)]
    pub(crate) needs_approval: bool,
    /// What the agent must be able to do, as `developer`
    #[arg(long, value_name = "NAME")]
    pub(crate) capability: Option<String>,
    /// 0 (last) to 9 (first)
    #[arg(long, default_value_t = 5, allow_negative_numbers = true, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: u8,
    /// When it counts as done; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) accept: Vec<String>,
    /// A requirement that it serves, as `FR-2`; may be repeated
    #[arg(long = "requirement", value_name = "KEY", value_delimiter = ',')]
    pub(crate) requirements: Vec<String>,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// What changes; what is not named stays.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The task, as `T-12` or `shop/T-12`
    pub(crate) task: String,
    /// YAML file with the steps that do the work from now on, `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// What the agent must be able to do, as `developer`
    #[arg(long, value_name = "NAME")]
    pub(crate) capability: Option<String>,
    /// A requirement that it serves, in place of those before; may be repeated
    #[arg(long = "requirement", value_name = "KEY", value_delimiter = ',')]
    pub(crate) requirements: Vec<String>,
    /// When it counts as done, in place of what was there; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) accept: Vec<String>,
}

/// Makes a task.
pub(crate) async fn create(session: &Session, args: CreateArgs) -> Result<(), Failure> {
    let (recipe_name, recipe) = recipe(session, args.recipe.as_deref())?;
    if args.wait.wait.is_some() && !args.queue {
        return Err(Failure::usage("`--wait` needs `--queue`: a proposed task does not start"));
    }
    let request = Request::TaskCreate {
        project: current(session).await?,
        title: args.title,
        recipe,
        recipe_name,
        capability: args.capability,
        depends_on: args.depends_on.iter().map(|text| dependency(session, text)).collect::<Result<_, _>>()?,
        terms: args.terms.terms(crate::clock::now()),
        acceptance: args.accept,
        priority: args.priority,
        needs_approval: args.needs_approval,
        queue: args.queue,
        requirements: args.requirements,
    };
    let accepted = session.change(request, "created").await?;
    let made: Vec<_> = accepted.touched.iter().take(1).map(|touched| Ref::from(touched.id.as_str())).collect();
    wait_if(session, &args.wait, &made).await
}

/// Changes a task.
pub(crate) async fn edit(session: &Session, args: EditArgs) -> Result<(), Failure> {
    let given = |texts: Vec<String>| Some(texts).filter(|texts| !texts.is_empty());
    let (recipe_name, recipe) = recipe(session, args.recipe.as_deref())?;
    let (requirements, acceptance) = (given(args.requirements), given(args.accept));
    if recipe.is_none() && args.capability.is_none() && requirements.is_none() && acceptance.is_none() {
        return Err(Failure::usage("nothing to change; use `--recipe`, `--capability`, `--requirement` or `--accept`"));
    }
    let task = session.reference(&args.task);
    let request =
        Request::TaskEdit { task, recipe, recipe_name, capability: args.capability, requirements, acceptance };
    session.change(request, "changed").await.map(drop)
}

/// Name and text of a recipe, if a file was named.
fn recipe(session: &Session, path: Option<&Path>) -> Result<(Option<String>, Option<String>), Failure> {
    let Some(path) = path else { return Ok((None, None)) };
    let (name, text) = input::read_text(session, path, RECIPE_BYTES_MAX)?;
    Ok((Some(name), Some(text)))
}
