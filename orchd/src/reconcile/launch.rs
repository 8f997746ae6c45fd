//! Starts the process tree of a run: directories, programs, the sandbox's spec.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use orch_adapters::executor::SubmitError;
use orch_adapters::host_tools::ToolSet;
use orch_adapters::job::{self, Job, JobLimits};
use orch_adapters::secret_store::SecretStoreError;
use orch_core::command::Command;
use orch_core::decide::DecideError;
use orch_core::digest::Digest;
use orch_core::entity::{
    InstalledTool, PlannedStep, Project, Remedy, Run, RunPurpose, StepRecord, Task, Timeout, Work,
};
use orch_core::recipe::{Access, Isolation, Reach, Step, ToolRequest};
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::view::{ReadError, View as _};
use orch_proto::id::RunId;
use orch_sandbox::{START_MAX, Secrets};
use orch_store::ExecuteError;

use super::{PassError, gates, lease, settle};
use crate::agents::{self, AgentError, RunAgent};
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::site::{Launched, Lookout, Site};
use crate::tools::{Answer, State, ToolError};
use crate::workspaces::Start;
use crate::{briefs, checkpoints, gateway};

/// Why a run does not start.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("{0} is gone")]
    Gone(&'static str),
    #[error("failed to make its directories")]
    Directories(#[source] std::io::Error),
    #[error("failed to open the repository")]
    Repository(#[from] orch_adapters::git::OpenError),
    #[error("needs `{tool}`, which is not installed; {fix}")]
    Tool { tool: String, fix: String },
    #[error("`{tool}` is another than was allowed, which was {allowed}; cancel the task, and make it anew")]
    OtherTool { tool: String, allowed: String },
    #[error("the gates are not those that the check began with")]
    OtherGates,
    #[error("what it was to go on from has changed since it was planned")]
    OtherInputs,
    #[error(transparent)]
    Recipes(#[from] orch_adapters::recipe_store::RecipeStoreError),
    #[error(transparent)]
    Provider(#[from] orch_adapters::providers::NoProvider),
    #[error(transparent)]
    Job(#[from] job::JobError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(
        "may not be given {what}: nobody approved it, and the configuration does not allow it; `orchctl task edit` with its recipe asks"
    )]
    NotAllowed { what: String },
    #[error("its role does not reach {what} any more; a new attempt has what the role has now")]
    OtherRole { what: String },
    #[error(
        "has `isolation: none`, which the configuration does not allow any more; set `sandbox.allow_none` or edit its recipe"
    )]
    NoIsolation,
    #[error("has `channel: true`, and `orchctl` is not beside `orchd`, where it belongs")]
    NoChannel,
    #[error("{0}; {1}")]
    Secret(SecretStoreError, String),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("what its agent is told is not on record")]
    NotTold(#[source] ExecuteError),
    #[error(transparent)]
    Installed(#[from] ToolError),
    #[error("which tools it is started with is not on record")]
    NotEquipped(#[source] ExecuteError),
    #[error(
        "secret `{name}` has a NUL byte and cannot be a variable; take `env` out of the recipe, so that it is a file"
    )]
    NoVariable { name: String },
}

/// What becomes readable when a run of a site has ended.
type EndOf<S> = <<S as Site>::Watch as Lookout<S>>::End;

/// Makes the directory of a run, so that it can be watched.
pub(super) fn prepare(directory: &Path) {
    if let Err(error) = std::fs::create_dir_all(directory) {
        // Starting it will fail with the same error and settle the run.
        tracing::warn!(%error, directory = %directory.display(), "no run directory");
    }
}

/// Starts the run. When that is impossible the run is settled with the reason. Answers what becomes readable at its end.
pub(super) async fn submit<S: Site>(app: &Arc<S>, run: &Run) -> Result<Option<EndOf<S>>, PassError> {
    if let Some(reason) = &run.cancel_requested {
        give_up(app, run, RunOutcome::Cancelled { reason: reason.clone() }).await?;
        return Ok(None);
    }
    match app.launch(run).await? {
        Launched::Started(end) => return Ok(end),
        Launched::Unknown | Launched::NotNow => {}
        Launched::Refused(outcome) => {
            give_up(app, run, outcome).await?;
        }
    }
    Ok(None)
}

/// Starts the run, unless that is impossible.
pub(super) async fn try_launch(app: &Arc<App>, run: &Run) -> Result<Launched<OwnedFd>, ReadError> {
    let (task, project) = (run.task, run.project);
    let (task, project) = app.read(move |view| Ok((view.get::<Task>(task)?, view.get::<Project>(project)?))).await?;
    let start = match (&task, &project) {
        (Some(task), Some(_)) if job::work_of(run, task).is_some_and(Work::starts_empty) => Start::Empty,
        // What an earlier attempt left is laid over the files of the base, which the first step makes.
        _ if run.resumed.is_some() => Start::Empty,
        (Some(task), Some(project)) => app.workspaces.start(app, run, task, project).await,
        _ => Start::Empty,
    };
    let layers = match start {
        Start::Layers(layers) => Some(layers),
        Start::Empty => None,
        Start::Stopped => return Ok(Launched::NotNow),
    };
    // Preparing a checkout takes a while, in which somebody may have found out that the sandbox does not hold.
    if app.jails_hold().is_err() {
        return Ok(Launched::NotNow);
    }
    Ok(match begin(app, (run, task, project), layers).await {
        Ok(end) => Launched::Started(end),
        // It is started when that can be put on record; one that is over is not.
        Err(LaunchError::NotTold(error) | LaunchError::NotEquipped(error)) if !is_against_rules(&error) => {
            tracing::warn!(run = %run.id, error = chain(&error), "a run is not started yet");
            Launched::NotNow
        }
        Err(LaunchError::Agent(AgentError::Brief(error))) => {
            tracing::warn!(run = %run.id, error = chain(&error), "an agent is not started yet: the state cannot be read");
            Launched::NotNow
        }
        // It may be under way: the next look at its directory says.
        Err(LaunchError::Submit(error @ SubmitError::Unknown(_))) => {
            tracing::warn!(run = %run.id, error = chain(&error), "not known whether a run started");
            Launched::Unknown
        }
        Err(error) => {
            let class = class_of(&error, |tool| is_of_recipe(app, tool));
            Launched::Refused(RunOutcome::Failed { class, reason: chain(&error) })
        }
    })
}

/// Whose fault it is that a run does not start; `is_of_recipe` says whether a recipe installs a tool.
fn class_of(error: &LaunchError, is_of_recipe: impl Fn(&str) -> bool) -> FailureClass {
    match error {
        // Whatever it was that could not be written.
        error if is_full(error) => FailureClass::Host,
        LaunchError::Job(_) | LaunchError::Recipes(_) => FailureClass::Task,
        // The session is at fault: the next attempt begins anew.
        LaunchError::Agent(AgentError::Session { .. }) => FailureClass::Agent,
        // The next attempt waits for the tool, or is another one.
        LaunchError::Agent(AgentError::Tool { .. } | AgentError::Server { .. })
        | LaunchError::Installed(_)
        | LaunchError::OtherRole { .. } => FailureClass::Infrastructure,
        LaunchError::Tool { tool, .. } if is_of_recipe(tool) => FailureClass::Infrastructure,
        // Trying again does not help before somebody mends the host.
        LaunchError::Tool { .. }
        | LaunchError::OtherTool { .. }
        | LaunchError::Provider(_)
        | LaunchError::Agent(_)
        | LaunchError::NotAllowed { .. }
        | LaunchError::NoIsolation
        | LaunchError::NoChannel
        | LaunchError::Secret(..)
        | LaunchError::NoVariable { .. } => FailureClass::Isolation,
        _ => FailureClass::Infrastructure,
    }
}

/// Starts a run. What its agent is told, if it has one, is on record before.
async fn begin(
    app: &Arc<App>,
    (run, task, project): (&Run, Option<Task>, Option<Project>),
    layers: Option<Vec<PathBuf>>,
) -> Result<Option<OwnedFd>, LaunchError> {
    let task = task.ok_or(LaunchError::Gone("its task"))?;
    let project = project.ok_or(LaunchError::Gone("its project"))?;
    let of = Arc::new((run.clone(), task, project));
    let prompt = {
        let _turn = if of.0.agent.is_some() { app.briefs.acquire().await.ok() } else { None };
        let (app, of) = (Arc::clone(app), Arc::clone(&of));
        blocking(move || agents::prompt_of(&app, (&of.0, &of.1, &of.2))).await?
    };
    if let Some(text) = &prompt {
        let (digest, bytes) = (Digest::of(text), text.len() as u64);
        gateway::keep(app, text.clone()).await;
        let command = Command::TellAgent { run: run.id, fence: run.fence, prompt: digest, bytes };
        app.execute("runner", command).await.map_err(LaunchError::NotTold)?;
    }
    let _turn = app.launches.acquire().await;
    let app = Arc::clone(app);
    blocking(move || launch(&app, (&of.0, &of.1, &of.2), (layers.as_deref(), prompt.as_ref()))).await
}

/// Whether a recipe installs what has this name.
fn is_of_recipe(app: &App, tool: &str) -> bool {
    app.recipe_tools.recipe(&ToolRequest::parse(tool).name).is_some()
}

/// Whether it is refused as it would be again: for another reason than that the run has gone on, which the next look tells.
const fn is_against_rules(error: &ExecuteError) -> bool {
    matches!(error, ExecuteError::Rejected(DecideError::Invalid { .. } | DecideError::TooLarge { .. }))
}

/// Whether it is for want of space on the disk, which is nothing that this run did.
fn is_full(error: &LaunchError) -> bool {
    let full = |error: &std::io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.filter_map(|error| error.downcast_ref()).any(full)
}

/// Gives a run back to the queue that was chosen so long ago that nobody knows any more whether it is the one to begin. False
/// when somebody has taken it: a daemon that ended while it gave it back has, and then the next look says that it is lost.
pub(super) async fn give_back<S: Site>(app: &Arc<S>, run: &Run) -> Result<bool, PassError> {
    let reason = "nobody began it before its lease was over".to_owned();
    give_up(app, run, lease::outcome(run, reason)).await
}

/// Settles a run of which nothing lives any more, whatever its directory says.
pub(super) async fn end_unseen<S: Site>(app: &Arc<S>, run: &Run, reason: String) -> Result<(), PassError> {
    let (site, unseen) = (Arc::clone(app), run.clone());
    // Nothing starts in what is there instead.
    if let Err(error) = app.blocking(move || site.forestall(&unseen)).await {
        tracing::warn!(run = %run.id, error, "a run is given up without its claim");
    }
    settle::without_result(app, run.id, run.fence, lease::outcome(run, reason)).await
}

/// Settles a run that was not started. False when it was: an earlier try may have ended without an answer, or with the daemon
/// before this one. The next look at its directory says more then.
async fn give_up<S: Site>(app: &Arc<S>, run: &Run, outcome: RunOutcome) -> Result<bool, PassError> {
    let forestalled = async || {
        let (site, run) = (Arc::clone(app), run.clone());
        app.blocking(move || site.forestall(&run)).await
    };
    let mut forestall = forestalled().await;
    if forestall.is_err() {
        // Nothing can be written there now, but an earlier start may still be on its way.
        tokio::select! {
            biased;
            () = app.stopped() => return Ok(false),
            () = app.sleep(START_MAX) => {}
        }
        forestall = forestalled().await;
    }
    match forestall {
        Ok(false) => return Ok(false),
        Ok(true) => {}
        // An earlier start has come through in what cannot be read.
        Err(error) if !is_gone(app, run.id).await => {
            tracing::warn!(run = %run.id, error, "a run that was to be given up lives");
            return Ok(false);
        }
        Err(error) => tracing::warn!(run = %run.id, error, "a run is given up without its claim"),
    }
    settle::without_result(app, run.id, run.fence, outcome).await?;
    Ok(true)
}

/// Whether a run that cannot be looked at is over for sure. It may live, and what is missing may be a descriptor: given up
/// too early there would be two of it. One that lives goes on, and its sandbox ends it when its time is over.
pub(super) async fn is_gone<S: Site>(app: &Arc<S>, id: RunId) -> bool {
    let site = Arc::clone(app);
    app.blocking(move || site.is_gone(id)).await
}

fn launch(
    app: &App,
    (run, task, project): (&Run, &Task, &Project),
    (layers, prompt): (Option<&[PathBuf]>, Option<&Bytes>),
) -> Result<Option<OwnedFd>, LaunchError> {
    let (workspace, out, directory) = (app.dirs.workspace(run.id), app.dirs.run_out(run.id), app.dirs.run(run.id));
    let work = job::work_of(run, task);
    if work.is_some_and(|work| work.isolation() == Isolation::None) && !app.config.allows_none {
        return Err(LaunchError::NoIsolation);
    }
    let keeps = |work: &Work| work.keeps_changes() || job::keeps_checkpoints(work);
    let out_if_kept = Some(&out).filter(|_| work.is_some_and(keeps));
    let goes_on = run.session.from.is_some();
    if (goes_on || work.is_some_and(job::keeps_checkpoints)) && !has_planned_inputs(app, (run, task, project))? {
        return Err(LaunchError::OtherInputs);
    }
    for path in [&directory, &workspace].into_iter().chain(out_if_kept) {
        std::fs::create_dir_all(path).map_err(LaunchError::Directories)?;
    }
    let repository = app.repository(project.id)?;
    let blueprint = match blueprint_of(run, task, project) {
        Some(name) => Some(app.recipes.blueprint(&name)?.1),
        None => None,
    };
    let gates = match (&run.purpose, &run.base) {
        (RunPurpose::Gate { .. }, Some(commit)) => promised_gates(app, run, project, commit)?,
        _ => Vec::new(),
    };
    if run.access.channel && run.agent.is_none() && app.channel_program.is_none() {
        return Err(LaunchError::NoChannel);
    }
    let secrets = granted(app, (run, task, project))?;
    // Until it is on record that the run has them.
    let _stay = app.recipe_tools.stay();
    let agent = RunAgent::of(app, run)?;
    let (tools, mut equipped) = tools(app, (run, task, project), agent.as_ref().is_some_and(RunAgent::needs_node))?;
    equipped.extend(agent.as_ref().and_then(RunAgent::tool).cloned());
    equip(app, run, equipped)?;
    if let (Some(agent), Some(prompt)) = (&agent, prompt) {
        agent.tell(prompt)?;
    }
    let providers = app.providers.named(&run.access.providers)?;
    let job = Job {
        providers: &providers,
        agent: agent.as_ref().map(RunAgent::job),
        channel: app.channel_program.as_deref(),
        project,
        task,
        run,
        gates: &gates,
        repository: &repository,
        workspace: &workspace,
        layers,
        out: &out,
        blueprint: blueprint.as_deref(),
        tools: &tools,
        limits: &limits_of(app, run, (task, project)),
        house: &app.config.network.house,
        lease: &app.config.leases.of_run(),
    };
    Ok(app.executor.submit(&directory, &job::spec(&job)?, &secrets)?)
}

/// Whether the checkpoints of a run are decided by what they were planned with: a program may have become another since.
fn has_planned_inputs(app: &App, (run, task, project): (&Run, &Task, &Project)) -> Result<bool, AgentError> {
    let agent = run.agent.as_ref();
    let told = match agent {
        Some(_) => app.store.read(|view| briefs::requirements(view, task, project)).map_err(AgentError::Brief)?,
        None => Vec::new(),
    };
    let told = agent.map(|agent| (agent, told.as_slice()));
    let inputs = checkpoints::inputs(app, (task, project), run.base.as_deref(), told);
    let planned = job::work_steps(&task.spec.work, inputs.as_ref(), agent);
    Ok(planned.iter().map(|step| step.inputs).eq(run.steps.iter().map(|step| step.inputs)))
}

/// The limits of a run: what its task asks for in place of what every run has, and no longer than until its deadline.
fn limits_of(app: &App, run: &Run, (task, project): (&Task, &Project)) -> JobLimits {
    let mut limits = app.config.job_limits.clone();
    limits.total_memory_bytes = run.asks.memory_bytes.or(limits.total_memory_bytes);
    limits.disk_bytes = run.asks.disk_bytes.or(limits.disk_bytes);
    if run.purpose == RunPurpose::Work {
        limits.wall_ms = task.terms.run_ms.or(task.spec.timeout_ms).unwrap_or(limits.wall_ms);
    }
    // What is to be ended for its silence is ended by its sandbox, also when there is no daemon.
    let silence = task.terms.patience.or(project.patience).or(app.config.patience).silence;
    if let Some(silence) = silence.filter(|silence| silence.then == Remedy::End).and_then(Timeout::ms) {
        limits.idle_ms = Some(limits.idle_ms.map_or(silence, |idle| idle.min(silence)));
    }
    if let Some(deadline) = task.terms.deadline.filter(|_| run.purpose == RunPurpose::Work) {
        limits.wall_ms = limits.wall_ms.min(deadline.ms_since(crate::clock::now()).max(1));
    }
    limits
}

/// The secrets of a run, once more after the question whether it may be given what it is to be given: the configuration
/// may have changed since the task was made.
fn granted(app: &App, (run, task, project): (&Run, &Task, &Project)) -> Result<Secrets, LaunchError> {
    // What a role may reach is the word of whoever wrote the role.
    let of_role = agents::egress_of(app, run, project);
    let is_asked = |reach: &&Reach| !of_role.iter().any(|allowed| allowed.covers(reach));
    let asked = Access { network: run.access.network.iter().filter(is_asked).cloned().collect(), ..run.access.clone() };
    // What the task does not ask for itself was the word of the role that it was chosen with; no approval was for that.
    let of_task = task.spec.work.access().network;
    let is_stray = |reach: &&Reach| run.purpose == RunPurpose::Work && !of_task.iter().any(|own| own.covers(reach));
    let stray = Access { network: asked.network.iter().filter(is_stray).cloned().collect(), ..Access::default() };
    let strays = app.config.network.questions(&stray);
    if !strays.is_empty() {
        return Err(LaunchError::OtherRole { what: strays.join(", ") });
    }
    let questions = app.config.network.questions(&asked);
    // Without the approval that a task has, no run of it is made.
    if task.approval.is_none() && !questions.is_empty() {
        return Err(LaunchError::NotAllowed { what: questions.join(", ") });
    }
    let values = app.secrets.values(run.access.secrets.iter().map(|secret| &secret.name)).map_err(|error| {
        let hint = match &error {
            SecretStoreError::Missing { name } => format!("set it with `orchctl secret set {name}`"),
            _ => "set it anew with `orchctl secret set`".to_owned(),
        };
        LaunchError::Secret(error, hint)
    })?;
    let as_variable = run.access.secrets.iter().filter(|secret| secret.env.is_some());
    match as_variable.into_iter().find(|secret| has_nul(&values, secret.name.as_str())) {
        Some(secret) => Err(LaunchError::NoVariable { name: secret.name.to_string() }),
        None => Ok(values),
    }
}

fn has_nul(values: &Secrets, name: &str) -> bool {
    values.get(name).is_some_and(|value| value.contains(&0))
}

/// The gates that the check began with. Others, or none because the tree could not be read just now, are no check.
fn promised_gates(app: &App, run: &Run, project: &Project, commit: &str) -> Result<Vec<Step>, LaunchError> {
    let gates = gates::on(app, project, commit).run;
    if is_promised(&gates, &run.steps) { Ok(gates) } else { Err(LaunchError::OtherGates) }
}

fn is_promised(gates: &[Step], steps: &[StepRecord]) -> bool {
    let planned = job::gate_steps(gates);
    let same = |(now, then): (&PlannedStep, &StepRecord)| (&now.name, &now.command) == (&then.name, &then.command);
    planned.len() == steps.len() && planned.iter().zip(steps).all(same)
}

/// The blueprint whose files the steps may read.
fn blueprint_of(run: &Run, task: &Task, project: &Project) -> Option<String> {
    match (&run.purpose, &task.spec.work) {
        (RunPurpose::Work, Work::Steps { blueprint, .. }) => blueprint.clone(),
        (RunPurpose::Work, Work::Agent { .. }) => None,
        (RunPurpose::Gate { .. }, _) => project.blueprint.as_ref().map(|(name, _)| name.clone()),
    }
}

/// Puts on record which installed tools a run is started with.
fn equip(app: &App, run: &Run, mut tools: Vec<InstalledTool>) -> Result<(), LaunchError> {
    tools.sort();
    tools.dedup();
    if tools == run.tools {
        return Ok(());
    }
    let command = Command::EquipRun { run: run.id, fence: run.fence, tools };
    tokio::runtime::Handle::current().block_on(app.execute("runner", command)).map_err(LaunchError::NotEquipped)?;
    Ok(())
}

/// Mounts and paths of the programs of a run, and which of them are installed tools; `needs_node` says that its agent is a script
/// of Node.js.
fn tools(
    app: &App,
    of: (&Run, &Task, &Project),
    needs_node: bool,
) -> Result<(ToolSet, Vec<InstalledTool>), LaunchError> {
    let given = Some(of.1).filter(|_| of.0.purpose == RunPurpose::Work).into_iter().flat_map(|task| &task.tools);
    for (tool, allowed) in given.clone() {
        let found = tool_source(app, tool).map_err(|fix| LaunchError::Tool { tool: tool.clone(), fix })?;
        // What every run has needs nobody's leave.
        if found.is_some_and(|found| found != *allowed) {
            return Err(LaunchError::OtherTool { tool: tool.clone(), allowed: allowed.clone() });
        }
    }
    let mut needed = needed_tools(app, of);
    needed.extend(needs_node.then(|| "node".to_owned()));
    let set = app.tool_set(&needed);
    if let Some((tool, fix)) = set.missing.first_key_value() {
        return Err(LaunchError::Tool { tool: tool.clone(), fix: fix.clone() });
    }
    // What is mounted is what was allowed, whatever was found earlier under that name.
    let is_mounted = |source: &str| set.mounts.iter().any(|mount| mount.source == Path::new(source));
    for (tool, allowed) in given.filter(|(_, allowed)| Path::new(allowed).is_absolute()) {
        if app.tools.source(tool).is_ok_and(|source| source.is_some()) && !is_mounted(allowed) {
            app.forget_host_tools();
            return Err(LaunchError::OtherTool { tool: tool.clone(), allowed: allowed.clone() });
        }
    }
    let mut equipped = Vec::new();
    for name in needed.iter().map(|request| ToolRequest::parse(request).name) {
        // A program of the host may have done in its place.
        if matches!(app.recipe_tools.state(&name), State::Ready(_)) {
            equipped.push(app.recipe_tools.installed(&name)?.used());
        }
    }
    Ok((set, equipped))
}

/// Where a tool comes from that not every run has, as a person is shown who gives it to a task.
///
/// # Errors
/// What is to be done so that it is there.
pub(crate) fn tool_source(app: &App, tool: &str) -> Result<Option<String>, String> {
    let (tools, network) = (&app.recipe_tools, &app.config.network);
    let offer = || tools.recipe(tool).and_then(|recipe| tools.offer(recipe, network));
    match tools.answer(tool, &app.tools, network) {
        Answer::Host { name } => Ok(app.tools.source(&name)?.map(|source| source.display().to_string())),
        Answer::Tool(_) => Ok(offer()),
        Answer::Missing { fix } => offer().map(Some).ok_or(fix),
    }
}

/// Programs that a run has beside those that every run has.
pub(crate) fn needed_tools(app: &App, (run, task, project): (&Run, &Task, &Project)) -> Vec<String> {
    match (&run.purpose, &task.spec.work) {
        (RunPurpose::Work, Work::Steps { tools, .. }) => {
            // What the repository builds with is there in every task, named or not.
            tools
                .iter()
                .chain(task.tools.keys())
                .cloned()
                .chain(project.gate_tools().into_iter().filter(|tool| app.has_tool(tool)))
                .collect()
        }
        // An agent runs what its result is checked with.
        (RunPurpose::Work, Work::Agent { .. }) => {
            let mut tools = project.gate_tools();
            tools.retain(|tool| app.has_tool(tool));
            tools.extend(task.tools.keys().cloned());
            tools
        }
        (RunPurpose::Gate { .. }, _) => project.gate_tools(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_runs_the_gates_that_it_began_with_or_none() {
        let step = |name: &str| Step::new(name, "true");
        let began = [step("build"), step("test")];
        let steps: Vec<StepRecord> = job::gate_steps(&began).into_iter().map(StepRecord::new).collect();
        assert!(is_promised(&began, &steps));
        for now in [&[][..], &[step("build")], &[step("build"), step("lint")]] {
            assert!(!is_promised(now, &steps), "{now:?}");
        }
    }

    #[test]
    fn a_full_disk_is_the_hosts_fault_whatever_was_to_be_written() {
        let class = |error: LaunchError| class_of(&error, |_| false);
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert_eq!(class(AgentError::Prompt(kind.into()).into()), FailureClass::Host);
            assert_eq!(class(AgentError::Files(kind.into()).into()), FailureClass::Host);
            assert_eq!(class(LaunchError::Directories(kind.into())), FailureClass::Host);
        }
        assert_eq!(class(AgentError::Prompt(ErrorKind::PermissionDenied.into()).into()), FailureClass::Isolation);
        assert_eq!(class(AgentError::Server { name: "coder".into() }.into()), FailureClass::Infrastructure);
        assert_eq!(class(LaunchError::Gone("its task")), FailureClass::Infrastructure);
    }
}
