//! Attacks that want to use up what others need, too.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, fork, pause};

use super::{Findings, errno_of, raw};

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "f14" => fill_files(arguments, found),
        "r1" => fork_bomb(arguments, found),
        "r5" => descriptor_bomb(arguments, found),
        "r9" => take_shared(found),
        "r10" => descriptors_under_way(arguments, found),
        "r11" => signals_under_way(arguments, found),
        "r12" => watch_everything(arguments, found),
        _ => return false,
    }
    true
}

/// `FILE-BYTES TMP-INODES`: one file, and as many as there are.
fn fill_files(arguments: &[&str], found: &mut Findings) {
    let mut numbers = arguments.iter().map(|number| number.parse::<usize>().unwrap_or_default());
    let (bytes, inodes) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    // SAFETY: ignoring a signal runs no code.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    found.holds("a signal that is ignored", &format!("{:?}", ignored.is_ok()), ignored.is_ok());
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open("fill");
    let Ok(mut file) = file else { return found.holds("make a file", "failed", false) };
    let fd = file.as_raw_fd().unsigned_abs() as usize;
    let beyond = bytes + 1;
    found.refused("truncate", raw(libc::SYS_ftruncate, [fd, beyond, 0, 0, 0, 0]), &[Errno::EFBIG]);
    found.refused("fallocate", raw(libc::SYS_fallocate, [fd, 0, 0, beyond, 0, 0]), &[Errno::EFBIG, Errno::EOPNOTSUPP]);
    let far = raw(libc::SYS_pwrite64, [fd, (&raw const bytes) as usize, 8, bytes, 0, 0]);
    found.refused("write far away", far, &[Errno::EFBIG]);
    let block = vec![1_u8; 1 << 20];
    let mut written = Ok(());
    for _ in 0..=(bytes >> 20) {
        written = file.write_all(&block).map_err(|error| errno_of(&error));
        if written.is_err() {
            break;
        }
    }
    found.refused("write on and on", written, &[Errno::EFBIG]);
    drop(std::fs::remove_file("fill"));
    let mut made = 0;
    let answer = loop {
        if made > inodes {
            break Ok(());
        }
        match File::create(format!("/tmp/{made}")) {
            Ok(_) => made += 1,
            Err(error) => break Err(errno_of(&error)),
        }
    };
    found.refused(&format!("files in /tmp after {made}"), answer, &[Errno::ENOSPC]);
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

/// Every way to a descriptor ends at the same limit.
fn descriptor_bomb(arguments: &[&str], found: &mut Findings) {
    let most: usize = arguments.first().and_then(|most| most.parse().ok()).unwrap_or_default();
    type Make = fn() -> Result<i64, Errno>;
    let ways: [(&str, Make); 8] = [
        ("open", || raw(libc::SYS_openat, [usize::MAX, c"/dev/null".as_ptr() as usize, 0, 0, 0, 0])),
        ("socket", || raw(libc::SYS_socket, [libc::AF_UNIX as usize, 1, 0, 0, 0, 0])),
        ("inet socket", || raw(libc::SYS_socket, [libc::AF_INET as usize, 1, 0, 0, 0, 0])),
        ("eventfd", || raw(libc::SYS_eventfd2, [0; 6])),
        ("epoll", || raw(libc::SYS_epoll_create1, [0; 6])),
        ("memfd", || raw(libc::SYS_memfd_create, [c"x".as_ptr() as usize, 0, 0, 0, 0, 0])),
        ("timerfd", || raw(libc::SYS_timerfd_create, [0; 6])),
        ("dup", || raw(libc::SYS_dup, [0; 6])),
    ];
    for (name, make) in ways {
        let mut open = Vec::new();
        let answer = loop {
            let fd = match make() {
                Ok(fd) => i32::try_from(fd).unwrap_or(-1),
                Err(errno) => break Err(errno),
            };
            // SAFETY: the kernel has just made this descriptor and nobody else knows it.
            open.push(unsafe { OwnedFd::from_raw_fd(fd) });
            if open.len() > most {
                break Ok(());
            }
        };
        found.refused(&format!("{name} after {}", open.len()), answer, &[Errno::EMFILE]);
    }
}

/// `PIPE`: sends itself as many descriptors as the kernel lets, keeps them on the way, says so in the pipe and stays.
/// They are counted for the user on the host, in whatever namespace somebody is.
fn descriptors_under_way(arguments: &[&str], found: &mut Findings) {
    let Some(mut pipe) = arguments.first().and_then(|path| File::options().write(true).open(path).ok()) else { return };
    let mut kept = Vec::new();
    let mut sent = 0;
    let refused = 'all: loop {
        let Ok((ours, theirs)) = UnixStream::pair() else { break Errno::EMFILE };
        kept.push(theirs);
        loop {
            let slices = [std::io::IoSlice::new(b"x")];
            let fds = [0; 250];
            let rights = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
            let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
            match nix::sys::socket::sendmsg::<()>(ours.as_raw_fd(), &slices, &rights, flags, None) {
                Ok(_) => sent += fds.len(),
                Err(Errno::EAGAIN) => break,
                Err(errno) => break 'all errno,
            }
        }
    };
    if writeln!(pipe, "{sent} {refused:?}").is_ok() {
        loop {
            pause();
        }
    }
    found.holds("descriptors under way", &sent.to_string(), false);
}

