//! The rules that a spec must keep before anything works on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};

use super::{
    Egress, HOME_INSIDE, Isolation, LAYERS_MAX, LEASE_MS_MAX, LEASE_MS_MIN, LISTENERS_MAX, LeaseSpec, Limits,
    MOUNTS_MAX, OUT_INSIDE, Phase, RunSpec, SECRETS_MAX, STEPS_MAX, SecretDelivery, StepSpec,
};
use crate::egress::CAUGHT_PORTS_MAX;
use crate::level::Level;

/// Longest name of a run, a step or anything else that has one, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Places that the sandbox builds itself; nothing may be mounted at, below or above one of them.
const RESERVED: [&str; 12] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/dev", "/run", OUT_INSIDE];

/// Why a spec is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// `name` is no host name.
    #[error("name is not 1-63 of a-z, 0-9 and `-`: `{0}`")]
    Name(String),
    /// A path that must be absolute and plain is not.
    #[error("`{field}` is not an absolute path without `.`, `..` and NUL: `{}`", path.display())]
    Path { field: &'static str, path: PathBuf },
    /// A mount target that the sandbox builds itself.
    #[error("`{}` cannot be a mount target because it overlaps `{reserved}`", path.display())]
    Reserved { path: PathBuf, reserved: String },
    /// A host path that shows the kernel or everything.
    #[error("`{field}` would show the kernel or the whole host: `{}`", path.display())]
    Source { field: &'static str, path: PathBuf },
    /// A step name that is empty, too long, unprintable or used twice.
    #[error("step name is not unique, 1-63 printable ASCII characters: `{}`", name.escape_default())]
    StepName { name: String },
    /// A step without program, or with a NUL in an argument.
    #[error("step `{step}` has no program or has a NUL in an argument")]
    Argv { step: String },
    /// A working directory that is absolute or has `..`.
    #[error("cwd of step `{step}` is not relative to the workspace without `..`: `{}`", cwd.display())]
    Cwd { step: String, cwd: PathBuf },
    /// An environment name or value that cannot be one.
    #[error("environment variable `{}` has an empty name, or `=` or NUL where none can be", name.escape_default())]
    Env { name: String },
    /// An environment variable that has a value already.
    #[error("environment variable of a secret or a listener is set twice: `{}`", name.escape_default())]
    VariableTwice { name: String },
    /// Steps are not ordered setup, main, always.
    #[error("step `{step}` comes after a step of a later phase")]
    PhaseOrder { step: String },
    /// More entries than one run may have, or none where one is needed.
    #[error("number of `{field}` is not between {min} and {max}: {count}")]
    Count { field: &'static str, min: usize, max: usize, count: usize },
    /// A limit that no process could live with.
    #[error("limit `{field}` is below {min}: {value}")]
    Limit { field: &'static str, min: u64, value: u64 },
    /// A lease too short to be renewed, or so long that it is none.
    #[error("`lease.ttl_ms` is not between {LEASE_MS_MIN} and {LEASE_MS_MAX}: {0}")]
    Lease(u64),
    /// `isolation: none` together with mounts or a moved workspace.
    #[error("without isolation nothing can be mounted: `mounts` and `out` must be empty, `workspace_at` the workspace")]
    MountsWithoutIsolation,
    /// A name of a listener or a secret, or a listener's variable, that cannot be one, or that is used twice.
    #[error("name in `{field}` cannot be one, or is used twice: `{}`", name.escape_default())]
    EntryName { field: &'static str, name: String },
    /// A port that is 0 or used twice.
    #[error("port in `{field}` is 0 or used twice: {port}")]
    Port { field: &'static str, port: u16 },
    /// Something that is only there with isolation.
    #[error("without isolation there is no `{field}`")]
    NeedsIsolation { field: &'static str },
    /// `isolation: none` together with a level.
    #[error("without isolation the required level must be 0: {0}")]
    LevelWithoutIsolation(Level),
}

/// A spec whose every field has been checked.
#[derive(Debug, Clone)]
pub struct CheckedSpec(RunSpec);

impl Deref for CheckedSpec {
    type Target = RunSpec;

    fn deref(&self) -> &RunSpec {
        &self.0
    }
}

impl RunSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// The first rule that a field breaks.
    pub fn check(self) -> Result<CheckedSpec, SpecError> {
        check_name(&self.name)?;
        check_count("steps", 1, STEPS_MAX, self.steps.len())?;
        check_count("mounts", 0, MOUNTS_MAX, self.mounts.len())?;
        check_paths(&self)?;
        check_env(&self.env)?;
        check_steps(&self.steps)?;
        check_limits(&self.limits)?;
        check_listeners(&self)?;
        check_secrets(&self)?;
        check_egress(&self)?;
        self.lease.iter().try_for_each(check_lease)?;
        if self.isolation == Isolation::None {
            check_plain(&self)?;
        }
        Ok(CheckedSpec(self))
    }
}

fn check_lease(lease: &LeaseSpec) -> Result<(), SpecError> {
    if !(LEASE_MS_MIN..=LEASE_MS_MAX).contains(&lease.ttl_ms) {
        return Err(SpecError::Lease(lease.ttl_ms));
    }
    let Some(owner) = &lease.owner else { return Ok(()) };
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let is_name = !owner.lock.is_empty() && owner.lock.len() <= NAME_BYTES_MAX && owner.lock.bytes().all(allowed);
    if !is_name || owner.lock.starts_with('.') {
        return Err(SpecError::EntryName { field: "lease.owner.lock", name: owner.lock.clone() });
    }
    match owner.absent_ms < lease.ttl_ms {
        true => Err(SpecError::Limit { field: "lease.owner.absent_ms", min: lease.ttl_ms, value: owner.absent_ms }),
        false => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), SpecError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ok = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed);
    if ok { Ok(()) } else { Err(SpecError::Name(name.to_owned())) }
}

fn check_count(field: &'static str, min: usize, max: usize, count: usize) -> Result<(), SpecError> {
    if (min..=max).contains(&count) { Ok(()) } else { Err(SpecError::Count { field, min, max, count }) }
}

fn check_paths(spec: &RunSpec) -> Result<(), SpecError> {
    check_absolute("workspace", &spec.workspace)?;
    check_absolute("workspace_at", &spec.workspace_at)?;
    if let Some(out) = &spec.out {
        check_absolute("out", out)?;
    }
    if let Some(layers) = &spec.workspace_base {
        check_count("workspace_base", 1, LAYERS_MAX, layers.len())?;
        layers.iter().try_for_each(|layer| check_absolute("workspace_base", layer))?;
    }
    if spec.isolation == Isolation::None {
        if !spec.mounts.is_empty() || spec.out.is_some() || spec.workspace_at != spec.workspace {
            return Err(SpecError::MountsWithoutIsolation);
        }
        if spec.required_level != Level::None {
            return Err(SpecError::LevelWithoutIsolation(spec.required_level));
        }
        return Ok(());
    }
    check_source("workspace", &spec.workspace)?;
    spec.out.iter().try_for_each(|out| check_source("out", out))?;
    spec.workspace_base.iter().flatten().try_for_each(|layer| check_source("workspace_base", layer))?;
    let mut taken: Vec<&Path> = RESERVED.iter().map(Path::new).collect();
    check_target(&spec.workspace_at, &taken)?;
    taken.push(&spec.workspace_at);
    for mount in &spec.mounts {
        check_absolute("mounts.source", &mount.source)?;
        check_source("mounts.source", &mount.source)?;
        check_absolute("mounts.target", &mount.target)?;
        check_target(&mount.target, &taken)?;
        taken.push(&mount.target);
    }
    Ok(())
}

/// Absolute, and each component a plain name, so that two equal places have equal paths.
fn check_absolute(field: &'static str, path: &Path) -> Result<(), SpecError> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let bytes = path.as_os_str().as_encoded_bytes();
    let rebuilt: PathBuf = path.components().collect();
    let ok = path.is_absolute() && path.components().all(plain) && !bytes.contains(&0) && rebuilt.as_os_str() == path;
    if ok { Ok(()) } else { Err(SpecError::Path { field, path: path.to_owned() }) }
}

/// A process of the host is an open book to its own user, who a run is, once `/proc` of the host is in view.
fn check_source(field: &'static str, source: &Path) -> Result<(), SpecError> {
    let shows = source == Path::new("/") || source.starts_with("/proc") || source.starts_with("/sys");
    if shows { Err(SpecError::Source { field, path: source.to_owned() }) } else { Ok(()) }
}

fn check_target(target: &Path, taken: &[&Path]) -> Result<(), SpecError> {
    let overlaps = |other: &&&Path| target.starts_with(other) || other.starts_with(target);
    let root_of_tmpfs = [Path::new("/tmp"), Path::new(HOME_INSIDE), Path::new("/home")].contains(&target);
    if root_of_tmpfs {
        return Err(SpecError::Reserved { path: target.to_owned(), reserved: target.display().to_string() });
    }
    match taken.iter().find(overlaps) {
        Some(other) => Err(SpecError::Reserved { path: target.to_owned(), reserved: other.display().to_string() }),
        None => Ok(()),
    }
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), SpecError> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(SpecError::Env { name: name.clone() });
        }
    }
    Ok(())
}

fn check_steps(steps: &[StepSpec]) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    let mut phase = Phase::Setup;
    for step in steps {
        let printable = step.name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if step.name.is_empty() || step.name.len() > NAME_BYTES_MAX || !printable || !seen.insert(&step.name) {
            return Err(SpecError::StepName { name: step.name.clone() });
        }
        if step.argv.first().is_none_or(String::is_empty) || step.argv.iter().any(|word| word.contains('\0')) {
            return Err(SpecError::Argv { step: step.name.clone() });
        }
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !step.cwd.components().all(inside) || step.cwd.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(SpecError::Cwd { step: step.name.clone(), cwd: step.cwd.clone() });
        }
        check_env(&step.env)?;
        check_limit("timeout_ms", 1, step.timeout_ms)?;
        if step.phase < phase {
            return Err(SpecError::PhaseOrder { step: step.name.clone() });
        }
        phase = step.phase;
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), SpecError> {
    check_limit("wall_ms", 1, limits.wall_ms)?;
    check_limit("cpu_seconds", 1, limits.cpu_seconds)?;
    check_limit("memory_bytes", 1 << 20, limits.memory_bytes.unwrap_or(u64::MAX))?;
    check_limit("run_memory_bytes", 1 << 20, limits.run_memory_bytes.unwrap_or(u64::MAX))?;
    check_limit("run_cpu_millis", 1, limits.run_cpu_millis.unwrap_or(u64::MAX))?;
    check_limit("disk_bytes", 64 << 10, limits.disk_bytes.unwrap_or(u64::MAX))?;
    check_limit("idle_ms", 1, limits.idle_ms.unwrap_or(u64::MAX))?;
    check_limit("processes", 1, limits.processes)?;
    check_limit("open_files", 16, limits.open_files)?;
    check_limit("tmp_bytes", 64 << 10, limits.tmp_bytes)
}

