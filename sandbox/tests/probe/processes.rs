//! Attacks on other processes, and jobs that do not want to end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::{ForkResult, Pid, fork, pause, setsid};

use super::{Findings, errno_of, raw};

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "p1" => see_processes(found),
        "p2" => signal_host(arguments, found),
        "p3" => look_into_init(found),
        "p4" => trace_init(found),
        "p5" => overwrite_programs(found),
        "p10" => reach_control(found),
        "p12" => leave_orphans(arguments, found),
        "p13" => weaken_init(found),
        "crowd" => crowd(arguments),
        "forkers" => forkers(arguments),
        "vforks" => vforks(),
        _ => return false,
    }
    true
}

fn see_processes(found: &mut Findings) {
    let pids: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let own = std::process::id();
    found.holds("processes", &format!("{pids:?}"), pids.iter().all(|pid| *pid == 1 || *pid == own) && pids.len() == 2);
}

fn signal_host(pids: &[&str], found: &mut Findings) {
    for pid in pids.iter().filter_map(|pid| pid.parse().ok()) {
        found.refused(&format!("kill {pid}"), kill(Pid::from_raw(pid), Signal::SIGKILL), &[Errno::ESRCH, Errno::EPERM]);
    }
    let init = kill(Pid::from_raw(1), Signal::SIGKILL);
    found.holds("kill init", &format!("{init:?}, and this still runs"), true);
}

fn look_into_init(found: &mut Findings) {
    let refused = [Errno::EACCES, Errno::EPERM];
    for name in ["exe", "root", "cwd", "ns/pid", "ns/user", "fd/0"] {
        let link = std::fs::read_link(Path::new("/proc/1").join(name)).map_err(|error| errno_of(&error));
        found.refused(&format!("/proc/1/{name}"), link, &refused);
    }
    for name in ["environ", "maps", "mem", "auxv", "stack"] {
        let read = std::fs::read(Path::new("/proc/1").join(name)).map_err(|error| errno_of(&error));
        let read = read.and_then(|bytes| if bytes.is_empty() { Err(Errno::EACCES) } else { Ok(bytes) });
        found.refused(&format!("/proc/1/{name}"), read, &refused);
    }
}

fn trace_init(found: &mut Findings) {
    let attached = in_child(|| {
        raw(libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, 1, 0, 0, 0, 0])?;
        // It is let go, because in a weak sandbox it would stand still and nobody would end.
        let mut status = 0;
        raw(libc::SYS_wait4, [1, (&raw mut status) as usize, libc::__WALL as usize, 0, 0, 0])?;
        raw(libc::SYS_ptrace, [libc::PTRACE_DETACH as usize, 1, 0, 0, 0, 0]).map(drop)
    });
    found.refused("ptrace attach", attached, &[Errno::EPERM]);
    // Where its memory is, if it says so; the program is at its start.
    let maps = std::fs::read_to_string("/proc/1/maps").unwrap_or_default();
    let start = maps.split('-').next().and_then(|start| usize::from_str_radix(start, 16).ok()).unwrap_or(1 << 12);
    let mut buffer = [0_u8; 8];
    let (local, remote) = ([buffer.as_mut_ptr() as usize, buffer.len()], [start, buffer.len()]);
    for (name, number) in
        [("process_vm_readv", libc::SYS_process_vm_readv), ("process_vm_writev", libc::SYS_process_vm_writev)]
    {
        let answer = raw(number, [1, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0]);
        // The program is not writable, and whoever is told so could write what is.
        let answer = if answer == Err(Errno::EFAULT) { Ok(0) } else { answer };
        found.refused(name, answer, &[Errno::EPERM]);
    }
    let pidfd = raw(libc::SYS_pidfd_open, [1, 0, 0, 0, 0, 0]);
    let number = usize::try_from(pidfd.unwrap_or_default()).unwrap_or_default();
    found.refused("pidfd_getfd", raw(libc::SYS_pidfd_getfd, [number, 0, 0, 0, 0, 0]), &[Errno::EPERM]);
    found.refused("kcmp", raw(libc::SYS_kcmp, [1, 1, 0, 0, 0, 0]), &[Errno::EPERM]);
}

