//! Passes plain HTTP requests on, one after another, each judged by itself.
//!
//! Request and response are read and written anew, so that the host sees exactly the requests that were judged and the
//! client exactly their responses. **Invariant:** no byte of a client goes on that is not part of a judged request.

use std::time::Instant;

use super::connection::lead;
use super::dial::{Unreachable, Upstream, reach};
use super::peer::{Peer, wait};
use super::{IDLE_WAIT, REQUEST_WAIT, STALL_WAIT, Shared};
use crate::egress::record::{DenyReason, Failure, Verdict, Way};
use crate::egress::wire::body::{Body, End, Form};
use crate::egress::wire::head::{Length, read_head};
use crate::egress::wire::request::{Http, Kind, Place, Refused, Request, to_origin, to_proxy};
use crate::egress::wire::response::{self, GoesOn};
use nix::poll::{PollFd, PollFlags};

/// Whom the requests of a connection are for.
#[derive(Debug)]
pub(super) enum Origin {
    /// Each says so itself.
    Proxy,
    /// The connection leads to this place.
    Known(Place, Way),
}

impl Origin {
    fn way(&self) -> Way {
        match self {
            Self::Proxy => Way::Http,
            Self::Known(_, way) => *way,
        }
    }
}

/// How a request ended.
#[derive(Debug)]
enum Exchange<'a> {
    /// Answered; the connections go on.
    Done(Option<Upstream<'a>>),
    /// Answered; the connection of the client ends here.
    Over,
    /// One side has gone in the middle, or the client sent a body that could be read in two ways.
    Broken(Option<DenyReason>),
    /// The host's answer is none.
    BadResponse,
}

/// Serves the requests of `client`; `upstream` is a connection to the place of the first one, if there is one.
pub(super) fn serve<'a>(shared: &'a Shared, mut client: Peer, origin: &Origin, mut upstream: Option<Upstream<'a>>) {
    loop {
        let text = match next_head(&mut client) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(reason) => return refuse(shared, client, origin.way(), &reason.into()),
        };
        // It was whole a moment ago.
        let Ok(Some(head)) = read_head(&text) else { return };
        let request = match origin {
            Origin::Proxy => to_proxy(&head),
            Origin::Known(place, _) => to_origin(&head, place),
        };
        let (place, http) = match request {
            Ok(Request { place, kind: Kind::Connect }) => return connect(shared, client, &place),
            Ok(Request { place, kind: Kind::Http(http) }) => (place, http),
            Err(refused) => {
                let way = if text.starts_with(b"CONNECT ") { Way::Connect } else { origin.way() };
                return refuse(shared, client, way, &refused);
            }
        };
        let reused = upstream.take().filter(|upstream| upstream.place == place && upstream.peer.is_quiet());
        let connected = match reused {
            Some(upstream) => Ok(upstream),
            None => reach(shared, origin.way(), &place),
        };
        let connected = match connected {
            Ok(connected) => connected,
            Err(unreachable) => return answer_unreachable(client, unreachable, &place),
        };
        match exchange(&mut client, connected, &http) {
            Exchange::Done(kept) => upstream = kept,
            Exchange::Over => return client.close_after_answer(),
            Exchange::Broken(reason) => {
                if let Some(reason) = reason {
                    shared.recorder.about(origin.way(), &place, Verdict::Denied { reason });
                }
                // An ordinary end could be taken for that of a response.
                return client.reset();
            }
            Exchange::BadResponse => {
                let verdict = Verdict::Failed { failure: Failure::BadResponse };
                shared.recorder.about(origin.way(), &place, verdict);
                return answer(client, "502 Bad Gateway", "the host sent no valid response");
            }
        }
    }
}

/// The next head of a request; `None` when the client is done.
fn next_head(client: &mut Peer) -> Result<Option<Vec<u8>>, DenyReason> {
    let mut deadline = Instant::now() + if client.held().is_empty() { IDLE_WAIT } else { REQUEST_WAIT };
    loop {
        if let Some(bytes) = read_head(client.held())?.map(|head| head.bytes) {
            return Ok(Some(client.take(bytes)));
        }
        let begun = !client.held().is_empty();
        match client.fill(deadline) {
            Ok(0) => return Ok(None),
            Ok(_) if begun => {}
            // From its first byte on a request has its time, however slowly it comes.
            Ok(_) => deadline = Instant::now() + REQUEST_WAIT,
            Err(error) if begun && error.kind() == std::io::ErrorKind::TimedOut => return Err(DenyReason::TooSlow),
            Err(_) => return Ok(None),
        }
    }
}

/// A tunnel to `place`.
fn connect(shared: &Shared, mut client: Peer, place: &Place) {
    match reach(shared, Way::Connect, place) {
        Ok(upstream) => {
            if client.send(b"HTTP/1.1 200 Connection established\r\n\r\n", STALL_WAIT).is_ok() {
                lead(shared, client, upstream, Way::Connect);
            }
        }
        Err(unreachable) => answer_unreachable(client, unreachable, place),
    }
}

