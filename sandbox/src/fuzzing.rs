//! What must hold for every parser of hostile bytes, whatever it is fed. One function for each fuzz target.
//!
//! Only there with the feature `fuzzing`. A panic is a finding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::egress::record::{self, DenyReason};
use crate::egress::wire::body::{Body, End, Form};
use crate::egress::wire::dns::{self, Addresses, Answer};
use crate::egress::wire::head::{Head, Length, read_head};
use crate::egress::wire::request::{Http, Kind, Place, Request, to_origin, to_proxy};
use crate::egress::wire::response::{self, GoesOn};
use crate::egress::wire::socks::{self, Read};
use crate::egress::wire::tls::{Hello, read_hello};
use crate::egress::{Egress, HostName, HostPattern, NAME_BYTES_MAX};
use crate::{RunSpec, control, init, log, spawner};

/// A request that is written anew is read as the same request.
pub fn request(data: &[u8]) {
    let Ok(Some(head)) = read_head(data) else { return };
    assert!(head.bytes <= data.len(), "{} of {}", head.bytes, data.len());
    if let Ok(Request { place, kind }) = to_proxy(&head) {
        strict(&place.name);
        if let Kind::Http(http) = kind {
            same_again(&http, &place);
        }
    }
    let place = Place { name: HostName::parse(b"a.example").expect("a good name"), port: 80 };
    if let Ok(Request { place: named, kind: Kind::Http(http) }) = to_origin(&head, &place) {
        assert_eq!(named, place);
        same_again(&http, &place);
    }
}

fn same_again(http: &Http<'_>, place: &Place) {
    let text = http.head_for(place);
    let Some(head) = whole_head(&text) else { return };
    assert_eq!(head.bytes, text.len(), "a second message is in it");
    let again = to_origin(&head, place).expect("the same place");
    let Kind::Http(again) = again.kind else { unreachable!("a tunnel out of a request") };
    assert_eq!((again.method, again.path, again.length), (http.method, http.path, http.length));
    assert_eq!(again.fields, http.fields);
}

/// A head that was written here; `None` when the fields that were added, and the space, have made it too large to read.
fn whole_head(text: &[u8]) -> Option<Head<'_>> {
    match read_head(text) {
        Err(DenyReason::TooLarge) => None,
        read => Some(read.expect("what was written is good").expect("and whole")),
    }
}

/// A response that is written anew ends where the one that was read ends.
pub fn response(data: &[u8]) {
    let Ok(Some(head)) = read_head(data) else { return };
    for (method, minor) in [(&b"GET"[..], 1), (b"HEAD", 1), (b"GET", 0)] {
        let fields = Vec::new();
        let http = Http {
            method,
            path: b"/",
            fields,
            length: Length::Unsaid,
            minor,
            keep_alive: true,
            expects_continue: false,
        };
        let Some(read) = response::read(&head, &http) else { continue };
        let text = read.head_for(&http, GoesOn::Yes);
        let Some(again) = whole_head(&text) else { continue };
        assert_eq!(again.bytes, text.len(), "a second message is in it");
        let again = response::read(&again, &http).expect("the same response");
        let dechunked = minor == 0 && read.end == End::Chunked;
        assert_eq!(again.end, if dechunked { End::Connection } else { read.end });
    }
}

/// A body is the same however it is cut into pieces, and its chunks read back as what was in them.
pub fn body(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let end = match choice % 3 {
        0 => End::Bytes(u64::from(choice / 3)),
        1 => End::Chunked,
        _ => End::Connection,
    };
    let whole = pass(end, Form::Plain, data, usize::MAX);
    assert_eq!(whole, pass(end, Form::Plain, data, 1));
    assert_eq!(whole, pass(end, Form::Plain, data, 7));
    if let (End::Chunked, Some((plain, _, true))) = (end, whole) {
        let (chunks, _, over) = pass(end, Form::Chunks, data, usize::MAX).expect("as before");
        let (again, rest, over_again) = pass(end, Form::Plain, &chunks, usize::MAX).expect("what was written is good");
        assert!(over && over_again && rest.is_empty(), "chunks after the last one");
        assert_eq!(again, plain);
    }
}

/// What is passed on, what is left, and whether the body is over.
fn pass(end: End, form: Form, data: &[u8], piece: usize) -> Option<(Vec<u8>, Vec<u8>, bool)> {
    let mut body = Body::new(end, form);
    let (mut held, mut output) = (Vec::new(), Vec::new());
    for part in data.chunks(piece) {
        held.extend_from_slice(part);
        let used = body.pass(&held, &mut output).ok()?;
        held.drain(..used);
    }
    Some((output, held, body.is_over()))
}

