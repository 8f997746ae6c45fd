//! Reads a request to the proxy: `CONNECT`, a plain HTTP request in absolute form, or one in origin form on a
//! connection whose host is known.

use super::head::{Field, Head, Length, end_to_end, is_token, length, lists, values};
use super::socks::bad_name;
use crate::egress::HostName;
use crate::egress::record::DenyReason;

/// Longest method, in bytes.
const METHOD_BYTES_MAX: usize = 32;
/// Port of plain HTTP.
pub(crate) const HTTP_PORT: u16 = 80;

/// Port of HTTP over TLS, at which nothing else is spoken.
pub(crate) const HTTPS_PORT: u16 = 443;

/// A request that is refused, with the host and the port as far as it named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: DenyReason,
    pub(crate) named: Vec<u8>,
    pub(crate) port: Option<u16>,
}

impl From<DenyReason> for Refused {
    fn from(reason: DenyReason) -> Self {
        Self { reason, named: Vec::new(), port: None }
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: HostName,
    pub(crate) port: u16,
}

/// A request that can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) place: Place,
    pub(crate) kind: Kind<'a>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A tunnel.
    Connect,
    /// One answer.
    Http(Http<'a>),
}

/// A plain HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Http<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    /// What is passed on.
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) length: Length,
    /// The second number of the version.
    pub(crate) minor: u8,
    /// Whether the client wants to go on with this connection.
    pub(crate) keep_alive: bool,
    /// Whether the client waits before it sends its body.
    pub(crate) expects_continue: bool,
}

impl Http<'_> {
    pub(crate) fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// The head that is sent to `place`. `Host` is written from the name that was judged.
    pub(crate) fn head_for(&self, place: &Place) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        for part in [self.method, b" ", self.path, b" HTTP/1.1\r\nHost: ", place.name.as_str().as_bytes()] {
            head.extend_from_slice(part);
        }
        if place.port != HTTP_PORT {
            head.extend_from_slice(format!(":{}", place.port).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        write_fields(&mut head, &self.fields, self.length);
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Appends `fields` and the one that says where the body ends.
pub(super) fn write_fields(head: &mut Vec<u8>, fields: &[Field<'_>], length: Length) {
    for (name, value) in fields {
        for part in [name, &b": "[..], value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    match length {
        Length::Unsaid => {}
        Length::Bytes(bytes) => head.extend_from_slice(format!("Content-Length: {bytes}\r\n").as_bytes()),
        Length::Chunked => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// Reads a request to the proxy itself.
///
/// # Errors
/// When it is none, or could be read in two ways.
pub(crate) fn to_proxy<'a>(head: &Head<'a>) -> Result<Request<'a>, Refused> {
    let line = first_line(head.first)?;
    if line.method == b"CONNECT" {
        let place = authority(line.target, None)?;
        check_host(head, &place)?;
        match length(&head.fields, line.minor) {
            Ok(Length::Unsaid | Length::Bytes(0)) => Ok(Request { place, kind: Kind::Connect }),
            Ok(Length::Bytes(_) | Length::Chunked) => Err(about(&place, DenyReason::BadRequest)),
            Err(reason) => Err(about(&place, reason)),
        }
    } else {
        let (scheme, rest) = line.target.split_at_checked(7).ok_or(DenyReason::BadRequest)?;
        if !scheme.eq_ignore_ascii_case(b"http://") {
            return Err(DenyReason::BadRequest.into());
        }
        let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let place = authority(host, Some(HTTP_PORT))?;
        if place.port == HTTPS_PORT {
            return Err(about(&place, DenyReason::NotTls));
        }
        http(head, &line, place, path)
    }
}

/// Reads a request on a connection that leads to `place`.
///
/// # Errors
/// When it is none, could be read in two ways, or is for another host.
pub(crate) fn to_origin<'a>(head: &Head<'a>, place: &Place) -> Result<Request<'a>, Refused> {
    let line = first_line(head.first)?;
    let path_only = line.target.starts_with(b"/") || (line.method == b"OPTIONS" && line.target == b"*");
    if line.method == b"CONNECT" || !path_only {
        return Err(about(place, DenyReason::BadRequest));
    }
    http(head, &line, place.clone(), line.target)
}

fn http<'a>(head: &Head<'a>, line: &FirstLine<'a>, place: Place, path: &'a [u8]) -> Result<Request<'a>, Refused> {
    check_host(head, &place)?;
    let of_place = |reason| about(&place, reason);
    let length = length(&head.fields, line.minor).map_err(of_place)?;
    let fields = end_to_end(&head.fields).map_err(of_place)?;
    // A query without a path has none to put before it.
    let path = match path {
        [] => b"/",
        [b'?', ..] => return Err(about(&place, DenyReason::BadRequest)),
        path => path,
    };
    let closes = ["connection", "proxy-connection"].iter().any(|field| lists(&head.fields, field, "close"));
    let http = Http {
        method: line.method,
        path,
        fields,
        length,
        minor: line.minor,
        keep_alive: line.minor >= 1 && !closes,
        expects_continue: line.minor >= 1 && lists(&head.fields, "expect", "100-continue"),
    };
    Ok(Request { place, kind: Kind::Http(http) })
}

#[derive(Debug)]
struct FirstLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    minor: u8,
}

