//! Attacks by terminals: keys pressed for others, and kernel code behind line disciplines.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Pid, getpid, getsid};

use super::{Findings, errno_of, raw};

const TIOCLINUX: usize = 0x541c;
const TIOCSETD: usize = 0x5423;

pub(super) fn attack(case: &str, _arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "p8" => sessions(found),
        "i3" => inject(found),
        _ => return false,
    }
    true
}

/// No terminal of the host controls this session, or can be made to.
fn sessions(found: &mut Findings) {
    let session = getsid(None);
    let host = session == Ok(Pid::from_raw(0));
    found.holds("session", &format!("{session:?} of {}", getpid()), !host);
    let tty = File::open("/dev/tty").map_err(|error| errno_of(&error));
    found.refused("controlling terminal", tty, &[Errno::ENXIO, Errno::ENOENT]);
    for fd in 0..3 {
        let take = raw(libc::SYS_ioctl, [fd, libc::TIOCSCTTY as usize, 1, 0, 0, 0]);
        found.refused(&format!("TIOCSCTTY of {fd}"), take, &[Errno::ENOTTY, Errno::EACCES, Errno::EPERM]);
        let group = raw(libc::SYS_ioctl, [fd, libc::TIOCGPGRP as usize, 0, 0, 0, 0]);
        found.refused(&format!("TIOCGPGRP of {fd}"), group, &[Errno::ENOTTY, Errno::EACCES]);
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Field 7, after the name in parentheses.
    let terminal = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(4)).unwrap_or("?");
    found.holds("terminal in stat", terminal, terminal == "0");
}

fn inject(found: &mut Findings) {
    let own = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx");
    found.holds("a terminal of its own", &format!("{:?}", own.is_ok()), own.is_ok());
    let own = own.as_ref().map_or(usize::MAX, |file| file.as_raw_fd().unsigned_abs() as usize);
    let key = b'x';
    let key = (&raw const key) as usize;
    let discipline = 0_u32;
    let discipline = (&raw const discipline) as usize;
    for fd in [0, own] {
        for high in [0, 0x1_0000_0000, 0xffff_ffff_0000_0000] {
            for (name, request, argument) in [
                ("TIOCSTI", libc::TIOCSTI as usize, key),
                ("TIOCLINUX", TIOCLINUX, key),
                ("TIOCSETD", TIOCSETD, discipline),
            ] {
                let answer = raw(libc::SYS_ioctl, [fd, request | high, argument, 0, 0, 0]);
                found.refused(&format!("{name} on {fd} with {high:#x}"), answer, &[Errno::EPERM]);
            }
        }
    }
}
