//! Reads DNS queries and writes their answers (RFC 1035, sections 4.1 and 2.3.4).
//!
//! **Invariant:** nothing of a query goes anywhere: the answer is made from the question and an address that stands for
//! the name inside the run.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::egress::HostName;
use crate::egress::name::NAME_BYTES_MAX;

/// Longest query that is read, in bytes.
pub(crate) const QUERY_BYTES_MAX: usize = 1232;
/// How long an answer holds, in seconds: short, because the address means something only to the proxy that gave it.
const TTL_SECONDS: u32 = 5;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// In an answer, the name at the start of the question.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, HEADER_BYTES as u8];

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    id: [u8; 2],
    recursion_desired: bool,
    /// The question as it was asked.
    question: &'a [u8],
    /// What it asks for, with dots.
    pub(crate) asked: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V4,
    V6,
    Other,
}

/// What the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    /// A query that can be answered.
    Query(Query<'a>),
    /// A query that cannot; this is the answer.
    Refused([u8; HEADER_BYTES]),
    /// Nothing that is answered.
    Nothing,
}

/// The addresses that stand for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// How a query is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Addresses),
    /// There is no such name.
    NoName,
    /// Not now.
    Failure,
}

#[derive(Debug, Clone, Copy)]
enum Code {
    Fine = 0,
    Malformed = 1,
    Failure = 2,
    NoName = 3,
    NotServed = 4,
}

/// Reads one query.
pub(crate) fn read(bytes: &[u8]) -> Read<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Read::Nothing };
    let [id_high, id_low, flags, _, counts @ ..] = *header;
    let id = [id_high, id_low];
    // An answer is never answered, or two could talk for ever.
    if flags & 0x80 != 0 {
        return Read::Nothing;
    }
    let recursion_desired = flags & 1 != 0;
    if flags & 0x78 != 0 {
        return Read::Refused(head(id, recursion_desired, Code::NotServed, [0, 0]));
    }
    let malformed = Read::Refused(head(id, recursion_desired, Code::Malformed, [0, 0]));
    let question = if counts[..2] == [0, 1] && bytes.len() <= QUERY_BYTES_MAX { question(rest) } else { None };
    let Some((asked, length)) = question else { return malformed };
    let (question, _) = rest.split_at(length);
    let [.., kind_high, kind_low, class_high, class_low] = *question else { return malformed };
    let kind = match (u16::from_be_bytes([kind_high, kind_low]), u16::from_be_bytes([class_high, class_low])) {
        (TYPE_A, CLASS_IN) => Kind::V4,
        (TYPE_AAAA, CLASS_IN) => Kind::V6,
        _ => Kind::Other,
    };
    Read::Query(Query { id, recursion_desired, question, asked, kind })
}

/// The name in a question and the length of the whole question. Pointers have no place in it.
fn question(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut asked = Vec::new();
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = bytes.get(at..at + length).filter(|_| length < 64)?;
        if !asked.is_empty() {
            asked.push(b'.');
        }
        // A dot in a label would come out as another name.
        asked.extend(label.iter().map(|byte| if *byte == b'.' { 0 } else { *byte }));
        at += length;
        if asked.len() > NAME_BYTES_MAX {
            return None;
        }
    }
    (bytes.len() >= at + 4).then_some((asked, at + 4))
}

fn head(id: [u8; 2], recursion_desired: bool, code: Code, counts: [u8; 2]) -> [u8; HEADER_BYTES] {
    // An answer, recursion available.
    let flags = [0x80 | u8::from(recursion_desired), 0x80 | code as u8];
    let [questions, answers] = counts;
    [id[0], id[1], flags[0], flags[1], 0, questions, 0, answers, 0, 0, 0, 0]
}