/// Init runs as the same user: its limits, its place in the queues of the processor and of the disks.
fn weaken_init(found: &mut Findings) {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let zeros = [0_u8; 128];
    let (limit, zeros) = ((&raw const limit) as usize, zeros.as_ptr() as usize);
    let refused = [Errno::EPERM];
    for (name, resource) in [("files", libc::RLIMIT_NOFILE), ("time", libc::RLIMIT_CPU), ("size", libc::RLIMIT_FSIZE)] {
        let set = raw(libc::SYS_prlimit64, [1, resource as usize, limit, 0, 0, 0]);
        found.refused(&format!("prlimit init {name}"), set, &refused);
    }
    for (name, which, who) in
        [("process", libc::PRIO_PROCESS, 1), ("group", libc::PRIO_PGRP, 1), ("user", libc::PRIO_USER, 0)]
    {
        let set = raw(libc::SYS_setpriority, [which as usize, who, 19, 0, 0, 0]);
        found.refused(&format!("setpriority {name}"), set, &refused);
    }
    for (name, which, who) in [("process", 1, 1), ("group", 2, 1), ("user", 3, 0)] {
        let idle = 3 << 13;
        found.refused(&format!("ioprio_set {name}"), raw(libc::SYS_ioprio_set, [which, who, idle, 0, 0, 0]), &refused);
    }
    let scheduling = [
        ("sched_setscheduler", libc::SYS_sched_setscheduler, [1, libc::SCHED_IDLE as usize, zeros, 0, 0, 0]),
        ("sched_setparam", libc::SYS_sched_setparam, [1, zeros, 0, 0, 0, 0]),
        ("sched_setattr", libc::SYS_sched_setattr, [1, zeros, 0, 0, 0, 0]),
        ("sched_setaffinity", libc::SYS_sched_setaffinity, [1, 128, zeros, 0, 0, 0]),
    ];
    for (name, number, arguments) in scheduling {
        found.refused(name, raw(number, arguments), &refused);
    }
    for (name, signal) in [("SIGKILL", Signal::SIGKILL), ("SIGSTOP", Signal::SIGSTOP), ("SIGSEGV", Signal::SIGSEGV)] {
        let sent = kill(Pid::from_raw(1), signal);
        let state = std::fs::read_to_string("/proc/1/stat").unwrap_or_default();
        let lives = state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S") || rest.starts_with(" R"));
        found.holds(&format!("{name} to init"), &format!("{sent:?}, state {state:.40}"), lives);
    }
    // One's own are free to be lowered.
    let own = raw(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, 19, 0, 0, 0]);
    found.holds("own priority", &format!("{own:?}"), own.is_ok());
    let own = raw(libc::SYS_prlimit64, [0, libc::RLIMIT_CORE as usize, limit, 0, 0, 0]);
    found.holds("own limit", &format!("{own:?}"), own.is_ok());
}

/// Starts COUNT processes in sessions of their own that ignore every polite signal, says so in the pipe at PATH, which
/// all of them hold open, and stays. How a job looks that does not want to end.
fn crowd(arguments: &[&str]) {
    let [path, count] = arguments else { return };
    let count: usize = count.parse().unwrap_or(1);
    let Ok(mut pipe) = File::options().write(true).open(path) else { return };
    for which in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: ignoring a signal runs no code.
        if unsafe { signal(which, SigHandler::SigIgn) }.is_err() {
            return;
        }
    }
    for _ in 0..count {
        // SAFETY: this process has one thread, and the child only makes system calls.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                if setsid().is_ok() {
                    loop {
                        pause();
                    }
                }
                return;
            }
            Ok(ForkResult::Parent { .. }) | Err(_) => {}
        }
    }
    if pipe.write_all(b"ready\n").is_ok() {
        loop {
            pause();
        }
    }
}

