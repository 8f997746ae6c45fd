//! Probes that run inside a finished sandbox, as a process like any step, and try what must not work.
//!
//! Knows nothing of how the sandbox was built: each probe makes a call and judges the answer. **Invariant:** what a probe
//! cannot find out counts as absent.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};

use crate::level::{Guarantee, GuaranteeKind, Strength};
use crate::small_file;
use crate::sys::refused;
use crate::view::{DEVICE_LINKS, DEVICES, HostUser, LANDLOCK_CANARY};

/// More than any file of the kernel says that is read here.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Longest wait for an answer that the kernel itself gives at once.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// What the probes compare with.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Paths that exist on the host and must not exist inside; at least one.
    pub(crate) canaries: Vec<PathBuf>,
    /// Who the run's user is on the host.
    pub(crate) host_user: HostUser,
    /// What the bound of the pid namespace was set to.
    pub(crate) pids_bound: u64,
    /// Whether the spec bounds the memory of each process.
    pub(crate) memory: MemoryBound,
    /// What becomes of a connection to a foreign address.
    pub(crate) outside: Outside,
}

/// What becomes of a connection to a foreign address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// There is no way there.
    Unreachable,
    /// Every address is the run's own loopback, where the proxy catches what it serves.
    Caught,
}

/// Whether the spec bounds memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryBound {
    PerProcess,
    None,
}

/// Tries everything but landlock, which restricts a process last: see [`landlock`].
pub(crate) fn probe(expected: &Expected) -> Vec<Guarantee> {
    let status = read("/proc/self/status").unwrap_or_default();
    vec![
        filesystem_view(&expected.canaries),
        read_only_system(),
        devices(),
        processes(),
        init_sealed(),
        network(expected.outside),
        socket_families(),
        nested_namespaces(),
        capabilities(&status),
        no_new_privileges(&status),
        syscall_filter(&status),
        process_limit(expected),
        memory_limit(expected.memory),
        guarantee(GuaranteeKind::CpuLimit, Strength::Degraded, "RLIMIT_CPU of each process", "no cgroup v2 subtree"),
    ]
}

fn guarantee(kind: GuaranteeKind, strength: Strength, how: &str, evidence: impl Into<String>) -> Guarantee {
    Guarantee { kind, strength, how: how.to_owned(), evidence: evidence.into() }
}

/// Enforced when `holds`, absent otherwise.
fn judged(kind: GuaranteeKind, holds: bool, how: &str, evidence: impl Into<String>) -> Guarantee {
    guarantee(kind, if holds { Strength::Enforced } else { Strength::Absent }, how, evidence)
}

/// A call with its answer, for the evidence.
fn said<T>(call: &str, answer: &Result<T, Errno>) -> String {
    match answer {
        Ok(_) => format!("{call}: allowed"),
        Err(errno) => format!("{call}: {errno:?}"),
    }
}

fn filesystem_view(canaries: &[PathBuf]) -> Guarantee {
    let answers: Vec<_> = canaries.iter().map(|canary| open(canary)).collect();
    let holds = !answers.is_empty() && answers.iter().all(|answer| answer.as_ref().err() == Some(&Errno::ENOENT));
    let worst = answers.into_iter().find(|answer| answer.as_ref().err() != Some(&Errno::ENOENT));
    let evidence = said("open of what the host has", &worst.unwrap_or(Err(Errno::ENOENT)));
    judged(GuaranteeKind::FilesystemView, holds, "mount namespace, root built from nothing", evidence)
}

fn read_only_system() -> Guarantee {
    let create = File::create("/usr/.write-probe").map(drop).map_err(|error| errno_of(&error));
    let remount = mount(None::<&str>, "/usr", None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None::<&str>);
    let holds = matches!(create, Err(Errno::EROFS | Errno::EACCES)) && remount == Err(Errno::EPERM);
    let evidence = format!("{}; {}", said("create in /usr", &create), said("remount of /usr", &remount));
    judged(GuaranteeKind::ReadOnlySystem, holds, "read-only mounts", evidence)
}

