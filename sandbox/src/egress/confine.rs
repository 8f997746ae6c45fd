//! Gives up what keeper and proxy do not need, before there is a byte of the run to see.
//!
//! They keep: their channel, reading what the resolver reads, and connecting to the ports of its policy and to DNS servers.
//! Landlock holds that as far as the kernel has it; the proxy's own checks do not depend on it.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::{self, sock_filter};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, geteuid, setgroups, setresgid, setresuid};

use super::policy::{DNS_PORT, EgressPolicy};
use crate::seccomp;
use crate::spec::SyscallProfile;
use crate::sys::{caps, filter};

/// The newest landlock version whose rights are handled.
const NEWEST: ABI = ABI::V6;
/// What name resolution reads beside its configuration: its modules, what its services keep.
const READABLE: [&str; 10] = [
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/nscd",
    "/var/run/nscd",
    "/var/lib/sss",
    "/var/lib/misc",
    "/dev/urandom",
];
/// The configuration of name resolution.
const CONFIGURATION: [&str; 8] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
];
/// Files of it that may be links to wherever something else writes them.
const LINKED: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
/// `nobody`, who owns nothing.
const NOBODY: u32 = 65534;
/// Two sockets for each connection, and what the resolver opens for it.
const DESCRIPTORS_MAX: u64 = 2048;
/// Far above what the bounds of everything else add up to.
const ADDRESS_SPACE_BYTES_MAX: u64 = 2 << 30;

/// Why a proxy cannot be confined.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    #[error("failed to seal its memory: {}", .0.desc())]
    Seal(Errno),
    #[error("failed to become nobody: {}", .0.desc())]
    Identity(Errno),
    #[error("failed to open the null device: {}", .0.desc())]
    Null(Errno),
    #[error("failed to set limits: {}", .0.desc())]
    Limits(Errno),
    #[error("failed to drop the capabilities: {}", .0.desc())]
    Capabilities(Errno),
    #[error("failed to apply landlock")]
    Landlock(#[source] RulesetError),
    #[error("failed to install the system call filter: {}", .0.desc())]
    Filter(Errno),
}

/// Confines this process, which has one thread, and all that it forks.
pub(super) fn confine(policy: &EgressPolicy) -> Result<(), ConfineError> {
    null_stdio().map_err(ConfineError::Null)?;
    become_nobody().map_err(ConfineError::Identity)?;
    // After the change of ids, which would undo it.
    prctl::set_dumpable(false).map_err(ConfineError::Seal)?;
    for (resource, bound) in [
        (Resource::RLIMIT_NOFILE, DESCRIPTORS_MAX),
        (Resource::RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 1),
    ] {
        limit(resource, bound).map_err(ConfineError::Limits)?;
    }
    caps::drop_held().map_err(ConfineError::Capabilities)?;
    prctl::set_no_new_privs().map_err(ConfineError::Filter)?;
    landlock(policy).map_err(ConfineError::Landlock)?;
    filter::install(seccomp::program(SyscallProfile::Standard))
        .and_then(|()| filter::install(&useless_calls()))
        .map_err(ConfineError::Filter)
}

/// A filter on top of that of every step: what only connects neither executes nor takes in other connections. The other
/// one has made sure that numbers are those of this machine.
fn useless_calls() -> Vec<sock_filter> {
    const LOAD_NUMBER: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let operation = |code: u32, k: u32, jt: u8| sock_filter { code: code as u16, jt, jf: 0, k };
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    vec![
        operation(LOAD_NUMBER, 0, 0),
        operation(IF_EQUAL, number(libc::SYS_execve), 3),
        operation(IF_EQUAL, number(libc::SYS_execveat), 2),
        operation(IF_EQUAL, number(libc::SYS_listen), 1),
        operation(RETURN, libc::SECCOMP_RET_ALLOW, 0),
        operation(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs(), 0),
    ]
}

/// Takes an identity that owns no file. Without root, or where the user namespace has no such user, it keeps its own.
fn become_nobody() -> Result<(), Errno> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let changed =
        setgroups(&[]).and_then(|()| setresgid(group, group, group)).and_then(|()| setresuid(user, user, user));
    match changed {
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn null_stdio() -> Result<(), Errno> {
    let null = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)
}

fn limit(resource: Resource, bound: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(resource)?;
    let bound = hard.min(bound);
    setrlimit(resource, bound, bound)
}

fn landlock(policy: &EgressPolicy) -> Result<(), RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    // Root owns files in `/etc` that nobody else reads. For everybody else the directory is open, so that a file of it that
    // is replaced during the run is found.
    let configuration: &[&str] = if geteuid().is_root() { &CONFIGURATION } else { &["/etc"] };
    let linked = LINKED.iter().filter_map(|file| Some(Path::new(file).canonicalize().ok()?.parent()?.to_owned()));
    for path in READABLE
        .iter()
        .chain(configuration)
        .map(PathBuf::from)
        .chain(linked.filter(|place| place.components().count() > 1 && !place.starts_with("/etc")))
    {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let access = if metadata.is_dir() { read } else { AccessFs::ReadFile.into() };
        if let Ok(place) = PathFd::new(&path) {
            rules = rules.add_rule(PathBeneath::new(place, access))?;
        }
    }
    // Long answers of DNS come over TCP.
    for port in policy.ports().into_iter().chain([DNS_PORT]) {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    rules.restrict_self().map(drop)
}
