//! Configuration: a TOML file, then environment, then flags. Raw values become a checked [`Config`] once, here.

mod agents;
mod approvals;
mod doubts;
mod file;
mod freeze;
mod leases;
mod mirrors;
mod network;
mod patience;
mod planner;
mod retention;
mod share;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orch_adapters::job::JobLimits;
use orch_adapters::tool_cache::Mirrors;
use orch_core::entity::Patience;
use orch_core::schedule::{Freeze, Staff, Totals};
use orch_proto::request::Role;
use orch_proto::{ErrorCode, RpcError};
use orch_sandbox::limit::Ceilings;

use crate::args::Args;
use crate::host::Room;
use crate::workspaces::WorkspacesConfig;
pub(crate) use agents::{AgentConfig, AgentsConfig, ModelServer};
use file::ConfigFile;
pub(crate) use leases::LeasesConfig;
pub(crate) use network::NetworkConfig;
pub(crate) use planner::{ModelPlanner, PROMPT_TOKENS, PlannerBy, PlannerConfig, is_model};
pub(crate) use retention::{Kept, RetentionConfig};
use share::{HostSize, Shares};

/// Free space is counted in units of that many bytes: what changes all the time would have all that waits for it look again all the
/// time.
const DISK_UNIT: u64 = 64 << 20;

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) state_dir: PathBuf,
    pub(crate) socket: PathBuf,
    /// Group that may open the socket; none: only the daemon's own user and root.
    pub(crate) socket_group: Option<String>,
    /// Filter for standard error.
    pub(crate) log_filter: String,
    /// Runs at once, gates included.
    pub(crate) runs_max: u32,
    /// Clients at once.
    pub(crate) connections_max: usize,
    /// Parts of the host for all runs together.
    pub(crate) shares: Shares,
    /// The same in numbers.
    pub(crate) ceilings: Ceilings,
    pub(crate) job_limits: JobLimits,
    /// How long a run waits for a person before its processes stand still.
    pub(crate) park_after: Duration,
    pub(crate) workspaces: WorkspacesConfig,
    pub(crate) retention: RetentionConfig,
    pub(crate) leases: LeasesConfig,
    pub(crate) network: NetworkConfig,
    /// Agents, and the servers of models that they ask.
    pub(crate) agents: AgentsConfig,
    /// Who plans; none: the rules do.
    pub(crate) planner: Option<PlannerConfig>,
    /// Units of named semaphores. All others have one.
    pub(crate) semaphores: BTreeMap<String, u32>,
    /// Times in which nothing of some projects begins.
    pub(crate) freezes: Vec<Freeze>,
    /// How long nothing begins because of a grant, in milliseconds.
    pub(crate) hold_ms: u64,
    /// How long things may take where nobody said so of their task or project.
    pub(crate) patience: Patience,
    /// Where the service manager leaves credentials.
    pub(crate) credentials: Option<PathBuf>,
    /// Isolation that runs need, 0 to 4.
    pub(crate) required_level: u8,
    /// Whether recipes may do without any.
    pub(crate) allows_none: bool,
    /// The `orch-sandbox` program.
    pub(crate) sandbox_program: PathBuf,
    /// The `orchctl` program, part of which works inside runs.
    pub(crate) orchctl_program: PathBuf,
    /// The operator's own recipes.
    pub(crate) recipes_dir: Option<PathBuf>,
    /// Where tools are downloaded from instead.
    pub(crate) mirrors: Mirrors,
    /// Users and `@groups` by role. The daemon's own user and root are admins in any case.
    pub(crate) roles: BTreeMap<Role, Vec<String>>,
}