fn devices() -> Guarantee {
    let expected: BTreeSet<String> = DEVICES
        .into_iter()
        .chain(DEVICE_LINKS.map(|(name, _)| name))
        .chain(["pts", "shm"])
        .map(str::to_owned)
        .collect();
    let found = names("/dev");
    let evidence = match &found {
        Some(found) if *found == expected => format!("{} entries, all expected", found.len()),
        Some(found) => format!("unexpected: {:?}", found.symmetric_difference(&expected).collect::<Vec<_>>()),
        None => "cannot be listed".to_owned(),
    };
    judged(GuaranteeKind::Devices, found == Some(expected), "device directory of the run's own", evidence)
}

fn processes() -> Guarantee {
    let own = ["1".to_owned(), std::process::id().to_string()];
    let found = names("/proc").unwrap_or_default();
    let foreign: Vec<_> =
        found.iter().filter(|name| name.parse::<u32>().is_ok() && !own.contains(name)).cloned().collect();
    let holds = found.contains("1") && foreign.is_empty();
    let evidence = if holds { "only init and this probe in /proc".to_owned() } else { format!("seen: {foreign:?}") };
    judged(GuaranteeKind::Processes, holds, "pid namespace with its own /proc", evidence)
}

fn init_sealed() -> Guarantee {
    let environ = read_bytes("/proc/1/environ");
    let root = std::fs::read_link("/proc/1/root").map_err(|error| errno_of(&error));
    let fds = std::fs::read_link("/proc/1/fd/0").map_err(|error| errno_of(&error));
    let refused = |errno: Option<&Errno>| matches!(errno, Some(Errno::EACCES | Errno::EPERM));
    let holds = refused(environ.as_ref().err()) && refused(root.as_ref().err()) && refused(fds.as_ref().err());
    let evidence = [said("environ", &environ), said("root", &root), said("fd/0", &fds)].join("; ");
    judged(GuaranteeKind::InitSealed, holds, "init cannot be dumped", evidence)
}

fn network(outside: Outside) -> Guarantee {
    // Nobody can listen at port 0, so the kernel itself answers: that there is no route, or that nobody listens here.
    let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
    let reach = TcpStream::connect_timeout(&foreign, CONNECT_WAIT).map(drop).map_err(|error| errno_of(&error));
    let answer = match outside {
        Outside::Unreachable => Errno::ENETUNREACH,
        Outside::Caught => Errno::ECONNREFUSED,
    };
    let interfaces = read("/proc/self/net/dev").unwrap_or_default();
    let interfaces: Vec<_> =
        interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    let holds = interfaces == ["lo"] && reach == Err(answer);
    let evidence = format!("interfaces: {}; {}", interfaces.join(" "), said("connect to 192.0.2.1", &reach));
    judged(GuaranteeKind::Network, holds, "network namespace without an interface", evidence)
}

fn socket_families() -> Guarantee {
    let families = [("vsock", libc::AF_VSOCK), ("alg", libc::AF_ALG), ("packet", libc::AF_PACKET)];
    let answers = families.map(|(name, family)| (name, refused::socket_of(family)));
    let holds = answers.iter().all(|(_, answer)| *answer == Err(Errno::EPERM));
    let evidence = answers.map(|(name, answer)| said(name, &answer)).join("; ");
    judged(GuaranteeKind::SocketFamilies, holds, "system call filter with an allow list", evidence)
}

