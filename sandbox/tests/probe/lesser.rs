//! `sbx-probe lesser FEATURE PROGRAM [ARGUMENT...]`: executes a program on a kernel that seems to lack something.
//!
//! A system call filter answers as such a kernel would, so that tests can show what the sandbox does there.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::libc::{self, sock_filter, sock_fprog};

use super::raw;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Executes the program; returns only when that failed.
pub(super) fn execute(words: &[&str]) -> io::Error {
    let [feature, program, arguments @ ..] = words else { return io::ErrorKind::InvalidInput.into() };
    let filter = match *feature {
        "landlock" => without_landlock(),
        "user-namespaces" => without_user_namespaces(),
        _ => return io::ErrorKind::InvalidInput.into(),
    };
    match install(&filter) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(errno) => errno.into(),
    }
}

fn without_landlock() -> Vec<sock_filter> {
    let answer = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        operation(LOAD, 0, (0, 0)),
        operation(IF_EQUAL, call(libc::SYS_landlock_create_ruleset), (3, 0)),
        operation(IF_EQUAL, call(libc::SYS_landlock_add_rule), (2, 0)),
        operation(IF_EQUAL, call(libc::SYS_landlock_restrict_self), (1, 0)),
        operation(RETURN, libc::SECCOMP_RET_ALLOW, (0, 0)),
        operation(RETURN, answer, (0, 0)),
    ]
}

fn without_user_namespaces() -> Vec<sock_filter> {
    let answer = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        operation(LOAD, 0, (0, 0)),
        operation(IF_EQUAL, call(libc::SYS_clone), (2, 0)),
        operation(IF_EQUAL, call(libc::SYS_unshare), (1, 0)),
        // The flags of this one cannot be seen; without it they are passed to the others.
        operation(IF_EQUAL, call(libc::SYS_clone3), (4, 2)),
        operation(LOAD, 16, (0, 0)),
        operation(IF_BITS, libc::CLONE_NEWUSER.unsigned_abs(), (1, 0)),
        operation(RETURN, libc::SECCOMP_RET_ALLOW, (0, 0)),
        operation(RETURN, answer, (0, 0)),
        operation(RETURN, absent, (0, 0)),
    ]
}

fn operation(code: u32, k: u32, (jt, jf): (u8, u8)) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}

fn call(number: libc::c_long) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn install(filter: &[sock_filter]) -> Result<(), Errno> {
    nix::sys::prctl::set_no_new_privs()?;
    let len = u16::try_from(filter.len()).map_err(|_| Errno::E2BIG)?;
    let header = sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    let mode = libc::SECCOMP_SET_MODE_FILTER as usize;
    raw(libc::SYS_seccomp, [mode, 0, (&raw const header) as usize, 0, 0, 0]).map(drop)
}
