//! Requests about projects, Visions, requirements and plans.

use orch_adapters::gateway::Protocol;
use orch_adapters::git::ImportPlan;
use orch_adapters::recipe_store::RecipeStoreError;
use orch_core::command::{Command, PlanEdit as CoreEdit, PlanningCommand, RequirementEdit};
use orch_core::decide::answered;
use orch_core::entity::{PlannerUse, PlanningSubject, Project, RepositorySource, Requirements, ServerUse, Vision};
use orch_core::planner::asked;
use orch_core::planner::{self, LineRange, Requirement, RequirementKey, RequirementKind};
use orch_core::planning;
use orch_core::state::document::DocumentState;
use orch_core::state::project::ProjectState;
use orch_core::view::{Filter, View as _};
use orch_proto::id::ProjectId;
use orch_proto::reference::RefForm;
use orch_proto::request::{PlanEdit, Planner, RepoSource, RequirementInput};
use orch_proto::{ErrorCode, Ref, RpcError};

use super::with_view;
use crate::agents;
use crate::app::App;
use crate::config::{ModelPlanner, PROMPT_TOKENS, PlannerBy, is_model};
use crate::rpc::{errors, read, resolve};

/// Longest file name that is kept, in characters.
const FILE_NAME_CHARS_MAX: usize = 200;

pub(super) fn create_project(app: &App, name: String, repo: RepoSource) -> Result<Command, RpcError> {
    let source = match repo {
        RepoSource::Empty => RepositorySource::Empty,
        RepoSource::Import { path } => {
            // Looked at now, as files only, so that a wrong path is said at once.
            if let Err(error) = ImportPlan::new(std::path::Path::new(&path)) {
                let refused = RpcError::new(ErrorCode::Repository, crate::error_chain::chain(&error));
                return Err(match error.hint() {
                    Some(hint) => refused.hint(hint),
                    None => refused,
                });
            }
            RepositorySource::Import { path }
        }
    };
    let policy = app.recipes.default_policy().map_err(|error| recipes(&error))?;
    Ok(Command::CreateProject { slug: name, source, protected_paths: policy.protected_paths })
}

pub(super) fn submit_vision(app: &App, project: &Ref, file_name: String, text: &[u8]) -> Result<Command, RpcError> {
    let project = with_view(app, |view| resolve::project(view, project))?;
    let read = planner::extract(text).map_err(|error| errors::extract(&error))?;
    if let Some(blueprint) = &read.front_matter.blueprint {
        app.recipes.blueprint(blueprint).map_err(|error| recipes(&error))?;
    }
    let blob = app.blobs.put(text).map_err(|error| blob(&error))?;
    let file_name = file_name.chars().filter(|c| !c.is_control()).take(FILE_NAME_CHARS_MAX).collect();
    Ok(Command::SubmitVision {
        project: project.id,
        title: read.title,
        file_name,
        text: blob.hash,
        size_bytes: blob.size_bytes,
        blueprint: read.front_matter.blueprint,
    })
}

pub(super) fn propose_requirements(
    app: &App,
    project: &Ref,
    vision: Option<&Ref>,
    planner: &Planner,
) -> Result<Command, RpcError> {
    let vision = with_view(app, |view| match vision.map(Ref::form) {
        None | Some(RefForm::Latest { .. }) => read::version::<Vision>(view, project, None),
        Some(RefForm::Number { number, .. }) => read::version::<Vision>(view, project, Some(number)),
        Some(RefForm::Name { name, .. }) => match name.parse() {
            Ok(version) => read::version::<Vision>(view, project, Some(version)),
            Err(_) => resolve::entity::<Vision>(view, &Ref(name)),
        },
    })?;
    if let Some(planner) = asked_to_plan(app, (project, vision.project), planner)? {
        let subject = PlanningSubject::Requirements { vision: vision.id };
        let command = PlanningCommand::Ask { subject, planner };
        return Ok(Command::Planning { project: vision.project, command });
    }
    let text = read::blob_text(app, vision.text)?;
    let mut content = planner::extract(text.as_bytes()).map_err(|error| errors::extract(&error))?;
    let answers = with_view(app, |view| answered(view, vision.project).map_err(|error| errors::read(&error)))?;
    asked::include(&mut content, &answers);
    Ok(Command::ProposeRequirements {
        project: vision.project,
        vision: vision.id,
        content: Box::new(content),
        reason: format!("derived from Vision version {}", vision.version),
        questions: asked::unsaid(&text, &answers),
    })
}

pub(super) fn edit_requirements(
    app: &App,
    project: &Ref,
    base_version: u32,
    (upsert, remove): (Vec<RequirementInput>, Vec<String>),
    reason: String,
) -> Result<Command, RpcError> {
    let project = with_view(app, |view| resolve::project(view, project))?;
    let upsert = upsert.into_iter().map(requirement_edit).collect::<Result<_, _>>()?;
    let remove = remove.iter().map(|text| key(text)).collect::<Result<_, _>>()?;
    Ok(Command::EditRequirements { project: project.id, base_version, upsert, remove, reason })
}

