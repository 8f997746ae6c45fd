//! Agents of this host: where the program of each is, what it is told, and what is missing for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use orch_adapters::agent::{
    AGENT, AgentJob, AgentKind, AgentOutput, Driven, Manner, Program, ProgramError, Replay, Resume, Settings, prompt,
};
use orch_adapters::secret_store::SecretStoreError;
use orch_core::digest::Digest;
use orch_core::entity::{AgentUse, InstalledTool, Project, Run, Task};
use orch_core::recipe::{Reach, Role};
use orch_core::schedule::{Doer, Staff, own_role};
use orch_proto::leave::LeaveRule;
use orch_proto::view::{CheckResult, DoctorCheck};

use crate::app::App;
use crate::config::{AgentConfig, PlannerBy};
use crate::error_chain::chain;
use crate::{briefs, gateway, sessions};

/// What an agent is told, in the directory of its run.
pub(crate) const PROMPT_FILE: &str = "prompt.md";
/// What it finds in its home, in the directory of its run.
const HOME_DIRECTORY: &str = "agent-home";

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
    #[error("the agent `{name}` is the tool `{tool}`, which cannot be used; {fix}")]
    Tool { name: String, tool: String, fix: String },
    #[error(
        "the agent `{name}` cannot be spoken to; `orchctl` belongs beside `orchd`, or `daemon.orchctl` says where it is"
    )]
    Driver {
        name: String,
        #[source]
        source: ProgramError,
    },
    #[error("the transcript of the agent `{name}` cannot be read; say in `agents.{name}.transcript` where it is")]
    Transcript {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the agent `{agent}` has no key: set it with `orchctl secret set {secret}`")]
    Key { agent: String, secret: String },
    #[error(
        "the server of the agent `{name}` is another than the one that the run was made with; a new attempt takes that"
    )]
    Server { name: String },
    #[error("the session of R-{number} that it was to go on with is gone; the next attempt begins anew")]
    Session { number: u32 },
    #[error("failed to read what its agent is to be told")]
    Brief(#[source] orch_core::view::ReadError),
    #[error("failed to take secrets out of what its agent is to be told")]
    Secrets(#[source] SecretStoreError),
    #[error("failed to write what its agent is told")]
    Prompt(#[source] std::io::Error),
    #[error("failed to write what its agent finds in its home")]
    Files(#[source] std::io::Error),
}

/// The agent of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunAgent {
    program: Program,
    /// The tool that it is of.
    tool: Option<InstalledTool>,
    model: Option<String>,
    prompt: PathBuf,
    has_channel: bool,
    manner: RunManner,
    /// The session that it goes on with, and where that was left.
    resume: Option<(String, PathBuf)>,
}

/// How its program is worked with.
#[derive(Clone, Debug)]
enum RunManner {
    Codex,
    Claude,
    Driven {
        driver: PathBuf,
        kind: AgentKind,
        leave: Vec<LeaveRule>,
        settings: Settings,
        replay: Option<Replay>,
        home: PathBuf,
    },
    Replayed(Replay),
}

impl RunAgent {
    /// That of `run`; none does known steps.
    pub(crate) fn of(app: &App, run: &Run) -> Result<Option<Self>, AgentError> {
        let Some(agent) = &run.agent else { return Ok(None) };
        let (config, (program, tool)) = ready(app, agent)?;
        let directory = app.dirs.run(run.id);
        let spoken_to = config.replay.as_ref().map(|replay| (replay, replay.recorded.spoken_to_as()));
        let manner = match (config.kind, spoken_to) {
            (_, Some((replay, None))) => RunManner::Replayed(replay.clone()),
            (AgentKind::Codex, None) if !agent.is_driven => RunManner::Codex,
            (AgentKind::Claude, None) if !agent.is_driven => RunManner::Claude,
            (kind, spoken_to) => RunManner::Driven {
                driver: driver(app, config)?,
                kind: spoken_to.and_then(|(_, kind)| kind).unwrap_or(kind),
                leave: config.leave.clone(),
                settings: config.settings.filled(agent.model.as_deref()),
                replay: config.replay.clone(),
                home: directory.join(HOME_DIRECTORY),
            },
        };
        let has_channel = run.access.channel && app.channel_program.is_some();
        let prompt = directory.join(PROMPT_FILE);
        let resume = match &run.session.from {
            Some(from) => {
                let left = sessions::home(app, from.run);
                if !left.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                    return Err(AgentError::Session { number: from.number });
                }
                Some((from.id.clone(), left))
            }
            None => None,
        };
        Ok(Some(Self { program, tool, model: agent.model.clone(), prompt, has_channel, manner, resume }))
    }

    pub(crate) const fn needs_node(&self) -> bool {
        self.program.needs_node
    }

    /// The tool that its program is of.
    pub(crate) const fn tool(&self) -> Option<&InstalledTool> {
        self.tool.as_ref()
    }

    /// Writes what it is told about the task, and what it finds in its home.
    pub(crate) fn tell(&self, text: &[u8]) -> Result<(), AgentError> {
        if let RunManner::Driven { settings, home, .. } = &self.manner {
            settings.write_files(home).map_err(AgentError::Files)?;
        }
        std::fs::write(&self.prompt, text).map_err(AgentError::Prompt)
    }

    pub(crate) fn job(&self) -> AgentJob<'_> {
        let manner = match &self.manner {
            RunManner::Codex => Manner::Codex,
            RunManner::Claude => Manner::Claude,
            RunManner::Driven { driver, kind, leave, settings, replay, home } => {
                let home = (!settings.files.is_empty()).then_some(home.as_path());
                Manner::Driven(Driven { driver, kind: *kind, leave, settings, replay: replay.as_ref(), home })
            }
            RunManner::Replayed(replay) => Manner::Replayed(replay),
        };
        AgentJob {
            manner,
            program: &self.program,
            model: self.model.as_deref(),
            prompt: &self.prompt,
            has_channel: self.has_channel,
            resume: self.resume.as_ref().map(|(id, left)| Resume { id, left }),
        }
    }
}

