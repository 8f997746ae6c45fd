//! As little HTTP as it takes to ask and to see exactly what comes back.

use std::time::Duration;

use orch_tests::model_server::ModelServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 when nothing came.
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body has its end.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(at, _)| at.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The data of the events of a stream, or its lines.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("event: "));
        let data = lines.map(|line| line.strip_prefix("data: ").unwrap_or(line)).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// Posts some JSON.
pub(crate) async fn post(server: &ModelServer, path: &str, body: &Value) -> Answer {
    post_as(server, path, "", body).await
}

/// Posts some JSON with further header lines, each with its end.
pub(crate) async fn post_as(server: &ModelServer, path: &str, headers: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: model\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    send(server, request.as_bytes()).await
}

/// Gets something.
pub(crate) async fn get(server: &ModelServer, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: model\r\nconnection: close\r\n{headers}\r\n");
    send(server, request.as_bytes()).await
}

/// Sends bytes and reads all that comes.
pub(crate) async fn send(server: &ModelServer, request: &[u8]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        // The server may have enough before the end.
        let _is_sent = stream.write_all(request).await.is_ok();
        let mut bytes = Vec::new();
        let _is_read = stream.read_to_end(&mut bytes).await.is_ok();
        bytes
    };
    parse(&tokio::time::timeout(PATIENCE, exchange).await.unwrap())
}

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer { status: 0, head: String::new(), body: Vec::new(), is_whole: false };
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: bytes[end + 4..].to_vec(), is_whole: false };
    match answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
        Some(length) => answer.is_whole = answer.body.len() == length,
        None => (answer.body, answer.is_whole) = unchunked(&answer.body),
    }
    answer
}

fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let rest = &bytes[end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        bytes = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
