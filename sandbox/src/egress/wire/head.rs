//! Splits the head of an HTTP/1 message into its first line and its fields.
//!
//! Stricter than RFC 9112 demands: every line ends with CR LF, no line is folded, no space stands before a colon, no
//! control character stands in a value. Two readers cannot see two heads in what passes.

use crate::egress::record::DenyReason;

/// Most bytes of a head.
pub(crate) const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most fields of a head.
const FIELDS_MAX: usize = 128;

/// A name, as it was written, and a value without the space around it.
pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// A head that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The first line without its end.
    pub(crate) first: &'a [u8],
    /// The fields in their order.
    pub(crate) fields: Vec<Field<'a>>,
    /// How many bytes it takes with the empty line.
    pub(crate) bytes: usize,
}

/// Reads a head from the start of `bytes`; `None` when more is needed.
///
/// # Errors
/// When it is too long or has something in it that could be read in two ways.
pub(crate) fn read_head(bytes: &[u8]) -> Result<Option<Head<'_>>, DenyReason> {
    let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    // A control character is refused as soon as it is there, so that nobody waits for the end of something else.
    let end = window.windows(4).position(|end| end == b"\r\n\r\n");
    let head = end.map_or(window, |end| &window[..end + 2]);
    if head.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t')) || has_odd_end(head) {
        return Err(DenyReason::BadRequest);
    }
    let Some(end) = end else {
        return if bytes.len() >= HEAD_BYTES_MAX { Err(DenyReason::TooLarge) } else { Ok(None) };
    };
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r\n").unwrap_or(line));
    let first = lines.next().ok_or(DenyReason::BadRequest)?;
    let fields: Vec<_> = lines.collect();
    if fields.len() > FIELDS_MAX {
        return Err(DenyReason::TooLarge);
    }
    let fields = fields.into_iter().map(field).collect::<Option<_>>().ok_or(DenyReason::BadRequest)?;
    Ok(Some(Head { first, fields, bytes: end + 4 }))
}

/// Whether a line ends with anything but CR LF, or a CR stands alone. The last byte may have its other half to come.
fn has_odd_end(text: &[u8]) -> bool {
    text.windows(2).any(|pair| (pair[0] == b'\r') != (pair[1] == b'\n')) || text.first() == Some(&b'\n')
}

fn field(line: &[u8]) -> Option<Field<'_>> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    // Also refuses a folded line, which starts with a space, and a space before the colon.
    is_token(name).then_some((name, value))
}

/// Whether `bytes` are a token of RFC 9110 section 5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The values of all fields called `name`.
pub(crate) fn values<'a>(fields: &[Field<'a>], name: &str) -> Vec<&'a [u8]> {
    let named = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| *value).collect()
}

/// Whether the comma-separated lists in the fields called `name` have `word`.
pub(crate) fn lists(fields: &[Field<'_>], name: &str, word: &str) -> bool {
    let mut words = values(fields, name).into_iter().flat_map(|value| value.split(|byte| *byte == b','));
    words.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The fields that go on to the next station: without those about this connection, and without those that are written
/// anew (`Host`, the length of the body).
///
/// # Errors
/// When `Connection` lists a field that decides where a message ends or whom it is for.
pub(crate) fn end_to_end<'a>(fields: &[Field<'a>]) -> Result<Vec<Field<'a>>, DenyReason> {
    const HERE: [&str; 11] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        // Nobody is upgraded to a protocol that is not looked at.
        "upgrade",
        "http2-settings",
        // Answered by the proxy.
        "expect",
    ];
    for decisive in ["host", "content-length", "transfer-encoding", "authorization", "cookie"] {
        if lists(fields, "connection", decisive) {
            return Err(DenyReason::BadRequest);
        }
    }
    let is = |name: &[u8], word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    let goes_on = |(name, _): &&Field<'a>| {
        let named = std::str::from_utf8(name).is_ok_and(|name| lists(fields, "connection", name));
        !named && !HERE.iter().any(|word| is(name, word)) && !is(name, "host") && !is(name, "content-length")
    };
    Ok(fields.iter().filter(goes_on).copied().collect())
}

/// Where a message says that its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// It says nothing.
    Unsaid,
    /// After so many bytes.
    Bytes(u64),
    /// After the last chunk.
    Chunked,
}

