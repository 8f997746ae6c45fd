//! Attacks on namespaces, on settings of the kernel and on what it tells.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use super::processes::in_child;
use super::{Findings, errno_of, raw};

/// Linux 6.8.
const LISTMOUNT: libc::c_long = 458;

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "k1" => namespaces(found),
        "k8" => settings(found),
        "k9" => names(arguments, found),
        "k11" => owner_only(found),
        "namespaces" => return tell_namespaces(),
        "s5" => environment(arguments, found),
        _ => return false,
    }
    true
}

/// Each in a process of its own, because one that works changes what the next one may do.
fn namespaces(found: &mut Findings) {
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("time", 0x80),
    ] {
        let flag = flag as usize;
        let answer = in_child(|| raw(libc::SYS_unshare, [flag, 0, 0, 0, 0, 0]).map(drop));
        found.refused(&format!("unshare {name}"), answer, &[Errno::EPERM]);
        if flag == 0x80 {
            // In `clone` this bit is part of the signal.
            continue;
        }
        let answer = in_child(|| {
            match raw(libc::SYS_clone, [flag | libc::SIGCHLD as usize, 0, 0, 0, 0, 0]) {
                // The child of an attack that worked; its parent reports it.
                Ok(0) => std::process::abort(),
                answer => answer.map(drop),
            }
        });
        found.refused(&format!("clone {name}"), answer, &[Errno::EPERM]);
    }
    found.refused("clone3", raw(libc::SYS_clone3, [0; 6]), &[Errno::ENOSYS]);
    found.refused("setns", raw(libc::SYS_setns, [0; 6]), &[Errno::EPERM]);
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    found.holds("max_user_namespaces", limit.trim(), limit.trim() == "0");
}

/// Opens for writing and writes nothing: what works in a weak sandbox must not hurt the machine.
fn settings(found: &mut Findings) {
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/user/max_inotify_watches",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/ping_group_range",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/fs/mqueue/queues_max",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/self/oom_score_adj",
        "/proc/self/timerslack_ns",
        "/proc/self/clear_refs",
        "/proc/self/coredump_filter",
        "/proc/self/loginuid",
        "/proc/self/attr/current",
        "/proc/self/attr/exec",
        "/proc/self/mem",
        "/proc/self/comm",
        "/proc/self/autogroup",
    ] {
        write_refused(path, found);
    }
    let mut writable = Vec::new();
    writable_below(Path::new("/proc/sys"), &mut writable);
    found.holds("settings that can be opened for writing", &format!("{writable:.3?}"), writable.is_empty());
    found.refused("mkdir in /proc", std::fs::create_dir("/proc/x").map_err(|error| errno_of(&error)), REFUSED);
    found.refused("/sys", File::open("/sys").map_err(|error| errno_of(&error)), REFUSED);
    let kcore = read_some("/proc/kcore");
    found.refused("read /proc/kcore", kcore, REFUSED);
}

const REFUSED: &[Errno] = &[Errno::EROFS, Errno::EACCES, Errno::EPERM, Errno::ENOENT];

fn writable_below(directory: &Path, writable: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => writable_below(&path, writable),
            Ok(_) if OpenOptions::new().write(true).open(&path).is_ok() => writable.push(path.display().to_string()),
            Ok(_) | Err(_) => {}
        }
    }
}

pub(super) fn write_refused(path: &str, found: &mut Findings) {
    let opened = OpenOptions::new().write(true).open(path).map_err(|error| errno_of(&error));
    found.refused(&format!("open {path} for writing"), opened, REFUSED);
}

/// An empty file tells nothing, which is as good as a refusal.
fn read_some(path: &str) -> Result<(), Errno> {
    let mut byte = [0];
    // Some of these files wait for news.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    match opened.and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Err(Errno::EACCES),
        Ok(_) => Ok(()),
        Err(error) => Err(errno_of(&error)),
    }
}

fn names(arguments: &[&str], found: &mut Findings) {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    found.holds("host name", name.trim(), arguments.contains(&name.trim()));
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let addresses =
        symbols.lines().filter(|line| line.split(' ').next().is_some_and(|first| first.contains(|digit| digit != '0')));
    found.holds("addresses in /proc/kallsyms", "looked through", addresses.count() == 0);
}

/// Files of `/proc` that only their owner may read are made for administrators; the user behind a run of root owns them.
fn owner_only(found: &mut Findings) {
    let mut told = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let for_owner = metadata.is_file() && metadata.mode() & 0o077 == 0 && metadata.mode() & 0o400 != 0;
        if for_owner && path.to_str().is_some_and(|path| read_some(path).is_ok()) {
            told.push(path.display().to_string());
        }
    }
    found.holds("files for administrators in /proc", &format!("{told:?}"), told.is_empty());
    // struct mnt_id_req of its second version: size, root of a namespace, nothing, number of the namespace.
    for namespace in [1_u64, 2, 3, 4, 5, 8, 16, 0xefff_fff8] {
        let request = [32, u64::MAX, 0, namespace];
        let mut ids = [0_u64; 16];
        let args = [request.as_ptr() as usize, ids.as_mut_ptr() as usize, ids.len(), 0, 0, 0];
        let wanted = [Errno::EPERM, Errno::ENOENT, Errno::EINVAL, Errno::ENOSYS, Errno::ESTALE];
        found.refused(&format!("mounts of namespace {namespace:#x}"), raw(LISTMOUNT, args), &wanted);
    }
    let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    found.holds("key rings in /proc/keys", &keys.lines().count().to_string(), keys.is_empty());
}

/// Says on standard output which namespaces this is in.
fn tell_namespaces() -> bool {
    for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap_or_default();
        println!("{}", link.display());
    }
    true
}

fn environment(expected: &[&str], found: &mut Findings) {
    let mut names: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    names.sort();
    found.holds("environment", &names.join(" "), names == expected);
}
