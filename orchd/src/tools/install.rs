//! Installs one tool: downloads what its recipe pins, runs the steps in a sandbox of their own, keeps what they leave.
//!
//! Nothing of it is kept over a restart of the daemon but what is whole.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use orch_adapters::job::{self, JobError};
use orch_adapters::tool_cache::{FetchError, Made, Order, Tool, ToolCacheError, file_name};
use orch_core::digest::Digest;
use orch_core::entity::{InstalledTool, Project, Run};
use orch_core::recipe::{Access, Reach, Source, ToolRecipe};
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::EntityKind;
use orch_sandbox::Secrets;
use orch_sandbox::spec::{HOME_INSIDE, Limits, RunSpec};

use super::records::Job;
use super::{State, ToolError};
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::host::level_of;
use crate::jail::{self, Jail, JailError};

/// How long a download may take.
const DOWNLOAD_MAX: Duration = Duration::from_secs(60 * 60);
/// How long all steps may take, in milliseconds.
const STEPS_MS_MAX: u64 = 2 * 60 * 60 * 1_000;
/// Space that a tool may take, with what it is made from, in bytes.
const DISK_BYTES_MAX: u64 = 16 << 30;
/// Largest file of a tool, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 30;
/// Places that steps may write to in any case; there are no others.
const WRITABLE: [&str; 3] = ["/work", "/tmp", "/home"];
/// How much of a download is there when its progress is told again, in bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// Why a tool is not installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("its recipe asks for {what}, which no installation is given; take it out of `permissions`")]
    NotGiven { what: String },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the download took longer than {} minutes", DOWNLOAD_MAX.as_secs() / 60)]
    TooSlow,
    #[error("{outcome}: {log}")]
    Steps { outcome: String, log: String },
    #[error(transparent)]
    Jail(JailError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Cache(#[from] ToolCacheError),
    #[error("failed to prepare what was downloaded")]
    Prepare(#[source] std::io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the daemon stops")]
    Stopped,
}

impl InstallError {
    /// Whether it may be otherwise a little later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_passing(),
            Self::Cache(error) => error.is_hosts(),
            Self::TooSlow | Self::Prepare(_) | Self::Read(_) => true,
            Self::Jail(error) => matches!(error, JailError::Submit(_) | JailError::Lost | JailError::Escapes { .. }),
            _ => false,
        }
    }
}

impl From<JailError> for InstallError {
    fn from(error: JailError) -> Self {
        match error {
            JailError::Stopped => Self::Stopped,
            // The end of what the steps printed says more than how they ended.
            JailError::Ended { outcome, log } => Self::Steps {
                outcome: format!("its steps did not go well: {outcome}"),
                log: log.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" / "),
            },
            error => Self::Jail(error),
        }
    }
}

/// Does a job, and takes note of what came of it.
pub(super) async fn work(app: &Arc<App>, job: &Job) {
    let begun = Instant::now();
    let records = &app.recipe_tools.records;
    match install(app, job).await {
        Ok(tool) => {
            let (name, version, content) = (&tool.record.name, &tool.record.version, tool.record.content);
            let seconds = begun.elapsed().as_secs();
            tracing::info!(tool = name, version, %content, by = job.by, seconds, "a tool is installed");
            records.set(&job.name, State::Ready(Box::new(tool)));
        }
        Err(InstallError::Stopped) => records.put_back(job),
        Err(error) => {
            let reason = chain(&error);
            tracing::error!(tool = job.name, reason, "a tool is not installed");
            records.failed(job, reason, error.is_passing(), Instant::now());
        }
    }
    // Tasks may have waited for it, or know now why they wait.
    app.look_again();
}

async fn install(app: &Arc<App>, job: &Job) -> Result<Tool, InstallError> {
    let tools = &app.recipe_tools;
    let (recipe, source, key) = tools.made_from(&job.name)?;
    not_given(recipe)?;
    app.jails_hold()?;
    if let Some(tool) = there(app, &job.name, key).await? {
        return Ok(tool);
    }
    let draft = {
        let cache = tools.cache.clone();
        blocking(move || cache.draft(key)).await?
    };
    let made = make(app, job, (recipe, source, key), &draft).await;
    let (cache, place) = (tools.cache.clone(), draft);
    if let Err(error) = blocking(move || cache.discard(&place)).await {
        tracing::warn!(error = chain(&error), "a draft of a tool is left until the next start");
    }
    made
}