fn first_line(line: &[u8]) -> Result<FirstLine<'_>, DenyReason> {
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts.as_slice() else { return Err(DenyReason::BadRequest) };
    let minor = match *version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return Err(DenyReason::BadRequest),
    };
    let good_method = is_token(method) && method.len() <= METHOD_BYTES_MAX;
    // A fragment is never sent.
    let good_target = !target.is_empty() && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    if good_method && good_target { Ok(FirstLine { method, target, minor }) } else { Err(DenyReason::BadRequest) }
}

/// Reads `host:port`; the port may be missing when there is a default.
fn authority(text: &[u8], default_port: Option<u16>) -> Result<Place, Refused> {
    let refused = |reason, named: &[u8], port| Refused { reason, named: named.to_vec(), port };
    if text.starts_with(b"[") {
        return Err(refused(DenyReason::AddressLiteral, text, None));
    }
    let (host, port) = match text.iter().rposition(|byte| *byte == b':') {
        Some(colon) => {
            let port = read_port(&text[colon + 1..]);
            (&text[..colon], Some(port.ok_or_else(|| refused(DenyReason::BadRequest, text, None))?))
        }
        None => (text, default_port),
    };
    let name = HostName::parse(host).map_err(|error| refused(bad_name(error), host, port))?;
    match port {
        Some(port) => Ok(Place { name, port }),
        None => Err(refused(DenyReason::BadRequest, host, None)),
    }
}

fn read_port(text: &[u8]) -> Option<u16> {
    let fits = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| fits)?.parse().ok().filter(|port| *port != 0)
}

/// `Host` says at most once, and then the same, what the target says.
fn check_host(head: &Head<'_>, place: &Place) -> Result<(), Refused> {
    let hosts = values(&head.fields, "host");
    let same = match hosts.as_slice() {
        // Version 1.0 has none, and it is written anew anyway.
        [] => true,
        [host] => authority(host, Some(place.port)).is_ok_and(|said| said == *place),
        _ => return Err(about(place, DenyReason::BadRequest)),
    };
    if same { Ok(()) } else { Err(about(place, DenyReason::HostMismatch)) }
}

fn about(place: &Place, reason: DenyReason) -> Refused {
    Refused { reason, named: place.name.as_str().as_bytes().to_vec(), port: Some(place.port) }
}

#[cfg(test)]
mod tests {
    use super::super::head::read_head;
    use super::*;