impl Config {
    /// What all runs share. Where the kernel keeps the memory of runs within bounds, one that asks for none of its own counts for its
    /// part and not for its bound: not all of them use it up at once. `room` is that of the disk, with how many bytes of their parts
    /// of it those runs have written that asked for one.
    pub(crate) fn totals(&self, bounds_memory: bool, room: Option<(Room, u64)>, staff: Arc<Staff>) -> Totals {
        let run = self.job_limits.total_memory_bytes;
        let memory_bytes = self.ceilings.memory_bytes.filter(|_| run.is_some());
        let part = memory_bytes.map_or(0, |total| total / u64::from(self.runs_max.max(1)));
        let run = run.unwrap_or(0);
        let beyond_floor = |room: Room, bytes: u64| {
            bytes.saturating_sub(room.floor(self.shares.disk_free_bytes)) / DISK_UNIT * DISK_UNIT
        };
        let free = |(room, written): (Room, u64)| beyond_floor(room, room.free.saturating_add(written));
        let size = |(room, _): (Room, u64)| beyond_floor(room, room.size);
        Totals {
            memory_bytes,
            run_memory_bytes: if bounds_memory { run.min(part) } else { run },
            cpu_millis: self.ceilings.cpu_millis,
            disk_bytes: room.map(free),
            disk_size_bytes: room.map(size),
            semaphores: self.semaphores.clone(),
            staff,
        }
    }

    /// The configuration as a file that says all of it.
    pub(crate) fn to_file(&self) -> Result<String, toml::ser::Error> {
        let (models, agents) = self.agents.sections();
        let file = ConfigFile {
            daemon: file::Daemon {
                state_dir: Some(self.state_dir.clone()),
                socket: Some(self.socket.clone()),
                socket_group: self.socket_group.clone(),
                log: Some(self.log_filter.clone()),
                orchctl: Some(self.orchctl_program.clone()),
            },
            limits: file::LimitsSection {
                runs_max: Some(self.runs_max),
                connections_max: Some(self.connections_max),
                memory_share: Some(self.shares.memory_percent),
                cpu_share: Some(self.shares.cpu_percent),
                disk_free_mb: Some(self.shares.disk_free_bytes >> 20),
            },
            run: file::RunSection::from(&self.job_limits).parking_after(self.park_after),
            sandbox: file::Sandbox {
                required_level: Some(self.required_level),
                allow_none: Some(self.allows_none),
                program: Some(self.sandbox_program.clone()),
            },
            network: (&self.network).into(),
            models,
            agents,
            planner: self.planner.as_ref().map(PlannerConfig::section),
            semaphores: self.semaphores.clone(),
            freeze: self.freezes.iter().map(Into::into).collect(),
            patience: self.patience.into(),
            approvals: self.hold_ms.into(),
            leases: self.leases.into(),
            workspaces: file::WorkspacesSection::from(self.workspaces),
            retention: self.retention.into(),
            recipes: file::Recipes {
                directory: self.recipes_dir.clone(),
                profile: None,
                mirrors: mirrors::section(&self.mirrors),
            },
            roles: file::Roles::from(self.roles.clone()),
        };
        toml::to_string(&file)
    }
}