fn check_limit(field: &'static str, min: u64, value: u64) -> Result<(), SpecError> {
    if value >= min { Ok(()) } else { Err(SpecError::Limit { field, min, value }) }
}

fn check_listeners(spec: &RunSpec) -> Result<(), SpecError> {
    check_count("listeners", 0, LISTENERS_MAX, spec.listeners.len())?;
    let (mut names, mut ports, mut variables) = (BTreeSet::new(), BTreeSet::new(), plain_variables(spec));
    for listener in &spec.listeners {
        if check_name(&listener.name).is_err() || !names.insert(&listener.name) {
            return Err(SpecError::EntryName { field: "listeners", name: listener.name.clone() });
        }
        if listener.port == 0 || !ports.insert(listener.port) {
            return Err(SpecError::Port { field: "listeners", port: listener.port });
        }
        let name = listener.variable.as_str();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !starts_well || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(SpecError::EntryName { field: "listeners.variable", name: name.to_owned() });
        }
        if !variables.insert(name) {
            return Err(SpecError::VariableTwice { name: name.to_owned() });
        }
    }
    Ok(())
}

/// The variables that the spec gives a value itself.
fn plain_variables(spec: &RunSpec) -> BTreeSet<&str> {
    spec.env.keys().chain(spec.steps.iter().flat_map(|step| step.env.keys())).map(String::as_str).collect()
}

