//! Attacks through System V and POSIX objects, key rings and local sockets.

use std::ffi::CString;
use std::io::{self, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;

use super::{Findings, errno_of, raw};

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "i1" => objects(arguments, found),
        "i2" => key_rings(found),
        "n20" => abstract_socket(arguments, found),
        "n21" => pathname_sockets(arguments, found),
        _ => return false,
    }
    true
}

/// Plays the host: makes objects, says on standard output `KEY QUEUE`, and removes them when standard input closes.
pub(super) fn hold_objects() -> ExitCode {
    let key = usize::try_from(std::process::id()).unwrap_or_default() | 0x5c00_0000;
    let name = format!("sbx-probe-{}", std::process::id());
    let queue = CString::new(name.as_str()).unwrap_or_default();
    let flags = libc::IPC_CREAT.unsigned_abs() as usize | 0o666;
    let made = [
        raw(libc::SYS_shmget, [key, 4096, flags, 0, 0, 0]),
        raw(libc::SYS_msgget, [key, flags, 0, 0, 0, 0]),
        raw(libc::SYS_semget, [key, 1, flags, 0, 0, 0]),
        raw(libc::SYS_mq_open, [queue.as_ptr() as usize, (libc::O_CREAT | libc::O_RDWR) as usize, 0o666, 0, 0, 0]),
    ];
    println!("{key} {name}");
    let mut nothing = [0];
    while matches!(io::stdin().read(&mut nothing), Ok(1)) {}
    let number = |made: &Result<i64, Errno>| made.map_or(usize::MAX, |id| usize::try_from(id).unwrap_or(usize::MAX));
    let removed = [
        raw(libc::SYS_shmctl, [number(&made[0]), libc::IPC_RMID as usize, 0, 0, 0, 0]),
        raw(libc::SYS_msgctl, [number(&made[1]), libc::IPC_RMID as usize, 0, 0, 0, 0]),
        raw(libc::SYS_semctl, [number(&made[2]), 0, libc::IPC_RMID as usize, 0, 0, 0]),
        raw(libc::SYS_mq_unlink, [queue.as_ptr() as usize, 0, 0, 0, 0, 0]),
    ];
    ExitCode::from(u8::from(!made.iter().chain(&removed).all(Result::is_ok)))
}

/// `KEY QUEUE`: what the host has made under a key and under a name.
fn objects(arguments: &[&str], found: &mut Findings) {
    let key: usize = arguments.first().and_then(|key| key.parse().ok()).unwrap_or_default();
    found.refused("shmget", raw(libc::SYS_shmget, [key, 0, 0, 0, 0, 0]), &[Errno::ENOENT]);
    found.refused("msgget", raw(libc::SYS_msgget, [key, 0, 0, 0, 0, 0]), &[Errno::ENOENT]);
    found.refused("semget", raw(libc::SYS_semget, [key, 0, 0, 0, 0, 0]), &[Errno::ENOENT]);
    for number in 0..64 {
        let shm = raw(libc::SYS_shmat, [number, 0, libc::SHM_RDONLY as usize, 0, 0, 0]);
        if shm != Err(Errno::EINVAL) {
            found.refused(&format!("shmat {number}"), shm, &[Errno::EINVAL]);
        }
    }
    if let Some(name) = arguments.get(1).and_then(|name| CString::new(*name).ok()) {
        let open = raw(libc::SYS_mq_open, [name.as_ptr() as usize, libc::O_RDWR as usize, 0, 0, 0, 0]);
        found.refused("mq_open", open, &[Errno::ENOENT]);
    }
    let tables = ["shm", "msg", "sem"].map(|name| {
        std::fs::read_to_string(format!("/proc/sysvipc/{name}")).map_or(0, |table| table.lines().skip(1).count())
    });
    found.holds("objects in /proc/sysvipc", &format!("{tables:?}"), tables == [0, 0, 0]);
}

fn key_rings(found: &mut Findings) {
    const GET_KEYRING_ID: usize = 0;
    for (name, number) in
        [("add_key", libc::SYS_add_key), ("request_key", libc::SYS_request_key), ("keyctl", libc::SYS_keyctl)]
    {
        found.refused(name, raw(number, [0; 6]), &[Errno::EPERM]);
    }
    // Thread, process, session, user, user session and group.
    for ring in 1..=6_usize {
        let answer = raw(libc::SYS_keyctl, [GET_KEYRING_ID, ring.wrapping_neg(), 0, 0, 0, 0]);
        found.refused(&format!("key ring -{ring}"), answer, &[Errno::EPERM]);
    }
}

fn abstract_socket(names: &[&str], found: &mut Findings) {
    for name in names {
        let answer = UnixAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
        let answer = answer.map_err(|error: io::Error| errno_of(&error));
        found.refused(&format!("connect @{name}"), answer, &[Errno::ECONNREFUSED, Errno::EPERM]);
    }
}

fn pathname_sockets(paths: &[&str], found: &mut Findings) {
    let usual = [
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/podman/podman.sock",
        "/run/systemd/private",
        "/run/systemd/journal/socket",
        "/run/systemd/coredump",
        "/run/dbus/system_bus_socket",
        "/run/nscd/socket",
        "/var/run/nscd/socket",
        "/run/user/1000/bus",
        "/tmp/.X11-unix/X0",
        "/dev/log",
    ];
    for path in usual.iter().chain(paths) {
        let answer = UnixStream::connect(path).map_err(|error| errno_of(&error));
        found.refused(&format!("connect {path}"), answer, &[Errno::ENOENT]);
    }
}
