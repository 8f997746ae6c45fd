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
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::level::{Guarantee, GuaranteeKind, Strength};
use crate::small_file;
use crate::sys::{mounts, refused};
use crate::view::{DEVICE_LINKS, DEVICES, HostUser, LANDLOCK_CANARY};

/// More than any file of the kernel says that is read here.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// What every run has at its root.
const ROOT: [&str; 15] = [
    ".landlock-canary",
    "bin",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "out",
    "proc",
    "run",
    "sbin",
    "tmp",
    "usr",
];
/// Longest wait for an answer that the kernel itself gives at once.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// What the probes compare with.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Paths that exist on the host and must not exist inside; at least one.
    pub(crate) canaries: Vec<PathBuf>,
    /// Where the spec has something appear.
    pub(crate) shown: Vec<PathBuf>,
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
        filesystem_view(expected),
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

/// Of calls that must be refused with one of `wanted`: whether all were, and what to show of them.
fn all_refused<T>(calls: &[(String, Result<T, Errno>)], wanted: &[Errno]) -> (bool, String) {
    let refused = |answer: &Result<T, Errno>| answer.as_ref().is_err_and(|errno| wanted.contains(errno));
    if let Some((call, answer)) = calls.iter().find(|(_, answer)| !refused(answer)) {
        return (false, said(call, answer));
    }
    let alike = calls.chunk_by(|(_, one), (_, next)| one.as_ref().err() == next.as_ref().err());
    let shown = alike.filter_map(|group| {
        let calls: Vec<_> = group.iter().map(|(call, _)| call.as_str()).collect();
        Some(said(&calls.join(", "), &group.first()?.1))
    });
    (true, shown.collect::<Vec<_>>().join("; "))
}

fn filesystem_view(expected: &Expected) -> Guarantee {
    let paths = &expected.canaries;
    let opened: Vec<_> = paths.iter().map(|path| (format!("open of {}", path.display()), open(path))).collect();
    let (hidden, evidence) = all_refused(&opened, &[Errno::ENOENT]);
    let strangers: Vec<_> = [("/", ROOT.as_slice()), ("/home", &["run"])]
        .into_iter()
        .flat_map(|(directory, known)| strangers(Path::new(directory), known, &expected.shown))
        .collect();
    let keys = read("/proc/keys").unwrap_or_default().lines().count();
    let holds = hidden && !opened.is_empty() && strangers.is_empty() && keys == 0;
    let evidence = format!("{evidence}; not planned in / and /home: {strangers:?}; key rings shown: {keys}");
    judged(GuaranteeKind::FilesystemView, holds, "mount namespace, root built from nothing", evidence)
}

/// What is in `directory` that is neither `known` nor leads to what the spec shows.
fn strangers(directory: &Path, known: &[&str], shown: &[PathBuf]) -> Vec<String> {
    let Some(found) = names(directory) else { return vec![format!("{} cannot be listed", directory.display())] };
    let leads = |name: &str| shown.iter().any(|place| place.starts_with(directory.join(name)));
    found.into_iter().filter(|name| !known.contains(&name.as_str()) && !leads(name)).collect()
}

fn read_only_system() -> Guarantee {
    let created = ["/", "/usr", "/etc", "/bin"].map(|directory| {
        let path = Path::new(directory).join(".write-probe");
        let created = File::create_new(&path).map(drop).map_err(|error| errno_of(&error));
        if created.is_ok() {
            // Where it is the host's own, nothing may stay.
            drop(std::fs::remove_file(&path));
        }
        (format!("create in {directory}"), created)
    });
    let remount = mount(None::<&str>, "/usr", None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None::<&str>);
    let changed = [
        ("remount of /usr".to_owned(), remount),
        ("mount_setattr".to_owned(), refused::clear_read_only(c"/usr")),
        ("open_tree".to_owned(), mounts::clone_tree_at(c"/usr").map(drop)),
    ];
    let (unwritable, created) = all_refused(&created, &[Errno::EROFS, Errno::EACCES]);
    let (unchangeable, changed) = all_refused(&changed, &[Errno::EPERM]);
    let evidence = format!("{created}; {changed}");
    judged(GuaranteeKind::ReadOnlySystem, unwritable && unchangeable, "read-only mounts", evidence)
}