fn nested_namespaces() -> Guarantee {
    let limit = read("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let answer = refused::new_user_namespace();
    let holds = matches!(answer, Err(Errno::EPERM | Errno::ENOSPC | Errno::EUSERS)) && limit.trim() == "0";
    let evidence = format!("{}; limit: {}", said("unshare", &answer), limit.trim());
    judged(GuaranteeKind::NestedNamespaces, holds, "system call filter and a limit of 0", evidence)
}

fn capabilities(status: &str) -> Guarantee {
    let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let sets = names.map(|name| (name, field(status, name)));
    let zero = |set: Option<&str>| set.is_some_and(|set| set.bytes().all(|digit| digit == b'0'));
    let holds = sets.iter().all(|(_, set)| zero(*set));
    let left: Vec<_> = sets.iter().filter(|(_, set)| !zero(*set)).map(|(name, _)| *name).collect();
    let evidence = if holds { "all five sets are empty".to_owned() } else { format!("left in {}", left.join(" ")) };
    judged(GuaranteeKind::Capabilities, holds, "dropped from every set, securebits locked", evidence)
}

fn no_new_privileges(status: &str) -> Guarantee {
    let value = field(status, "NoNewPrivs");
    let evidence = format!("NoNewPrivs: {}", value.unwrap_or("unknown"));
    judged(GuaranteeKind::NoNewPrivileges, value == Some("1"), "no_new_privs and nosuid mounts", evidence)
}

fn syscall_filter(status: &str) -> Guarantee {
    let mode = field(status, "Seccomp");
    let answer = refused::user_key_ring();
    let holds = mode == Some("2") && answer == Err(Errno::EPERM);
    let evidence = format!("Seccomp: {}; {}", mode.unwrap_or("unknown"), said("keyctl", &answer));
    judged(GuaranteeKind::SyscallFilter, holds, "seccomp filter", evidence)
}

/// Tries to read what only landlock refuses.
pub(crate) fn landlock() -> Guarantee {
    let version = refused::landlock_version();
    let answer = open(Path::new(LANDLOCK_CANARY));
    let holds = answer.as_ref().err() == Some(&Errno::EACCES);
    let how = match version {
        Ok(version) => format!("landlock version {version}"),
        Err(errno) => format!("the kernel has no landlock: {errno:?}"),
    };
    judged(GuaranteeKind::Landlock, holds, &how, said("read of a file that only landlock refuses", &answer))
}

fn process_limit(expected: &Expected) -> Guarantee {
    let kind = GuaranteeKind::ProcessLimit;
    let bound = read("/proc/sys/kernel/pid_max").and_then(|text| text.trim().parse::<u64>().ok());
    let evidence = format!("pid_max inside: {}", bound.map_or_else(|| "unknown".to_owned(), |bound| bound.to_string()));
    match (bound, expected.host_user) {
        (Some(bound), _) if bound == expected.pids_bound => {
            guarantee(kind, Strength::Enforced, "bound of the pid namespace, RLIMIT_NPROC", evidence)
        }
        (_, HostUser::Ordinary) => {
            guarantee(kind, Strength::Degraded, "RLIMIT_NPROC, counted per user namespace since Linux 5.14", evidence)
        }
        (_, HostUser::Root) => guarantee(kind, Strength::Absent, "RLIMIT_NPROC does not bind root", evidence),
    }
}

fn memory_limit(memory: MemoryBound) -> Guarantee {
    let kind = GuaranteeKind::MemoryLimit;
    match memory {
        MemoryBound::PerProcess => {
            guarantee(kind, Strength::Degraded, "RLIMIT_AS of each process", "no cgroup v2 subtree")
        }
        MemoryBound::None => guarantee(kind, Strength::Absent, "the spec names no bound", "no cgroup v2 subtree"),
    }
}

/// The value of one line of a status file.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn names(directory: &str) -> Option<BTreeSet<String>> {
    let entries = std::fs::read_dir(directory).ok()?;
    Some(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn open(path: &Path) -> Result<(), Errno> {
    File::open(path).map(drop).map_err(|error| errno_of(&error))
}

fn read(path: &str) -> Option<String> {
    small_file::text(path, FILE_BYTES_MAX).ok()
}

fn read_bytes(path: &str) -> Result<Vec<u8>, Errno> {
    File::open(path).and_then(|file| small_file::bytes(file, FILE_BYTES_MAX)).map_err(|error| errno_of(&error))
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
