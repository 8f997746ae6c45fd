//! Reads SOCKS 5 requests (RFC 1928): `CONNECT` with a name, without authentication, and nothing else.

use crate::egress::record::DenyReason;
use crate::egress::{HostName, NameError};

/// First byte of a SOCKS 5 connection.
pub(crate) const VERSION: u8 = 5;
/// First byte of a SOCKS 4 connection, which could only name addresses, or with 4a names without a length.
pub(crate) const VERSION_4: u8 = 4;
/// Answer that takes the one method: no authentication.
pub(crate) const NO_AUTHENTICATION: [u8; 2] = [VERSION, 0];
/// Answer that takes none of the methods.
pub(crate) const NO_METHOD: [u8; 2] = [VERSION, 0xff];
/// Answer to a SOCKS 4 request: rejected.
pub(crate) const REJECTED_4: [u8; 8] = [0, 91, 0, 0, 0, 0, 0, 0];

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Succeeded,
    GeneralFailure,
    NotAllowed,
    HostUnreachable,
    CommandUnsupported,
    AddressUnsupported,
}

impl Reply {
    /// The bytes of the answer. The address in it is zero: where the proxy is bound is none of the run's business.
    pub(crate) fn bytes(self) -> [u8; 10] {
        let code = match self {
            Self::Succeeded => 0,
            Self::GeneralFailure => 1,
            Self::NotAllowed => 2,
            Self::HostUnreachable => 4,
            Self::CommandUnsupported => 7,
            Self::AddressUnsupported => 8,
        };
        [VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
    }
}

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read<T> {
    /// More is needed.
    Partial,
    /// A whole message, and how many bytes it takes.
    Whole(T, usize),
}

/// Reads the methods that the client offers; `true` when it can do without authentication.
///
/// # Errors
/// When it is no such message.
pub(crate) fn read_greeting(bytes: &[u8]) -> Result<Read<bool>, DenyReason> {
    match bytes {
        [] | [VERSION] => Ok(Read::Partial),
        [VERSION, 0, ..] => Err(DenyReason::BadRequest),
        [VERSION, count, rest @ ..] => {
            let count = usize::from(*count);
            Ok(rest.get(..count).map_or(Read::Partial, |methods| Read::Whole(methods.contains(&0), 2 + count)))
        }
        _ => Err(DenyReason::BadRequest),
    }
}

/// A request that is refused: how it is answered, why, and what it named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reply: Reply,
    pub(crate) reason: DenyReason,
    pub(crate) named: Vec<u8>,
    pub(crate) port: Option<u16>,
}

