//! Requests about tasks.

use std::collections::BTreeMap;

use orch_core::command::{Command, NewTask, Seat};
use orch_core::entity::{Project, RetryPolicy, Task, TaskSpec, Work};
use orch_core::planner::{RequirementKey, RequirementKeyError};
use orch_core::planning::recipe_work;
use orch_core::recipe::{self, Isolation, Network, Recipe, RunRecipe};
use orch_core::view::{Filter, View as _};
use orch_proto::request::{QueuePlace, Request};
use orch_proto::{ErrorCode, RECIPE_BYTES_MAX, Ref, RpcError, TASKS_CANCELLED_MAX};
use orch_store::{READ_DEADLINE_MS_MAX, ReadView};

use super::with_view;
use crate::app::App;
use crate::convert;
use crate::rpc::{errors, resolve};

/// Capability of an agent that a task needs when neither it nor a recipe says more.
const CAPABILITY_DEFAULT: &str = "developer";

pub(super) fn create(app: &App, request: Request) -> Result<Command, RpcError> {
    let Request::TaskCreate {
        project,
        title,
        recipe,
        recipe_name,
        capability,
        depends_on,
        terms,
        acceptance,
        priority,
        needs_approval,
        queue,
        requirements,
    } = request
    else {
        return Err(RpcError::new(ErrorCode::Internal, "not a request for a task"));
    };
    let file_name = recipe_name.unwrap_or_else(|| "recipe.yaml".into());
    let parsed = recipe.map(|text| run_recipe(&text, &file_name)).transpose()?;
    let (work, retries, wants_approval) = work(parsed.as_ref(), &file_name, capability)?;
    check_isolation(app, &work)?;
    check_providers(app, &work)?;
    let (project, depends_on) = with_view(app, |view| {
        let project = resolve::project(view, &project)?;
        let needed = depends_on.iter().map(|needed| {
            let task = resolve::entity::<Task>(view, &within(&project.slug, &needed.task))?;
            Ok((task.id, convert::terms::asked_condition(needed.condition)))
        });
        let needed = needed.collect::<Result<BTreeMap<_, _>, RpcError>>()?;
        Ok((project, needed))
    })?;
    let requirements = keys(&requirements)?;
    let asks = !app.config.network.questions(&work.access()).is_empty();
    let timeout_ms = parsed.as_ref().and_then(|recipe| recipe.timeout_ms);
    let spec = TaskSpec { work, requirements, acceptance, retries, estimate_minutes: None, risk: None, timeout_ms };
    let needs_approval = needs_approval || wants_approval || asks;
    let terms = convert::terms::first(terms);
    let task = NewTask { project: project.id, title, spec, depends_on, terms, priority, needs_approval, queue };
    Ok(Command::CreateTask { task: Box::new(task) })
}

pub(super) fn edit(app: &App, request: Request) -> Result<Command, RpcError> {
    let Request::TaskEdit { task, recipe, recipe_name, capability, requirements, acceptance } = request else {
        return Err(RpcError::new(ErrorCode::Internal, "not an edit of a task"));
    };
    let file_name = recipe_name.unwrap_or_else(|| "recipe.yaml".into());
    let parsed = recipe.map(|text| run_recipe(&text, &file_name)).transpose()?;
    let found = with_view(app, |view| resolve::entity::<Task>(view, &task))?;
    let (mut spec, mut wants_approval) = (found.spec, false);
    if parsed.is_some() || capability.is_some() {
        let (work, retries, wants) = work(parsed.as_ref(), &file_name, capability)?;
        check_isolation(app, &work)?;
        check_providers(app, &work)?;
        (spec.work, wants_approval) = (work, wants);
        if let Some(recipe) = &parsed {
            (spec.retries, spec.timeout_ms) = (retries, recipe.timeout_ms);
        }
    }
    if let Some(requirements) = requirements {
        spec.requirements = keys(&requirements)?;
    }
    if let Some(acceptance) = acceptance {
        spec.acceptance = acceptance;
    }
    let needs_approval = wants_approval || !app.config.network.questions(&spec.work.access()).is_empty();
    Ok(Command::EditTask { task: found.id, spec: Box::new(spec), needs_approval })
}

