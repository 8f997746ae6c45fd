//! Giving up everything that building the sandbox needed, in the order in which each step still can be taken.
//!
//! What happens here is inherited by every process of the run. Landlock is applied as far as the kernel has it; whether
//! that is far enough is not judged here but by the probes, before a step runs.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::SetupFailure;
use crate::seccomp;
use crate::spec::{CheckedSpec, HOME_INSIDE, OUT_INSIDE, SECRETS_INSIDE};
use crate::sys::{caps, filter};

/// The newest landlock version whose rights are handled; older kernels enforce the part that they know.
const NEWEST: ABI = ABI::V6;

/// Confines this process and all that it will start.
pub(super) fn confine(spec: &CheckedSpec) -> Result<(), SetupFailure> {
    let call = |step: &'static str, what: &'static str| move |errno| SetupFailure::call(step, what, errno);
    null_stdio().map_err(call("init", "failed to open the null device"))?;
    let rules = landlock_rules(spec)?;
    prctl::set_dumpable(false).map_err(call("init", "failed to seal the memory of init"))?;
    caps::drop_all().map_err(call("capabilities", "failed to drop the capabilities"))?;
    prctl::set_no_new_privs().map_err(call("no-new-privileges", "failed to give up new privileges"))?;
    rules.restrict_self().map_err(|error| landlock_failure(&error))?;
    filter::install(&seccomp::program(spec.syscalls))
        .map_err(call("syscall-filter", "failed to install the system call filter"))
}

/// Points the three standard descriptors at the null device of this process's view.
pub(super) fn null_stdio() -> Result<(), Errno> {
    const NULL: &CStr = c"/dev/null";
    let null = open(NULL, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)
}

fn landlock_rules(spec: &CheckedSpec) -> Result<RulesetCreated, SetupFailure> {
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let change = all & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
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
        ("/proc", read),
        ("/dev", devices),
        ("/dev/pts", devices | AccessFs::IoctlDev),
        ("/dev/shm", change),
        ("/tmp", change),
        (HOME_INSIDE, change),
        (SECRETS_INSIDE, read),
    ];
    let mut places: Vec<(PathBuf, BitFlags<AccessFs>)> =
        fixed.into_iter().map(|(path, access)| (path.into(), access)).collect();
    places.push((spec.workspace_at.clone(), change));
    if spec.out.is_some() {
        places.push((OUT_INSIDE.into(), change));
    }
    places.extend(spec.mounts.iter().map(|mount| (mount.target.clone(), run)));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(|rules| rules.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(|error| landlock_failure(&error))?;
    for (path, access) in places {
        if let Some(rule) = rule(&path, access) {
            rules = rules.add_rule(rule).map_err(|error| landlock_failure(&error))?;
        }
    }
    Ok(rules)
}

/// The rule for one place; `None` when the host does not have it, so that nothing is allowed there.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let is_dir = std::fs::metadata(path).ok()?.is_dir();
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