/// A policy is valid by its type; what is left is what does not fit with the rest of the run.
fn check_egress(spec: &RunSpec) -> Result<(), SpecError> {
    let Egress::Allow(policy) = &spec.egress else { return Ok(()) };
    if let Some(taken) = spec.listeners.iter().find(|listener| policy.takes(listener.port)) {
        return Err(SpecError::Port { field: "listeners", port: taken.port });
    }
    let caught = if policy.transparent { policy.caught_ports().len() } else { 0 };
    check_count("egress.entries.ports", 0, CAUGHT_PORTS_MAX, caught)
}

fn check_secrets(spec: &RunSpec) -> Result<(), SpecError> {
    check_count("secrets", 0, SECRETS_MAX, spec.secrets.len())?;
    let mut names = BTreeSet::new();
    let mut variables = plain_variables(spec);
    variables.extend(spec.listeners.iter().map(|listener| listener.variable.as_str()));
    for secret in &spec.secrets {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let name = secret.name.as_str();
        let ok = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed);
        if !ok || name.starts_with('.') || !names.insert(name) {
            return Err(SpecError::EntryName { field: "secrets", name: name.to_owned() });
        }
        if let SecretDelivery::Env(variable) = &secret.delivery {
            if variable.is_empty() || variable.contains(['=', '\0']) {
                return Err(SpecError::Env { name: variable.clone() });
            }
            if !variables.insert(variable) {
                return Err(SpecError::VariableTwice { name: variable.clone() });
            }
        }
    }
    Ok(())
}

