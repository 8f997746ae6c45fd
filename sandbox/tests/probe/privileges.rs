//! Attacks that want more rights than the process was given.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;

use super::kernel::write_refused;
use super::{Findings, Mark, raw};

pub(super) fn attack(case: &str, found: &mut Findings) -> bool {
    match case {
        "k4" => privileges(found),
        "k5" => identities(found),
        "k6" => core_dumps(found),
        "k7" => priorities(found),
        "p11" => personalities(found),
        _ => return false,
    }
    true
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
    // Another user is no way out by itself.
    let expected = field("Uid").split_whitespace().all(|id| id == "1000");
    found.note("Uid", field("Uid"), if expected { Mark::Held } else { Mark::Odd });
    set_user_programs(found);
}

/// A program with the set-user-id bit starts as the same user, with nothing in its sets.
fn set_user_programs(found: &mut Findings) {
    let own = nix::unistd::getuid().to_string();
    for program in ["/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/newuidmap"] {
        let Ok(child) = Command::new(program)
            .arg("--help")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
        else {
            continue;
        };
        // The child has executed the program when `spawn` returns, and is a zombie at the least.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or("Uid: ?").to_owned();
        let mut child = child;
        let ended = child.wait();
        let held = uid.split_whitespace().skip(1).all(|id| id == own);
        found.holds(&format!("user of {program}"), &format!("{uid}, {ended:?}"), held);
    }
}

fn identities(found: &mut Findings) {
    for path in ["/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/projid_map", "/proc/self/setgroups"] {
        write_refused(path, found);
    }
    let refused = [Errno::EPERM, Errno::EINVAL];
    for id in [0_usize, 1, 65_534] {
        for (name, number) in [
            ("setuid", libc::SYS_setuid),
            ("setgid", libc::SYS_setgid),
            ("setresuid", libc::SYS_setresuid),
            ("setresgid", libc::SYS_setresgid),
        ] {
            found.refused(&format!("{name} {id}"), raw(number, [id, id, id, 0, 0, 0]), &refused);
        }
        let list = [u32::try_from(id).unwrap_or_default()];
        let groups = raw(libc::SYS_setgroups, [1, list.as_ptr() as usize, 0, 0, 0, 0]);
        found.refused(&format!("setgroups {id}"), groups, &refused);
    }
    // All capabilities of version 3, in both halves.
    let header = [0x2008_0522_u32, 0];
    let all = [u32::MAX; 6];
    let set = raw(libc::SYS_capset, [header.as_ptr() as usize, all.as_ptr() as usize, 0, 0, 0, 0]);
    found.refused("capset", set, &[Errno::EPERM]);
    let ambient = raw(libc::SYS_prctl, [libc::PR_CAP_AMBIENT as usize, 2, 21, 0, 0, 0]);
    found.refused("ambient capability", ambient, &[Errno::EPERM]);
    let secure = raw(libc::SYS_prctl, [libc::PR_SET_SECUREBITS as usize, 0, 0, 0, 0, 0]);
    found.refused("securebits", secure, &[Errno::EPERM]);
    let privileges = raw(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 0, 0, 0, 0, 0]);
    found.refused("new privileges again", privileges, &[Errno::EINVAL]);
    let seccomp = raw(libc::SYS_prctl, [libc::PR_SET_SECCOMP as usize, 0, 0, 0, 0, 0]);
    found.refused("no filter again", seccomp, &[Errno::EINVAL]);
}

/// The kernel says in the status whether anything was dumped, whoever took the dump.
fn core_dumps(found: &mut Findings) {
    let table = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = table.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    // Without this limit it depends on the host whether anything is dumped.
    let expected = line.split_whitespace().filter(|word| *word == "1").count() == 2;
    found.note("core file size", line, if expected { Mark::Held } else { Mark::Odd });
    let filter = std::fs::read_to_string("/proc/self/coredump_filter").unwrap_or_default();
    let nothing = filter.trim().bytes().all(|digit| digit == b'0') && !filter.trim().is_empty();
    found.note("kinds of memory that are dumped", filter.trim(), if nothing { Mark::Held } else { Mark::Odd });
    for signal in ["SEGV", "ABRT", "QUIT", "SYS"] {
        let ended = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} $$")]).status();
        let dumped = ended.as_ref().map_or(true, |status| status.signal().is_none() || status.core_dumped());
        found.holds(&format!("end by SIG{signal}"), &format!("{ended:?}"), !dumped);
    }
    let left: Vec<_> = std::fs::read_dir(".")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("core"))
        .collect();
    found.holds("core files", &format!("{left:?}"), left.is_empty());
}