impl Query<'_> {
    /// The name, if it is that of a host.
    pub(crate) fn name(&self) -> Option<HostName> {
        HostName::parse(&self.asked).ok()
    }

    /// The bytes of the answer.
    pub(crate) fn answered(&self, answer: Answer) -> Vec<u8> {
        let data: Option<(u16, Vec<u8>)> = match (answer, self.kind) {
            (Answer::Addresses(addresses), Kind::V4) => Some((TYPE_A, addresses.v4.octets().into())),
            (Answer::Addresses(addresses), Kind::V6) => Some((TYPE_AAAA, addresses.v6.octets().into())),
            // The name is there, but nothing else is known of it.
            (Answer::Addresses(_), Kind::Other) | (Answer::NoName | Answer::Failure, _) => None,
        };
        let code = match answer {
            Answer::Addresses(_) => Code::Fine,
            Answer::NoName => Code::NoName,
            Answer::Failure => Code::Failure,
        };
        let mut bytes = head(self.id, self.recursion_desired, code, [1, u8::from(data.is_some())]).to_vec();
        bytes.extend_from_slice(self.question);
        if let Some((kind, data)) = data {
            bytes.extend_from_slice(&NAME_OF_QUESTION);
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
            bytes.extend_from_slice(&TTL_SECONDS.to_be_bytes());
            bytes.extend_from_slice(&u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
            bytes.extend_from_slice(&data);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(labels: &[&[u8]], kind: u16, more: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label);
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(more);
        bytes
    }

    const ADDRESSES: Addresses =
        Addresses { v4: Ipv4Addr::new(198, 18, 0, 1), v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1) };

    #[test]
    fn queries_are_answered_with_their_own_question() {
        let bytes = query(&[b"ExAmple", b"com"], TYPE_A, b"an EDNS record that nobody reads");
        let Read::Query(query) = read(&bytes) else { panic!("a query") };
        assert_eq!(query.name().unwrap().as_str(), "example.com");
        let question = &bytes[HEADER_BYTES..HEADER_BYTES + 17];
        let start = |code: u8, answers: u8| {
            [&[0xab, 0xcd, 0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0][..], question].concat()
        };
        let data = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 198, 18, 0, 1];
        assert_eq!(query.answered(Answer::Addresses(ADDRESSES)), [start(0, 1), data.to_vec()].concat());
        assert_eq!(query.answered(Answer::NoName), start(3, 0));
        assert_eq!(query.answered(Answer::Failure), start(2, 0));
    }

    #[test]
    fn kinds_have_their_answers() {
        let answered = |kind| {
            let bytes = query(&[b"a", b"b"], kind, b"");
            let Read::Query(query) = read(&bytes) else { panic!("a query") };
            let answer = query.answered(Answer::Addresses(ADDRESSES));
            (answer[7], answer.len() - bytes.len())
        };
        assert_eq!(answered(TYPE_AAAA), (1, 28));
        // TXT, ANY, HTTPS: there is nothing else to know.
        for kind in [16, 255, 65] {
            assert_eq!(answered(kind), (0, 0));
        }
    }

    /// N16: names that are no host names reach nobody, and nothing loops.
    #[test]
    fn everything_else_is_refused_or_nothing() {
        let name = |labels: &[&[u8]]| match read(&query(labels, TYPE_A, b"")) {
            Read::Query(query) => query.name().map(String::from),
            Read::Refused(_) | Read::Nothing => Some("refused".to_owned()),
        };
        assert_eq!(name(&[b"a.b", b"com"]), None);
        assert_eq!(name(&[b"a\0", b"com"]), None);
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[&[b'a'; 63][..]; 4]).as_deref(), Some("refused"));
        let refused = |bytes: &[u8]| match read(bytes) {
            Read::Refused(answer) => Some(answer[3] & 15),
            Read::Query(_) | Read::Nothing => None,
        };
        let good = query(&[b"a", b"b"], TYPE_A, b"");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        assert_eq!(refused(&with(2, 0x28)), Some(4), "another operation");
        assert_eq!(refused(&with(5, 2)), Some(1), "two questions");
        assert_eq!(refused(&with(5, 0)), Some(1), "no question");
        assert_eq!(refused(&with(12, 0xc0)), Some(1), "a pointer");
        assert_eq!(refused(&with(12, 63)), Some(1), "a label over the end");
        assert_eq!(refused(&[&good[..], &[0; QUERY_BYTES_MAX]].concat()), Some(1), "too long");
        assert_eq!(read(&with(2, 0x81)), Read::Nothing, "an answer");
        for cut in 0..HEADER_BYTES {
            assert_eq!(read(&good[..cut]), Read::Nothing);
        }
        for cut in HEADER_BYTES..good.len() {
            assert_eq!(refused(&good[..cut]), Some(1));
        }
    }
}
