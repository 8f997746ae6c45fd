//! Sockets on the loopback of a run that somebody outside serves.
//!
//! Init makes them inside the run's network namespace, before anything of the run is executed, and passes them out; the
//! shim holds them until the run has ended, and whoever is to serve one takes a copy over the control socket, as often as
//! it has to. So a daemon can go and come back: connections wait in the socket meanwhile. **Invariant:** no process of
//! the run holds one, and no other run reaches one: it is in a network namespace of which nobody else is part.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrIn, SockaddrLike, bind, listen, setsockopt, shutdown,
    socket, sockopt,
};

use crate::spec::ListenerSpec;

/// Connections that wait in one socket until they are accepted. Those beyond wait in their sender, who tries again and
/// again: the kernel refuses none while the socket listens. Each costs kernel memory, and a run can fill the queue.
pub(crate) const BACKLOG: i32 = 1024;
/// Ports from here on can be taken in a network namespace that is another user namespace's.
const FREE_PORTS: u16 = 1024;

/// Makes those of `listeners` in the network namespace of this process, whose loopback is up, in their order.
pub(crate) fn make(listeners: &[ListenerSpec]) -> Result<Vec<OwnedFd>, Errno> {
    let address = |listener: &ListenerSpec| SockaddrIn::from(address(listener));
    listeners.iter().map(|listener| bound(AddressFamily::Inet, SockType::Stream, &address(listener))).collect()
}

/// Where the run finds one.
pub(crate) fn address(listener: &ListenerSpec) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.port)
}

/// Whether all can be made in a network namespace that was made ahead, outside of the run's own user namespace.
pub(crate) fn fit_any_network(listeners: &[ListenerSpec]) -> bool {
    listeners.iter().all(|listener| listener.port >= FREE_PORTS)
}

/// Ends them for everybody who has a copy: who waits for a connection learns that none will come. Otherwise the network
/// namespace of the run would stay for as long as any copy does.
pub(crate) fn end(listeners: &[OwnedFd]) {
    for listener in listeners {
        // It can only be ended already.
        match shutdown(listener.as_raw_fd(), Shutdown::Both) {
            Ok(()) | Err(_) => {}
        }
    }
}

/// A socket that is bound to `address` and, if it is for connections, listens.
pub(crate) fn bound(family: AddressFamily, kind: SockType, address: &dyn SockaddrLike) -> Result<OwnedFd, Errno> {
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if family == AddressFamily::Inet6 {
        // IPv4 connections come here, too.
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    if kind == SockType::Stream {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    bind(socket.as_raw_fd(), address)?;
    if kind == SockType::Stream {
        listen(&socket, Backlog::new(BACKLOG)?)?;
    }
    Ok(socket)
}