    fn shown(request: Result<Request<'_>, Refused>) -> String {
        match request {
            Ok(Request { place, kind: Kind::Connect }) => format!("connect {}:{}", place.name, place.port),
            Ok(Request { place, kind: Kind::Http(http) }) => {
                http.head_for(&place).escape_ascii().to_string().replace("\\r\\n", "|")
            }
            Err(refused) => {
                let port = refused.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{} `{}{port}`", refused.reason.word(), refused.named.escape_ascii())
            }
        }
    }

    /// The request with these lines, as the proxy sees it.
    fn proxy(lines: &str) -> String {
        let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
        shown(to_proxy(&read_head(text.as_bytes()).unwrap().unwrap()))
    }

    fn origin(lines: &str) -> String {
        let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
        let place = Place { name: "a.example".parse().unwrap(), port: 80 };
        shown(to_origin(&read_head(text.as_bytes()).unwrap().unwrap(), &place))
    }

    #[test]
    fn requests_are_read_and_written_anew() {
        assert_eq!(proxy("CONNECT A.example:443 HTTP/1.1|Host: a.example:443"), "connect a.example:443");
        assert_eq!(proxy("CONNECT a.example:443 HTTP/1.0"), "connect a.example:443");
        assert_eq!(proxy("CONNECT a.example:443 HTTP/1.1|Host: a.example"), "connect a.example:443");
        assert_eq!(
            proxy(
                "GET http://A.example/x?y=http://b.example/ HTTP/1.1|Host: a.EXAMPLE|Proxy-Connection: x|Accept: */*"
            ),
            "GET /x?y=http://b.example/ HTTP/1.1|Host: a.example|Accept: */*||"
        );
        assert_eq!(proxy("GET HTTP://a.example:8080 HTTP/1.0"), "GET / HTTP/1.1|Host: a.example:8080||");
        assert_eq!(
            proxy("POST http://a.example/ HTTP/1.1|Content-Length: 3|Expect: 100-continue"),
            "POST / HTTP/1.1|Host: a.example|Content-Length: 3||"
        );
        assert_eq!(
            proxy("PUT http://a.example/ HTTP/1.1|Transfer-Encoding: chunked"),
            "PUT / HTTP/1.1|Host: a.example|Transfer-Encoding: chunked||"
        );
        assert_eq!(origin("GET /x HTTP/1.1|Host: a.example"), "GET /x HTTP/1.1|Host: a.example||");
        assert_eq!(origin("OPTIONS * HTTP/1.1|Host: a.example:80"), "OPTIONS * HTTP/1.1|Host: a.example||");
    }

