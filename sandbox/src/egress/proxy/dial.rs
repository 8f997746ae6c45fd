//! From a place that a run asks for to a connection: decide, resolve, judge, connect, in this order.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Shared;
use super::peer::Peer;
use crate::egress::address::judge;
use crate::egress::record::{DenyReason, Failure, Verdict, Way};
use crate::egress::wire::request::Place;

/// Longest wait for one address.
const ADDRESS_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for all addresses of a name.
const DIAL_WAIT: Duration = Duration::from_secs(30);
/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreachable {
    Denied(DenyReason),
    Failed(Failure),
}

impl From<Unreachable> for Verdict {
    fn from(unreachable: Unreachable) -> Self {
        match unreachable {
            Unreachable::Denied(reason) => Self::Denied { reason },
            Unreachable::Failed(failure) => Self::Failed { failure },
        }
    }
}

/// A connection to a place that the run may reach. Its end is recorded when this goes.
#[derive(Debug)]
pub(super) struct Upstream<'a> {
    pub(super) peer: Peer,
    pub(super) place: Place,
    way: Way,
    shared: &'a Shared,
}

impl Drop for Upstream<'_> {
    fn drop(&mut self) {
        let verdict = Verdict::Closed { sent_bytes: self.peer.sent_bytes(), received_bytes: self.peer.read_bytes() };
        self.shared.recorder.about(self.way, &self.place, verdict);
    }
}

/// Connects to `place` if the run may reach it. What becomes of it is recorded.
pub(super) fn reach<'a>(shared: &'a Shared, way: Way, place: &Place) -> Result<Upstream<'a>, Unreachable> {
    let made = allowed_addresses(shared, place).and_then(|addresses| connect(&addresses, place.port));
    match made {
        Ok((address, peer)) => {
            shared.recorder.about(way, place, Verdict::Allowed { address });
            Ok(Upstream { peer, place: place.clone(), way, shared })
        }
        Err(unreachable) => {
            shared.recorder.about(way, place, unreachable.into());
            Err(unreachable)
        }
    }
}

/// The addresses of `place` that passed.
fn allowed_addresses(shared: &Shared, place: &Place) -> Result<Vec<IpAddr>, Unreachable> {
    let networks = shared.policy.decide(&place.name, place.port).map_err(Unreachable::Denied)?;
    let failed = |_| Unreachable::Failed(Failure::Resolve);
    let found = shared.resolver.addresses(&place.name).map_err(failed)?;
    let own = shared.resolver.own_addresses().map_err(failed)?;
    let mut passed = Vec::new();
    let mut refused = None;
    for address in found.iter().take(ADDRESSES_MAX) {
        match judge(*address, &own, &networks) {
            Ok(()) => passed.push(*address),
            Err(kind) => refused = Some(kind),
        }
    }
    match (passed.is_empty(), refused) {
        (false, _) => Ok(passed),
        (true, Some(kind)) => Err(Unreachable::Denied(DenyReason::ResolvedTo(kind))),
        (true, None) => Err(Unreachable::Failed(Failure::Resolve)),
    }
}

fn connect(addresses: &[IpAddr], port: u16) -> Result<(IpAddr, Peer), Unreachable> {
    let deadline = Instant::now() + DIAL_WAIT;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now()).min(ADDRESS_WAIT);
        if left.is_zero() {
            break;
        }
        let connected = TcpStream::connect_timeout(&SocketAddr::new(*address, port), left).and_then(Peer::new);
        if let Ok(peer) = connected {
            return Ok((*address, peer));
        }
    }
    Err(Unreachable::Failed(Failure::Dial))
}