pub(super) fn comment_requirements(
    app: &App,
    project: &Ref,
    version: u32,
    on: Option<String>,
    text: String,
) -> Result<Command, RpcError> {
    let found = with_view(app, |view| read::version::<Requirements>(view, project, Some(version)))?;
    let on = on.as_deref().map(key).transpose()?;
    Ok(Command::CommentRequirements { requirements: found.id, key: on, text })
}

/// Who is to plan; none: the rules do. They are asked by a reconciler, not here.
fn asked_to_plan(app: &App, (named, id): (&Ref, ProjectId), planner: &Planner) -> Result<Option<PlannerUse>, RpcError> {
    let config = app.config.planner.as_ref();
    let agent = match (planner, config.map(|config| &config.by)) {
        (Planner::Rules, _) | (Planner::Configured, None) => return Ok(None),
        (Planner::Agent { name }, _) | (Planner::Configured, Some(PlannerBy::Agent(name))) => name,
        (Planner::Configured, Some(PlannerBy::Model(model))) => {
            return by_model(app, (named, id), (model, None)).map(Some);
        }
        (Planner::Model { name }, Some(PlannerBy::Model(model))) => {
            return by_model(app, (named, id), (model, Some(name))).map(Some);
        }
        (Planner::Model { name }, Some(PlannerBy::Agent(_)) | None) => {
            return Err(RpcError::new(ErrorCode::Conflict, format!("no server is configured to ask `{name}`")).hint(
                "set `models` and `model` of `[planner]` in the daemon's configuration; `--agent` names an agent",
            ));
        }
    };
    by_agent(app, (named, id), agent).map(Some)
}

/// About how many tokens the planner of a project may be told.
fn prompt_tokens(app: &App, (named, id): (&Ref, ProjectId), of_agent: Option<u64>) -> Result<u64, RpcError> {
    let found = with_view(app, |view| view.get::<Project>(id).map_err(|error| errors::read(&error)))?;
    let slug = found.map_or_else(|| named.0.clone(), |project| project.slug);
    let of_role = app.roles.named(&slug, "planner").and_then(|role| role.prompt_tokens);
    let said = app.config.planner.as_ref().and_then(|config| config.prompt_tokens);
    Ok(said.or(of_role).or(of_agent).unwrap_or(PROMPT_TOKENS))
}

/// An agent, which looks at the repository first.
fn by_agent(app: &App, (named, id): (&Ref, ProjectId), name: &str) -> Result<PlannerUse, RpcError> {
    let config = app.config.agents.planner(name);
    let config = config.map_err(|problem| {
        RpcError::new(ErrorCode::Conflict, format!("the agent `{name}` cannot plan: {problem}"))
            .hint("name one of kind `codex` that the daemon's configuration has, or leave `--agent` out")
    })?;
    let found = with_view(app, |view| view.get::<Project>(id).map_err(|error| errors::read(&error)))?;
    found.iter().try_for_each(must_be_ready)?;
    let agent = agents::planning(app, config);
    let server = agent.server.clone();
    Ok(PlannerUse {
        server: server.ok_or_else(|| RpcError::new(ErrorCode::Internal, "the agent's server is not configured"))?,
        model: agent.model.clone().unwrap_or_default(),
        protocol: Protocol::default().word().to_owned(),
        temperature_percent: config.temperature_percent,
        prompt_tokens: prompt_tokens(app, (named, id), config.prompt_tokens)?,
        output_tokens: 0,
        fallback: None,
        agent: Some(Box::new(agent)),
    })
}

/// A model; `by_hand` is one that a person named in the place of the configured one.
fn by_model(
    app: &App,
    of: (&Ref, ProjectId),
    (config, by_hand): (&ModelPlanner, Option<&String>),
) -> Result<PlannerUse, RpcError> {
    if by_hand.is_some_and(|name| !is_model(name)) {
        return Err(RpcError::new(ErrorCode::Invalid, "that cannot be the name of a model"));
    }
    let upstream = app.config.agents.models.get(&config.models).map(|server| &server.upstream);
    let upstream =
        upstream.ok_or_else(|| RpcError::new(ErrorCode::Internal, "the planner's server is not configured"))?;
    Ok(PlannerUse {
        server: ServerUse {
            name: config.models.clone(),
            api: upstream.api.word().to_owned(),
            url: upstream.url().to_owned(),
        },
        // Who names a model wants that, or the rules.
        fallback: by_hand.is_none().then(|| config.fallback.clone()).flatten(),
        model: by_hand.unwrap_or(&config.model).clone(),
        protocol: config.protocol.word().to_owned(),
        temperature_percent: config.temperature_percent,
        prompt_tokens: prompt_tokens(app, of, None)?,
        output_tokens: config.output_tokens(),
        agent: None,
    })
}