    /// N7, N10 and N11: whatever names two hosts, no host, or something else is refused.
    #[test]
    fn everything_else_is_refused() {
        for (lines, wanted) in [
            ("CONNECT a.example HTTP/1.1", "bad-request `a.example`"),
            ("CONNECT a.example: HTTP/1.1", "bad-request `a.example:`"),
            ("CONNECT a.example:0 HTTP/1.1", "bad-request `a.example:0`"),
            ("CONNECT a.example:65536 HTTP/1.1", "bad-request `a.example:65536`"),
            ("CONNECT a.example:+443 HTTP/1.1", "bad-request `a.example:+443`"),
            ("CONNECT 169.254.169.254:80 HTTP/1.1", "address-literal `169.254.169.254:80`"),
            ("CONNECT [fd00:ec2::254]:80 HTTP/1.1", "address-literal `[fd00:ec2::254]:80`"),
            ("CONNECT 0x7f.1:80 HTTP/1.1", "address-literal `0x7f.1:80`"),
            ("CONNECT ::1:80 HTTP/1.1", "address-literal `::1:80`"),
            ("CONNECT u@a.example:443 HTTP/1.1", "bad-name `u@a.example:443`"),
            ("CONNECT a.example.:443 HTTP/1.1", "bad-name `a.example.:443`"),
            ("CONNECT a.example:443 HTTP/1.1|Host: b.example:443", "host-mismatch `a.example:443`"),
            ("CONNECT a.example:443 HTTP/1.1|Host: a.example:80", "host-mismatch `a.example:443`"),
            ("CONNECT a.example:443 HTTP/1.1|Content-Length: 5", "bad-request `a.example:443`"),
            ("CONNECT http://a.example:443 HTTP/1.1", "address-literal `http://a.example:443`"),
            ("GET / HTTP/1.1|Host: a.example", "bad-request ``"),
            ("GET https://a.example/ HTTP/1.1", "bad-request ``"),
            ("GET ftp://a.example/ HTTP/1.1", "bad-request ``"),
            ("GET http:///x HTTP/1.1", "bad-name `:80`"),
            ("GET http://a.example@b.example/ HTTP/1.1", "bad-name `a.example@b.example:80`"),
            ("GET http://a.example\\@b.example/ HTTP/1.1", "bad-name `a.example\\\\@b.example:80`"),
            ("GET http://a.example?x HTTP/1.1", "bad-request `a.example:80`"),
            ("GET http://a.example/#x HTTP/1.1", "bad-request ``"),
            ("GET http://a.example/ HTTP/1.1|Host: b.example", "host-mismatch `a.example:80`"),
            ("GET http://a.example/ HTTP/1.1|Host: ", "host-mismatch `a.example:80`"),
            ("GET http://a.example/ HTTP/1.1|Host: a.example|Host: a.example", "bad-request `a.example:80`"),
            (
                "GET http://a.example/ HTTP/1.1|Content-Length: 1|Transfer-Encoding: chunked",
                "ambiguous-body `a.example:80`",
            ),
            ("GET http://a.example/ HTTP/1.0|Transfer-Encoding: chunked", "ambiguous-body `a.example:80`"),
            ("GET http://a.example/ HTTP/1.1|Connection: Content-Length", "bad-request `a.example:80`"),
            ("GET http://a.example:443/ HTTP/1.1", "not-tls `a.example:443`"),
            ("GET  http://a.example/ HTTP/1.1", "bad-request ``"),
            ("GET http://a.example/ HTTP/2.0", "bad-request ``"),
            ("GET http://a.example/", "bad-request ``"),
            ("G(T http://a.example/ HTTP/1.1", "bad-request ``"),
            ("PRI * HTTP/2.0", "bad-request ``"),
        ] {
            assert_eq!(proxy(lines), wanted, "{lines}");
        }
        for (lines, wanted) in [
            ("GET http://a.example/ HTTP/1.1|Host: a.example", "bad-request `a.example:80`"),
            ("CONNECT a.example:80 HTTP/1.1", "bad-request `a.example:80`"),
            ("GET / HTTP/1.1|Host: b.example", "host-mismatch `a.example:80`"),
            ("GET / HTTP/1.1|Host: a.example:81", "host-mismatch `a.example:80`"),
            ("GET * HTTP/1.1|Host: a.example", "bad-request `a.example:80`"),
        ] {
            assert_eq!(origin(lines), wanted, "{lines}");
        }
    }

    #[test]
    fn connections_go_on_unless_somebody_closes_them() {
        let keep = |lines: &str| {
            let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
            match to_proxy(&read_head(text.as_bytes()).unwrap().unwrap()).unwrap().kind {
                Kind::Http(http) => (http.keep_alive, http.expects_continue),
                Kind::Connect => panic!("a tunnel"),
            }
        };
        assert_eq!(keep("GET http://a.example/ HTTP/1.1"), (true, false));
        assert_eq!(keep("GET http://a.example/ HTTP/1.1|Connection: Close"), (false, false));
        assert_eq!(keep("GET http://a.example/ HTTP/1.1|Proxy-Connection: close"), (false, false));
        assert_eq!(keep("GET http://a.example/ HTTP/1.0|Connection: keep-alive|Expect: 100-continue"), (false, false));
        assert_eq!(keep("PUT http://a.example/ HTTP/1.1|Expect: 100-Continue"), (true, true));
    }
}