/// Keeps COUNT lines of forking processes going, each of which ticks into the pipe at PATH and wakes the others whenever
/// it can. How a job looks that does not want to stand still.
fn forkers(arguments: &[&str]) {
    let [path, count] = arguments else { return };
    let Ok(mut pipe) = File::options().write(true).open(path) else { return };
    for _ in 0..count.parse().unwrap_or(1) {
        // SAFETY: this process has one thread, and the child only makes system calls.
        if matches!(unsafe { fork() }, Ok(ForkResult::Child)) {
            loop {
                // SAFETY: as above.
                match unsafe { fork() } {
                    // The child goes on as its parent, which ends and leaves it to init.
                    Ok(ForkResult::Child) => {}
                    Ok(ForkResult::Parent { .. }) => exit_at_once(0),
                    Err(_) => continue,
                }
                if kill(Pid::from_raw(-1), Signal::SIGCONT).is_err() && pipe.write_all(b".").is_err() {
                    exit_at_once(1);
                }
                if pipe.write_all(b".\n").is_err() {
                    exit_at_once(1);
                }
            }
        }
    }
    loop {
        pause();
    }
}

/// Makes children that borrow this process and stop it, again and again.
fn vforks() {
    loop {
        let mut child = std::process::Command::new("/bin/sh");
        // A stopped process ends by nothing but SIGKILL.
        drop(child.args(["-c", "kill -STOP $$ & kill -STOP $PPID"]).status());
    }
}

/// Executes `attempt` in a child and returns its answer.
pub(super) fn in_child(attempt: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let status = ended_child(|| match attempt() {
        Ok(()) => 0,
        // Numbers of errors fit an exit code here: the largest that is expected is below 128.
        Err(errno) => (errno as i32).clamp(1, 254),
    })?;
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => Ok(()),
        (true, code) => Err(Errno::from_raw(code)),
        (false, _) => Err(Errno::UnknownErrno),
    }
}

/// Executes `work` in a child that exits with its result, and returns the status of that.
pub(super) fn ended_child(work: impl FnOnce() -> i32) -> Result<i32, Errno> {
    // SAFETY: this process has one thread, and the child ends without running destructors of its parent.
    match unsafe { fork() }? {
        ForkResult::Child => exit_at_once(work()),
        ForkResult::Parent { child } => {
            let mut status = 0;
            // SAFETY: `status` lives through the call.
            Errno::result(unsafe { libc::waitpid(child.as_raw(), &raw mut status, libc::__WALL) })?;
            Ok(status)
        }
    }
}

fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process without touching memory.
    unsafe { libc::_exit(code) }
}

/// The program behind init and that of every process that is on its way to another one.
fn overwrite_programs(found: &mut Findings) {
    let refused = [Errno::EACCES, Errno::EROFS, Errno::EPERM, Errno::ETXTBSY];
    for name in ["exe", "mem"] {
        let opened = File::options().write(true).open(format!("/proc/1/{name}")).map_err(|error| errno_of(&error));
        found.refused(&format!("write /proc/1/{name}"), opened, &refused);
    }
    let own = File::options().write(true).open("/proc/self/exe").map_err(|error| errno_of(&error));
    found.refused("write the program that runs", own, &refused);
    let removed = std::fs::read_link("/proc/self/exe").and_then(std::fs::remove_file);
    found.refused("remove the program that runs", removed.map_err(|error| errno_of(&error)), &refused);
    for program in ["/usr/bin/env", "/bin/sh", "/usr/bin/orch-sandbox", "/usr/local/bin/orch-sandbox"] {
        let opened = File::options().write(true).open(program).map_err(|error| errno_of(&error));
        found.refused(&format!("write {program}"), opened, &[refused.as_slice(), &[Errno::ENOENT]].concat());
    }
}

