//! Reads the server name out of the first message of a TLS connection.
//!
//! Pure, bounded and strict: what cannot be read to its end is not passed on. Formats: RFC 8446 section 4.1.2 and 5.1,
//! RFC 6066 section 3 (server name), RFC 9849 (encrypted client hello).

use crate::egress::HostName;
use crate::egress::record::DenyReason;

/// First byte of a TLS connection: a handshake record.
pub(crate) const HANDSHAKE: u8 = 22;
/// Most bytes that a client hello may take with the headers of its records.
pub(crate) const HELLO_BYTES_MAX: usize = 32 << 10;

const RECORD_HEADER_BYTES: usize = 5;
/// RFC 8446 section 5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// What the bytes so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// More is needed.
    Partial,
    /// The whole message is there and asks for this name.
    Name(HostName),
}

/// Reads the start of a TLS connection.
///
/// # Errors
/// The reason to refuse it: it is no client hello, is too long, or names no host in the open.
pub(crate) fn read_hello(bytes: &[u8]) -> Result<Hello, DenyReason> {
    let Some(message) = handshake(bytes)? else {
        return if bytes.len() >= HELLO_BYTES_MAX { Err(DenyReason::BadHello) } else { Ok(Hello::Partial) };
    };
    let extensions = extensions(&message).ok_or(DenyReason::BadHello)?;
    let mut name = None;
    for (kind, body) in extensions {
        match kind {
            ENCRYPTED_CLIENT_HELLO => return Err(DenyReason::NameHidden),
            SERVER_NAME if name.is_some() => return Err(DenyReason::BadHello),
            SERVER_NAME => name = Some(server_name(body)?),
            _ => {}
        }
    }
    name.map(Hello::Name).ok_or(DenyReason::NameMissing)
}

/// The first handshake message, put together from its records; `None` when more is needed.
fn handshake(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, DenyReason> {
    let mut message = Vec::new();
    loop {
        if let Some(length) = message_bytes(&message)?
            && message.len() >= length
        {
            message.truncate(length);
            return Ok(Some(message));
        }
        // Judged as soon as it is there, so that something else does not wait for the end of a record.
        if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
            return Err(DenyReason::BadHello);
        }
        let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(DenyReason::BadHello);
        }
        message.extend_from_slice(&rest[..length.min(rest.len())]);
        // What has come of the last record is enough to see that it begins no client hello.
        message_bytes(&message)?;
        let Some(rest) = rest.get(length..) else { return Ok(None) };
        bytes = rest;
    }
}

/// Length of the message with its header, once that is there.
fn message_bytes(message: &[u8]) -> Result<Option<usize>, DenyReason> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(DenyReason::BadHello);
    }
    let Some([_, high, middle, low]) = message.first_chunk::<4>() else { return Ok(None) };
    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    if length > HELLO_BYTES_MAX { Err(DenyReason::BadHello) } else { Ok(Some(4 + length)) }
}

/// The extensions of a whole client hello; `None` when its lengths do not fit.
fn extensions(message: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut body = Reader(message.get(4..)?);
    // Version and random.
    body.take(2 + 32)?;
    let session = body.byte()?;
    body.take(usize::from(session))?;
    let suites = body.number()?;
    body.take(usize::from(suites))?;
    let compressions = body.byte()?;
    body.take(usize::from(compressions))?;
    if body.0.is_empty() {
        // As TLS 1.2 allows it.
        return Some(Vec::new());
    }
    let length = body.number()?;
    let mut block = Reader(body.take(usize::from(length))?);
    if !body.0.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    while !block.0.is_empty() {
        let kind = block.number()?;
        let length = block.number()?;
        found.push((kind, block.take(usize::from(length))?));
    }
    Some(found)
}

/// The one host name of a server name extension.
fn server_name(body: &[u8]) -> Result<HostName, DenyReason> {
    let name = || {
        let mut body = Reader(body);
        let length = body.number()?;
        let mut list = Reader(body.take(usize::from(length))?);
        let kind = list.byte()?;
        let length = list.number()?;
        let name = list.take(usize::from(length))?;
        (kind == HOST_NAME && list.0.is_empty() && body.0.is_empty()).then_some(name)
    };
    HostName::parse(name().ok_or(DenyReason::BadHello)?).map_err(|_| DenyReason::BadName)
}