/// Which of the output of a run is that of its agent. Steps that an earlier attempt did are not executed, but an agent's work has
/// none.
pub(crate) fn output_of(app: &App, run: &Run) -> Option<AgentOutput> {
    let used = run.agent.as_ref()?;
    // How a transcript that is replayed was spoken only the configuration knows.
    let replayed = || Some(app.config.agents.agents.get(&used.name)?.replay.as_ref()?.recorded.protocol());
    let protocol = AgentKind::of(&used.kind)?.protocol(used.is_driven).or_else(replayed)?;
    let step = run.steps.iter().position(|step| step.name == AGENT)?;
    Some(AgentOutput { step: u16::try_from(step).ok()?, protocol })
}

/// What tells whether the program of an agent is another one now, and what its operator says of it; none of one that cannot be
/// started, or is no program. The files of a tool are not looked at: who asks may hold up everybody, and they are when it is started.
pub(crate) fn fingerprints<'a>(app: &'a App, agent: &AgentUse) -> Option<(Digest, &'a Settings)> {
    let digest = |config: &AgentConfig| match &config.tool {
        Some(tool) => Ok(app.recipe_tools.content(tool)),
        None => program(app, config).map(|(program, _)| program.stamp().ok()),
    };
    let (config, digest) = ready_with(app, agent, digest).ok()?;
    if config.replay.is_some() {
        return None;
    }
    Some((digest?, &config.settings))
}