/// A name in a TLS start is strict, and more bytes do not change what was read.
pub fn hello(data: &[u8]) {
    let read = read_hello(data);
    if let Ok(Hello::Name(name)) = &read {
        strict(name);
    }
    if read != Ok(Hello::Partial) {
        assert_eq!(read_hello(&[data, b"more"].concat()), read);
    }
}

/// A name is strict, is its own only form, and is no address.
pub fn host_name(data: &[u8]) {
    if let Ok(name) = HostName::parse(data) {
        strict(&name);
        assert!(name.as_str().eq_ignore_ascii_case(&String::from_utf8_lossy(data)));
    }
    if let Some(pattern) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<HostPattern>().ok()) {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
}

fn strict(name: &HostName) {
    let text = name.as_str();
    assert!((1..=NAME_BYTES_MAX).contains(&text.len()), "{text}");
    assert!(
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)),
        "{text}"
    );
    assert!(text.split('.').all(|label| (1..=63).contains(&label.len())), "{text}");
    assert!(text.parse::<IpAddr>().is_err(), "{text}");
    assert_eq!(HostName::parse(text.as_bytes()).as_ref(), Ok(name));
}

/// A SOCKS message takes what it says it takes.
pub fn socks(data: &[u8]) {
    if let Ok(Read::Whole(_, used)) = socks::read_greeting(data) {
        assert!(used <= data.len(), "{used}");
    }
    if let Ok(Read::Whole((name, port), used)) = socks::read_request(data) {
        strict(&name);
        assert!(used <= data.len() && port > 0, "{used} {port}");
        assert_eq!(socks::read_request(&data[..used]), Ok(Read::Whole((name, port), used)));
    }
}

/// Answers of DNS are answers, and hold no more than question and address.
pub fn dns(data: &[u8]) {
    let dns::Read::Query(query) = dns::read(data) else { return };
    if let Some(name) = query.name() {
        strict(&name);
    }
    let addresses = Addresses { v4: Ipv4Addr::LOCALHOST, v6: Ipv6Addr::LOCALHOST };
    for answer in [Answer::Addresses(addresses), Answer::NoName, Answer::Failure] {
        let bytes = query.answered(answer);
        assert!(bytes.len() <= data.len() + 28, "{}", bytes.len());
        assert_eq!(bytes[..2], data[..2]);
        assert_eq!(dns::read(&bytes), dns::Read::Nothing);
    }
}

/// A packet that is decoded survives a round trip within its bound.
pub fn record(data: &[u8]) {
    if let Some(decoded) = record::decode(data) {
        let packet = record::encode(&decoded);
        assert!(packet.len() <= record::PACKET_BYTES_MAX, "{}", packet.len());
        assert_eq!(record::decode(&packet), Some(decoded));
    }
}

/// A policy that is decoded allows something and survives a round trip.
pub fn policy(data: &[u8]) {
    let Ok(decoded) = serde_json::from_slice::<Egress>(data) else { return };
    if let Egress::Allow(policy) = &decoded {
        assert!(!policy.entries.is_empty() && policy.entries.iter().all(|entry| !entry.ports.is_empty()));
    }
    let json = serde_json::to_vec(&decoded).expect("policies have string keys only");
    assert_eq!(serde_json::from_slice::<Egress>(&json).ok(), Some(decoded));
}

/// A record of the log takes what it says it takes, and records follow each other to the end.
pub fn log(data: &[u8]) {
    let (mut rest, mut offset) = (data, log::LOG_START);
    while let Ok(Some((record, used))) = log::parse(rest, offset) {
        assert!(used > 0 && used <= rest.len(), "{used}");
        assert_eq!(record.offset, offset);
        drop(record.control());
        rest = &rest[used..];
        offset += used as u64;
    }
}

/// No message between daemon, spawner, shim and init, and no spec, ends whoever reads it.
pub fn messages(data: &[u8]) {
    drop(serde_json::from_slice::<control::Request>(data));
    drop(serde_json::from_slice::<control::Answer>(data));
    drop(serde_json::from_slice::<init::Request>(data));
    drop(serde_json::from_slice::<init::Reply>(data));
    drop(serde_json::from_slice::<spawner::StartAnswer>(data));
    if let Ok(spec) = serde_json::from_slice::<RunSpec>(data) {
        drop(spec.check());
    }
}