/// What recipes can ask people for is known.
fn check_providers(app: &App, work: &Work) -> Result<(), RpcError> {
    let known = app.providers.named(&work.access().providers).map(drop);
    known.map_err(|error| {
        RpcError::new(ErrorCode::Invalid, error.to_string())
            .hint("name one of these, or have the operator add `providers/NAME.yaml` to the recipes of the house")
    })
}

/// Only the operator can let recipes do without a sandbox.
fn check_isolation(app: &App, work: &Work) -> Result<(), RpcError> {
    if work.isolation() == Isolation::Sandbox || app.config.allows_none {
        return Ok(());
    }
    Err(RpcError::new(ErrorCode::Permission, "the recipe has `isolation: none`, which this daemon does not allow")
        .hint("leave it out; or have an operator set `sandbox.allow_none = true` in the daemon's configuration"))
}

fn keys(texts: &[String]) -> Result<Vec<RequirementKey>, RpcError> {
    let key = |text: &String| {
        text.parse().map_err(|error: RequirementKeyError| RpcError::new(ErrorCode::Invalid, error.to_string()))
    };
    texts.iter().map(key).collect()
}

pub(super) fn queue(app: &App, tasks: &[Ref]) -> Result<Command, RpcError> {
    with_view(app, |view| {
        let tasks = tasks.iter().map(|name| resolve::entity::<Task>(view, name).map(|task| task.id));
        Ok(Command::QueueTasks { tasks: tasks.collect::<Result<_, _>>()? })
    })
}

