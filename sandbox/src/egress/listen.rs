//! Makes the listeners of a run inside its network namespace.
//!
//! What each of them is follows from the policy alone, so that they can be passed on as bare descriptors in their order.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockType, SockaddrIn, SockaddrIn6};

use super::PROXY_PORT;
use super::policy::{CAUGHT_PORTS_MAX, DNS_PORT, EgressPolicy};
use crate::listeners::bound;
use crate::sys::channel::{self, DESCRIPTORS_MAX};
use crate::sys::route::{Version, everything_is_local};

// The proxy's own, one for each caught port, DNS over TCP and UDP.
const _: () = assert!(1 + CAUGHT_PORTS_MAX + 2 <= DESCRIPTORS_MAX);

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// HTTP and SOCKS.
    Proxy,
    /// Connections to any address at this port.
    Caught(u16),
    DnsStream,
    DnsPackets,
}

/// The listeners of a run with `policy`, in the order in which they are passed on.
pub(super) fn roles(policy: &EgressPolicy) -> Vec<Role> {
    let mut roles = vec![Role::Proxy];
    if policy.transparent {
        let ports = policy.caught_ports().into_iter().filter(|port| *port != PROXY_PORT && *port != DNS_PORT);
        roles.extend(ports.map(Role::Caught));
        roles.extend([Role::DnsStream, Role::DnsPackets]);
    }
    roles
}

/// Makes the listeners of a run with `policy` in the network namespace of this process, whose loopback is up, and hands
/// them over at `proxy`, which came with [`super::Proxy::start`]. A transparent policy also leads every address there;
/// that and ports below 1024 need capabilities over the namespace.
pub(crate) fn listen(policy: &EgressPolicy, proxy: BorrowedFd<'_>) -> Result<(), Errno> {
    if policy.transparent {
        everything_is_local(Version::V4)?;
        match everything_is_local(Version::V6) {
            // A kernel without it has nothing to catch.
            Ok(()) | Err(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    let listeners = roles(policy).into_iter().map(make).collect::<Result<Vec<_>, _>>()?;
    let passed: Vec<_> = listeners.iter().map(OwnedFd::as_fd).collect();
    channel::send(proxy, b"L", &passed)
}

fn make(role: Role) -> Result<OwnedFd, Errno> {
    let local = |port| SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    match role {
        Role::Proxy => bound(AddressFamily::Inet, SockType::Stream, &local(PROXY_PORT)),
        Role::DnsStream => bound(AddressFamily::Inet, SockType::Stream, &local(DNS_PORT)),
        Role::DnsPackets => bound(AddressFamily::Inet, SockType::Datagram, &local(DNS_PORT)),
        Role::Caught(port) => {
            let any = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
            match bound(AddressFamily::Inet6, SockType::Stream, &any) {
                Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
                    let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
                    bound(AddressFamily::Inet, SockType::Stream, &any)
                }
                made => made,
            }
        }
    }
}