/// The tool, if it is installed already; one whose files are others is removed.
async fn there(app: &Arc<App>, name: &str, key: Digest) -> Result<Option<Tool>, InstallError> {
    let (app, name) = (Arc::clone(app), name.to_owned());
    blocking(move || -> Result<Option<Tool>, InstallError> {
        let tools = &app.recipe_tools;
        let error = match tools.cache.find(key) {
            Ok(found) => return Ok(found),
            // It may be as it was.
            Err(error) if error.is_hosts() => return Err(error.into()),
            Err(error) => error,
        };
        tracing::warn!(tool = name, error = chain(&error), "it is installed anew");
        let _alone = tools.in_place.write().unwrap_or_else(PoisonError::into_inner);
        let users = users(&app, key)?;
        if !users.is_empty() {
            return Err(ToolError::InUse { name, by: users.join(", ") }.into());
        }
        tools.cache.remove(key)?;
        Ok(None)
    })
    .await
}

/// Runs that are under way and have the tool with this key, by name, and agents that plan with it.
pub(crate) fn users(app: &App, key: Digest) -> Result<Vec<String>, ReadError> {
    let has = |(_, tools): &(String, Vec<InstalledTool>)| tools.iter().any(|tool| tool.recipe == key);
    Ok(in_use(app)?.into_iter().filter(has).map(|(user, _)| user).collect())
}

/// Who has installed tools, by name, and which.
pub(super) fn in_use(app: &App) -> Result<Vec<(String, Vec<InstalledTool>)>, ReadError> {
    app.store.read(|view| {
        let open = view.list::<Run>(&Filter::default().open())?;
        Ok(held(open, view.list::<Project>(&Filter::default())?))
    })
}

/// What runs that are under way have, and agents that plan: also when the planning is over, and what became of its agent is not known.
fn held(open: Vec<Run>, projects: Vec<Project>) -> Vec<(String, Vec<InstalledTool>)> {
    let of_run = |run: Run| (EntityKind::Run.short(run.number), run.tools);
    let of_planner = |project: Project| {
        let turn = project.planning?.turn?;
        Some((format!("the planner of {}", project.slug), turn.tools))
    };
    open.into_iter().map(of_run).chain(projects.into_iter().filter_map(of_planner)).collect()
}

/// What no installation is given, whatever its recipe says.
fn not_given(recipe: &ToolRecipe) -> Result<(), InstallError> {
    let is_outside = |path: &&String| !WRITABLE.iter().any(|place| Path::new(path.as_str()).starts_with(place));
    if let Some(path) = recipe.permissions.filesystem.iter().find(is_outside) {
        return Err(InstallError::NotGiven { what: format!("`{path}` to write to") });
    }
    match recipe.permissions.capabilities.first() {
        Some(capability) => Err(InstallError::NotGiven { what: format!("the capability `{capability}`") }),
        None => Ok(()),
    }
}

async fn make(
    app: &Arc<App>,
    job: &Job,
    (recipe, source, key): (&ToolRecipe, &Source, Digest),
    draft: &Path,
) -> Result<Tool, InstallError> {
    let records = &app.recipe_tools.records;
    let since = crate::clock::now();
    let tree = draft.join("work");
    let downloaded = tree.join(file_name(&source.url));
    std::fs::create_dir_all(&tree).map_err(InstallError::Prepare)?;
    records.downloading(job, since, (0, None));
    tokio::select! {
        () = app.stopped() => return Err(InstallError::Stopped),
        done = tokio::time::timeout(DOWNLOAD_MAX, download(app, job, (recipe, source), &downloaded)) => {
            done.map_err(|_| InstallError::TooSlow)??;
        }
    }
    records.building(job, since);
    let (place, spec) = spec(app, recipe, draft)?;
    jail::execute(&*app.executor, &place, (&spec, &Secrets::new()), app.stopped()).await?;
    let (cache, recipe, source) = (app.recipe_tools.cache.clone(), recipe.clone(), source.clone());
    let (draft, by) = (draft.to_owned(), job.by.clone());
    blocking(move || -> Result<Tool, InstallError> {
        // What it was made from is no part of it.
        match std::fs::remove_file(&downloaded) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(InstallError::Prepare(error)),
            _ => {}
        }
        let made = Made { key, recipe: &recipe, source: &source, at: crate::clock::now(), by: &by };
        Ok(cache.keep((&draft, &tree), &made)?)
    })
    .await
}

async fn download(
    app: &Arc<App>,
    job: &Job,
    (recipe, source): (&ToolRecipe, &Source),
    into: &Path,
) -> Result<u64, InstallError> {
    let tools = &app.recipe_tools;
    let (since, told) = (crate::clock::now(), AtomicU64::new(0));
    let progress = |bytes: u64, total: Option<u64>| {
        let before = told.load(Ordering::Relaxed);
        if bytes >= before + TOLD_EVERY || (before == 0 && total.is_some()) {
            told.store(bytes.max(1), Ordering::Relaxed);
            tools.records.downloading(job, since, (bytes, total));
        }
    };
    let order = Order { source, hosts: &recipe.permissions.network, mirrors: &tools.mirrors, into };
    Ok(tools.fetcher()?.fetch(order, &progress).await?)
}

