//! Serves one connection of the run, from its first byte on.

use std::net::{IpAddr, TcpStream};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::dial::{Unreachable, Upstream, reach};
use super::forward::{self, Origin};
use super::peer::Peer;
use super::tunnel::{self, Ended, Opening};
use super::{IDLE_WAIT, REQUEST_WAIT, Shared, dns};
use crate::egress::HostName;
use crate::egress::listen::Role;
use crate::egress::record::{DenyReason, Verdict, Way};
use crate::egress::wire::request::{HTTP_PORT, HTTPS_PORT, Place};
use crate::egress::wire::socks::{self, Read, Reply};
use crate::egress::wire::tls::HANDSHAKE;

/// Serves `stream` to its end.
pub(super) fn serve(shared: &Shared, stream: TcpStream, role: Role) {
    // Of a caught connection this is the address that it was meant for.
    let meant_for = stream.local_addr();
    let Ok(mut client) = Peer::new(stream) else { return };
    match (role, meant_for) {
        (Role::Proxy, _) => {
            if !begins(shared, &mut client, Way::Unknown, REQUEST_WAIT) {
                return;
            }
            match client.held().first() {
                Some(&socks::VERSION) => socks(shared, client),
                Some(&socks::VERSION_4) => {
                    let verdict = Verdict::Denied { reason: DenyReason::SocksUnsupported };
                    shared.recorder.record(Way::Socks, b"", None, verdict);
                    // Whether it can be sent or not, this is the end.
                    drop(client.send(&socks::REJECTED_4, REQUEST_WAIT));
                    client.close_after_answer();
                }
                _ => forward::serve(shared, client, &Origin::Proxy, None),
            }
        }
        (Role::Caught(port), Ok(address)) => caught(shared, client, address.ip().to_canonical(), port),
        (Role::DnsStream, _) => dns::serve_stream(shared, client),
        (Role::Caught(_), Err(_)) | (Role::DnsPackets, _) => {}
    }
}

/// Waits for the first byte; `false` when there is none.
fn begins(shared: &Shared, client: &mut Peer, way: Way, wait: Duration) -> bool {
    match client.fill(Instant::now() + wait) {
        Ok(count) => count > 0,
        Err(error) => {
            if error.kind() == std::io::ErrorKind::TimedOut {
                shared.recorder.record(way, b"", None, Verdict::Denied { reason: DenyReason::TooSlow });
            }
            false
        }
    }
}

/// A connection that was caught on its way to `address`.
fn caught(shared: &Shared, client: Peer, address: IpAddr, port: u16) {
    let name = shared.names.lock().unwrap_or_else(PoisonError::into_inner).name(address);
    let Some(name) = name else {
        let verdict = Verdict::Denied { reason: DenyReason::UnknownAddress };
        shared.recorder.record(Way::Caught, address.to_string().as_bytes(), Some(port), verdict);
        return client.reset();
    };
    match reach(shared, Way::Caught, &Place { name, port }) {
        Ok(upstream) => lead(shared, client, upstream, Way::Caught),
        Err(_) => client.reset(),
    }
}

/// A SOCKS connection, of which something has arrived.
fn socks(shared: &Shared, mut client: Peer) {
    let deadline = Instant::now() + REQUEST_WAIT;
    let denied = |reason, named: &[u8], port| {
        shared.recorder.record(Way::Socks, named, port, Verdict::Denied { reason });
    };
    match read(&mut client, deadline, socks::read_greeting) {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            denied(DenyReason::SocksUnsupported, b"", None);
            drop(client.send(&socks::NO_METHOD, REQUEST_WAIT));
            return client.close_after_answer();
        }
        Ok(Err(reason)) => return denied(reason, b"", None),
        Err(Interrupted) => return denied(DenyReason::TooSlow, b"", None),
    }
    if client.send(&socks::NO_AUTHENTICATION, REQUEST_WAIT).is_err() {
        return;
    }
    let place = match read(&mut client, deadline, socks::read_request) {
        Ok(Ok((name, port))) => Place { name, port },
        Ok(Err(refused)) => {
            denied(refused.reason, &refused.named, refused.port);
            drop(client.send(&refused.reply.bytes(), REQUEST_WAIT));
            return client.close_after_answer();
        }
        Err(Interrupted) => return denied(DenyReason::TooSlow, b"", None),
    };
    let (reply, upstream) = match reach(shared, Way::Socks, &place) {
        Ok(upstream) => (Reply::Succeeded, Some(upstream)),
        Err(Unreachable::Denied(_)) => (Reply::NotAllowed, None),
        Err(Unreachable::Failed(_)) => (Reply::HostUnreachable, None),
    };
    let answered = client.send(&reply.bytes(), REQUEST_WAIT);
    match (answered, upstream) {
        (Ok(()), Some(upstream)) => lead(shared, client, upstream, Way::Socks),
        (Ok(()), None) => client.close_after_answer(),
        (Err(_), _) => {}
    }
}

/// A client that was too slow or has gone.
#[derive(Debug)]
struct Interrupted;

/// Reads one message of SOCKS.
fn read<T, E>(
    client: &mut Peer,
    deadline: Instant,
    parse: impl Fn(&[u8]) -> Result<Read<T>, E>,
) -> Result<Result<T, E>, Interrupted> {
    loop {
        match parse(client.held()) {
            Ok(Read::Whole(message, used)) => {
                client.discard(used);
                return Ok(Ok(message));
            }
            Ok(Read::Partial) => match client.fill(deadline) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return Err(Interrupted),
            },
            Err(refused) => return Ok(Err(refused)),
        }
    }
}

/// Passes bytes between a client and the place that it asked for, by the rules of the port: at 443 TLS, at 80 TLS or
/// HTTP whose every request is for that host, elsewhere TLS for that host or anything that is not TLS.
pub(super) fn lead<'a>(shared: &'a Shared, mut client: Peer, mut upstream: Upstream<'a>, way: Way) {
    let opening = match upstream.place.port {
        HTTPS_PORT => Opening::Tls,
        HTTP_PORT => {
            if client.held().is_empty() && !begins(shared, &mut client, way, IDLE_WAIT) {
                return;
            }
            if client.held().first() != Some(&HANDSHAKE) {
                let origin = Origin::Known(upstream.place.clone(), way);
                return forward::serve(shared, client, &origin, Some(upstream));
            }
            Opening::Tls
        }
        _ => Opening::Anything,
    };
    let name: HostName = upstream.place.name.clone();
    match tunnel::pass(&mut client, &mut upstream.peer, &name, opening) {
        Ended::Closed => {}
        Ended::Refused(reason) => {
            shared.recorder.about(way, &upstream.place, Verdict::Denied { reason });
            client.reset();
        }
    }
}