fn priorities(found: &mut Findings) {
    let refused = [Errno::EPERM, Errno::EACCES];
    let nice = raw(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, usize::MAX - 19, 0, 0, 0]);
    found.refused("nice -20", nice, &refused);
    let one = 1_u32;
    for (name, policy) in [("SCHED_FIFO", libc::SCHED_FIFO), ("SCHED_RR", libc::SCHED_RR)] {
        let set = raw(libc::SYS_sched_setscheduler, [0, policy as usize, (&raw const one) as usize, 0, 0, 0]);
        found.refused(name, set, &refused);
    }
    // struct sched_attr: size, policy 6 (SCHED_DEADLINE), flags, nice, priority, then the three times.
    let deadline: [u64; 6] = [48 | 6 << 32, 0, 0, 1_000_000, 10_000_000, 10_000_000];
    let set = raw(libc::SYS_sched_setattr, [0, deadline.as_ptr() as usize, 0, 0, 0, 0]);
    found.refused("SCHED_DEADLINE", set, &refused);
    let realtime = 1 << 13;
    found.refused("ioprio realtime", raw(libc::SYS_ioprio_set, [1, 0, realtime, 0, 0, 0]), &refused);
    write_refused("/proc/self/oom_score_adj", found);
    let more = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    for (name, which) in [
        ("files", libc::RLIMIT_NOFILE),
        ("core", libc::RLIMIT_CORE),
        ("processor", libc::RLIMIT_CPU),
        ("nice", libc::RLIMIT_NICE),
    ] {
        let set = raw(libc::SYS_prlimit64, [0, which as usize, (&raw const more) as usize, 0, 0, 0]);
        match set {
            // Somebody else decides whether there is one.
            Ok(_) => found.note(&format!("limit of {name}"), "there is none", Mark::Odd),
            Err(_) => found.refused(&format!("limit of {name}"), set, &refused),
        }
    }
    let locked = raw(libc::SYS_mlockall, [3, 0, 0, 0, 0, 0]);
    let _unlocked = raw(libc::SYS_munlockall, [0; 6]);
    found.holds("mlockall", &format!("{locked:?}, within the limit"), true);
    // The same as a write to /proc/self/timerslack_ns, which only makes this process itself wait longer.
    let slack = raw(libc::SYS_prctl, [libc::PR_SET_TIMERSLACK as usize, 1, 0, 0, 0, 0]);
    found.holds("own timer slack", &format!("{slack:?}"), slack.is_ok());
    for (name, option, argument) in [("PR_SET_MM", libc::PR_SET_MM, 8), ("PR_SET_IO_FLUSHER", 57, 1)] {
        let set = raw(libc::SYS_prctl, [option as usize, argument, 0, 0, 0, 0]);
        found.refused(name, set, &[Errno::EPERM, Errno::EINVAL]);
    }
}

fn personalities(found: &mut Findings) {
    for (name, persona) in
        [("ADDR_NO_RANDOMIZE", 0x004_0000), ("READ_IMPLIES_EXEC", 0x040_0000), ("MMAP_PAGE_ZERO", 0x010_0000)]
    {
        found.refused(name, raw(libc::SYS_personality, [persona, 0, 0, 0, 0, 0]), &[Errno::EPERM]);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let x32 = 0x4000_0000;
        found.refused("x32 getpid", raw(x32 + 39, [0; 6]), &[Errno::ENOSYS]);
        found.refused("modify_ldt", raw(libc::SYS_modify_ldt, [0; 6]), &[Errno::EPERM]);
        let ended = super::processes::ended_child(|| {
            // `getpid` of 32-bit programs, which a filter for 64-bit ones would take for `writev`.
            let mut answer: i64 = 20;
            // SAFETY: the call reads and writes no memory of this process but the register that is named.
            unsafe { std::arch::asm!("int 0x80", inlateout("rax") answer) };
            i32::from(answer < 0)
        });
        let killed = matches!(ended, Ok(status) if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS);
        found.holds("32-bit call", &format!("{ended:?}"), killed);
    }
}