/// `PIPE`: the same with signals that wait to be taken.
fn signals_under_way(arguments: &[&str], found: &mut Findings) {
    let Some(mut pipe) = arguments.first().and_then(|path| File::options().write(true).open(path).ok()) else { return };
    if SigSet::all().thread_block().is_err() {
        return;
    }
    let own = usize::try_from(std::process::id()).unwrap_or_default();
    let real_time = 40;
    // struct siginfo: number, errno, code SI_QUEUE.
    let mut info = [0_i32; 32];
    (info[0], info[2]) = (real_time, -1);
    let mut queued = 0;
    let refused = loop {
        let args = [own, real_time.unsigned_abs() as usize, info.as_ptr() as usize, 0, 0, 0];
        match raw(libc::SYS_rt_sigqueueinfo, args) {
            Ok(_) if queued < 1_000_000 => queued += 1,
            Ok(_) => break Errno::UnknownErrno,
            Err(errno) => break errno,
        }
    };
    if writeln!(pipe, "{queued} {refused:?}").is_ok() {
        loop {
            pause();
        }
    }
    found.holds("signals under way", &queued.to_string(), false);
}

/// `PIPE MOST`: lets many descriptors be watched by many, says in the pipe how many and stays. Also counted for the user.
fn watch_everything(arguments: &[&str], found: &mut Findings) {
    let [path, most] = arguments else { return };
    let Ok(mut pipe) = File::options().write(true).open(path) else { return };
    let most: usize = most.parse().unwrap_or_default();
    let (mut watched, mut watching) = (Vec::new(), Vec::new());
    while let Ok(fd) = raw(libc::SYS_eventfd2, [0; 6]) {
        let list = if watched.len() <= watching.len() { &mut watched } else { &mut watching };
        list.push(usize::try_from(fd).unwrap_or_default());
        if watched.len() > watching.len() {
            continue;
        }
        // Every other one becomes a watcher.
        if let Some(last) = watching.pop() {
            let _closed = raw(libc::SYS_close, [last, 0, 0, 0, 0, 0]);
            match raw(libc::SYS_epoll_create1, [0; 6]) {
                Ok(fd) => watching.push(usize::try_from(fd).unwrap_or_default()),
                Err(_) => break,
            }
        }
    }
    let mut count = 0;
    let mut refused = Errno::UnknownErrno;
    'all: for epoll in &watching {
        for fd in &watched {
            let event = libc::epoll_event { events: 1, u64: 0 };
            match raw(libc::SYS_epoll_ctl, [*epoll, 1, *fd, (&raw const event) as usize, 0, 0]) {
                Ok(_) if count < most => count += 1,
                Ok(_) => break 'all,
                Err(errno) => {
                    refused = errno;
                    break 'all;
                }
            }
        }
    }
    if writeln!(pipe, "{count} {refused:?}").is_ok() {
        loop {
            pause();
        }
    }
    found.holds("watches", &count.to_string(), false);
}