/// The steps of a recipe as the sandbox executes them, in what was downloaded.
fn spec(app: &App, recipe: &ToolRecipe, draft: &Path) -> Result<(PathBuf, RunSpec), InstallError> {
    let jail = Jail {
        directory: draft.to_owned(),
        name: "install",
        argv: Vec::new(),
        mounts: Vec::new(),
        with_out: false,
        required_level: level_of(app.config.required_level),
    };
    let (place, mut spec) = jail::spec(jail)?;
    let time = recipe.steps.iter().map(|step| step.timeout_ms).sum::<u64>().min(STEPS_MS_MAX);
    let network = recipe.permissions.network.iter().cloned().map(Reach::web).collect();
    spec.steps = job::plain_steps(&recipe.steps);
    spec.egress = job::egress(&Access { network, ..Access::default() }, &app.config.network.house)?;
    spec.limits = Limits {
        wall_ms: time,
        cpu_seconds: (time / 1_000).max(1),
        disk_bytes: Some(DISK_BYTES_MAX),
        file_size_bytes: FILE_BYTES_MAX,
        ..spec.limits
    };
    let own = [("HOME", HOME_INSIDE), ("TMPDIR", "/tmp")];
    spec.env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    spec.env.extend(recipe.env.iter().map(|(name, value)| (name.to_string(), value.clone())));
    Ok((place, spec))
}

#[cfg(test)]
mod tests {
    use orch_core::actor::Actor;
    use orch_core::entity::{
        Entity as _, Meta, PlannerUse, PlanningEvent, PlanningSubject, ProjectEvent, RepositorySource, RunEvent,
        RunPurpose, ServerUse, Told, TurnEnd,
    };
    use orch_core::ids::sample_id;
    use orch_core::state::planning::PlanningStep;
    use orch_proto::Timestamp;

    use super::*;

    fn run(tools: Vec<InstalledTool>) -> Run {
        let actor = Actor::daemon("runner");
        let meta = Meta { at: Timestamp::default(), actor: &actor };
        let queued = RunEvent::Queued {
            project: sample_id(1),
            number: 7,
            task: sample_id(2),
            purpose: RunPurpose::Work,
            attempt: 1,
            fence: 1,
            steps: Vec::new(),
            base: None,
            tree: None,
            required_level: 0,
            reason: String::new(),
            priority: 0,
            access: Access::default(),
            asks: Box::default(),
            agent: None,
        };
        let run = Run::apply(None, sample_id(3), &queued, meta).unwrap();
        Run::apply(Some(run), sample_id(3), &RunEvent::Equipped { tools }, meta).unwrap()
    }

    fn project(events: &[PlanningEvent]) -> Project {
        let actor = Actor::daemon("planner");
        let meta = Meta { at: Timestamp::default(), actor: &actor };
        let (slug, source) = ("shop".to_owned(), RepositorySource::Empty);
        let created = ProjectEvent::Created { number: 1, slug, source, protected_paths: Vec::new() };
        let made = Project::apply(None, sample_id(1), &created, meta).unwrap();
        events.iter().fold(made, |project, event| {
            let event = ProjectEvent::Planning { number: 1, event: Box::new(event.clone()) };
            Project::apply(Some(project), sample_id(1), &event, meta).unwrap()
        })
    }

    fn planner() -> PlannerUse {
        PlannerUse {
            server: ServerUse { name: "local".into(), api: "ollama".into(), url: "http://127.0.0.1:11434".into() },
            model: String::new(),
            protocol: "chat".into(),
            temperature_percent: None,
            prompt_tokens: 1_000,
            output_tokens: 1_000,
            fallback: None,
            agent: None,
        }
    }

    #[test]
    fn an_agent_whose_planning_is_over_has_its_tools_until_its_end_is_known() {
        let (recipe, content) = (Digest::of(b"recipe"), Digest::ZERO);
        let tools = vec![InstalledTool { name: "codex".into(), version: "1".into(), recipe, content }];
        let told = Told { prompt: Digest::ZERO, bytes: 0 };
        let subject = PlanningSubject::Requirements { vision: sample_id(4) };
        let events = [
            PlanningEvent::Asked { subject, planner: planner() },
            PlanningEvent::AgentStarted { turn: 1, told, tools: tools.clone() },
            PlanningEvent::Ended { step: PlanningStep::Cancelled { reason: "too slow".into() } },
            PlanningEvent::AgentEnded { turn: 1, end: TurnEnd::Stopped },
        ];
        let users = held(vec![run(tools.clone())], vec![project(&events[..3])]);
        assert_eq!(users, [("R-7".to_owned(), tools.clone()), ("the planner of shop".to_owned(), tools)]);
        assert!(held(Vec::new(), vec![project(&events[..1]), project(&events)]).is_empty());
    }
}
