//! What the proxy says about a connection, and the packets in which it tells the shim.
//!
//! The proxy reads hostile bytes, so the shim trusts no packet of it: each is bounded, typed and decoded strictly.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::address::AddressKind;
use super::name::NAME_BYTES_MAX;

/// Longest packet, in bytes: a name of nothing but escapes, and some numbers.
pub(crate) const PACKET_BYTES_MAX: usize = 2048;

/// One thing that happened between a run and the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRecord {
    /// How the run asked.
    pub way: Way,
    /// The name that it asked for, when it was one.
    pub host: Option<Asked>,
    /// The port that it asked for, when there was one.
    pub port: Option<u16>,
    /// What became of it.
    pub verdict: Verdict,
}

impl EgressRecord {
    /// Replaces what the run called a host.
    pub(crate) fn rename_host(&mut self, rename: impl FnOnce(&str) -> String) {
        self.host = self.host.take().map(|host| Asked::new(rename(host.as_str()).as_bytes()));
    }
}

impl fmt::Display for EgressRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.way.word())?;
        match (&self.host, self.port) {
            (Some(host), Some(port)) => write!(f, " {}:{port}", host.as_str())?,
            (Some(host), None) => write!(f, " {}", host.as_str())?,
            (None, Some(port)) => write!(f, " port {port}")?,
            (None, None) => {}
        }
        match &self.verdict {
            Verdict::Allowed { address } => write!(f, ": connected to {address}"),
            Verdict::Denied { reason: DenyReason::ResolvedTo(kind) } => {
                write!(f, ": denied, resolves to {}", kind.word())
            }
            Verdict::Denied { reason } => write!(f, ": denied, {}", reason.word()),
            Verdict::Failed { failure } => write!(f, ": failed, {}", failure.word()),
            Verdict::Closed { sent_bytes, received_bytes } => {
                write!(f, ": closed, {sent_bytes} bytes sent, {received_bytes} received")
            }
            Verdict::Missed { count } => write!(f, ": {count} records missed"),
        }
    }
}

/// How a run asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Way {
    /// HTTP `CONNECT`.
    Connect,
    /// A plain HTTP request.
    Http,
    /// SOCKS 5.
    Socks,
    /// A connection that was caught on its way to an address.
    Caught,
    /// A DNS query.
    Dns,
    /// It did not come so far.
    Unknown,
}

impl Way {
    /// The way as one word, as it stands in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Socks => "socks",
            Self::Caught => "caught",
            Self::Dns => "dns",
            Self::Unknown => "egress",
        }
    }
}

/// What became of something that a run asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Verdict {
    /// It was allowed and a connection to this address was made.
    Allowed {
        /// Where the proxy connected to.
        address: IpAddr,
    },
    /// It was refused.
    Denied {
        /// Why.
        reason: DenyReason,
    },
    /// It was allowed but did not work.
    Failed {
        /// What did not.
        failure: Failure,
    },
    /// An allowed connection has ended.
    Closed {
        /// From the run to the host, in bytes.
        sent_bytes: u64,
        /// From the host to the run, in bytes.
        received_bytes: u64,
    },
    /// Records that the proxy could not hand over in time.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DenyReason {
    /// No entry names the host.
    NameNotAllowed,
    /// The host is named, but not with this port.
    PortNotAllowed,
    /// An address where a name must stand.
    AddressLiteral,
    /// Not the name of a host.
    BadName,
    /// The name resolved to nothing but addresses of this kind, or of several.
    ResolvedTo(AddressKind),
    /// Bytes that are no request of HTTP or SOCKS.
    BadRequest,
    /// A request whose end two readers could see in two places.
    AmbiguousBody,
    /// More than the bound of a request.
    TooLarge,
    /// The `Host` of a request is another one than its target, or than the connection's.
    HostMismatch,
    /// No TLS where nothing else is allowed.
    NotTls,
    /// A TLS start that cannot be read.
    BadHello,
    /// A TLS start without a server name.
    NameMissing,
    /// A TLS start with another server name.
    NameMismatch,
    /// A TLS start that hides its server name (ECH).
    NameHidden,
    /// A SOCKS version, command or address type that is not served.
    SocksUnsupported,
    /// A caught connection to an address that stands for no allowed name.
    UnknownAddress,
    /// More names than the run may ask for.
    TooManyNames,
    /// No whole request in time.
    TooSlow,
}

impl DenyReason {
    /// The reason as one word, as it stands in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::NameNotAllowed => "name-not-allowed",
            Self::PortNotAllowed => "port-not-allowed",
            Self::AddressLiteral => "address-literal",
            Self::BadName => "bad-name",
            Self::ResolvedTo(_) => "resolved-to-refused-address",
            Self::BadRequest => "bad-request",
            Self::AmbiguousBody => "ambiguous-body",
            Self::TooLarge => "too-large",
            Self::HostMismatch => "host-mismatch",
            Self::NotTls => "not-tls",
            Self::BadHello => "bad-tls-hello",
            Self::NameMissing => "tls-name-missing",
            Self::NameMismatch => "tls-name-mismatch",
            Self::NameHidden => "tls-name-hidden",
            Self::SocksUnsupported => "socks-unsupported",
            Self::UnknownAddress => "unknown-address",
            Self::TooManyNames => "too-many-names",
            Self::TooSlow => "too-slow",
        }
    }
}

