//! From a run to what the sandbox executes: steps, mounts, environment, limits.
//!
//! A run is: check out the base, the steps of the task (or the gates), and for work collect the result, unless its recipe
//! wants nothing of the project's files. The first and the last step are ours; they run inside the sandbox like the
//! others, so that nothing of a workspace is ever touched by a git outside of one (invariant I12).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use orch_core::entity::{AgentUse, Inputs, PlannedStep, Project, Run, RunPurpose, Task, Work};
use orch_core::recipe::{self, Access, Domain, Reach, STEP_TIMEOUT_MAX_MS, SecretUse, Step};
use orch_proto::provider::Provider;
use orch_sandbox::egress::{AllowEntry, EgressPolicy, ListError, Network, PatternError, Port};
use orch_sandbox::level::{Level, UnknownLevel};
use orch_sandbox::spec::{
    Egress, HOME_INSIDE, Isolation, LeaseSpec, Limits, OUT_INSIDE, Phase, ReadOnlyMount, RunSpec, SecretDelivery,
    SecretSpec, StepSpec, SyscallProfile,
};

use crate::agent::{AGENT, AgentJob, Session};
use crate::channel;
use crate::git::{
    BareRepo, CheckoutSpec, CollectSpec, CommitError, CommitId, Identity, KeepSpec, NameError, OBJECTS_INSIDE,
    ObjectFormat, branch_name,
};
use crate::host_tools::{SYSTEM_PATH, ToolSet};
use crate::workspace::Seed;

/// Where the workspace appears inside.
pub const WORKSPACE_INSIDE: &str = "/work";
/// Where the index of a prepared checkout appears inside.
const INDEX_INSIDE: &str = "/orch/index";
/// Where the files of a blueprint appear inside.
const BLUEPRINT_INSIDE: &str = "/orch/blueprint";
/// Name of the first step.
pub const CHECKOUT: &str = "checkout";
/// Name of the step that asks people for what providers need.
const PROVIDERS: &str = "providers";
/// Has a step find what was given: the step's own command is an argument of this one.
const WITH_PROVIDED: &str = r#". "$HOME/.orch/provided/env" && exec /bin/sh -c "$1""#;
/// Name of the last step of work.
pub const COLLECT: &str = "collect";
/// Time for the first and the last step, in milliseconds.
const OWN_STEP_MS: u64 = 10 * 60 * 1_000;

/// What a run may use, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLimits {
    pub wall_ms: u64,
    pub processes: u64,
    pub open_files: u64,
    /// Address space of each process.
    pub memory_bytes: Option<u64>,
    /// Memory of all processes together.
    pub total_memory_bytes: Option<u64>,
    /// Processor time of all processes together, in thousandths of one processor.
    pub cpu_millis: Option<u64>,
    /// Space of workspace and results.
    pub disk_bytes: Option<u64>,
    /// Silence until a step is killed.
    pub idle_ms: Option<u64>,
    pub file_size_bytes: u64,
    pub log_bytes_max: u64,
    pub tmp_bytes: u64,
}

/// Everything that a run is made from.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub project: &'a Project,
    pub task: &'a Task,
    pub run: &'a Run,
    /// What a run of gates executes.
    pub gates: &'a [Step],
    pub repository: &'a BareRepo,
    /// Directory of the workspace, on the host.
    pub workspace: &'a Path,
    /// The prepared checkout that the workspace is on, as its layers on the host, the first on top; `None`: the first
    /// step checks the base out.
    pub layers: Option<&'a [PathBuf]>,
    /// Directory for the result, on the host; needed for work.
    pub out: &'a Path,
    /// Files of the project's blueprint, on the host.
    pub blueprint: Option<&'a Path>,
    pub tools: &'a ToolSet,
    /// Who does the work when it is not known steps.
    pub agent: Option<AgentJob<'a>>,
    /// What people are asked for before the steps of the work begin.
    pub providers: &'a [&'a Provider],
    /// The program that speaks to the run's channel, on the host; none when it is not installed.
    pub channel: Option<&'a Path>,
    pub limits: &'a JobLimits,
    /// Hosts of the house.
    pub house: &'a [House],
    pub lease: &'a LeaseSpec,
}