/// Reads a request for a connection to a name and a port.
///
/// # Errors
/// When it is anything else.
pub(crate) fn read_request(bytes: &[u8]) -> Result<Read<(HostName, u16)>, Refused> {
    const CONNECT: u8 = 1;
    const IPV4: u8 = 1;
    const NAME: u8 = 3;
    const IPV6: u8 = 4;
    let refused = |reply, reason| Refused { reply, reason, named: Vec::new(), port: None };
    let (kind, rest) = match bytes {
        [] | [VERSION] | [VERSION, CONNECT] | [VERSION, CONNECT, 0] => return Ok(Read::Partial),
        [VERSION, CONNECT, 0, kind, rest @ ..] => (*kind, rest),
        [VERSION, CONNECT, ..] => return Err(refused(Reply::GeneralFailure, DenyReason::BadRequest)),
        [VERSION, ..] => return Err(refused(Reply::CommandUnsupported, DenyReason::SocksUnsupported)),
        _ => return Err(refused(Reply::GeneralFailure, DenyReason::BadRequest)),
    };
    match kind {
        NAME => {}
        IPV4 | IPV6 => return Err(refused(Reply::AddressUnsupported, DenyReason::AddressLiteral)),
        _ => return Err(refused(Reply::AddressUnsupported, DenyReason::SocksUnsupported)),
    }
    let Some((length, rest)) = rest.split_first() else { return Ok(Read::Partial) };
    let length = usize::from(*length);
    let (Some(named), Some(port)) = (rest.get(..length), rest.get(length..length + 2)) else {
        return Ok(Read::Partial);
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    let refused = |reason| Refused { reply: Reply::NotAllowed, reason, named: named.to_vec(), port: Some(port) };
    let name = HostName::parse(named).map_err(|error| refused(bad_name(error)))?;
    if port == 0 {
        return Err(refused(DenyReason::BadRequest));
    }
    Ok(Read::Whole((name, port), 4 + 1 + length + 2))
}

/// The reason to refuse something that is no name.
pub(crate) fn bad_name(error: NameError) -> DenyReason {
    match error {
        NameError::Address => DenyReason::AddressLiteral,
        NameError::EmptyLabel | NameError::TooLong | NameError::Character | NameError::Hyphen => DenyReason::BadName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: u8, kind: u8, address: &[u8], port: u16) -> Vec<u8> {
        [&[VERSION, command, 0, kind][..], address, &port.to_be_bytes()].concat()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        [&[u8::try_from(name.len()).unwrap()], name].concat()
    }

    fn read(bytes: &[u8]) -> String {
        match read_request(bytes) {
            Ok(Read::Partial) => "partial".to_owned(),
            Ok(Read::Whole((name, port), used)) => format!("{name}:{port} in {used}"),
            Err(refused) => format!("{} {}", refused.reply.bytes()[1], refused.reason.word()),
        }
    }

    #[test]
    fn names_are_taken() {
        let bytes = request(1, 3, &named(b"Example.com"), 443);
        assert_eq!(read(&bytes), "example.com:443 in 18");
        assert_eq!(read(&[&bytes[..], b"x"].concat()), "example.com:443 in 18");
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), "partial", "{cut}");
        }
    }

    /// N14 with the reply codes of RFC 1928, and N7.
    #[test]
    fn everything_else_is_refused() {
        assert_eq!(read(&request(1, 1, &[127, 0, 0, 1], 80)), "8 address-literal");
        assert_eq!(read(&request(1, 4, &[0; 16], 80)), "8 address-literal");
        assert_eq!(read(&request(1, 9, &[0; 16], 80)), "8 socks-unsupported");
        assert_eq!(read(&request(2, 3, &named(b"example.com"), 80)), "7 socks-unsupported");
        assert_eq!(read(&request(3, 1, &[0; 4], 80)), "7 socks-unsupported");
        assert_eq!(read(&request(1, 3, &named(b"127.0.0.1"), 80)), "2 address-literal");
        assert_eq!(read(&request(1, 3, &named(b"evil.test\0.example.com"), 80)), "2 bad-name");
        assert_eq!(read(&request(1, 3, &named(b""), 80)), "2 bad-name");
        assert_eq!(read(&request(1, 3, &named(&[b'a'; 255]), 80)), "2 bad-name");
        assert_eq!(read(&request(1, 3, &named(b"example.com"), 0)), "2 bad-request");
        assert_eq!(read(&[VERSION, 1, 7, 3]), "1 bad-request");
        assert_eq!(read(&[VERSION_4, 1, 0, 80, 0, 0, 0, 1]), "1 bad-request");
    }

    #[test]
    fn greetings_offer_methods() {
        assert_eq!(read_greeting(&[]), Ok(Read::Partial));
        assert_eq!(read_greeting(&[5]), Ok(Read::Partial));
        assert_eq!(read_greeting(&[5, 2, 2]), Ok(Read::Partial));
        assert_eq!(read_greeting(&[5, 2, 2, 0]), Ok(Read::Whole(true, 4)));
        assert_eq!(read_greeting(&[5, 1, 2, 9]), Ok(Read::Whole(false, 3)));
        assert_eq!(read_greeting(&[5, 0]), Err(DenyReason::BadRequest));
        assert_eq!(read_greeting(&[4, 1]), Err(DenyReason::BadRequest));
    }
}
