//! The configuration file as written. Unknown keys are errors with the line and the nearest known key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_adapters::job::JobLimits;
use orch_adapters::recipe_store::{profile, profiles};
use orch_adapters::workspace::CacheLimits;
use orch_core::entity::UNITS_MAX;
use orch_proto::request::Role;
use orch_proto::{ErrorCode, RpcError};
use serde::{Deserialize, Serialize};

use super::agents::{AgentSection, AgentsConfig, ModelsSection};
use super::approvals::ApprovalsSection;
use super::freeze::FreezeSection;
use super::leases::LeasesSection;
use super::mirrors;
use super::network::NetworkSection;
use super::patience::PatienceSection;
use super::planner::PlannerSection;
use super::retention::RetentionSection;
use super::share::RunShare;
use crate::workspaces::WorkspacesConfig;

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) daemon: Daemon,
    pub(super) limits: LimitsSection,
    pub(super) run: RunSection,
    pub(super) sandbox: Sandbox,
    pub(super) network: NetworkSection,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) models: BTreeMap<String, ModelsSection>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) agents: BTreeMap<String, AgentSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) planner: Option<PlannerSection>,
    pub(super) workspaces: WorkspacesSection,
    pub(super) retention: RetentionSection,
    pub(super) semaphores: BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) freeze: Vec<FreezeSection>,
    pub(super) patience: PatienceSection,
    pub(super) approvals: ApprovalsSection,
    pub(super) leases: LeasesSection,
    pub(super) recipes: Recipes,
    pub(super) roles: Roles,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Daemon {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    pub(super) socket_group: Option<String>,
    pub(super) log: Option<String>,
    pub(super) orchctl: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    pub(super) runs_max: Option<u32>,
    pub(super) connections_max: Option<usize>,
    pub(super) memory_share: Option<u8>,
    pub(super) cpu_share: Option<u8>,
    pub(super) disk_free_mb: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RunSection {
    wall_seconds: Option<u64>,
    processes: Option<u64>,
    open_files: Option<u64>,
    memory_mb: Option<u64>,
    total_memory_mb: Option<u64>,
    cpu_millis: Option<u64>,
    disk_mb: Option<u64>,
    idle_seconds: Option<u64>,
    file_size_mb: Option<u64>,
    log_mb: Option<u64>,
    tmp_mb: Option<u64>,
    pub(super) park_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sandbox {
    pub(super) required_level: Option<u8>,
    pub(super) allow_none: Option<bool>,
    pub(super) program: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WorkspacesSection {
    cache_mb: Option<u64>,
    cache_entries: Option<usize>,
    prepare_from_files: Option<usize>,
    keep_hours: Option<u64>,
}

impl WorkspacesSection {
    pub(super) fn checked(&self) -> WorkspacesConfig {
        WorkspacesConfig {
            cache: CacheLimits {
                bytes_max: self.cache_mb.unwrap_or(20_480).saturating_mul(1 << 20),
                entries_max: self.cache_entries.unwrap_or(64),
            },
            prepare_from_files: self.prepare_from_files.unwrap_or(500),
            keep: Duration::from_secs(self.keep_hours.unwrap_or(7 * 24).saturating_mul(60 * 60)),
        }
    }
}

impl From<WorkspacesConfig> for WorkspacesSection {
    fn from(config: WorkspacesConfig) -> Self {
        Self {
            cache_mb: Some(config.cache.bytes_max >> 20),
            cache_entries: Some(config.cache.entries_max),
            prepare_from_files: Some(config.prepare_from_files),
            keep_hours: Some(config.keep.as_secs() / (60 * 60)),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Recipes {
    pub(super) directory: Option<PathBuf>,
    /// Sections that ship: what stands in the file goes before them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    /// Where what hosts have is to be found instead, by the names of the hosts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) mirrors: BTreeMap<String, String>,
}

/// What a profile has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Profile {
    models: BTreeMap<String, ModelsSection>,
    agents: BTreeMap<String, AgentSection>,
    planner: Option<PlannerSection>,
}

impl ConfigFile {
    /// The same with the sections of its profile, if it names one.
    pub(super) fn with_profile(mut self) -> Result<Self, RpcError> {
        let Some(name) = self.recipes.profile.take() else { return Ok(self) };
        let wrong = |why: String| RpcError::new(ErrorCode::Config, format!("`recipes.profile` {why}"));
        let text = profile(&name).ok_or_else(|| {
            let known = profiles().join(", ");
            wrong(format!("names `{name}`, which does not ship")).hint(format!("there are: {known}"))
        })?;
        let profile: Profile = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for (name, section) in profile.models {
            self.models.entry(name).or_insert(section);
        }
        for (name, section) in profile.agents {
            self.agents.entry(name).or_insert(section);
        }
        self.planner = self.planner.or(profile.planner);
        Ok(self)
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Roles {
    viewer: Vec<String>,
    operator: Vec<String>,
    approver: Vec<String>,
    admin: Vec<String>,
}

impl Roles {
    pub(super) fn by_role(self) -> BTreeMap<Role, Vec<String>> {
        let roles = [
            (Role::Viewer, self.viewer),
            (Role::Operator, self.operator),
            (Role::Approver, self.approver),
            (Role::Admin, self.admin),
        ];
        roles.into_iter().collect()
    }
}

impl From<BTreeMap<Role, Vec<String>>> for Roles {
    fn from(mut by_role: BTreeMap<Role, Vec<String>>) -> Self {
        let mut of = |role| by_role.remove(&role).unwrap_or_default();
        Self {
            viewer: of(Role::Viewer),
            operator: of(Role::Operator),
            approver: of(Role::Approver),
            admin: of(Role::Admin),
        }
    }
}

impl From<&JobLimits> for RunSection {
    fn from(limits: &JobLimits) -> Self {
        let mb = |bytes: u64| Some(bytes >> 20);
        Self {
            wall_seconds: Some(limits.wall_ms / 1_000),
            processes: Some(limits.processes),
            open_files: Some(limits.open_files),
            memory_mb: limits.memory_bytes.and_then(mb),
            total_memory_mb: limits.total_memory_bytes.and_then(mb),
            cpu_millis: limits.cpu_millis,
            disk_mb: limits.disk_bytes.and_then(mb),
            idle_seconds: limits.idle_ms.map(|idle| idle / 1_000),
            file_size_mb: mb(limits.file_size_bytes),
            log_mb: mb(limits.log_bytes_max),
            tmp_mb: mb(limits.tmp_bytes),
            park_seconds: None,
        }
    }
}

impl RunSection {
    /// The same with how long a run waits for a person before its processes stand still.
    pub(super) fn parking_after(self, time: Duration) -> Self {
        Self { park_seconds: Some(time.as_secs()), ..self }
    }

    /// Limits of a run; `share` is what one run has of memory and processors unless it is said here.
    pub(super) fn limits(&self, share: RunShare) -> JobLimits {
        let mb = |value: Option<u64>, default: u64| value.unwrap_or(default).saturating_mul(1 << 20);
        JobLimits {
            wall_ms: self.wall_seconds.unwrap_or(2 * 60 * 60).saturating_mul(1_000),
            processes: self.processes.unwrap_or(512),
            open_files: self.open_files.unwrap_or(1_024),
            memory_bytes: self.memory_mb.map(|memory| memory.saturating_mul(1 << 20)),
            total_memory_bytes: self
                .total_memory_mb
                .map(|memory| memory.saturating_mul(1 << 20))
                .or(share.memory_bytes),
            cpu_millis: self.cpu_millis.or(Some(share.cpu_millis)),
            disk_bytes: Some(mb(self.disk_mb, 20_480)),
            idle_ms: self.idle_seconds.map(|idle| idle.saturating_mul(1_000)),
            file_size_bytes: mb(self.file_size_mb, 4_096),
            log_bytes_max: mb(self.log_mb, 256),
            tmp_bytes: mb(self.tmp_mb, 1_024),
        }
    }
}

/// Reads and checks a file.
///
/// # Errors
/// `E_CONFIG` with file and line.
pub(super) fn read(path: &Path) -> Result<ConfigFile, RpcError> {
    let cannot = |why: String| RpcError::new(ErrorCode::Config, format!("configuration `{}`: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(cannot(format!("has {size} bytes; {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    let file = parse(&text, path)?;
    check(&file, &text, path)?;
    Ok(file)
}

fn parse(text: &str, path: &Path) -> Result<ConfigFile, RpcError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        let place = format!("{}:{line}", path.display());
        let error = RpcError::new(ErrorCode::Config, format!("{place}: {message}"));
        match nearest(&message) {
            Some(known) => error.hint(format!("did you mean `{known}`?")),
            None => error.hint(format!("mend line {line}, then check with `orchd --check-config`")),
        }
    })
}

/// The known key that is most like the unknown one. Serde's message names both: unknown field `x`, expected one of ...
fn nearest(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    names
        .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))
        .map(str::to_owned)
}

/// The line of a key such as `network.house.host`, the first one where there are several; none where it is written inline.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let (wanted, name) = key.rsplit_once('.')?;
    let mut section = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(|bracket| bracket == '[' || bracket == ']').trim().to_owned();
        } else if section == wanted && line.split('=').next().is_some_and(|found| found.trim() == name) {
            return Some(at + 1);
        }
    }
    None
}

fn check(file: &ConfigFile, text: &str, path: &Path) -> Result<(), RpcError> {
    let wrong = |key: &str, problem: &str| {
        let line = line_of(text, key).map_or(String::new(), |line| format!(":{line}"));
        let error = RpcError::new(ErrorCode::Config, format!("{}{line}: `{key}` {problem}", path.display()));
        Err(error.hint("mend it, then check with `orchd --check-config`"))
    };
    if file.limits.runs_max.is_some_and(|max| max == 0 || max > 10_000) {
        return wrong("limits.runs_max", "must be 1 to 10000");
    }
    if file.limits.connections_max.is_some_and(|max| max == 0) {
        return wrong("limits.connections_max", "must be at least 1");
    }
    for (key, share) in [("limits.memory_share", file.limits.memory_share), ("limits.cpu_share", file.limits.cpu_share)]
    {
        if share.is_some_and(|share| share == 0 || share > 100) {
            return wrong(key, "must be 1 to 100, in percent");
        }
    }
    if let Some((name, _)) = file.semaphores.iter().find(|(_, units)| **units == 0 || **units > UNITS_MAX) {
        return wrong(&format!("semaphores.{name}"), &format!("must be 1 to {UNITS_MAX}"));
    }
    for freeze in &file.freeze {
        if let Err((key, problem)) = freeze.checked() {
            return wrong(key, &problem);
        }
    }
    if file.sandbox.required_level.is_some_and(|level| level > 4) {
        return wrong("sandbox.required_level", "must be 0 to 4");
    }
    let Daemon { state_dir, socket, orchctl, .. } = &file.daemon;
    for (key, value) in [("daemon.state_dir", state_dir), ("daemon.socket", socket), ("daemon.orchctl", orchctl)] {
        if value.as_ref().is_some_and(|value| !value.is_absolute()) {
            return wrong(key, "must be an absolute path");
        }
    }
    let positive = [
        ("run.wall_seconds", file.run.wall_seconds),
        ("run.processes", file.run.processes),
        ("run.total_memory_mb", file.run.total_memory_mb),
        ("run.cpu_millis", file.run.cpu_millis),
        ("run.disk_mb", file.run.disk_mb),
        ("run.idle_seconds", file.run.idle_seconds),
        ("run.file_size_mb", file.run.file_size_mb),
        ("run.log_mb", file.run.log_mb),
        ("run.tmp_mb", file.run.tmp_mb),
    ];
    for (key, value) in positive {
        if value == Some(0) {
            return wrong(key, "must be at least 1");
        }
    }
    let sections = [
        file.patience.checked().err(),
        file.leases.checked().err(),
        file.network.checked().err(),
        file.retention.checked().err(),
        mirrors::checked(&file.recipes.mirrors).err(),
    ];
    if let Some((key, problem)) = sections.into_iter().flatten().next() {
        return wrong(key, &problem);
    }
    if let Err((key, problem)) = AgentsConfig::checked(&file.models, &file.agents) {
        return wrong(&key, &problem);
    }
    if file.run.open_files.is_some_and(|count| count < 16) {
        return wrong("run.open_files", "must be at least 16");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_line_and_the_nearest_known_one() {
        let error = parse("[daemon]\n\nstate_dri = \"/x\"\n", Path::new("config.toml")).unwrap_err();
        assert_eq!(error.code, ErrorCode::Config);
        assert!(error.message.starts_with("config.toml:3: unknown field `state_dri`"), "{}", error.message);
        assert_eq!(error.hint.as_deref(), Some("did you mean `state_dir`?"));
    }

    #[test]
    fn a_value_that_cannot_be_has_its_line_too() {
        let text = "[limits]\nruns_max = 2\n\n[network]\nallow = [\n  \"*\"]\n";
        let error = check(&parse(text, Path::new("c")).unwrap(), text, Path::new("c")).unwrap_err();
        assert!(error.message.starts_with("c:5: `network.allow` has `*`: "), "{}", error.message);
        let text = "[[network.house]]\nhost = \"a.org\"\nnetworks = []\n";
        let error = check(&parse(text, Path::new("c")).unwrap(), text, Path::new("c")).unwrap_err();
        assert!(error.message.starts_with("c:3: `network.house.networks` is empty"), "{}", error.message);
        let text = "[retention]\ncommands_days = 0\n";
        let error = check(&parse(text, Path::new("c")).unwrap(), text, Path::new("c")).unwrap_err();
        assert!(error.message.starts_with("c:2: `retention.commands_days` must be 1 to 36500"), "{}", error.message);
        let inline = "limits = { runs_max = 0 }\n";
        let error = check(&parse(inline, Path::new("c")).unwrap(), inline, Path::new("c")).unwrap_err();
        assert!(error.message.starts_with("c: `limits.runs_max` must be"), "{}", error.message);
    }

    #[test]
    fn broken_toml_and_wrong_types_have_a_line() {
        for (text, line) in [("[daemon\n", 1), ("\n[limits]\nruns_max = \"x\"\n", 3), ("[limits]\nruns_max = -1\n", 2)]
        {
            let error = parse(text, Path::new("c")).unwrap_err();
            assert!(error.message.starts_with(&format!("c:{line}: ")), "{}", error.message);
        }
    }
}