/// What the agent of a run is to be told, when it has one that can be started.
pub(crate) fn prompt_of(app: &App, (run, task, project): (&Run, &Task, &Project)) -> Result<Option<Bytes>, AgentError> {
    if RunAgent::of(app, run)?.is_none() {
        return Ok(None);
    }
    let brief = briefs::of_run(app, run, task, project).map_err(AgentError::Brief)?;
    // What a repository or a person wrote may have them.
    let text = gateway::without_secrets(app, prompt(&brief).into_bytes()).map_err(AgentError::Secrets)?;
    Ok(Some(text.into()))
}

/// The agent for what a task of a project asks for: the one of that name, the one that the role for it names, or the first that
/// can. With what the role says of it.
pub(crate) fn choose(app: &App, project: &Project, capability: &str) -> Option<AgentUse> {
    choose_in(app, &project.slug, capability)
}

/// Who does what tasks ask for, in projects with roles of their own and in all others, and how many runs each may have at once.
pub(crate) fn staff(app: &App) -> Staff {
    let common = app.capabilities();
    let doers = |project: &str, capabilities: &BTreeSet<String>| {
        let doer = |capability: &String| {
            let found = choose_in(app, project, capability)?;
            Some((capability.clone(), Doer { agent: Some(found.name), role: found.role }))
        };
        capabilities.iter().filter_map(doer).collect()
    };
    let of_project = |(project, roles): (&String, &BTreeMap<String, Role>)| {
        let mut all = common.clone();
        all.extend(roles.values().flat_map(|role| &role.capabilities).map(ToString::to_string));
        (project.clone(), doers(project, &all))
    };
    let own_max = |(project, roles): (&String, &BTreeMap<String, Role>)| {
        let max = |role: &Role| (own_role(project, role.name.as_str()), role.runs_max);
        roles.values().map(max).collect::<Vec<_>>()
    };
    let agents = app.config.agents.agents.values();
    Staff {
        // No project has an empty name.
        common: doers("", &common),
        of_projects: app.roles.of_projects().map(of_project).collect(),
        agents_max: agents.filter_map(|agent| Some((agent.name.clone(), agent.runs_max?))).collect(),
        roles_max: app
            .roles
            .common()
            .map(|role| (role.name.to_string(), role.runs_max))
            .chain(app.roles.of_projects().flat_map(own_max))
            .collect(),
    }
}

fn choose_in(app: &App, project: &str, capability: &str) -> Option<AgentUse> {
    let agents = &app.config.agents;
    let role = app.roles.role_for(project, capability);
    let of_role = || role.and_then(|role| agents.agents.get(role.agent.as_ref()?.as_str()));
    let named = agents.agents.get(capability);
    let config = named.or_else(of_role).or_else(|| agents.agent_for(capability))?;
    // Who names the agent itself has no role told to it, and is bound by what the agent is there for all the same.
    let of_agent = || config.capabilities.iter().find_map(|own| app.roles.role_for(project, own));
    Some(used(app, config, (role, role.or_else(of_agent))))
}

/// An agent as a planning has it. It plans as itself, in no role, and nobody is there to have a conversation with it.
pub(crate) fn planning(app: &App, config: &AgentConfig) -> AgentUse {
    AgentUse { is_driven: false, ..used(app, config, (None, None)) }
}

/// The program of an agent that plans, when it has all that it needs.
pub(crate) fn program_of(app: &App, agent: &AgentUse) -> Result<Found, AgentError> {
    ready(app, agent).map(|(_, found)| found)
}

/// An agent as a run has it, with its role and the one that bounds what it spends. What these say goes before what the agent
/// says.
fn used(app: &App, config: &AgentConfig, (role, bounds): (Option<&Role>, Option<&Role>)) -> AgentUse {
    let (of_run, of_task) = bounds.map(|role| (role.of_run, role.of_task)).unwrap_or_default();
    AgentUse {
        name: config.name.clone(),
        kind: config.kind.word().to_owned(),
        model: role.and_then(|role| role.model.clone()).or_else(|| config.model.clone()),
        of_run: of_run.or(config.of_run),
        of_task: of_task.or(config.of_task),
        role: role.map(|role| role.name.to_string()),
        server: app.config.agents.server_of(config),
        is_driven: config.is_driven(),
        answer_tokens: role.and_then(|role| role.answer_tokens).or(config.answer_tokens),
        egress: role.map(|role| role.egress.clone()).unwrap_or_default(),
        profile: role.map(|role| role.profile).unwrap_or_default(),
    }
}