fn devices() -> Guarantee {
    let expected: BTreeSet<String> = DEVICES
        .into_iter()
        .chain(DEVICE_LINKS.map(|(name, _)| name))
        .chain(["pts", "shm"])
        .map(str::to_owned)
        .collect();
    let found = names(Path::new("/dev"));
    let evidence = match &found {
        Some(found) if *found == expected => format!("{} entries, all expected", found.len()),
        Some(found) => format!("unexpected: {:?}", found.symmetric_difference(&expected).collect::<Vec<_>>()),
        None => "cannot be listed".to_owned(),
    };
    judged(GuaranteeKind::Devices, found == Some(expected), "device directory of the run's own", evidence)
}

fn processes() -> Guarantee {
    let own = ["1".to_owned(), std::process::id().to_string()];
    let found = names(Path::new("/proc")).unwrap_or_default();
    let foreign: Vec<_> =
        found.iter().filter(|name| name.parse::<u32>().is_ok() && !own.contains(name)).cloned().collect();
    let holds = found.contains("1") && foreign.is_empty();
    let evidence = if holds { "only init and this probe in /proc".to_owned() } else { format!("seen: {foreign:?}") };
    judged(GuaranteeKind::Processes, holds, "pid namespace with its own /proc", evidence)
}

fn init_sealed() -> Guarantee {
    let link = |name: &str| std::fs::read_link(format!("/proc/1/{name}")).map(drop).map_err(|error| errno_of(&error));
    let file = |name: &str| read_bytes(&format!("/proc/1/{name}")).map(drop);
    let links = ["exe", "root", "cwd", "fd/0", "ns/user"].map(|name| (name.to_owned(), link(name)));
    let files = ["environ", "maps", "mem"].map(|name| (name.to_owned(), file(name)));
    let tried: Vec<_> = links.into_iter().chain(files).collect();
    let (sealed, evidence) = all_refused(&tried, &[Errno::EACCES, Errno::EPERM]);
    let dumped = read("/proc/self/coredump_filter").unwrap_or_default();
    let undumped = !dumped.trim().is_empty() && dumped.trim().bytes().all(|digit| digit == b'0');
    let evidence = format!("{evidence}; memory of the run that is dumped: {}", dumped.trim());
    judged(GuaranteeKind::InitSealed, sealed && undumped, "init cannot be dumped", evidence)
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
    let mut ways = vec![("clone".to_owned(), refused::new_user_namespace())];
    ways.extend(refused::other_ways_to_namespaces().map(|(call, answer)| (call.to_owned(), answer)));
    // The flags of `clone3` cannot be seen by a filter, so there must be no such call.
    let (closed, ways) = all_refused(&ways, &[Errno::EPERM, Errno::ENOSPC, Errno::EUSERS, Errno::ENOSYS]);
    let holds = closed && limit.trim() == "0";
    let evidence = format!("{ways}; limit: {}", limit.trim());
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
    let flags = statvfs("/usr").map(|found| found.flags());
    let holds = value == Some("1") && flags.is_ok_and(|flags| flags.contains(FsFlags::ST_NOSUID));
    let evidence = format!("NoNewPrivs: {}; /usr: {flags:?}", value.unwrap_or("unknown"));
    judged(GuaranteeKind::NoNewPrivileges, holds, "no_new_privs and nosuid mounts", evidence)
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

fn names(directory: &Path) -> Option<BTreeSet<String>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_that_is_allowed_or_answered_otherwise_is_shown() {
        let calls = |answers: &[Result<(), Errno>]| {
            let named = answers.iter().enumerate().map(|(index, answer)| (format!("call {index}"), *answer));
            all_refused(&named.collect::<Vec<_>>(), &[Errno::EPERM, Errno::ENOSYS])
        };
        let refused = [Err(Errno::EPERM), Err(Errno::EPERM), Err(Errno::ENOSYS)];
        assert_eq!(calls(&refused), (true, "call 0, call 1: EPERM; call 2: ENOSYS".to_owned()));
        assert_eq!(calls(&[Err(Errno::EPERM), Ok(())]), (false, "call 1: allowed".to_owned()));
        assert_eq!(calls(&[Err(Errno::EINVAL), Err(Errno::EPERM)]), (false, "call 0: EINVAL".to_owned()));
    }

    #[test]
    fn what_nobody_planned_is_a_stranger() {
        let home = tempfile::tempdir().unwrap();
        for name in ["known", "opt", "optional", ".hidden"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let shown = [home.path().join("opt/tools")];
        assert_eq!(strangers(home.path(), &["known"], &shown), [".hidden", "optional"]);
        let missing = home.path().join("missing");
        assert_eq!(strangers(&missing, &[], &shown).len(), 1, "what cannot be listed is not clean");
    }
}
