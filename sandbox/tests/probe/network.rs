//! Attacks that want to reach somebody.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::{Findings, errno_of, raw};

/// Families that programs need; all others reach past namespaces or into code that few have looked at.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Protocols of the internet families that programs need: none named, ICMP, TCP, UDP, ICMPv6. The kernel loads modules
/// for others.
const PROTOCOLS: [usize; 5] = [0, 1, 6, 17, 58];

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "n1" => interfaces(found),
        "n2" => connect_out(arguments, found),
        "n16" => ask_for_names(arguments, found),
        "n17" => raw_sockets(found),
        "n18" => hypervisor(found),
        "n19" => families(found),
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
}

/// No answer, and nothing on the way to one: labels of a name could carry secrets.
fn ask_for_names(resolvers: &[&str], found: &mut Findings) {
    // A question for the address of `canary.example`.
    let question = b"\x13\x37\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06canary\x07example\x00\x00\x01\x00\x01";
    let table = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = table.lines().filter_map(|line| line.strip_prefix("nameserver "));
    let mut places: Vec<SocketAddr> = ["1.1.1.1:53", "8.8.8.8:53", "[2606:4700:4700::1111]:53", "127.0.0.53:53"]
        .iter()
        .chain(resolvers)
        .filter_map(|place| place.parse().ok())
        .collect();
    places.extend(named.filter_map(|place| format!("{}:53", place.trim()).parse::<SocketAddr>().ok()));
    let refused =
        [Errno::ENETUNREACH, Errno::EADDRNOTAVAIL, Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::EAFNOSUPPORT];
    for place in places {
        let any = if place.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let answer = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(place)?;
            socket.send(question)?;
            // On a loopback of its own nobody listens, which the next call says.
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            socket.recv(&mut [0; 512])
        });
        found.refused(&format!("ask {place}"), answer.map_err(|error| errno_of(&error)), &refused);
        let answer = TcpStream::connect_timeout(&place, Duration::from_secs(5));
        found.refused(&format!("ask {place} over tcp"), answer.map_err(|error| errno_of(&error)), &refused);
    }
}

fn raw_sockets(found: &mut Findings) {
    let socket = |family: libc::c_int, kind: libc::c_int, protocol: usize| {
        raw(libc::SYS_socket, [family as usize, kind as usize, protocol, 0, 0, 0])
    };
    let refused = [Errno::EPERM, Errno::EACCES, Errno::EAFNOSUPPORT];
    for protocol in [1, 6, 17, 58, 255] {
        let answer = socket(libc::AF_INET, libc::SOCK_RAW, protocol);
        found.refused(&format!("raw {protocol}"), answer, &refused);
        let answer = socket(libc::AF_INET6, libc::SOCK_RAW, protocol);
        found.refused(&format!("raw6 {protocol}"), answer, &refused);
    }
    found.refused("ping", socket(libc::AF_INET, libc::SOCK_DGRAM, 1), &refused);
    found.refused("ping6", socket(libc::AF_INET6, libc::SOCK_DGRAM, 58), &refused);
    change_interfaces(found);
    for kind in [libc::SOCK_RAW, libc::SOCK_DGRAM] {
        // All protocols, in network order.
        found.refused(&format!("packet {kind}"), socket(libc::AF_PACKET, kind, 0x0300), &[Errno::EPERM]);
    }
}

/// Whoever may change the interfaces of a namespace reaches much of the kernel's network code.
fn change_interfaces(found: &mut Findings) {
    const SIOCSIFFLAGS: usize = 0x8914;
    let socket = raw(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_DGRAM as usize, 0, 0, 0, 0]);
    let socket = socket.map_or(usize::MAX, |fd| usize::try_from(fd).unwrap_or(usize::MAX));
    // struct ifreq: the name, then the flags, all off.
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    let down = raw(libc::SYS_ioctl, [socket, SIOCSIFFLAGS, request.as_ptr() as usize, 0, 0, 0]);
    found.refused("set lo down", down, &[Errno::EPERM]);
    for (name, kind) in [("RTM_NEWLINK", 16_u32), ("RTM_DELLINK", 17), ("RTM_NEWADDR", 20), ("RTM_NEWROUTE", 24)] {
        found.refused(name, ask_netlink(kind), &[Errno::EPERM]);
    }
}

/// Sends an empty request of `kind` about interface 1 and returns the kernel's answer.
fn ask_netlink(kind: u32) -> Result<(), Errno> {
    let args = [libc::AF_NETLINK as usize, libc::SOCK_RAW as usize, libc::NETLINK_ROUTE as usize, 0, 0, 0];
    let socket = usize::try_from(raw(libc::SYS_socket, args)?).unwrap_or(usize::MAX);
    // struct nlmsghdr: length, kind and flags (request, answer), number, sender; struct ifinfomsg with index 1.
    let message = [32_u32, kind | 5 << 16, 1, 0, 0, 1, 0, 0];
    raw(libc::SYS_sendto, [socket, message.as_ptr() as usize, 32, 0, 0, 0])?;
    let mut answer = [0_i32; 64];
    raw(libc::SYS_recvfrom, [socket, answer.as_mut_ptr() as usize, 256, 0, 0, 0])?;
    let _closed = raw(libc::SYS_close, [socket, 0, 0, 0, 0, 0]);
    // The error follows the header.
    match answer[4] {
        0 => Ok(()),
        error => Err(Errno::from_raw(-error)),
    }
}

fn hypervisor(found: &mut Findings) {
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let answer = raw(libc::SYS_socket, [libc::AF_VSOCK as usize, kind as usize, 0, 0, 0, 0]);
        found.refused(&format!("socket vsock {kind}"), answer, &[Errno::EPERM]);
        // Only the low half is what the kernel looks at.
        let high = libc::AF_VSOCK as usize | 0x1_0000_0000;
        let answer = raw(libc::SYS_socket, [high, kind as usize, 0, 0, 0, 0]);
        found.refused(&format!("socket vsock {kind} with a high half"), answer, &[Errno::EPERM]);
    }
}

fn families(found: &mut Findings) {
    for family in (0..64).filter(|family| !FAMILIES.contains(family)) {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            let answer = raw(libc::SYS_socket, [family as usize, kind as usize, 0, 0, 0, 0]);
            found.refused(&format!("socket of family {family} kind {kind}"), answer, &[Errno::EPERM]);
        }
        let mut pair = [0_i32; 2];
        let answer = raw(libc::SYS_socketpair, [family as usize, 1, 0, pair.as_mut_ptr() as usize, 0, 0]);
        found.refused(&format!("pair of family {family}"), answer, &[Errno::EPERM]);
    }
    for protocol in (0..32).filter(|protocol| *protocol != libc::NETLINK_ROUTE) {
        let args = [libc::AF_NETLINK as usize, libc::SOCK_RAW as usize, protocol as usize, 0, 0, 0];
        found.refused(&format!("netlink {protocol}"), raw(libc::SYS_socket, args), &[Errno::EPERM]);
    }
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in (0..300).filter(|protocol| !PROTOCOLS.contains(protocol)) {
            for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
                let answer = raw(libc::SYS_socket, [family as usize, kind as usize, protocol, 0, 0, 0]);
                if answer != Err(Errno::EPERM) {
                    found.refused(&format!("family {family} kind {kind} protocol {protocol}"), answer, &[Errno::EPERM]);
                }
            }
        }
        found.holds(&format!("protocols of family {family}"), "looked through", true);
    }
}
