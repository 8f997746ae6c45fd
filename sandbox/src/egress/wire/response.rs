//! Reads the head of an HTTP response and writes it anew for the client.

use super::body::{End, Form};
use super::head::{Field, Head, Length, end_to_end, length, lists};
use super::request::{Http, write_fields};

/// A response that can be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    status: u16,
    /// What stands behind the version.
    line: &'a [u8],
    fields: Vec<Field<'a>>,
    length: Length,
    pub(crate) end: End,
    /// Whether the host wants to go on with this connection.
    pub(crate) keep_alive: bool,
}

/// Reads the response to `request`; `None` when it is none that the proxy can follow.
pub(crate) fn read<'a>(head: &Head<'a>, request: &Http<'_>) -> Option<Response<'a>> {
    let (minor, line) = match head.first.split_at_checked(9)? {
        (b"HTTP/1.0 ", line) => (0, line),
        (b"HTTP/1.1 ", line) => (1, line),
        _ => return None,
    };
    let status = match line {
        [first @ b'1'..=b'5', digits @ ..] => {
            let code = [first, digits.first()?, digits.get(1)?];
            let ended = matches!(digits.get(2), None | Some(b' '));
            let number = code
                .iter()
                .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(**digit - b'0')));
            number.filter(|_| ended)?
        }
        _ => return None,
    };
    // Nobody asked for another protocol.
    if status == 101 {
        return None;
    }
    let length = length(&head.fields, minor).ok()?;
    let bodiless = request.is_head() || status < 200 || status == 204 || status == 304;
    let end = match length {
        _ if bodiless => End::Bytes(0),
        Length::Unsaid => End::Connection,
        Length::Bytes(bytes) => End::Bytes(bytes),
        Length::Chunked => End::Chunked,
    };
    let keep_alive = minor >= 1 && !lists(&head.fields, "connection", "close") && end != End::Connection;
    Some(Response { status, line, fields: end_to_end(&head.fields).ok()?, length, end, keep_alive })
}

impl Response<'_> {
    /// Whether another response to the same request follows.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// How the body is written for the client of `request`.
    pub(crate) fn form_for(&self, request: &Http<'_>) -> Form {
        if request.minor == 0 { Form::Plain } else { Form::Chunks }
    }

    /// The head for the client of `request`; `goes_on` says whether its connection does.
    pub(crate) fn head_for(&self, request: &Http<'_>, goes_on: GoesOn) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(self.line);
        head.extend_from_slice(b"\r\n");
        let length = match (self.length, self.form_for(request)) {
            (Length::Chunked, Form::Plain) => Length::Unsaid,
            (length, _) => length,
        };
        write_fields(&mut head, &self.fields, length);
        if goes_on == GoesOn::No && !self.is_interim() {
            head.extend_from_slice(b"Connection: close\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Whether the connection of a client goes on after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoesOn {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::super::head::read_head;
    use super::*;

    fn request(method: &'static [u8], minor: u8) -> Http<'static> {
        Http {
            method,
            path: b"/",
            fields: Vec::new(),
            length: Length::Unsaid,
            minor,
            keep_alive: true,
            expects_continue: false,
        }
    }

    fn read_as(lines: &str, request: &Http<'_>) -> String {
        let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
        let head = read_head(text.as_bytes()).unwrap().unwrap();
        match read(&head, request) {
            None => "refused".to_owned(),
            Some(response) => {
                let goes_on = if response.keep_alive { GoesOn::Yes } else { GoesOn::No };
                let head = String::from_utf8(response.head_for(request, goes_on)).unwrap().replace("\r\n", "|");
                format!("{head} {:?}", response.end)
            }
        }
    }

    #[test]
    fn responses_are_followed_and_written_anew() {
        let get = request(b"GET", 1);
        for (lines, wanted) in [
            ("HTTP/1.1 200 OK|Content-Length: 3|Server: x", "HTTP/1.1 200 OK|Server: x|Content-Length: 3|| Bytes(3)"),
            ("HTTP/1.1 200|Transfer-Encoding: chunked", "HTTP/1.1 200|Transfer-Encoding: chunked|| Chunked"),
            ("HTTP/1.1 200 OK|Keep-Alive: x", "HTTP/1.1 200 OK|Connection: close|| Connection"),
            ("HTTP/1.0 200 OK|Content-Length: 3", "HTTP/1.1 200 OK|Content-Length: 3|Connection: close|| Bytes(3)"),
            ("HTTP/1.1 304 Not Modified|Content-Length: 3", "HTTP/1.1 304 Not Modified|Content-Length: 3|| Bytes(0)"),
            ("HTTP/1.1 204 No|Connection: close", "HTTP/1.1 204 No|Connection: close|| Bytes(0)"),
            ("HTTP/1.1 100 Continue", "HTTP/1.1 100 Continue|| Bytes(0)"),
        ] {
            assert_eq!(read_as(lines, &get), wanted);
        }
        assert_eq!(
            read_as("HTTP/1.1 200 OK|Content-Length: 3", &request(b"HEAD", 1)),
            "HTTP/1.1 200 OK|Content-Length: 3|| Bytes(0)"
        );
        assert_eq!(
            read_as("HTTP/1.1 200 OK|Transfer-Encoding: chunked|Connection: close", &request(b"GET", 0)),
            "HTTP/1.1 200 OK|Connection: close|| Chunked"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for bad in [
            "HTTP/1.1 101 Switching Protocols|Upgrade: websocket",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 600 OK",
            "HTTP/2 200 OK",
            "HTTP/1.1  200 OK",
            "ICY 200 OK",
            "HTTP/1.1 200 OK|Content-Length: 3|Transfer-Encoding: chunked",
            "HTTP/1.1 200 OK|Content-Length: 3|Content-Length: 4",
            "HTTP/1.0 200 OK|Transfer-Encoding: chunked",
            "HTTP/1.1 200 OK|Transfer-Encoding: gzip",
        ] {
            assert_eq!(read_as(bad, &request(b"GET", 1)), "refused", "{bad}");
        }
    }
}