/// Passes one request on and its response back.
fn exchange<'a>(client: &mut Peer, mut upstream: Upstream<'a>, http: &Http<'_>) -> Exchange<'a> {
    if upstream.peer.send(&http.head_for(&upstream.place), STALL_WAIT).is_err() {
        return Exchange::BadResponse;
    }
    let has_body = !matches!(http.length, Length::Unsaid | Length::Bytes(0));
    if has_body && http.expects_continue && client.send(b"HTTP/1.1 100 Continue\r\n\r\n", STALL_WAIT).is_err() {
        return Exchange::Broken(None);
    }
    let sent = match send_body(client, &mut upstream, Body::new(http.length.into(), Form::Chunks)) {
        Ok(sent) => sent,
        Err(reason) => return Exchange::Broken(reason),
    };
    let Some((head, end, keeps)) = response_head(client, &mut upstream, http, sent) else {
        return Exchange::BadResponse;
    };
    let form = if http.minor == 0 { Form::Plain } else { Form::Chunks };
    if client.send(&head, STALL_WAIT).is_err() || !pass_response(client, &mut upstream, Body::new(end, form)) {
        return Exchange::Broken(None);
    }
    if !goes_on(http, sent, end) {
        return Exchange::Over;
    }
    Exchange::Done(keeps.then_some(upstream))
}

/// Whether the host has taken the whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    /// It answered before.
    Part,
}

/// Whether the client can send another request after this one.
fn goes_on(http: &Http<'_>, sent: Sent, end: End) -> bool {
    http.keep_alive && sent == Sent::Whole && end != End::Connection
}

/// Passes the body of a request on; fails when it does not come to its end, with the reason if it is for its form.
fn send_body(client: &mut Peer, upstream: &mut Upstream<'_>, mut body: Body) -> Result<Sent, Option<DenyReason>> {
    let gone = |_| None;
    let mut output = Vec::new();
    loop {
        let used = body.pass(client.held(), &mut output).map_err(Some)?;
        client.discard(used);
        upstream.peer.send(&output, STALL_WAIT).map_err(gone)?;
        output.clear();
        if body.is_over() {
            return Ok(Sent::Whole);
        }
        let mut fds = [PollFd::new(client.fd(), PollFlags::POLLIN), PollFd::new(upstream.peer.fd(), PollFlags::POLLIN)];
        wait(&mut fds, Instant::now() + IDLE_WAIT).map_err(gone)?;
        let [from_client, from_upstream] = fds.map(|fd| fd.any().unwrap_or(true));
        if from_upstream {
            return Ok(Sent::Part);
        }
        if from_client && client.fill(Instant::now() + IDLE_WAIT).map_err(gone)? == 0 {
            return Err(None);
        }
    }
}

/// Reads heads of responses until the last one; returns it as it is written for the client, where its body ends, and
/// whether the host goes on.
fn response_head(
    client: &mut Peer,
    upstream: &mut Upstream<'_>,
    http: &Http<'_>,
    sent: Sent,
) -> Option<(Vec<u8>, End, bool)> {
    loop {
        let text = loop {
            if let Some(bytes) = read_head(upstream.peer.held()).ok()?.map(|head| head.bytes) {
                break upstream.peer.take(bytes);
            }
            if upstream.peer.fill(Instant::now() + IDLE_WAIT).ok()? == 0 {
                return None;
            }
        };
        let head = read_head(&text).ok()??;
        let response = response::read(&head, http)?;
        if response.is_interim() {
            // Version 1.0 has none.
            if http.minor >= 1 {
                client.send(&response.head_for(http, GoesOn::Yes), STALL_WAIT).ok()?;
            }
            continue;
        }
        let goes_on = if goes_on(http, sent, response.end) { GoesOn::Yes } else { GoesOn::No };
        return Some((response.head_for(http, goes_on), response.end, response.keep_alive));
    }
}

/// Passes the body of a response back; `false` when it does not come to its end, so that the client must not think so.
fn pass_response(client: &mut Peer, upstream: &mut Upstream<'_>, mut body: Body) -> bool {
    let mut output = Vec::new();
    loop {
        let Ok(used) = body.pass(upstream.peer.held(), &mut output) else { return false };
        upstream.peer.discard(used);
        if client.send(&output, STALL_WAIT).is_err() {
            return false;
        }
        output.clear();
        if body.is_over() {
            return true;
        }
        match upstream.peer.fill(Instant::now() + IDLE_WAIT) {
            Ok(0) => return body.ends_with_connection(),
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// Answers a request that is refused for what it is.
fn refuse(shared: &Shared, client: Peer, way: Way, refused: &Refused) {
    let reason = refused.reason;
    shared.recorder.record(way, &refused.named, refused.port, Verdict::Denied { reason });
    let status = match reason {
        DenyReason::TooLarge => "431 Request Header Fields Too Large",
        DenyReason::TooSlow => "408 Request Timeout",
        DenyReason::BadRequest | DenyReason::AmbiguousBody | DenyReason::BadName => "400 Bad Request",
        _ => "403 Forbidden",
    };
    answer(client, status, &format!("refused: {}", reason.word()));
}

fn answer_unreachable(client: Peer, unreachable: Unreachable, place: &Place) {
    let Place { name, port } = place;
    match unreachable {
        Unreachable::Denied(reason) => {
            answer(client, "403 Forbidden", &format!("this run may not reach {name}:{port}: {}", reason.word()));
        }
        Unreachable::Failed(Failure::Resolve) => {
            answer(client, "502 Bad Gateway", &format!("{name} has no address"));
        }
        Unreachable::Failed(Failure::Dial | Failure::BadResponse) => {
            answer(client, "502 Bad Gateway", &format!("{name}:{port} does not answer"));
        }
    }
}

/// Sends a short answer and closes.
fn answer(mut client: Peer, status: &str, text: &str) {
    let length = text.len() + 1;
    let message = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    );
    if client.send(message.as_bytes(), REQUEST_WAIT).is_ok() {
        client.close_after_answer();
    }
}
