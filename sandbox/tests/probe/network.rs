//! Attacks that want to reach somebody.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::{Findings, errno_of, raw};

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "n1" => interfaces(found),
        "n2" => connect_out(arguments, found),
        "n18" => families(found),
        "n20" => abstract_socket(arguments, found),
        "n21" => pathname_sockets(arguments, found),
        _ => return false,
    }
    true
}

fn interfaces(found: &mut Findings) {
    let table = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names: Vec<_> = table.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    found.holds("interfaces", &names.join(" "), names == ["lo"]);
    let own = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.connect(socket.local_addr()?));
    found.holds("own loopback", &format!("{own:?}"), own.is_ok());
}

fn connect_out(arguments: &[&str], found: &mut Findings) {
    let connect = |address: SocketAddr| TcpStream::connect_timeout(&address, Duration::from_secs(5));
    for address in ["1.1.1.1:443", "10.0.0.1:80", "169.254.169.254:80", "[2606:4700::1111]:443"] {
        let answer = connect(address.parse().expect("a literal address")).map_err(|error| errno_of(&error));
        found.refused(&format!("connect {address}"), answer, &[Errno::ENETUNREACH, Errno::EADDRNOTAVAIL]);
    }
    for address in arguments.iter().filter_map(|address| address.parse().ok()) {
        let answer = connect(address).map_err(|error| errno_of(&error));
        found.refused(&format!("connect {address}"), answer, &[Errno::ECONNREFUSED]);
    }
    let ping = raw(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_RAW as usize, 1, 0, 0, 0]);
    found.refused("raw socket", ping, &[Errno::EPERM]);
}

fn families(found: &mut Findings) {
    for (name, family) in [
        ("vsock", libc::AF_VSOCK),
        ("alg", libc::AF_ALG),
        ("packet", libc::AF_PACKET),
        ("bluetooth", libc::AF_BLUETOOTH),
        ("can", libc::AF_CAN),
        ("tipc", libc::AF_TIPC),
        ("xdp", libc::AF_XDP),
        ("key", libc::AF_KEY),
    ] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            let answer = raw(libc::SYS_socket, [family as usize, kind as usize, 0, 0, 0, 0]);
            found.refused(&format!("socket {name} {kind}"), answer, &[Errno::EPERM]);
        }
    }
    for protocol in [libc::NETLINK_GENERIC, libc::NETLINK_AUDIT, libc::NETLINK_NETFILTER] {
        let args = [libc::AF_NETLINK as usize, libc::SOCK_RAW as usize, protocol as usize, 0, 0, 0];
        found.refused(&format!("netlink {protocol}"), raw(libc::SYS_socket, args), &[Errno::EPERM]);
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
    let usual = ["/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"];
    for path in usual.iter().chain(paths) {
        let answer = UnixStream::connect(path).map_err(|error| errno_of(&error));
        found.refused(&format!("connect {path}"), answer, &[Errno::ENOENT]);
    }
}