/// Reads the configuration. `env` is the process environment.
///
/// # Errors
/// `E_CONFIG` with file, line and the next step.
pub(crate) fn load(args: Args, env: impl Fn(&str) -> Option<String>) -> Result<Config, RpcError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let file = read_file(&args, &set)?.with_profile()?;
    let root = nix::unistd::geteuid().is_root();
    let state_dir = args.state_dir.or_else(|| first_path(&set("STATE_DIRECTORY")?)).or(file.daemon.state_dir);
    let state_dir = match state_dir {
        Some(dir) => dir,
        None if root => PathBuf::from("/var/lib/orchd"),
        None => xdg(&set, "XDG_STATE_HOME", ".local/state")?.join("orchd"),
    };
    let socket = args.socket.or_else(|| Some(first_path(&set("RUNTIME_DIRECTORY")?)?.join("orchd.sock")));
    let socket = match socket.or(file.daemon.socket) {
        Some(socket) => socket,
        None if root => PathBuf::from("/run/orchd/orchd.sock"),
        None => match set("XDG_RUNTIME_DIR") {
            Some(dir) => PathBuf::from(dir).join("orchd/orchd.sock"),
            None => state_dir.join("orchd.sock"),
        },
    };
    let host = HostSize::measure();
    let runs_max = file.limits.runs_max.unwrap_or_else(|| (host.processors * 2).clamp(2, 64));
    let shares = Shares {
        memory_percent: file.limits.memory_share.unwrap_or(80),
        cpu_percent: file.limits.cpu_share.unwrap_or(90),
        disk_free_bytes: file.limits.disk_free_mb.unwrap_or(2_048).saturating_mul(1 << 20),
    };
    let agents = AgentsConfig::checked(&file.models, &file.agents)
        .map_err(|(key, problem)| RpcError::new(ErrorCode::Config, format!("`{key}` {problem}")))?;
    let planner = file.planner.as_ref().map(|section| section.checked(&agents)).transpose();
    Ok(Config {
        state_dir,
        socket,
        socket_group: file.daemon.socket_group,
        log_filter: args.log.or(file.daemon.log).unwrap_or_else(|| "info".into()),
        runs_max,
        connections_max: file.limits.connections_max.unwrap_or(256),
        shares,
        ceilings: shares.ceilings(host),
        park_after: Duration::from_secs(file.run.park_seconds.unwrap_or(120)),
        job_limits: file.run.limits(shares.of_one_run(host, runs_max)),
        workspaces: file.workspaces.checked(),
        retention: file
            .retention
            .checked()
            .map_err(|(key, problem)| RpcError::new(ErrorCode::Config, format!("`{key}` {problem}")))?,
        semaphores: file.semaphores,
        freezes: file
            .freeze
            .iter()
            .map(freeze::FreezeSection::checked)
            .collect::<Result<_, _>>()
            .map_err(|(key, problem)| RpcError::new(ErrorCode::Config, format!("`{key}` {problem}")))?,
        patience: file.patience.checked().map_err(unusable)?,
        hold_ms: file.approvals.checked().map_err(unusable)?,
        leases: file.leases.checked().map_err(unusable)?,
        network: file
            .network
            .checked()
            .map_err(|(key, problem)| RpcError::new(ErrorCode::Config, format!("`{key}` {problem}")))?,
        planner: planner.map_err(unusable)?,
        agents,
        credentials: set("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute()),
        required_level: file.sandbox.required_level.unwrap_or(3),
        allows_none: file.sandbox.allow_none.unwrap_or(false),
        sandbox_program: file.sandbox.program.unwrap_or_else(|| program(&set, "ORCH_SANDBOX_PROGRAM", "orch-sandbox")),
        orchctl_program: file.daemon.orchctl.unwrap_or_else(|| program(&set, "ORCHCTL_PROGRAM", "orchctl")),
        mirrors: mirrors::checked(&file.recipes.mirrors).map_err(unusable)?,
        recipes_dir: file.recipes.directory,
        roles: file.roles.by_role(),
    })
}

