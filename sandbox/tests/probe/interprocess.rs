//! Attacks through System V and POSIX objects, key rings and local sockets.

use std::ffi::CString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};

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