/// Hosts that the role of a run's agent may reach now, whatever it might have when the run was made.
pub(crate) fn egress_of<'a>(app: &'a App, run: &Run, project: &Project) -> &'a [Reach] {
    let role = run.agent.as_ref().and_then(|agent| app.roles.named(&project.slug, agent.role.as_deref()?));
    role.map_or(&[][..], |role| role.egress.as_slice())
}

/// The configuration of an agent and its program, when it has all that it needs.
fn ready<'a>(app: &'a App, agent: &AgentUse) -> Result<(&'a AgentConfig, Found), AgentError> {
    ready_with(app, agent, |config| program(app, config))
}

/// The same with what is asked for in the place of its program.
fn ready_with<'a, T>(
    app: &'a App,
    agent: &AgentUse,
    program: impl FnOnce(&AgentConfig) -> Result<T, AgentError>,
) -> Result<(&'a AgentConfig, T), AgentError> {
    let config = app.config.agents.agents.get(&agent.name).filter(|config| config.kind.word() == agent.kind);
    let config = config.ok_or_else(|| AgentError::Unknown { name: agent.name.clone() })?;
    // A run asks the server that is on record, whatever has got its name since.
    if agent.server.is_some() && agent.server != app.config.agents.server_of(config) {
        return Err(AgentError::Server { name: agent.name.clone() });
    }
    let program = program(config)?;
    if agent.is_driven || config.kind == AgentKind::Acp {
        driver(app, config)?;
    }
    let server = config.models.as_ref().and_then(|models| app.config.agents.models.get(models));
    let key = server.and_then(|server| server.key.as_ref());
    match key.filter(|key| !app.secrets.has(key)) {
        Some(key) => Err(AgentError::Key { agent: config.name.clone(), secret: key.to_string() }),
        None => Ok((config, program)),
    }
}

/// The program of an agent, and the tool that it is of, if it is of one.
pub(crate) type Found = (Program, Option<InstalledTool>);

fn program(app: &App, config: &AgentConfig) -> Result<Found, AgentError> {
    if let Some(tool) = &config.tool {
        return tool_program(app, config, tool);
    }
    let by_name = || {
        let name = config.kind.program().unwrap_or_default();
        app.tools.program(name).unwrap_or_else(|| PathBuf::from(name))
    };
    if let Some(replay) = &config.replay {
        let transcript = &replay.transcript;
        let found = transcript.metadata().and_then(|meta| match meta.is_file() {
            true => std::fs::File::open(transcript).map(drop),
            false => Err(std::io::ErrorKind::InvalidInput.into()),
        });
        found.map_err(|source| AgentError::Transcript { name: config.name.clone(), source })?;
        let found = Program::find(&driver(app, config)?);
        let found = found.map_err(|source| AgentError::Driver { name: config.name.clone(), source });
        return Ok((found?, None));
    }
    let path = config.program.clone().unwrap_or_else(by_name);
    let found = Program::find(&path).map_err(|source| AgentError::Program { name: config.name.clone(), source });
    Ok((found?, None))
}

/// The program of a tool that was installed for runs.
fn tool_program(app: &App, config: &AgentConfig, tool: &str) -> Result<Found, AgentError> {
    let wrong = |fix: String| AgentError::Tool { name: config.name.clone(), tool: tool.to_owned(), fix };
    if let Some(fix) = app.recipe_tools.missing(tool, &app.config.network) {
        return Err(wrong(fix));
    }
    let found = app.recipe_tools.installed(tool).map_err(|error| wrong(chain(&error)))?;
    let program = Program::in_tree(&found.root, &found.record.program);
    let program = program.map_err(|source| AgentError::Program { name: config.name.clone(), source })?;
    Ok((program, Some(found.used())))
}

