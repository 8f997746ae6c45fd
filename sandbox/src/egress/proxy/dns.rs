//! Answers DNS queries of the run with addresses that stand for allowed names. No query goes any further.

use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::PoisonError;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::peer::Peer;
use super::{REQUEST_WAIT, STALL_WAIT, Shared};
use crate::egress::names::Full;
use crate::egress::record::{DenyReason, Verdict, Way};
use crate::egress::wire::dns::{Answer, QUERY_BYTES_MAX, Read, read};

/// Answers packets for ever.
pub(super) fn serve_packets(shared: &Shared, socket: &UdpSocket) {
    let mut packet = [0; QUERY_BYTES_MAX + 1];
    loop {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        // What cannot be received or sent is lost, as packets are; the client asks again.
        if let Ok((length, from)) = socket.recv_from(&mut packet)
            && let Some(answer) = answer(shared, &packet[..length])
        {
            drop(socket.send_to(&answer, from));
        }
    }
}

/// Answers the queries of one connection, each behind its length.
pub(super) fn serve_stream(shared: &Shared, mut client: Peer) {
    loop {
        let length = match client.held() {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        if client.held().len() < 2 + length || client.held().len() < 2 {
            match client.fill(Instant::now() + REQUEST_WAIT) {
                Ok(count) if count > 0 && length <= QUERY_BYTES_MAX => continue,
                Ok(_) | Err(_) => return,
            }
        }
        let query = client.take(2 + length);
        let Some(answer) = answer(shared, &query[2..]) else { return };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        if client.send(&[&length.to_be_bytes()[..], &answer].concat(), STALL_WAIT).is_err() {
            return;
        }
    }
}

fn answer(shared: &Shared, bytes: &[u8]) -> Option<Vec<u8>> {
    let query = match read(bytes) {
        Read::Query(query) => query,
        Read::Refused(answer) => return Some(answer.to_vec()),
        Read::Nothing => return None,
    };
    let denied = |reason| shared.recorder.record(Way::Dns, &query.asked, None, Verdict::Denied { reason });
    let answer = match query.name() {
        None => {
            denied(DenyReason::BadName);
            Answer::NoName
        }
        Some(name) if !shared.policy.names(&name) => {
            denied(DenyReason::NameNotAllowed);
            Answer::NoName
        }
        Some(name) => match shared.names.lock().unwrap_or_else(PoisonError::into_inner).addresses(&name) {
            Ok(addresses) => Answer::Addresses(addresses),
            Err(Full) => {
                denied(DenyReason::TooManyNames);
                Answer::Failure
            }
        },
    };
    Some(query.answered(answer))
}