/// Reads where the body ends.
///
/// # Errors
/// When the head says it twice, or in a form that not everybody reads alike.
pub(crate) fn length(fields: &[Field<'_>], minor: u8) -> Result<Length, DenyReason> {
    let lengths = values(fields, "content-length");
    let codings = values(fields, "transfer-encoding");
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Length::Unsaid),
        ([length], []) => {
            // At most 18 digits, which fit into the type.
            let fits = (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(length).ok().filter(|_| fits).and_then(|length| length.parse().ok());
            number.map(Length::Bytes).ok_or(DenyReason::AmbiguousBody)
        }
        ([], [coding]) if minor >= 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
        _ => Err(DenyReason::AmbiguousBody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> String {
        match read_head(bytes) {
            Ok(None) => "partial".to_owned(),
            Ok(Some(head)) => {
                let fields: Vec<_> = head
                    .fields
                    .iter()
                    .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
                    .collect();
                format!("{} [{}] {}", head.first.escape_ascii(), fields.join(" "), head.bytes)
            }
            Err(reason) => reason.word().to_owned(),
        }
    }

    #[test]
    fn heads_are_split() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nA: b\r\nC:\td e \r\n\r\nrest"), "GET / HTTP/1.1 [A=b C=d e] 33");
        assert_eq!(read(b"a\r\n\r\n"), "a [] 5");
        assert_eq!(read(b""), "partial");
        assert_eq!(read(b"GET / HTTP/1.1\r\nA: b\r\n"), "partial");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            &b"a\n\r\n\r\n"[..],
            b"a\r\nB: c\n\r\n\r\n",
            b"a\r\nB: c\rD: e\r\n\r\n",
            b"a\r\nB: c\r\n D: folded\r\n\r\n",
            b"a\r\nB : c\r\n\r\n",
            b"a\r\n: c\r\n\r\n",
            b"a\r\nB\r\n\r\n",
            b"a\r\nB: c\0\r\n\r\n",
            b"a\r\nB: \x0b\r\n\r\n",
            b"a\r\nB\x80: c\r\n\r\n",
            b"\x16\x03\x01\x02",
            b"a\0",
        ] {
            assert_eq!(read(bad), "bad-request", "{}", bad.escape_ascii());
        }
    }

    /// N23: a head has a size and a number of fields.
    #[test]
    fn heads_are_bounded() {
        assert_eq!(read(&[b'a'; HEAD_BYTES_MAX]), "too-large");
        assert_eq!(read(&[b'a'; HEAD_BYTES_MAX - 1]), "partial");
        let many = [&b"a\r\n"[..], &b"b: c\r\n".repeat(FIELDS_MAX + 1), b"\r\n"].concat();
        assert_eq!(read(&many), "too-large");
    }

    #[test]
    fn bodies_have_one_end() {
        let said = |fields: &[Field<'_>], minor| format!("{:?}", length(fields, minor));
        let (cl, te) = (&b"Content-Length"[..], &b"transfer-encoding"[..]);
        assert_eq!(said(&[], 1), "Ok(Unsaid)");
        assert_eq!(said(&[(cl, b"12")], 1), "Ok(Bytes(12))");
        assert_eq!(said(&[(te, b"Chunked")], 1), "Ok(Chunked)");
        for bad in [
            &[(cl, &b"1"[..]), (te, b"chunked")][..],
            &[(cl, b"1"), (cl, b"1")],
            &[(te, b"chunked"), (te, b"chunked")],
            &[(te, b"gzip, chunked")],
            &[(te, b"chunked, identity")],
            &[(te, b"xchunked")],
            &[(te, b"")],
            &[(cl, b"")],
            &[(cl, b"+1")],
            &[(cl, b"1, 1")],
            &[(cl, b"0x1")],
            &[(cl, b"-1")],
            &[(cl, b"1 1")],
            &[(cl, b"1000000000000000000")],
        ] {
            assert_eq!(said(bad, 1), "Err(AmbiguousBody)", "{bad:?}");
        }
        assert_eq!(said(&[(te, b"chunked")], 0), "Err(AmbiguousBody)");
    }

    #[test]
    fn what_is_about_the_connection_stays_here() {
        let fields: Vec<Field<'_>> = vec![
            (b"Host", b"a"),
            (b"Connection", b"close, X-Mine"),
            (b"x-mine", b"1"),
            (b"Proxy-Authorization", b"secret"),
            (b"TE", b"trailers"),
            (b"Upgrade", b"h2c"),
            (b"Content-Length", b"3"),
            (b"Accept", b"*/*"),
        ];
        assert_eq!(end_to_end(&fields), Ok(vec![(&b"Accept"[..], &b"*/*"[..])]));
        for decisive in [&b"host"[..], b"Content-Length", b"a, Transfer-Encoding"] {
            assert_eq!(end_to_end(&[(b"Connection", decisive)]), Err(DenyReason::BadRequest));
        }
    }
}
