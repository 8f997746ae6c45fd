//! Giving up everything that building the sandbox needed, in the order in which each step still can be taken.
//!
//! What init gives up is inherited by every step. What it cannot give up before a run has claimed the sandbox, the first
//! process gives up by itself, and so does each later step with landlock, which is for files alone: its scopes for signals
//! and abstract sockets would keep steps of one run from each other, and the namespaces keep them inside already. It is
//! applied as far as the kernel has it; whether that is far enough is not judged here but by the probes, before a step
//! runs.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::SetupFailure;
use crate::seccomp;
use crate::spec::{HOME_INSIDE, OUT_INSIDE, Shape, SyscallProfile};
use crate::sys::{caps, filter};

/// What the standard descriptors lead to.
const NULL: &CStr = c"/dev/null";
/// The newest landlock version whose rights are handled; older kernels enforce the part that they know.
const NEWEST: ABI = ABI::V6;

/// Keeps the first process and all later ones away from the memory and the descriptors of init.
pub(super) fn seal() -> Result<(), SetupFailure> {
    prctl::set_dumpable(false).map_err(|errno| SetupFailure::call("init", "failed to seal the memory of init", errno))
}

/// Gives up what is not needed until the claim and prepares the rules for the files of steps.
pub(super) fn prepare(shape: &Shape) -> Result<RulesetCreated, SetupFailure> {
    null_stdio().map_err(|errno| SetupFailure::call("init", "failed to open the null device", errno))?;
    let rules = landlock_rules(shape)?;
    give_up_for_good()?;
    Ok(rules)
}

/// Gives up the gain of privileges and of capabilities that are not held.
pub(super) fn give_up_for_good() -> Result<(), SetupFailure> {
    let call = |step: &'static str, what: &'static str| move |errno| SetupFailure::call(step, what, errno);
    prctl::set_no_new_privs().map_err(call("no-new-privileges", "failed to give up new privileges"))?;
    caps::drop_bounding().map_err(call("capabilities", "failed to empty the bounding set"))
}

/// Allows what only the claim names.
pub(super) fn allow_claimed(rules: RulesetCreated, shape: &Shape) -> Result<RulesetCreated, SetupFailure> {
    let mut rules = rules;
    let out = shape.has_out.then(|| Path::new(OUT_INSIDE));
    for path in [Some(shape.workspace_at.as_path()), out].into_iter().flatten() {
        if let Some(rule) = rule(path, changeable()) {
            rules = rules.add_rule(rule).map_err(|error| landlock_failure(&error))?;
        }
    }
    Ok(rules)
}

/// Gives up every capability.
pub(super) fn give_up_capabilities() -> Result<(), SetupFailure> {
    caps::drop_held().map_err(|errno| SetupFailure::call("capabilities", "failed to drop the capabilities", errno))
}

/// Gives up the system calls that `profile` refuses.
pub(super) fn install_filter(profile: SyscallProfile) -> Result<(), SetupFailure> {
    let failed = |errno| SetupFailure::call("syscall-filter", "failed to install the system call filter", errno);
    filter::install(seccomp::program(profile)).map_err(failed)
}

/// Gives up the files that no rule allows.
pub(super) fn restrict(rules: &RulesetCreated) -> Result<(), SetupFailure> {
    let rules = rules.try_clone().map_err(|error| landlock_failure(&error))?;
    rules.restrict_self().map(drop).map_err(|error| landlock_failure(&error))
}

/// Points the three standard descriptors at the null device of this process's view.
pub(super) fn null_stdio() -> Result<(), Errno> {
    let null = open(NULL, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)
}

/// Points standard input at the null device of this process's view.
pub(crate) fn null_stdin() -> Result<(), Errno> {
    dup2_stdin(open(NULL, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Everything that can be done to files of the run's own, but for making devices and talking to them.
fn changeable() -> BitFlags<AccessFs> {
    AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

fn landlock_rules(shape: &Shape) -> Result<RulesetCreated, SetupFailure> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let change = changeable();
    let devices = read | AccessFs::WriteFile;
    let fixed: [(&str, BitFlags<AccessFs>); 16] = [
        ("/", AccessFs::ReadDir.into()),
        ("/usr", run),
        ("/bin", run),
        ("/sbin", run),
        ("/lib", run),
        ("/lib32", run),
        ("/lib64", run),
        ("/libx32", run),
        ("/etc", read),
        ("/run", read),
        ("/proc", read),
        ("/dev", devices),
        ("/dev/pts", devices | AccessFs::IoctlDev),
        ("/dev/shm", change),
        ("/tmp", change),
        (HOME_INSIDE, change),
    ];
    let mut places: Vec<(PathBuf, BitFlags<AccessFs>)> =
        fixed.into_iter().map(|(path, access)| (path.into(), access)).collect();
    places.extend(shape.mounts.iter().map(|mount| (mount.target.clone(), run)));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(Ruleset::create)
        .map_err(|error| landlock_failure(&error))?;
    for (path, access) in places {
        if let Some(rule) = rule(&path, access) {
            rules = rules.add_rule(rule).map_err(|error| landlock_failure(&error))?;
        }
    }
    Ok(rules)
}

/// The rule for one place; `None` when the host does not have it, so that nothing is allowed there, and when it is a link,
/// whose target has a rule of its own.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let found = std::fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        return None;
    }
    let is_dir = found.is_dir();
    let access = if is_dir { access } else { access & AccessFs::from_file(NEWEST) };
    Some(PathBeneath::new(PathFd::new(path).ok()?, access))
}

fn landlock_failure(error: &dyn std::error::Error) -> SetupFailure {
    SetupFailure {
        step: "landlock".to_owned(),
        message: format!("failed to apply landlock: {error}"),
        hint: String::new(),
    }
}
