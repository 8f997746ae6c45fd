//! Agents of this host: where the program of each is, what it is told, and what is missing for it.

use std::path::PathBuf;

use orch_adapters::agent::{AgentJob, AgentKind, Brief, Program, ProgramError, prompt};
use orch_core::entity::{AgentUse, Project, Requirements, Run, Task};
use orch_core::planner::Requirement;
use orch_core::state::document::DocumentState;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::EntityKind;
use orch_proto::view::{CheckResult, DoctorCheck};

use crate::app::App;
use crate::config::AgentConfig;
use crate::error_chain::chain;
use crate::reconcile::gates;

/// What an agent is told, in the directory of its run.
const PROMPT_FILE: &str = "prompt.md";

/// Why the agent of a run cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("the agent `{name}` is not configured any more; name one in `[agents.{name}]`, or edit the task")]
    Unknown { name: String },
    #[error("the agent `{name}` cannot be started; install it, or say in `agents.{name}.program` where it is")]
    Program {
        name: String,
        #[source]
        source: ProgramError,
    },
    #[error("the agent `{agent}` has no key: set it with `orchctl secret set {secret}`")]
    Key { agent: String, secret: String },
    #[error(
        "the server of the agent `{name}` is another than the one that the run was made with; a new attempt takes that"
    )]
    Server { name: String },
    #[error("failed to read the requirements that its task serves")]
    Requirements(#[source] orch_core::view::ReadError),
    #[error("failed to write what its agent is told")]
    Prompt(#[source] std::io::Error),
}

/// The agent of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunAgent {
    kind: AgentKind,
    program: Program,
    model: Option<String>,
    prompt: PathBuf,
}

impl RunAgent {
    /// That of `run`; none does known steps.
    pub(crate) fn of(app: &App, run: &Run) -> Result<Option<Self>, AgentError> {
        let Some(agent) = &run.agent else { return Ok(None) };
        let (config, program) = ready(app, agent)?;
        let prompt = app.dirs.run(run.id).join(PROMPT_FILE);
        Ok(Some(Self { kind: config.kind, program, model: agent.model.clone(), prompt }))
    }

    pub(crate) const fn needs_node(&self) -> bool {
        self.program.needs_node
    }

    /// Writes what it is told about the task.
    pub(crate) fn tell(&self, app: &App, (run, task, project): (&Run, &Task, &Project)) -> Result<(), AgentError> {
        let brief = brief(app, run, task, project)?;
        std::fs::write(&self.prompt, prompt(&brief)).map_err(AgentError::Prompt)
    }

    pub(crate) fn job(&self) -> AgentJob<'_> {
        AgentJob { kind: self.kind, program: &self.program, model: self.model.as_deref(), prompt: &self.prompt }
    }
}

/// The configuration of an agent and its program, when it has all that it needs.
fn ready<'a>(app: &'a App, agent: &AgentUse) -> Result<(&'a AgentConfig, Program), AgentError> {
    let config = app.config.agents.agents.get(&agent.name).filter(|config| config.kind.word() == agent.kind);
    let config = config.ok_or_else(|| AgentError::Unknown { name: agent.name.clone() })?;
    // A run asks the server that is on record, whatever has got its name since.
    if agent.server.is_some() && agent.server != app.config.agents.server_of(config) {
        return Err(AgentError::Server { name: agent.name.clone() });
    }
    let program = program(app, config)?;
    let key = app.config.agents.models.get(&config.models).and_then(|server| server.key.as_ref());
    match key.filter(|key| !app.secrets.has(key)) {
        Some(key) => Err(AgentError::Key { agent: config.name.clone(), secret: key.to_string() }),
        None => Ok((config, program)),
    }
}

fn program(app: &App, config: &AgentConfig) -> Result<Program, AgentError> {
    let word = config.kind.word();
    let by_name = || app.tools.program(word).unwrap_or_else(|| PathBuf::from(word));
    let path = config.program.clone().unwrap_or_else(by_name);
    Program::find(&path).map_err(|source| AgentError::Program { name: config.name.clone(), source })
}

fn brief(app: &App, run: &Run, task: &Task, project: &Project) -> Result<Brief, AgentError> {
    let gates = run.base.as_deref().map(|commit| gates::on(app, project, commit).run).unwrap_or_default();
    Ok(Brief {
        task: EntityKind::Task.short(task.number),
        title: task.title.clone(),
        acceptance: task.spec.acceptance.clone(),
        requirements: requirements(app, task, project).map_err(AgentError::Requirements)?,
        gates: gates.into_iter().map(|gate| (gate.name, gate.run)).collect(),
        attempt: run.attempt,
        last_failure: task.last_failure.clone(),
    })
}

/// Those that the task serves, as its project has approved them last: key, title, text.
fn requirements(app: &App, task: &Task, project: &Project) -> Result<Vec<(String, String, String)>, ReadError> {
    let keys = &task.spec.requirements;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let of_project = Filter { project: Some(project.id), ..Filter::default() };
    let versions = app.store.read(|view| view.list::<Requirements>(&of_project))?;
    let Some(approved) = versions.iter().rev().find(|version| version.state == DocumentState::Approved) else {
        return Ok(Vec::new());
    };
    let wanted = approved.content.requirements.iter().filter(|requirement| keys.contains(&requirement.id));
    let said =
        |requirement: &Requirement| (requirement.id.to_string(), requirement.title.clone(), requirement.text.clone());
    Ok(wanted.map(said).collect())
}

/// Whether every agent that is configured has what it needs. Nothing is asked of a model.
pub(crate) fn checks(app: &App) -> Vec<DoctorCheck> {
    let check = |config: &AgentConfig| {
        let kind = config.kind.word().to_owned();
        let agent = AgentUse { name: config.name.clone(), kind, model: None, server: None };
        let found = ready(app, &agent);
        let server = app.config.agents.models.get(&config.models).map_or("", |server| server.upstream.url());
        let detail = match &found {
            Ok((_, program)) => format!("{}, asks {server}", program.inside),
            Err(error) => chain(error),
        };
        let fix = match &found {
            Ok(_) => None,
            Err(AgentError::Key { secret, .. }) => Some(format!("orchctl secret set {secret}")),
            Err(_) => Some(format!("install `{0}`, or set `agents.{1}.program`", config.kind.word(), config.name)),
        };
        let result = if fix.is_none() { CheckResult::Ok } else { CheckResult::Failed };
        DoctorCheck { name: format!("agent {}", config.name), result, detail, fix }
    };
    app.config.agents.agents.values().map(check).collect()
}
