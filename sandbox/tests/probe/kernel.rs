//! Attacks on the kernel's surface, on privileges and on limits.

use std::fs::OpenOptions;
use std::io::Write as _;

use nix::errno::Errno;
use nix::libc::{self, c_long};

use super::{Findings, errno_of, raw};

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "i2" => key_rings(found),
        "k1" => namespaces(found),
        "k2" => refused_calls(found),
        "k3" => unknown_calls(found),
        "k4" => privileges(found),
        "k6" => limits(found),
        "k8" => settings(found),
        "k9" => names(arguments, found),
        "p11" => personalities(found),
        "s5" => environment(arguments, found),
        _ => return false,
    }
    true
}

fn key_rings(found: &mut Findings) {
    for (name, number) in
        [("add_key", libc::SYS_add_key), ("request_key", libc::SYS_request_key), ("keyctl", libc::SYS_keyctl)]
    {
        found.refused(name, raw(number, [0; 6]), &[Errno::EPERM]);
    }
}

fn namespaces(found: &mut Findings) {
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ] {
        let flag = flag as usize;
        found.refused(&format!("unshare {name}"), raw(libc::SYS_unshare, [flag, 0, 0, 0, 0, 0]), &[Errno::EPERM]);
        let clone = raw(libc::SYS_clone, [flag | libc::SIGCHLD as usize, 0, 0, 0, 0, 0]);
        if clone == Ok(0) {
            // The child of an attack that worked; its parent reports it.
            std::process::abort();
        }
        found.refused(&format!("clone {name}"), clone, &[Errno::EPERM]);
    }
    found.refused("clone3", raw(libc::SYS_clone3, [0; 6]), &[Errno::ENOSYS]);
    found.refused("setns", raw(libc::SYS_setns, [0; 6]), &[Errno::EPERM]);
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    found.holds("max_user_namespaces", limit.trim(), limit.trim() == "0");
}

fn refused_calls(found: &mut Findings) {
    let calls: [(&str, c_long); 26] = [
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("kexec_load", libc::SYS_kexec_load),
        ("kexec_file_load", libc::SYS_kexec_file_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("delete_module", libc::SYS_delete_module),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("fsopen", libc::SYS_fsopen),
        ("fsmount", libc::SYS_fsmount),
        ("fspick", libc::SYS_fspick),
        ("quotactl", libc::SYS_quotactl),
        ("swapon", libc::SYS_swapon),
        ("swapoff", libc::SYS_swapoff),
        ("acct", libc::SYS_acct),
        ("reboot", libc::SYS_reboot),
        ("syslog", libc::SYS_syslog),
        ("settimeofday", libc::SYS_settimeofday),
        ("clock_settime", libc::SYS_clock_settime),
        ("fanotify_init", libc::SYS_fanotify_init),
        ("ptrace", libc::SYS_ptrace),
        ("vhangup", libc::SYS_vhangup),
        ("nfsservctl", libc::SYS_nfsservctl),
        ("open_tree_attr", 467),
    ];
    for (name, number) in calls {
        found.refused(name, raw(number, [0; 6]), &[Errno::EPERM]);
    }
    for (name, number) in [
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_enter", libc::SYS_io_uring_enter),
        ("io_uring_register", libc::SYS_io_uring_register),
    ] {
        found.refused(name, raw(number, [0; 6]), &[Errno::ENOSYS]);
    }
}

fn unknown_calls(found: &mut Findings) {
    for number in [470, 480, 600, 1000, 0x4000_0000 + 39, 0x7fff_ffff] {
        found.refused(&format!("call {number:#x}"), raw(number, [0; 6]), &[Errno::ENOSYS]);
    }
}

fn privileges(found: &mut Findings) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or("?")
    };
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        found.holds(name, field(name), field(name) == "0000000000000000");
    }
    found.holds("NoNewPrivs", field("NoNewPrivs"), field("NoNewPrivs") == "1");
    found.holds("Seccomp", field("Seccomp"), field("Seccomp") == "2");
    found.holds("Uid", field("Uid"), field("Uid").split_whitespace().all(|id| id == "1000"));
    let setuid = raw(libc::SYS_setuid, [0; 6]);
    found.refused("setuid 0", setuid, &[Errno::EPERM, Errno::EINVAL]);
    for path in ["/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"] {
        write_refused(path, "0 0 1", found);
    }
}

fn limits(found: &mut Findings) {
    let table = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = table.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    found.holds("core file size", line, line.split_whitespace().filter(|word| *word == "1").count() == 2);
    let nice = raw(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, usize::MAX - 19, 0, 0, 0]);
    found.refused("nice -20", nice, &[Errno::EACCES, Errno::EPERM]);
    write_refused("/proc/self/oom_score_adj", "-1000", found);
}

fn settings(found: &mut Findings) {
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
    ] {
        write_refused(path, "1", found);
    }
    let kcore = std::fs::read("/proc/kcore").map_err(|error| errno_of(&error));
    let kcore = kcore.and_then(|bytes| if bytes.is_empty() { Err(Errno::EACCES) } else { Ok(bytes) });
    found.refused("read /proc/kcore", kcore, &[Errno::EACCES, Errno::EPERM, Errno::ENOENT]);
}

fn write_refused(path: &str, text: &str, found: &mut Findings) {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    let wanted = [Errno::EROFS, Errno::EACCES, Errno::EPERM, Errno::ENOENT];
    found.refused(&format!("write {path}"), written.map_err(|error| errno_of(&error)), &wanted);
}

fn names(arguments: &[&str], found: &mut Findings) {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    found.holds("host name", name.trim(), arguments.contains(&name.trim()));
}

fn personalities(found: &mut Findings) {
    const ADDR_NO_RANDOMIZE: usize = 0x004_0000;
    found.refused("personality", raw(libc::SYS_personality, [ADDR_NO_RANDOMIZE, 0, 0, 0, 0, 0]), &[Errno::EPERM]);
}

fn environment(expected: &[&str], found: &mut Findings) {
    let mut names: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    names.sort();
    found.holds("environment", &names.join(" "), names == expected);
}