/// A value that says nothing usable, and what is wrong with it.
fn unusable((key, problem): (&'static str, String)) -> RpcError {
    RpcError::new(ErrorCode::Config, format!("`{key}` {problem}"))
}

fn read_file(args: &Args, env: &impl Fn(&str) -> Option<String>) -> Result<ConfigFile, RpcError> {
    if let Some(path) = &args.config {
        return file::read(path);
    }
    let mut candidates = Vec::new();
    if let Some(dir) = env("CONFIGURATION_DIRECTORY").as_deref().and_then(first_path) {
        candidates.push(dir.join("config.toml"));
    }
    if let Ok(dir) = xdg(env, "XDG_CONFIG_HOME", ".config") {
        candidates.push(dir.join("orchd/config.toml"));
    }
    candidates.push(PathBuf::from("/etc/orchd/config.toml"));
    match candidates.into_iter().find(|path| path.exists()) {
        Some(path) => file::read(&path),
        None => Ok(ConfigFile::default()),
    }
}

/// Systemd gives several directories joined by `:`; the first is ours.
fn first_path(value: &str) -> Option<PathBuf> {
    value.split(':').next().map(PathBuf::from).filter(|path| path.is_absolute())
}

fn xdg(env: &impl Fn(&str) -> Option<String>, name: &str, below_home: &str) -> Result<PathBuf, RpcError> {
    if let Some(dir) = env(name).map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    match env("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
        Some(home) => Ok(home.join(below_home)),
        None => Err(RpcError::new(ErrorCode::Config, format!("neither `{name}` nor `HOME` is set"))
            .hint("give `--state-dir` and `--socket`")),
    }
}

/// A program of ours: the one that a variable names, or that of the same installation.
fn program(env: &impl Fn(&str) -> Option<String>, variable: &str, name: &str) -> PathBuf {
    env(variable).map_or_else(|| beside_own(name), PathBuf::from)
}

/// A program of the same installation.
fn beside_own(name: &str) -> PathBuf {
    let own = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    own.map_or_else(|| PathBuf::from(name), |dir| dir.join(name))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// The models and temperatures of the seed documents, and a dear one that nothing chooses by itself.
    #[test]
    fn the_profile_for_local_models_says_who_does_what() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let args = Args::try_parse_from(["orchd", "--config", path.to_str().unwrap()]).unwrap();
            load(args, |name| (name == "HOME").then(|| "/h".to_owned()))
        };
        let config = read("[recipes]\nprofile = \"ollama\"\n").unwrap();
        let agents = &config.agents;
        let who = |capability: &str| {
            let agent = agents.agent_for(capability)?;
            Some((agent.model.clone()?, agent.temperature_percent?, agent.prompt_tokens?, agent.answer_tokens?))
        };
        assert_eq!(who("developer"), Some(("qwen3-coder:latest".into(), 15, 400, 300)));
        assert_eq!(who("reviewer"), Some(("qwen3:32b".into(), 20, 400, 300)));
        assert_eq!(who("taskmaster"), Some(("qwen3:32b".into(), 40, 1_500, 1_000)));
        assert_eq!(who("local-fast"), Some(("llama3.2:latest".into(), 20, 400, 300)));
        assert_eq!(who("local-boost"), Some(("gpt-oss:120b".into(), 20, 1_500, 1_000)), "a person named it");
        let chosen = ["developer", "docs", "infra", "qa", "security", "reviewer", "planner", "taskmaster"].map(who);
        assert!(!chosen.iter().flatten().any(|(model, ..)| model.starts_with("gpt-oss") || model.starts_with("llama")));
        let planner = config.planner.as_ref().unwrap();
        let PlannerBy::Model(model) = &planner.by else { panic!("{planner:?}") };
        assert_eq!((model.model.as_str(), model.temperature_percent), ("qwen3:32b", Some(40)));
        assert_eq!(model.fallback.as_deref(), Some("llama3.2:latest"));
        assert_eq!((planner.prompt_tokens, model.output_tokens()), (Some(1_500), 1_000));
        // What an operator says goes before it, and what is printed says all of it.
        let own = "[recipes]\nprofile = \"ollama\"\n[models.local]\napi = \"ollama\"\nurl = \"http://127.0.0.1:9\"\n";
        let config = read(own).unwrap();
        assert_eq!(config.agents.models["local"].upstream.url(), "http://127.0.0.1:9");
        let printed = config.to_file().unwrap();
        assert_eq!(format!("{:?}", read(&printed).unwrap()), format!("{config:?}"));
        assert!(read("[recipes]\nprofile = \"../x\"\n").unwrap_err().to_string().contains("does not ship"));
    }

    #[test]
    fn what_is_printed_is_a_file_that_says_the_same() {
        let args = |more: &[&str]| Args::try_parse_from(["orchd"].iter().chain(more)).unwrap();
        let env = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let config = load(args(&["--state-dir", "/s", "--socket", "/s/o.sock"]), env).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, config.to_file().unwrap()).unwrap();
        let again = load(args(&["--config", path.to_str().unwrap()]), env).unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    }
}
