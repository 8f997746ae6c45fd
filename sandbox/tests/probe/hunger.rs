//! Jobs that want more than their share: memory of every kind, processes without end.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pause};

use super::raw;

const MEGABYTE: usize = 1 << 20;

/// Whether the case was one of these.
pub(super) fn job(case: &str, arguments: &[&str]) -> bool {
    match case {
        "eat" => {
            if let [kind, megabytes] = arguments {
                eat(kind, megabytes.parse().unwrap_or_default());
            }
        }
        "share" => {
            if let [copies, megabytes] = arguments {
                share(copies.parse().unwrap_or_default(), megabytes.parse().unwrap_or_default());
            }
        }
        "spin" => {
            if let [ms, count] = arguments {
                spin(ms.parse().unwrap_or_default(), count.parse().unwrap_or_default());
            }
        }
        "race" => {
            if let [path, count] = arguments {
                race(path, count.parse().unwrap_or_default());
            }
        }
        _ => return false,
    }
    true
}

/// Takes memory of one kind, a megabyte at a time, and keeps it. Says so when it has all of it.
fn eat(kind: &str, megabytes: usize) {
    let block = vec![0x5a_u8; MEGABYTE];
    let taken = match kind {
        "private" => Ok(take_private(megabytes)),
        "shared" => take_shared(megabytes),
        "memory-file" => memory_file().and_then(|file| fill(file, &block, megabytes)),
        "temporary-file" => File::create("/tmp/eaten").and_then(|file| fill(file, &block, megabytes)),
        "deleted-file" => File::create("/tmp/gone").and_then(|file| {
            std::fs::remove_file("/tmp/gone")?;
            fill(file, &block, megabytes)
        }),
        _ => return,
    };
    match taken {
        Ok(_kept) => {
            println!("ate {megabytes}");
            loop {
                pause();
            }
        }
        Err(error) => println!("refused: {error}"),
    }
}

/// What keeps the memory.
type Kept = Box<dyn std::any::Any>;

fn take_private(megabytes: usize) -> Kept {
    Box::new((0..megabytes).map(|_| vec![0x5a_u8; MEGABYTE]).collect::<Vec<_>>())
}

fn take_shared(megabytes: usize) -> std::io::Result<Kept> {
    let len = megabytes * MEGABYTE;
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as usize;
    let place = raw(libc::SYS_mmap, [0, len, protection, flags, usize::MAX, 0])?;
    let place = std::ptr::with_exposed_provenance_mut::<u8>(usize::try_from(place).unwrap_or_default());
    for at in (0..len).step_by(4096) {
        // SAFETY: the mapping has `len` bytes, is writable and is never taken away.
        let page = unsafe { place.add(at) };
        // SAFETY: as above.
        unsafe { page.write_volatile(1) };
    }
    Ok(Box::new(()))
}

fn memory_file() -> std::io::Result<File> {
    let fd = raw(libc::SYS_memfd_create, [c"eaten".as_ptr() as usize, 0, 0, 0, 0, 0])?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn fill(mut file: File, block: &[u8], megabytes: usize) -> std::io::Result<Kept> {
    (0..megabytes).try_for_each(|_| file.write_all(block))?;
    Ok(Box::new(file))
}

/// Takes private memory and has many children that share it.
fn share(copies: usize, megabytes: usize) {
    let _kept = take_private(megabytes);
    for _ in 0..copies {
        // SAFETY: this process has one thread, and the child only makes system calls.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            loop {
                pause();
            }
        }
    }
    println!("shared {megabytes}");
    loop {
        pause();
    }
}

/// COUNT processes that compute for MS milliseconds; the first says how much of one processor it had, in percent.
fn spin(ms: u64, count: usize) {
    let mut is_first = true;
    for _ in 1..count {
        // SAFETY: this process has one thread, and the child only computes.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            is_first = false;
            break;
        }
    }
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(ms) {}
    let used = getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.user_time() + usage.system_time());
    if let (true, Ok(used)) = (is_first, used) {
        let used_ms = used.num_milliseconds().unsigned_abs();
        println!("{}", used_ms * 100 / ms.max(1));
    }
}

/// COUNT processes that each fork without end and write a byte to the pipe at PATH for each fork.
fn race(path: &str, count: usize) {
    for _ in 1..count {
        // SAFETY: this process has one thread, and the child only makes system calls.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            break;
        }
    }
    let pipe = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let Ok(mut pipe) = pipe else { return };
    loop {
        // SAFETY: this process has one thread, and the child only makes system calls.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                // A full pipe is as good a sign of life.
                pipe.write_all(b".").unwrap_or_default();
                raw(libc::SYS_exit_group, [0; 6]).unwrap_or_default();
            }
            Ok(ForkResult::Parent { child }) => drop(waitpid(child, None)),
            Err(_) => {}
        }
    }
}
