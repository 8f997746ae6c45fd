//! Making, signalling and ending processes.
//!
//! **Invariant:** only processes with one thread call [`fork`], so the child finds every lock free.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_ulong};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The new process, on a copy of the caller's stack.
    Child,
    /// The caller.
    Parent {
        /// The child's process id.
        pid: Pid,
        /// Readable when the child has ended; names it even after its pid was used again.
        pidfd: OwnedFd,
    },
}

/// Forks a child into new `namespaces`.
///
/// The child must not return into the caller's frames: it ends with [`exit_now`].
pub(crate) fn fork(namespaces: CloneFlags) -> Result<Forked, Errno> {
    let mut pidfd: RawFd = -1;
    let flags = c_long::from(namespaces.bits() | libc::CLONE_PIDFD | libc::SIGCHLD);
    let stack: c_ulong = 0;
    // SAFETY: without a new stack and without shared memory this is a fork. The descriptor is written to `pidfd`, which
    // lives through the call. The process has one thread, so the child's copy of memory is consistent.
    let res = unsafe { libc::syscall(libc::SYS_clone, flags, stack, &raw mut pidfd, stack, stack) };
    let pid = Errno::result(res)?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?);
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent { pid, pidfd })
}

/// Forks a child into new `namespaces` and into the control group whose directory is `group` (Linux 5.7 and later).
///
/// The child must not return into the caller's frames: it ends with [`exit_now`].
pub(crate) fn fork_into(namespaces: CloneFlags, group: BorrowedFd<'_>) -> Result<Forked, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: the structure is plain numbers, for which all zeros is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from((namespaces.bits() | libc::CLONE_PIDFD).cast_unsigned()) | CLONE_INTO_CGROUP;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    args.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    // SAFETY: as in `fork`; the structure lives through the call, and its size is the one that is named.
    let res = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    let pid = Errno::result(res)?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?);
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent { pid, pidfd })
}

/// Lowers the priority of this process and of all that it will start by `steps`, for good.
pub(crate) fn lower_priority(steps: c_int) -> Result<(), Errno> {
    // The call returns the new value, of which -1 is one.
    Errno::clear();
    // SAFETY: a plain number.
    let value = unsafe { libc::nice(steps) };
    if value == -1 && Errno::last_raw() != 0 { Err(Errno::last()) } else { Ok(()) }
}

/// A descriptor of the process `pid`.
pub(crate) fn open_pidfd(pid: Pid) -> Result<OwnedFd, Errno> {
    let flags: libc::c_uint = 0;
    // SAFETY: plain numbers.
    let res = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), flags) };
    let pidfd = i32::try_from(Errno::result(res)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// Sends `signal` to the process behind `pidfd`.
pub(crate) fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    let info: *const libc::siginfo_t = std::ptr::null();
    let flags: libc::c_uint = 0;
    let number = signal as c_int;
    // SAFETY: a null information block is allowed; nothing is written.
    let res = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, info, flags) };
    Errno::result(res).map(drop)
}

/// A descriptor that names this process, readable when it has ended (Linux 5.3 and later).
pub(crate) fn own_pidfd() -> Result<OwnedFd, Errno> {
    let (pid, flags) = (nix::unistd::getpid().as_raw(), 0);
    // SAFETY: two plain numbers.
    let res = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    let fd = RawFd::try_from(Errno::result(res)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ends this process at once, running no destructor of frames that belong to a parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process without touching memory.
    unsafe { libc::_exit(code) }
}

/// Gives `which` the system's default.
pub(crate) fn default_disposition(which: Signal) -> Result<(), Errno> {
    // SAFETY: the default runs no code of this process.
    unsafe { signal(which, SigHandler::SigDfl) }.map(drop)
}

/// Gives every signal but `kept` the system's default. What a process ignores, all that it executes would ignore, too.
/// The two that the C library keeps for itself and would not touch are among them.
pub(crate) fn default_dispositions(kept: Signal) {
    /// Size of the kernel's signal set in bytes.
    const SET: usize = 8;
    // What the kernel takes: handler, flags, restorer and mask, of which none is wanted.
    let default = [0_usize; 4];
    for number in (1..=libc::c_long::from(libc::SIGRTMAX())).filter(|number| *number != kept as libc::c_long) {
        let old: *mut libc::c_void = std::ptr::null_mut();
        // SAFETY: the structure lives through the call, nothing is written, and the default runs no code of this process.
        // The two signals that nobody can change are refused.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), old, SET) };
    }
}