pub(super) fn propose_plan(app: &App, project: &Ref, planner: &Planner) -> Result<Command, RpcError> {
    let named = project;
    let (project, requirements) = with_view(app, |view| {
        let project = resolve::project(view, named)?;
        // Those that another took the place of are not open.
        let open = view.list::<Requirements>(&Filter::of(project.id).open()).map_err(|error| errors::read(&error))?;
        let approved = open.into_iter().rev().find(|document| document.state == DocumentState::Approved);
        let approved = approved.ok_or_else(|| {
            RpcError::new(ErrorCode::Conflict, format!("project `{}` has no approved requirements", project.slug))
                .hint("derive them with `orchctl req propose`, then `orchctl req approve`")
        })?;
        Ok((project, approved))
    })?;
    must_be_ready(&project)?;
    if let Some(planner) = asked_to_plan(app, (named, project.id), planner)? {
        let subject = PlanningSubject::Plan { requirements: requirements.id };
        let command = PlanningCommand::Ask { subject, planner };
        return Ok(Command::Planning { project: project.id, command });
    }
    let blueprint = match &requirements.content.front_matter.blueprint {
        Some(name) => Some(app.recipes.blueprint(name).map_err(|error| recipes(&error))?.0),
        None => None,
    };
    let content = planning::make_plan(&requirements.content, &project, blueprint.as_ref())
        .map_err(|error| errors::planning(&error))?;
    Ok(Command::ProposePlan {
        project: project.id,
        requirements: requirements.id,
        content: Box::new(content),
        reason: format!("planned from requirements version {}", requirements.version),
    })
}

pub(super) fn plan_edit(edit: PlanEdit) -> CoreEdit {
    match edit {
        PlanEdit::Link { task, needs } => CoreEdit::Link { task, needs },
        PlanEdit::Unlink { task, needs } => CoreEdit::Unlink { task, needs },
        PlanEdit::Drop { task } => CoreEdit::Drop { task },
    }
}

/// Planning looks at the repository's toolchains, which are known once it stands.
fn must_be_ready(project: &Project) -> Result<(), RpcError> {
    match &project.state {
        ProjectState::Ready => Ok(()),
        ProjectState::Preparing => Err(RpcError::new(
            ErrorCode::Conflict,
            format!("the repository of `{}` is still being prepared", project.slug),
        )
        .hint("try again in a moment, or create projects with `--wait`")),
        ProjectState::Failed { reason } => {
            Err(RpcError::new(ErrorCode::Conflict, format!("project `{}` has no repository: {reason}", project.slug)))
        }
        ProjectState::Archived => {
            Err(RpcError::new(ErrorCode::Conflict, format!("project `{}` is archived", project.slug)))
        }
    }
}

fn requirement_edit(input: RequirementInput) -> Result<RequirementEdit, RpcError> {
    let kind = match input.kind.as_str() {
        "functional" => RequirementKind::Functional,
        "non_functional" => RequirementKind::NonFunctional,
        "constraint" => RequirementKind::Constraint,
        other => {
            return Err(RpcError::new(ErrorCode::Invalid, format!("requirement kind `{other}` is not known"))
                .hint("use functional, non_functional or constraint"));
        }
    };
    let given = input.key.as_deref().map(key).transpose()?;
    let content = Requirement {
        id: match &given {
            Some(key) => key.clone(),
            // Replaced by the next free number.
            None => key("REQ-0")?,
        },
        kind,
        title: input.title,
        text: input.text,
        group: None,
        parent: None,
        priority: None,
        acceptance: input.acceptance,
        lines: LineRange { first: 0, last: 0 },
    };
    Ok(RequirementEdit { key: given, content })
}

fn key(text: &str) -> Result<RequirementKey, RpcError> {
    text.parse().map_err(|error: planner::RequirementKeyError| RpcError::new(ErrorCode::Invalid, error.to_string()))
}

fn recipes(error: &RecipeStoreError) -> RpcError {
    match error {
        RecipeStoreError::NoBlueprint { .. } => RpcError::new(ErrorCode::NotFound, error.to_string())
            .hint("name one of these in the front matter, or leave `blueprint` out"),
        RecipeStoreError::Parse(recipe) => errors::recipe(recipe),
        RecipeStoreError::Write { .. } | RecipeStoreError::Read { .. } | RecipeStoreError::Misnamed { .. } => {
            errors::internal("failed to read the recipes", error)
        }
    }
}

fn blob(error: &orch_adapters::blobs::PutError) -> RpcError {
    if orch_adapters::git::is_storage_full(error) {
        return RpcError::new(ErrorCode::StorageFull, crate::error_chain::chain(error))
            .hint("make room on the disk of the state directory, then try again");
    }
    errors::internal("failed to store the text", error)
}