/// What speaks to an agent that wants a conversation.
fn driver(app: &App, config: &AgentConfig) -> Result<PathBuf, AgentError> {
    let found = Program::real(&app.config.orchctl_program);
    found.map_err(|source| AgentError::Driver { name: config.name.clone(), source })
}

/// Whether every agent that is configured has what it needs. Nothing is asked of a model.
pub(crate) fn checks(app: &App) -> Vec<DoctorCheck> {
    let check = |config: &AgentConfig| {
        let agent = AgentUse { server: None, ..used(app, config, (None, None)) };
        let found = ready(app, &agent);
        let server = config.models.as_ref().and_then(|models| app.config.agents.models.get(models));
        let server = server.map_or("nobody", |server| server.upstream.url());
        let detail = match &found {
            Ok((_, (program, Some(tool)))) => format!("{}, {}, asks {server}", program.inside, tool.line()),
            Ok((_, (program, None))) => format!("{}, asks {server}", program.inside),
            Err(error) => chain(error),
        };
        let fix = match &found {
            Ok(_) => None,
            Err(AgentError::Key { secret, .. }) => Some(format!("orchctl secret set {secret}")),
            Err(AgentError::Transcript { .. }) => Some(format!("set `agents.{}.transcript`", config.name)),
            Err(AgentError::Tool { fix, .. }) => Some(fix.clone()),
            Err(AgentError::Driver { .. }) => {
                Some("install `orchctl` beside `orchd`, or set `daemon.orchctl`".to_owned())
            }
            Err(_) => {
                let program = config.kind.program().unwrap_or("its program");
                Some(format!("install `{program}`, or set `agents.{}.program`", config.name))
            }
        };
        let is_coming = matches!(&found, Err(AgentError::Tool { tool, .. }) if app.recipe_tools.is_coming(tool));
        let result = match &fix {
            None => CheckResult::Ok,
            Some(_) if is_coming => CheckResult::Warning,
            Some(_) => CheckResult::Failed,
        };
        DoctorCheck { name: format!("agent {}", config.name), result, detail, fix }
    };
    app.config.agents.agents.values().map(check).chain(planner_check(app)).collect()
}

/// Whether the model that plans can be asked, or the agent started.
fn planner_check(app: &App) -> Option<DoctorCheck> {
    let planner = match &app.config.planner.as_ref()?.by {
        PlannerBy::Model(planner) => planner,
        PlannerBy::Agent(name) => {
            let config = app.config.agents.agents.get(name)?;
            // What is missing for it, its own line says.
            let missing = ready(app, &planning(app, config)).err();
            let result = if missing.is_some() { CheckResult::Failed } else { CheckResult::Ok };
            let detail = match &missing {
                Some(error) => chain(error),
                None => format!("the agent `{name}`, on a checkout that it cannot change"),
            };
            let fix = missing.map(|_| format!("see `agent {name}`; until then the rules plan"));
            return Some(DoctorCheck { name: "planner".to_owned(), result, detail, fix });
        }
    };
    let server = app.config.agents.models.get(&planner.models)?;
    let missing = server.key.as_ref().filter(|key| !app.secrets.has(key));
    let (model, url) = (&planner.model, server.upstream.url());
    let detail = match missing {
        Some(key) => format!("`{model}` has no key: the secret `{key}` is not set"),
        None => format!("`{model}`, asked at {url}"),
    };
    let result = if missing.is_some() { CheckResult::Failed } else { CheckResult::Ok };
    let fix = missing.map(|key| format!("orchctl secret set {key}"));
    Some(DoctorCheck { name: "planner".to_owned(), result, detail, fix })
}