impl EgressRecord {
    /// What a person has to know of something that was refused or did not work, with the next step.
    pub(crate) fn refusal(&self) -> Option<String> {
        let next = match &self.verdict {
            Verdict::Denied { reason: DenyReason::NameNotAllowed } => "; an entry of `egress` has to name it",
            Verdict::Denied { reason: DenyReason::PortNotAllowed } => "; its entry of `egress` has to have the port",
            Verdict::Denied { reason: DenyReason::ResolvedTo(_) } => {
                "; its entry of `egress` has to have the `networks` that it may lead to"
            }
            Verdict::Denied { .. } | Verdict::Failed { .. } => "",
            Verdict::Allowed { .. } | Verdict::Closed { .. } | Verdict::Missed { .. } => return None,
        };
        Some(format!("network: {self}{next}"))
    }
}

/// What did not work though it was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The name has no address.
    Resolve,
    /// No address answered.
    Dial,
    /// The host answered with something that is no HTTP response.
    BadResponse,
}

impl Failure {
    /// What did not work, in words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resolve => "no address",
            Self::Dial => "no answer",
            Self::BadResponse => "no valid response",
        }
    }
}

/// What a run called a host, printable and bounded whatever it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Asked(String);

impl Asked {
    /// Takes what the run sent, escaping whatever is not printable ASCII and cutting it at the length of a name.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let escaped = bytes.iter().take(NAME_BYTES_MAX).flat_map(|byte| byte.escape_ascii()).map(char::from);
        Self(escaped.take(NAME_BYTES_MAX).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host in a packet that is too long or not printable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("host in a record is longer than {NAME_BYTES_MAX} bytes or not printable ASCII")]
pub struct AskedError;

impl TryFrom<String> for Asked {
    type Error = AskedError;

    fn try_from(text: String) -> Result<Self, AskedError> {
        let fits = text.len() <= NAME_BYTES_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if fits { Ok(Self(text)) } else { Err(AskedError) }
    }
}

impl From<Asked> for String {
    fn from(asked: Asked) -> Self {
        asked.0
    }
}

/// What keeper and proxy tell the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Packet {
    /// Something happened.
    Record(EgressRecord),
    /// A proxy died.
    Ended {
        /// Whether another one takes its place.
        replaced: bool,
    },
}

/// Encodes one packet.
pub(crate) fn encode(packet: &Packet) -> Vec<u8> {
    serde_json::to_vec(packet).expect("packets have string keys only and serializers that do not fail")
}

/// Decodes one packet; `None` when it is none.
pub(crate) fn decode(packet: &[u8]) -> Option<Packet> {
    if packet.len() > PACKET_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(packet).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(host: &[u8], verdict: Verdict) -> EgressRecord {
        EgressRecord { way: Way::Connect, host: Some(Asked::new(host)), port: Some(65535), verdict }
    }

    #[test]
    fn records_are_shown_in_one_line() {
        let address = "1.2.3.4".parse().unwrap();
        let reason = DenyReason::ResolvedTo(AddressKind::UniqueLocal);
        for (verdict, wanted) in [
            (Verdict::Allowed { address }, "connect a.example:65535: connected to 1.2.3.4"),
            (Verdict::Denied { reason }, "connect a.example:65535: denied, resolves to a unique local address"),
            (Verdict::Denied { reason: DenyReason::NotTls }, "connect a.example:65535: denied, not-tls"),
            (Verdict::Failed { failure: Failure::Dial }, "connect a.example:65535: failed, no answer"),
        ] {
            assert_eq!(record(b"a.example", verdict).to_string(), wanted);
        }
    }

    #[test]
    fn a_person_is_told_of_what_was_refused_and_of_the_next_step() {
        let told = |verdict| record(b"a.example", verdict).refusal();
        let denied = told(Verdict::Denied { reason: DenyReason::NameNotAllowed }).unwrap();
        let wanted = "network: connect a.example:65535: denied, name-not-allowed; an entry of `egress` has to name it";
        assert_eq!(denied, wanted);
        assert!(told(Verdict::Failed { failure: Failure::Dial }).unwrap().ends_with("failed, no answer"));
        assert_eq!(told(Verdict::Allowed { address: "1.2.3.4".parse().unwrap() }), None);
    }

    #[test]
    fn packets_are_bounded_and_come_back() {
        let address = "2001:4860:4860:1234:1234:1234:1234:8888".parse().unwrap();
        for verdict in [
            Verdict::Allowed { address },
            Verdict::Denied { reason: DenyReason::ResolvedTo(AddressKind::UniqueLocal) },
            Verdict::Failed { failure: Failure::BadResponse },
            Verdict::Closed { sent_bytes: u64::MAX, received_bytes: u64::MAX },
            Verdict::Missed { count: u64::MAX },
        ] {
            for host in [&b"example.com"[..], &[0; 4000], &[b'"'; 4000], &[b'\\'; 4000], b"\x1b[2J\xff\r\n"] {
                let record = record(host, verdict.clone());
                let packet = Packet::Record(record);
                let bytes = encode(&packet);
                assert!(bytes.len() <= PACKET_BYTES_MAX, "{}", bytes.len());
                assert_eq!(decode(&bytes), Some(packet));
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good = encode(&Packet::Record(record(b"a.example.com", Verdict::Missed { count: 1 })));
        for cut in 0..good.len() {
            assert_eq!(decode(&good[..cut]), None);
        }
        let text = String::from_utf8(good).unwrap();
        assert_eq!(decode(text.replace("a.example", "a\\u001bexample").as_bytes()), None);
        assert_eq!(decode(text.replace("a.example", &"a".repeat(300)).as_bytes()), None);
        assert_eq!(decode(text.replace("\"port\"", "\"prot\"").as_bytes()), None);
        assert_eq!(decode(&b" ".repeat(PACKET_BYTES_MAX + 1)), None);
    }
}
