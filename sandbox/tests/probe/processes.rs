//! Attacks on other processes, and jobs that do not want to end.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
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
        "p13" => weaken_init(found),
        "crowd" => crowd(arguments),
        "r1" => fork_bomb(arguments, found),
        "r5" => descriptor_bomb(arguments, found),
        "r9" => take_shared(found),
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
    let attach = libc::PTRACE_ATTACH as usize;
    found.refused("ptrace attach", raw(libc::SYS_ptrace, [attach, 1, 0, 0, 0, 0]), &[Errno::EPERM]);
    found.refused("process_vm_readv", raw(libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]), &[Errno::EPERM]);
    found.refused("process_vm_writev", raw(libc::SYS_process_vm_writev, [1, 0, 0, 0, 0, 0]), &[Errno::EPERM]);
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
    let own = raw(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, 5, 0, 0, 0]);
    found.holds("own priority", &format!("{own:?}"), own.is_ok());
    let own = raw(libc::SYS_prlimit64, [0, libc::RLIMIT_CORE as usize, limit, 0, 0, 0]);
    found.holds("own limit", &format!("{own:?}"), own.is_ok());
}

/// What is counted for the user on the host or for the machine: a run must not be able to take all of it.
fn take_shared(found: &mut Findings) {
    let mut open = Vec::new();
    let answer = loop {
        match raw(libc::SYS_inotify_init1, [0; 6]) {
            Ok(fd) if open.len() < 100 => open.push(fd),
            Ok(_) => break Ok(()),
            Err(errno) => break Err(errno),
        }
    };
    found.refused(&format!("inotify after {}", open.len()), answer, &[Errno::EMFILE]);
    found.holds("some inotify", &open.len().to_string(), open.len() >= 8);
    let mut terminals = Vec::new();
    let answer = loop {
        match File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx") {
            Ok(terminal) if terminals.len() < 100 => terminals.push(terminal),
            Ok(_) => break Ok(()),
            Err(error) => break Err(errno_of(&error)),
        }
    };
    found.refused(&format!("terminal after {}", terminals.len()), answer, &[Errno::ENOSPC]);
    found.holds("some terminals", &terminals.len().to_string(), terminals.len() >= 8);
    let mut context = 0_usize;
    let events = raw(libc::SYS_io_setup, [65_536, (&raw mut context) as usize, 0, 0, 0, 0]);
    found.refused("io_setup", events, &[Errno::ENOSYS]);
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

fn fork_bomb(arguments: &[&str], found: &mut Findings) {
    let most: usize = arguments.first().and_then(|most| most.parse().ok()).unwrap_or_default();
    let mut children = 0;
    let answer = loop {
        if children > most {
            break Ok(());
        }
        // SAFETY: this process has one thread, and the child only makes system calls.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => loop {
                pause();
            },
            Ok(ForkResult::Parent { .. }) => children += 1,
            Err(errno) => break Err(errno),
        }
    };
    found.refused(&format!("fork after {children} children"), answer, &[Errno::EAGAIN]);
}

fn descriptor_bomb(arguments: &[&str], found: &mut Findings) {
    let most: usize = arguments.first().and_then(|most| most.parse().ok()).unwrap_or_default();
    let mut open = Vec::new();
    let answer = loop {
        if open.len() > most {
            break Ok(());
        }
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(error) => break Err(errno_of(&error)),
        }
    };
    found.refused(&format!("open after {} files", open.len()), answer, &[Errno::EMFILE]);
}