/// The newest tasks of projects that are not over, as many as one command ends; of all that are in use when none is named.
pub(super) fn cancel_all(app: &App, projects: &[Ref], reason: Option<String>) -> Result<Command, RpcError> {
    let tasks = app.store.read_within(READ_DEADLINE_MS_MAX, |view| {
        let named = projects.iter().map(|name| resolve::project(view, name)).collect::<Result<Vec<_>, _>>();
        let projects = match named {
            Ok(named) if named.is_empty() => view.list::<Project>(&Filter::default().open())?,
            Ok(named) => named,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut tasks = Vec::new();
        for project in projects {
            let mut open = Vec::new();
            view.each::<Task>(&Filter::of(project.id).open(), |task| open.push((task.number, task.id)))?;
            // What waits for the end of another does not begin because that was ended first.
            open.sort_unstable();
            let left = TASKS_CANCELLED_MAX.saturating_sub(tasks.len());
            tasks.extend(open.into_iter().rev().take(left).map(|(_, id)| id));
        }
        Ok(Ok(tasks))
    });
    let tasks = tasks.map_err(|error| errors::read(&error))??;
    Ok(Command::CancelTasks { tasks, reason: reason.unwrap_or_else(|| "cancelled by a person".into()) })
}

/// Commands about one task that need nothing but names.
pub(super) fn steer(view: &ReadView<'_>, request: Request) -> Result<Command, RpcError> {
    let reason = |reason: Option<String>| reason.unwrap_or_default();
    let task = |name: &Ref| resolve::entity::<Task>(view, name).map(|task| task.id);
    match request {
        Request::TaskLink { task: name, depends_on, condition } => {
            let condition = convert::terms::asked_condition(condition);
            Ok(Command::LinkTask { task: task(&name)?, depends_on: task(&depends_on)?, condition })
        }
        Request::TaskSet { task: name, terms } => {
            Ok(Command::SetTerms { task: task(&name)?, change: Box::new(convert::terms::change(terms)) })
        }
        Request::TaskUnlink { task: name, depends_on } => {
            Ok(Command::UnlinkTask { task: task(&name)?, depends_on: task(&depends_on)? })
        }
        Request::TaskPrioritize { task: name, priority } => {
            Ok(Command::PrioritizeTask { task: task(&name)?, priority })
        }
        Request::TaskMove { task: name, to } => {
            let to = match to {
                QueuePlace::First => Seat::First,
                QueuePlace::Last => Seat::Last,
                QueuePlace::Before { task: other } => Seat::Before(task(&other)?),
                QueuePlace::Behind { task: other } => Seat::Behind(task(&other)?),
            };
            Ok(Command::MoveTask { task: task(&name)?, to })
        }
        Request::TaskHold { task: name, reason: why } => {
            Ok(Command::HoldTask { task: task(&name)?, reason: reason(why) })
        }
        Request::TaskRelease { task: name } => Ok(Command::ReleaseTask { task: task(&name)? }),
        Request::TaskCancel { task: name, reason: why } => Ok(Command::CancelTask {
            task: task(&name)?,
            reason: why.unwrap_or_else(|| "cancelled by a person".into()),
        }),
        Request::TaskSay { task: name, text } => Ok(Command::SayToTask { task: task(&name)?, text }),
        Request::TaskRetry { task: name, anew, not_before, priority } => {
            Ok(Command::RetryTask { task: task(&name)?, anew, not_before, priority })
        }
        _ => Err(RpcError::new(ErrorCode::Internal, "not a request about a task")),
    }
}

/// A number without a project means one of the project at hand.
fn within(slug: &str, name: &Ref) -> Ref {
    if name.0.contains('/') || name.0.len() > 12 { name.clone() } else { Ref(format!("{slug}/{name}")) }
}

fn run_recipe(text: &str, file_name: &str) -> Result<RunRecipe, RpcError> {
    if text.len() > RECIPE_BYTES_MAX {
        return Err(RpcError::new(
            ErrorCode::TooLarge,
            format!("`{file_name}` has {} bytes; {RECIPE_BYTES_MAX} are accepted", text.len()),
        ));
    }
    match recipe::parse(text, file_name).map_err(|error| errors::recipe(&error))? {
        Recipe::Run(recipe) => Ok(recipe),
        Recipe::Tool(_) => {
            Err(RpcError::new(ErrorCode::Recipe, format!("{file_name}: this recipe describes a tool, not a run"))
                .hint("a run has `steps` and perhaps `tools`, without `name` and `version`"))
        }
    }
}

fn work(
    recipe: Option<&RunRecipe>,
    file_name: &str,
    capability: Option<String>,
) -> Result<(Work, RetryPolicy, bool), RpcError> {
    let agent = |capability: Option<String>| Work::Agent {
        capability: capability.unwrap_or_else(|| CAPABILITY_DEFAULT.into()),
    };
    let Some(recipe) = recipe else { return Ok((agent(capability), RetryPolicy::default(), false)) };
    let (known, retries) = recipe_work(recipe, file_name);
    if let Some(tool) = recipe.tools.iter().find(|tool| tool.network == Network::Any && !recipe.steps.is_empty()) {
        let message =
            format!("{file_name}: the tool `{}` asks for the whole network, which no run is given", tool.name);
        return Err(RpcError::new(ErrorCode::Recipe, message)
            .hint("name the hosts that it needs, as in `network: [registry.example.org]`, or write `network: false`"));
    }
    let wanted = capability.or_else(|| recipe.requires.capability.clone()).or_else(|| recipe.requires.agent.clone());
    let approval = recipe.requires.approval;
    match (recipe.steps.is_empty(), wanted) {
        // Steps that are known run by themselves, whoever was meant to run them.
        (false, _) => Ok((known, retries, approval)),
        (true, Some(wanted)) => Ok((agent(Some(wanted)), retries, approval)),
        (true, None) => {
            Err(RpcError::new(ErrorCode::Recipe, format!("{file_name}: the recipe names tools but no steps"))
                .hint("add `steps`, or say with `--capability` which agent is to find them"))
        }
    }
}