/// Takes numbers and pieces off the front of some bytes.
#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|taken| u16::from_be_bytes([taken[0], taken[1]]))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sized<const BYTES: usize>(body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u64).to_be_bytes();
        [&length[8 - BYTES..], body].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &sized::<2>(body)].concat()
    }

    pub(crate) fn sni(name: &[u8]) -> Vec<u8> {
        extension(SERVER_NAME, &sized::<2>(&[&[HOST_NAME], &sized::<2>(name)[..]].concat()))
    }

    /// A client hello with these extensions, in records of at most `record_bytes`.
    pub(crate) fn hello(extensions: &[Vec<u8>], record_bytes: usize) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &sized::<1>(&[9; 32]),
            &sized::<2>(&[0x13, 0x01, 0x13, 0x02]),
            &sized::<1>(&[0]),
            &sized::<2>(&extensions.concat()),
        ]
        .concat();
        let message = [&[CLIENT_HELLO], &sized::<3>(&body)[..]].concat();
        let record = |part: &[u8]| [&[HANDSHAKE, 3, 1], &sized::<2>(part)[..]].concat();
        message.chunks(record_bytes).flat_map(record).collect()
    }

    fn read(bytes: &[u8]) -> String {
        match read_hello(bytes) {
            Ok(Hello::Partial) => "partial".to_owned(),
            Ok(Hello::Name(name)) => name.to_string(),
            Err(reason) => reason.word().to_owned(),
        }
    }

    #[test]
    fn the_name_is_found_however_the_hello_is_cut() {
        let other = extension(0x2b, &[2, 3, 4]);
        for record_bytes in [1, 7, 100, 1 << 14] {
            let bytes = hello(&[other.clone(), sni(b"Example.COM"), extension(0x15, &[0; 900])], record_bytes);
            assert_eq!(read(&bytes), "example.com");
            assert_eq!(read(&[&bytes[..], b"more"].concat()), "example.com");
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), "partial", "{cut} of {record_bytes}");
            }
        }
    }

    /// N9: no name, two names, another kind of name, a hidden name.
    #[test]
    fn what_names_no_host_is_refused() {
        let one = |extensions: &[Vec<u8>]| read(&hello(extensions, 1 << 14));
        assert_eq!(one(&[]), "tls-name-missing");
        assert_eq!(one(&[extension(0x2b, &[2, 3, 4])]), "tls-name-missing");
        assert_eq!(one(&[sni(b"a.example"), sni(b"b.example")]), "bad-tls-hello");
        assert_eq!(one(&[sni(b"a.example"), extension(ENCRYPTED_CLIENT_HELLO, &[1])]), "tls-name-hidden");
        assert_eq!(one(&[extension(ENCRYPTED_CLIENT_HELLO, &[1]), sni(b"a.example")]), "tls-name-hidden");
        assert_eq!(one(&[sni(b"")]), "bad-name");
        assert_eq!(one(&[sni(b"127.0.0.1")]), "bad-name");
        assert_eq!(one(&[sni(b"a.example\0.b.example")]), "bad-name");
        assert_eq!(one(&[sni(b"a.example.")]), "bad-name");
        assert_eq!(one(&[extension(SERVER_NAME, &[])]), "bad-tls-hello");
        let two = [&[HOST_NAME][..], &sized::<2>(b"a.b"), &[HOST_NAME], &sized::<2>(b"c.d")].concat();
        assert_eq!(one(&[extension(SERVER_NAME, &sized::<2>(&two))]), "bad-tls-hello");
        let kind = [&[1][..], &sized::<2>(b"a.b")].concat();
        assert_eq!(one(&[extension(SERVER_NAME, &sized::<2>(&kind))]), "bad-tls-hello");
        let tail = [&sized::<2>(&[&[HOST_NAME][..], &sized::<2>(b"a.b")].concat())[..], &[0]].concat();
        assert_eq!(one(&[extension(SERVER_NAME, &tail)]), "bad-tls-hello");
    }

    #[test]
    fn other_bytes_are_no_hello() {
        let good = hello(&[sni(b"a.example")], 1 << 14);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            read(&bytes)
        };
        assert_eq!(with(0, 23), "bad-tls-hello", "kind of record");
        assert_eq!(with(1, 2), "bad-tls-hello", "version");
        assert_eq!(with(3, 0xff), "bad-tls-hello", "length of record");
        assert_eq!(with(5, 2), "bad-tls-hello", "kind of message");
        assert_eq!(with(6, 1), "bad-tls-hello", "length of message");
        assert_eq!(with(43, 255), "bad-tls-hello", "length of session");
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 0]), "bad-tls-hello", "empty record");
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), "bad-tls-hello");
        // One message over more records than anybody needs.
        let endless =
            [&[HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 0, 0x7f, 0xff][..], &[HANDSHAKE, 3, 1, 0, 1, 0].repeat(6000)];
        assert_eq!(read(&endless.concat()), "bad-tls-hello");
    }
}
