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
        "crowd" => crowd(arguments),
        "r1" => fork_bomb(arguments, found),
        "r5" => descriptor_bomb(arguments, found),
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