/// Hosts that may lead to addresses which are refused otherwise, because the operator says so: a mirror in the house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct House {
    pub host: Domain,
    pub networks: Vec<Network>,
}

/// Why a run cannot be described to the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The task is for an agent, and there is no adapter for it.
    #[error("the task needs an agent with the capability `{capability}`")]
    NeedsAgent { capability: String },
    /// The run's base is no commit.
    #[error("the base of the run is not a commit")]
    Base(#[from] NameError),
    /// The author cannot be written into a commit.
    #[error("the run has no usable author")]
    Author(#[from] CommitError),
    /// Never: it has names and texts.
    #[error("what people are to be asked for has no form")]
    Providers(#[from] serde_json::Error),
    /// The level is none.
    #[error(transparent)]
    Level(#[from] UnknownLevel),
    /// The sandbox takes no such host.
    #[error("the host `{host}` cannot be allowed")]
    Host { host: String, source: PatternError },
    /// More hosts, ports or networks than the sandbox takes.
    #[error("the network of the run cannot be described")]
    Network(#[from] ListError),
}

/// The steps that an attempt at the work has, as they are shown to people. `inputs` decide what checkpoints are, beside the steps;
/// `agent` does the work when it is not known steps.
#[must_use]
pub fn work_steps(work: &Work, inputs: Option<&Inputs>, agent: Option<&AgentUse>) -> Vec<PlannedStep> {
    let own = |name: &str, command: &str| PlannedStep::new(name, command);
    let steps: &[Step] = match work {
        Work::Steps { steps, .. } => steps,
        Work::Agent { .. } => &[],
    };
    let mut planned = Vec::with_capacity(steps.len() + 2);
    if !work.starts_empty() {
        // An agent's work goes on from the files that its session belongs to, in place of those of the base.
        let inputs = inputs.zip(agent).map(|(inputs, agent)| inputs.of_session(agent));
        planned.push(PlannedStep { inputs, ..own(CHECKOUT, "check out the base into the workspace") });
    }
    let providers = work.access().providers;
    if !providers.is_empty() {
        let names: Vec<&str> = providers.iter().map(recipe::Key::as_str).collect();
        planned.push(own(PROVIDERS, &format!("ask people for access to {}", names.join(", "))));
    }
    for (index, step) in planned_steps(steps).enumerate() {
        let command = format!("keep the workspace as `{}` leaves it", step.name);
        planned.push(step);
        if steps[index].checkpoint {
            let inputs = inputs.map(|inputs| inputs.digest(&steps[..=index]));
            planned.push(PlannedStep { inputs, ..PlannedStep::new(checkpoint_name(index), command) });
        }
    }
    if let Some(agent) = agent {
        let model = agent.model.as_deref().map_or(String::new(), |model| format!(" with {model}"));
        planned.push(own(AGENT, &format!("{} ({}{model}) works on the task", agent.name, agent.kind)));
    }
    if work.keeps_changes() {
        planned.push(own(COLLECT, "commit what the steps changed"));
    }
    planned
}

/// The steps that a run of gates has, as they are shown to people.
#[must_use]
pub fn gate_steps(gates: &[Step]) -> Vec<PlannedStep> {
    let checkout = PlannedStep::new(CHECKOUT, "check out the merged tree");
    std::iter::once(checkout).chain(planned_steps(gates)).collect()
}

/// Describes a run to the sandbox.
///
/// # Errors
/// When the run cannot be executed as it is.
pub fn spec(job: &Job<'_>) -> Result<RunSpec, JobError> {
    let mut session = None;
    let (steps, step_env) = match job.run.purpose {
        RunPurpose::Gate { .. } => {
            (job.gates, job.project.blueprint.as_ref().map(|(_, parameters)| parameters.clone()).unwrap_or_default())
        }
        RunPurpose::Work => match &job.task.spec.work {
            Work::Steps { steps, env, .. } => (steps.as_slice(), env.clone()),
            Work::Agent { capability } => {
                let agent = job.agent.as_ref();
                let agent = agent.ok_or_else(|| JobError::NeedsAgent { capability: capability.clone() })?;
                session = Some(Session::new(agent, job.limits.wall_ms));
                (&[][..], BTreeMap::new())
            }
        },
    };
    let work = work_of(job.run, job.task);
    let collects = work.is_some_and(Work::keeps_changes);
    let isolation = work.map_or(recipe::Isolation::Sandbox, Work::isolation);
    let mut specs = Vec::with_capacity(steps.len() + 2);
    if !work.is_some_and(Work::starts_empty) {
        specs.push(own_step(CHECKOUT, checkout(job)?, Phase::Setup));
    }
    specs.extend(provide(job.providers)?);
    let names = unique_names(steps);
    let keeps = work.is_some_and(keeps_checkpoints);
    for (index, (step, name)) in steps.iter().zip(names).enumerate() {
        specs.push(step_spec(step, name, !job.providers.is_empty()));
        if keeps && step.checkpoint {
            let at = u32::try_from(specs.len()).unwrap_or(u32::MAX);
            specs.push(own_step(&checkpoint_name(index), keep(job.run, job.repository.format(), at)?, Phase::Main));
        }
    }
    if let Some(resumed) = &job.run.resumed {
        // An earlier attempt did these; the first step brings what they left.
        specs.drain(1..=(resumed.step as usize).min(specs.len().saturating_sub(1)));
    }
    specs.extend(session.iter().map(|session| session.step.clone()));
    if collects {
        specs.push(own_step(COLLECT, collect(job)?, Phase::Always));
    }
    let access = &job.run.access;
    let listener = access.channel.then(channel::listener);
    let mut env = environment(job, step_env);
    // The value of a secret wins over whatever else has its variable.
    for variable in access.secrets.iter().filter_map(|secret| secret.env.as_ref()) {
        env.remove(variable.as_str());
        specs.iter_mut().for_each(|step| drop(step.env.remove(variable.as_str())));
    }
    let spec = RunSpec {
        name: format!("{}-r-{}", job.project.slug, job.run.number),
        fence: job.run.fence,
        workspace: job.workspace.to_owned(),
        workspace_base: job.layers.map(<[PathBuf]>::to_vec),
        workspace_at: PathBuf::from(WORKSPACE_INSIDE),
        mounts: mounts(job).into_iter().chain(session.iter().flat_map(|session| session.mounts.clone())).collect(),
        out: (collects || keeps).then(|| job.out.to_owned()),
        env,
        steps: specs,
        limits: limits(job.limits),
        required_level: Level::try_from(job.run.required_level)?,
        isolation: Isolation::Sandboxed,
        egress: egress(access, job.house)?,
        listeners: session.into_iter().filter_map(|session| session.listener).chain(listener).collect(),
        secrets: access.secrets.iter().map(secret_spec).collect(),
        syscalls: syscalls(job.run),
        lease: Some(job.lease.clone()),
    };
    Ok(match isolation {
        recipe::Isolation::Sandbox => spec,
        recipe::Isolation::None => on_the_host(spec),
    })
}

/// What a run may ask of the kernel, as the role of its agent says.
fn syscalls(run: &Run) -> SyscallProfile {
    match run.agent.as_ref().map(|agent| agent.profile) {
        None | Some(recipe::Profile::Standard) => SyscallProfile::Standard,
        Some(recipe::Profile::Strict) => SyscallProfile::Strict,
    }
}

/// Whether something of the workspace is kept while the work goes on.
#[must_use]
pub fn keeps_checkpoints(work: &Work) -> bool {
    matches!(work, Work::Steps { steps, starts_empty: false, .. } if steps.iter().any(|step| step.checkpoint))
}

/// The variables of the work that can decide what it leaves: without those that tell which run it is.
#[must_use]
pub fn work_env(work: &Work) -> BTreeMap<String, String> {
    match work {
        Work::Steps { env, .. } => env.clone(),
        Work::Agent { .. } => BTreeMap::new(),
    }
}

/// What the steps of a run are, unless they are gates.
#[must_use]
pub fn work_of<'t>(run: &Run, task: &'t Task) -> Option<&'t Work> {
    (run.purpose == RunPurpose::Work).then_some(&task.spec.work)
}

/// The same without isolation: everything is where it is on the host.
fn on_the_host(mut spec: RunSpec) -> RunSpec {
    let outside = |path: &str| {
        let of = |mount: &ReadOnlyMount| Some(mount.source.join(Path::new(path).strip_prefix(&mount.target).ok()?));
        spec.mounts.iter().find_map(of).map_or_else(|| path.to_owned(), |found| found.display().to_string())
    };
    let path = spec.env.get("PATH").map(|path| path.split(':').map(outside).collect::<Vec<_>>().join(":"));
    spec.env.extend(path.map(|path| ("PATH".to_owned(), path)));
    // The workspace is the home then.
    spec.env.remove("HOME");
    RunSpec { workspace_at: spec.workspace.clone(), mounts: Vec::new(), isolation: Isolation::None, ..spec }
}

/// What a run may reach; nothing unless it was given a host.
///
/// # Errors
/// When the sandbox takes no such host, or not so many.
pub fn egress(access: &Access, house: &[House]) -> Result<Egress, JobError> {
    if access.network.is_empty() {
        return Ok(Egress::None);
    }
    let mut entries = Vec::new();
    for reach in &access.network {
        let of_all = house.iter().filter(|house| house.host.covers(&reach.host));
        entries.push(entry(&reach.host, reach, of_all.flat_map(|house| house.networks.clone()).collect())?);
        // What the house says of a part of the hosts holds for that part.
        for part in house.iter().filter(|house| house.host != reach.host && reach.host.covers(&house.host)) {
            entries.push(entry(&part.host, reach, part.networks.clone())?);
        }
    }
    Ok(Egress::Allow(EgressPolicy { entries: entries.try_into()?, transparent: false }))
}

fn entry(host: &Domain, reach: &Reach, networks: Vec<Network>) -> Result<AllowEntry, JobError> {
    let pattern = host.as_str().parse();
    let host = pattern.map_err(|source| JobError::Host { host: host.to_string(), source })?;
    let ports: Vec<Port> = reach.ports.iter().filter_map(|port| Port::new(*port)).collect();
    Ok(AllowEntry { host, ports: ports.try_into()?, networks: networks.try_into()? })
}

fn secret_spec(secret: &SecretUse) -> SecretSpec {
    let delivery = secret.env.as_ref().map_or(SecretDelivery::File, |env| SecretDelivery::Env(env.to_string()));
    SecretSpec { name: secret.name.to_string(), delivery }
}

/// Who commits inside a workspace.
///
/// # Errors
/// Never with a well-formed run.
pub fn run_identity(run: &Run) -> Result<Identity, CommitError> {
    Identity::new(&format!("orch run R-{}", run.number), "run@orch.invalid")
}

fn checkout(job: &Job<'_>) -> Result<Vec<String>, JobError> {
    let branch = branch_name(u64::from(job.task.number), &job.task.title);
    if let (Some(_), Some(base)) = (job.layers, base(job.run)?) {
        return Ok(vec!["/bin/echo".into(), format!("checkout: {branch} at {base}, prepared")]);
    }
    let spec = CheckoutSpec {
        workspace_at: WORKSPACE_INSIDE.into(),
        objects_at: OBJECTS_INSIDE.into(),
        base: base(job.run)?,
        branch,
        author: run_identity(job.run)?,
        format: job.repository.format(),
        kept: job.run.resumed.as_ref().map(|resumed| CommitId::parse(&resumed.commit)).transpose()?,
    };
    Ok(spec.argv())
}

/// What keeps the files that a run left which is over, in the name of its step with this index, and what that has to see beside them.
///
/// # Errors
/// As [`spec`].
pub fn keep_left(run: &Run, repository: &BareRepo, step: u32) -> Result<(Vec<String>, Vec<ReadOnlyMount>), JobError> {
    let objects = ReadOnlyMount { source: repository.objects_dir(), target: OBJECTS_INSIDE.into() };
    Ok((keep(run, repository.format(), step)?, vec![objects]))
}

fn keep(run: &Run, format: ObjectFormat, step: u32) -> Result<Vec<String>, JobError> {
    let spec = KeepSpec {
        workspace_at: WORKSPACE_INSIDE.into(),
        objects_at: OBJECTS_INSIDE.into(),
        out_at: OUT_INSIDE.into(),
        base: base(run)?,
        step,
        author: run_identity(run)?,
        at_unix_s: run.queued_at.unix_us().div_euclid(1_000_000),
        format,
    };
    Ok(spec.argv())
}

/// Name of the step that keeps the workspace after the step with this index.
fn checkpoint_name(index: usize) -> String {
    format!("checkpoint {}", index + 1)
}

/// What the run finds in its `.git`, when its workspace is on a prepared checkout of its base.
///
/// # Errors
/// As [`spec`].
pub fn seed(task: &Task, run: &Run, base: &CommitId) -> Result<Seed, JobError> {
    Ok(Seed {
        branch: branch_name(u64::from(task.number), &task.title),
        base: base.clone(),
        author: run_identity(run)?,
        format: base.format(),
    })
}

fn collect(job: &Job<'_>) -> Result<Vec<String>, JobError> {
    let spec = CollectSpec {
        workspace_at: WORKSPACE_INSIDE.into(),
        objects_at: OBJECTS_INSIDE.into(),
        out_at: OUT_INSIDE.into(),
        base: base(job.run)?,
        index_at: job.layers.map(|_| INDEX_INSIDE.into()),
        author: run_identity(job.run)?,
        message: format!("T-{}: {}\n\nRun: R-{}\n", job.task.number, job.task.title, job.run.number),
        at_unix_s: job.run.queued_at.unix_us().div_euclid(1_000_000),
        format: job.repository.format(),
    };
    Ok(spec.argv())
}

/// The commit that a run starts from.
///
/// # Errors
/// When it is not one.
pub fn base(run: &Run) -> Result<Option<CommitId>, NameError> {
    run.base.as_deref().map(CommitId::parse).transpose()
}

fn mounts(job: &Job<'_>) -> Vec<ReadOnlyMount> {
    let mut mounts = Vec::new();
    if !work_of(job.run, job.task).is_some_and(Work::starts_empty) {
        mounts.push(ReadOnlyMount { source: job.repository.objects_dir(), target: OBJECTS_INSIDE.into() });
    }
    if let Some(top) = job.layers.and_then(<[PathBuf]>::first) {
        mounts.push(ReadOnlyMount { source: top.join(".git/index"), target: INDEX_INSIDE.into() });
    }
    if let Some(files) = job.blueprint {
        mounts.push(ReadOnlyMount { source: files.to_owned(), target: BLUEPRINT_INSIDE.into() });
    }
    mounts.extend(job.tools.mounts.iter().cloned());
    mounts.extend(job.channel.filter(|_| job.run.access.channel).map(channel::mount));
    mounts
}

fn environment(job: &Job<'_>, step_env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of_channel = job.run.access.channel.then_some(channel::DIRECTORY_INSIDE);
    let path = job.tools.path.iter().map(String::as_str).chain([SYSTEM_PATH]).chain(of_channel);
    let path = path.collect::<Vec<_>>().join(":");
    let purpose = match job.run.purpose {
        RunPurpose::Work => "work",
        RunPurpose::Gate { .. } => "gate",
    };
    let own = [
        ("PATH", path),
        ("HOME", HOME_INSIDE.to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("CI", "true".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("ORCH_PROJECT", job.project.slug.clone()),
        ("ORCH_TASK", format!("T-{}", job.task.number)),
        ("ORCH_RUN", format!("R-{}", job.run.number)),
        ("ORCH_ATTEMPT", job.run.attempt.to_string()),
        ("ORCH_PURPOSE", purpose.to_owned()),
    ];
    let mut env: BTreeMap<String, String> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if job.run.access.network.is_empty() {
        env.insert("CARGO_NET_OFFLINE".into(), "true".into());
    }
    if job.blueprint.is_some() {
        env.insert("ORCH_BLUEPRINT".into(), BLUEPRINT_INSIDE.into());
    }
    // The task's own values win, but for what tells it which run it is.
    for (name, value) in step_env {
        if !name.starts_with("ORCH_") || name.starts_with("ORCH_PARAM_") {
            env.insert(name, value);
        }
    }
    env
}

/// The limits of a run, in the terms of the sandbox.
#[must_use]
pub fn limits(limits: &JobLimits) -> Limits {
    Limits {
        wall_ms: limits.wall_ms,
        cpu_seconds: (limits.wall_ms / 1_000).max(1),
        memory_bytes: limits.memory_bytes,
        run_memory_bytes: limits.total_memory_bytes,
        run_cpu_millis: limits.cpu_millis,
        disk_bytes: limits.disk_bytes,
        idle_ms: limits.idle_ms,
        processes: limits.processes,
        open_files: limits.open_files,
        file_size_bytes: limits.file_size_bytes,
        log_bytes_max: limits.log_bytes_max,
        tmp_bytes: limits.tmp_bytes,
    }
}

fn own_step(name: &str, argv: Vec<String>, phase: Phase) -> StepSpec {
    StepSpec { name: name.into(), argv, env: BTreeMap::new(), cwd: PathBuf::new(), timeout_ms: OWN_STEP_MS, phase }
}

/// Asks people for what providers need, for as long as a question waits.
fn provide(providers: &[&Provider]) -> Result<Option<StepSpec>, JobError> {
    if providers.is_empty() {
        return Ok(None);
    }
    let needs = serde_json::to_string(providers)?;
    let argv = [channel::PROGRAM_INSIDE, "agent", "provide", &needs].map(ToOwned::to_owned).to_vec();
    Ok(Some(StepSpec { timeout_ms: STEP_TIMEOUT_MAX_MS, ..own_step(PROVIDERS, argv, Phase::Setup) }))
}

fn step_spec(step: &Step, name: String, provides: bool) -> StepSpec {
    let words: &[&str] = if provides { &["/bin/sh", "-c", WITH_PROVIDED, "sh"] } else { &["/bin/sh", "-c"] };
    StepSpec {
        name,
        argv: words.iter().copied().chain([step.run.as_str()]).map(ToOwned::to_owned).collect(),
        env: step.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        cwd: PathBuf::from(step.cwd.as_str()),
        timeout_ms: step.timeout_ms,
        phase: Phase::Main,
    }
}

/// Steps as the sandbox executes them, for work that is no run.
#[must_use]
pub fn plain_steps(steps: &[Step]) -> Vec<StepSpec> {
    steps.iter().zip(unique_names(steps)).map(|(step, name)| step_spec(step, name, false)).collect()
}

fn planned_steps(steps: &[Step]) -> impl Iterator<Item = PlannedStep> {
    let planned = |(step, name): (&Step, String)| PlannedStep {
        once: !step.idempotent,
        ..PlannedStep::new(name, step.run.clone())
    };
    steps.iter().zip(unique_names(steps)).map(planned)
}

/// Names as the sandbox takes them: short printable ASCII, each once.
fn unique_names(steps: &[Step]) -> Vec<String> {
    let mut taken: BTreeSet<String> = [CHECKOUT, PROVIDERS, COLLECT].map(ToOwned::to_owned).into();
    let kept_after = steps.iter().enumerate().filter(|(_, step)| step.checkpoint);
    taken.extend(kept_after.map(|(index, _)| checkpoint_name(index)));
    let mut names = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let plain: String =
            step.name.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(50).collect();
        let plain = plain.trim().to_owned();
        let mut name = if plain.is_empty() { format!("step {}", index + 1) } else { plain.clone() };
        if taken.contains(&name) {
            name = format!("{plain} ({})", index + 1);
        }
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_names_are_unique_printable_and_never_ours() {
        let step = |name: &str| Step::new(name, "true");
        let steps = [
            step("build"),
            step("build"),
            step("collect"),
            step("r\u{e9}sum\u{e9}\n"),
            step(""),
            step(&"x".repeat(99)),
        ];
        let names = unique_names(&steps);
        assert_eq!(names[..5], ["build", "build (2)", "collect (3)", "r?sum??", "step 5"]);
        assert!(names.iter().all(|name| name.len() <= 63));
    }
}