/// Whoever holds a descriptor of init could speak in its name.
fn reach_control(found: &mut Findings) {
    let refused = [Errno::EACCES, Errno::EPERM, Errno::ENOENT];
    let pidfd = raw(libc::SYS_pidfd_open, [1, 0, 0, 0, 0, 0])
        .map_or(usize::MAX, |fd| usize::try_from(fd).unwrap_or(usize::MAX));
    for number in 0..32 {
        let opened = File::options().write(true).open(format!("/proc/1/fd/{number}")).map_err(|error| errno_of(&error));
        if opened.is_ok() || number < 6 {
            found.refused(&format!("open descriptor {number} of init"), opened, &refused);
        }
        let taken = raw(libc::SYS_pidfd_getfd, [pidfd, number, 0, 0, 0, 0]);
        if taken.is_ok() || number < 6 {
            found.refused(&format!("take descriptor {number} of init"), taken, &[Errno::EPERM, Errno::EBADF]);
        }
    }
    // The namespaces behind a descriptor of a process: `PIDFD_GET_*_NAMESPACE`.
    for kind in 1..=10 {
        let answer = raw(libc::SYS_ioctl, [pidfd, 0xff00 | kind, 0, 0, 0, 0]);
        let refused = [Errno::EACCES, Errno::EPERM, Errno::ENOTTY, Errno::EBADF, Errno::EINVAL, Errno::EOPNOTSUPP];
        found.refused(&format!("namespace {kind} of init"), answer, &refused);
    }
    for name in ["get_robust_list", "migrate_pages", "move_pages"] {
        let mut head = [0_u64; 2];
        let head = head.as_mut_ptr() as usize;
        let answer = match name {
            "get_robust_list" => raw(libc::SYS_get_robust_list, [1, head, head, 0, 0, 0]),
            "migrate_pages" => raw(libc::SYS_migrate_pages, [1, 64, head, head, 0, 0]),
            _ => raw(libc::SYS_move_pages, [1, 1, head, 0, head, 0]),
        };
        found.refused(&format!("{name} of init"), answer, &[Errno::EPERM, Errno::EACCES]);
    }
    // PR_SCHED_CORE_SHARE_FROM: a place on the same processor as init.
    let core = raw(libc::SYS_prctl, [62, 3, 1, 0, 0, 0]);
    found.refused("core of init", core, &[Errno::EPERM, Errno::ENODEV, Errno::EINVAL, Errno::EACCES]);
}

/// COUNT orphans that have ended: somebody must bury them.
fn leave_orphans(arguments: &[&str], found: &mut Findings) {
    let count: usize = arguments.first().and_then(|count| count.parse().ok()).unwrap_or_default();
    // Forks that fail until init has buried somebody: it may get no processor meanwhile, and then the bound is reached.
    let mut waits = 100_000;
    for _ in 0..count {
        let child = loop {
            let child = ended_child(|| {
                // SAFETY: the process has one thread; neither side does more than end.
                match unsafe { fork() } {
                    Ok(_) => 0,
                    Err(errno) => errno as i32,
                }
            });
            let full =
                matches!(child, Ok(status) if libc::WEXITSTATUS(status) == libc::EAGAIN) || child == Err(Errno::EAGAIN);
            if !full || waits == 0 {
                break child;
            }
            waits -= 1;
            std::thread::yield_now();
        };
        if child != Ok(0) {
            found.holds("processes that end", &format!("{child:?}"), false);
            return;
        }
    }
    let mut left = usize::MAX;
    // Init is woken by their end; it needs a moment, and each look gives it one.
    for _ in 0..2000 {
        left = zombies();
        if left == 0 {
            break;
        }
        std::thread::yield_now();
    }
    found.holds(&format!("zombies of {count} orphans"), &left.to_string(), left == 0);
}

fn zombies() -> usize {
    let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))).count()
}