/// What cannot be had without isolation.
fn check_plain(spec: &RunSpec) -> Result<(), SpecError> {
    let needs = [
        ("workspace_base", spec.workspace_base.is_some()),
        ("egress", spec.egress != Egress::None),
        ("listeners", !spec.listeners.is_empty()),
        ("secrets", !spec.secrets.is_empty()),
    ];
    match needs.iter().find(|(_, needed)| *needed) {
        Some((field, _)) => Err(SpecError::NeedsIsolation { field }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {

    use super::super::{ListenerSpec, OwnerSpec, ReadOnlyMount, SecretSpec, SyscallProfile};
    use super::*;

    pub(crate) fn spec() -> RunSpec {
        let limits = Limits { processes: 10, open_files: 64, ..Limits::small(1000) };
        RunSpec::narrow("t", "/srv/ws".into(), vec![step("a", Phase::Main)], limits)
    }

    fn step(name: &str, phase: Phase) -> StepSpec {
        StepSpec { phase, ..StepSpec::main(name, ["true"], 1000) }
    }

    /// Applies one change to a good spec and returns the complaint, or `ok`.
    fn check(change: impl FnOnce(&mut RunSpec)) -> String {
        let mut changed = spec();
        change(&mut changed);
        changed.check().map_or_else(|error| error.to_string(), |_| "ok".to_owned())
    }

    fn mount(target: &str) -> ReadOnlyMount {
        ReadOnlyMount { source: "/srv/x".into(), target: target.into() }
    }

    #[test]
    fn good_specs_pass() {
        assert_eq!(check(|_| ()), "ok");
        assert_eq!(check(|spec| spec.mounts = vec![mount("/opt/a"), mount("/home/u/.cargo"), mount("/tmp/x")]), "ok");
        assert_eq!(check(|spec| spec.steps.push(step("b", Phase::Always))), "ok");
        let secret = |name: &str, delivery| SecretSpec { name: name.into(), delivery };
        let both = || vec![secret("a", SecretDelivery::File), secret("b-c.D_1", SecretDelivery::Env("B".into()))];
        assert_eq!(check(|spec| spec.secrets = both()), "ok");
        assert_eq!(check(|spec| spec.syscalls = SyscallProfile::Strict), "ok");
    }

    #[test]
    fn each_rule_has_its_complaint() {
        let starts = |text: String, start: &str| assert!(text.starts_with(start), "{text}");
        starts(check(|spec| spec.name = "A b".into()), "name is not");
        starts(check(|spec| spec.workspace = "ws".into()), "`workspace` is not");
        starts(check(|spec| spec.workspace = "/srv/../etc".into()), "`workspace` is not");
        starts(check(|spec| spec.workspace_at = "/".into()), "`/` cannot be a mount target");
        starts(check(|spec| spec.workspace_at = "/usr/x".into()), "`/usr/x` cannot be a mount target");
        starts(check(|spec| spec.mounts = vec![mount("/work/x")]), "`/work/x` cannot be");
        starts(check(|spec| spec.mounts = vec![mount("/home")]), "`/home` cannot be");
        starts(check(|spec| spec.workspace = "/proc/self/cwd".into()), "`workspace` would show");
        starts(check(|spec| spec.out = Some("/".into())), "`out` would show");
        for source in ["/", "/proc", "/proc/1/root", "/sys/kernel"] {
            let mount = ReadOnlyMount { source: source.into(), target: "/x".into() };
            starts(check(|spec| spec.mounts = vec![mount]), "`mounts.source` would show");
        }
        starts(check(|spec| spec.steps.clear()), "number of `steps`");
        starts(check(|spec| spec.steps.push(step("a", Phase::Main))), "step name is not unique");
        starts(check(|spec| spec.steps[0].argv.clear()), "step `a` has no program");
        starts(check(|spec| spec.steps[0].cwd = "../x".into()), "cwd of step `a`");
        starts(check(|spec| spec.steps.push(step("b", Phase::Setup))), "step `b` comes after");
        starts(check(|spec| drop(spec.env.insert("A=B".into(), String::new()))), "environment variable");
        starts(check(|spec| spec.limits.wall_ms = 0), "limit `wall_ms`");
        let secret = |name: &str, delivery| SecretSpec { name: name.into(), delivery };
        starts(check(|spec| spec.secrets = vec![secret("../x", SecretDelivery::File)]), "name in `secrets`");
        starts(check(|spec| spec.secrets = vec![secret("a", SecretDelivery::Env("A=".into()))]), "environment");
        let twice = || vec![secret("a", SecretDelivery::Env("A".into())), secret("b", SecretDelivery::Env("A".into()))];
        starts(check(|spec| spec.secrets = twice()), "environment variable of a secret");
        let taken = |spec: &mut RunSpec| {
            spec.secrets = vec![secret("a", SecretDelivery::Env("A".into()))];
            spec.steps[0].env.insert("A".into(), "1".into());
        };
        starts(check(taken), "environment variable of a secret");
        starts(check(|spec| spec.workspace_base = Some(vec![])), "number of `workspace_base`");
        starts(check(|spec| spec.workspace_base = Some(vec!["/srv/../x".into()])), "`workspace_base` is not");
        starts(check(|spec| spec.isolation = Isolation::None), "without isolation nothing can be mounted");
    }

    #[test]
    fn a_lease_can_be_renewed_and_ends() {
        let lease = |ttl_ms, owner| check(|spec| spec.lease = Some(LeaseSpec { ttl_ms, owner }));
        let owner = |lock: &str, absent_ms| Some(OwnerSpec { lock: lock.into(), absent_ms });
        assert_eq!(lease(LEASE_MS_MIN, None), "ok");
        assert_eq!(lease(LEASE_MS_MAX, owner("a.lock", LEASE_MS_MAX)), "ok");
        for ttl_ms in [0, LEASE_MS_MIN - 1, LEASE_MS_MAX + 1] {
            assert!(lease(ttl_ms, None).starts_with("`lease.ttl_ms` is not between"), "{ttl_ms}");
        }
        for name in ["", ".", "..", "../lock", "/s/lock", ".lock", "A", &"x".repeat(64)] {
            let refused = lease(5_000, owner(name, 5_000));
            assert!(refused.starts_with("name in `lease.owner.lock` cannot"), "{name}: {refused}");
        }
        assert!(lease(5_000, owner("lock", 4_999)).starts_with("limit `lease.owner.absent_ms` is below 5000"));
    }

    /// Shims of this version are given specs of older ones, too.
    #[test]
    fn a_spec_that_knows_no_lease_has_none() {
        let json = serde_json::to_value(spec()).unwrap();
        assert!(json.get("lease").is_none(), "an older shim would refuse it: {json}");
        assert_eq!(serde_json::from_value::<RunSpec>(json).unwrap().lease, None);
    }

    fn listener(name: &str, port: u16, variable: &str) -> ListenerSpec {
        ListenerSpec { name: name.into(), port, variable: variable.into() }
    }

    #[test]
    fn listeners_are_told_apart() {
        let starts = |listeners: Vec<ListenerSpec>, start: &str| {
            let text = check(|spec| spec.listeners = listeners);
            assert!(text.starts_with(start), "{text}");
        };
        starts(vec![listener("model", 80, "MODEL"), listener("b", 8080, "_b1")], "ok");
        for name in ["a b", "", "A", "a/b", &"x".repeat(64)] {
            starts(vec![listener(name, 1, "A")], "name in `listeners` cannot");
        }
        starts(vec![listener("a", 1, "A"), listener("a", 2, "B")], "name in `listeners` cannot");
        starts(vec![listener("a", 1, "A"), listener("b", 1, "B")], "port in `listeners`");
        starts(vec![listener("a", 0, "A")], "port in `listeners`");
        for variable in ["", "1A", "A=B", "A B", "A\0", "A-B", &"X".repeat(64)] {
            starts(vec![listener("a", 1, variable)], "name in `listeners.variable`");
        }
        starts(vec![listener("a", 1, "A"), listener("b", 2, "A")], "environment variable of a secret or a listener");
        let many = (0..=LISTENERS_MAX).map(|index| listener(&format!("n{index}"), 1, "A")).collect();
        starts(many, "number of `listeners`");
    }

    #[test]
    fn variables_of_listeners_are_theirs_alone() {
        let with = |change: fn(&mut RunSpec)| {
            let text = check(|spec| {
                spec.listeners = vec![listener("a", 1, "A")];
                change(spec);
            });
            assert!(text.starts_with("environment variable of a secret or a listener"), "{text}");
        };
        with(|spec| drop(spec.env.insert("A".into(), String::new())));
        with(|spec| drop(spec.steps[0].env.insert("A".into(), String::new())));
        with(|spec| spec.secrets.push(SecretSpec { name: "s".into(), delivery: SecretDelivery::Env("A".into()) }));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let mut json = serde_json::to_value(spec()).unwrap();
        json["steps"][0]["shell"] = true.into();
        let error = serde_json::from_value::<RunSpec>(json).unwrap_err();
        assert!(error.to_string().contains("unknown field `shell`"), "{error}");
    }
}
