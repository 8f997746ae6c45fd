//! A server that answers as it is told, and what is asked of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use orch_adapters::tool_cache::{FetchError, Fetcher, Mirror, Mirrors, Order};
use orch_core::recipe::{Checksum, Domain, Source};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The host of the recipes of these tests, for which the server stands in.
pub(crate) const HOST: &str = "tools.example.org";

/// An answer with a body of this length, whatever the length is that it says.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// A whole answer.
pub(crate) fn found(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &format!("content-length: {}\r\n", body.len()), body)
}

pub(crate) fn checksum(bytes: &[u8]) -> Checksum {
    let mut hasher = Checksum::parse(&format!("sha256:{}", "0".repeat(64))).unwrap().hasher();
    hasher.update(bytes);
    hasher.finish()
}

/// The server and a place for what comes from it.
pub(crate) struct Lab {
    directory: TempDir,
    mirrors: Mirrors,
    asked: Arc<Mutex<Vec<String>>>,
    fetcher: Fetcher,
}

impl Lab {
    /// A server with these answers, by paths; all others are not there.
    pub(crate) async fn new(answers: &[(&str, Vec<u8>)]) -> Self {
        let answers: BTreeMap<String, Vec<u8>> =
            answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/mirror", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(listener, answers, Arc::clone(&asked)));
        let mirror = (Domain::parse(HOST).unwrap(), Mirror::parse(&base).unwrap());
        Self {
            directory: tempfile::tempdir().unwrap(),
            mirrors: Mirrors::new([mirror].into()),
            asked,
            fetcher: Fetcher::new().unwrap(),
        }
    }

    /// Fetches a path of the host, pinned so. What was written, and how far it was said to be.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        checksum: Checksum,
    ) -> Result<(Vec<u8>, Vec<(u64, Option<u64>)>), FetchError> {
        let source = Source { processor: None, url: format!("https://{HOST}{path}"), checksum };
        let into = self.directory.path().join("file");
        let order = Order { source: &source, hosts: &[], mirrors: &self.mirrors, into: &into };
        let told = Mutex::new(Vec::new());
        let progress = |bytes, total| told.lock().unwrap_or_else(PoisonError::into_inner).push((bytes, total));
        let bytes = self.fetcher.fetch(order, &progress).await?;
        let written = std::fs::read(into).unwrap();
        assert_eq!(written.len() as u64, bytes);
        Ok((written, told.into_inner().unwrap()))
    }

    /// The same with another server for the host.
    pub(crate) fn mirrored_by(self, base: &str) -> Self {
        let mirror = (Domain::parse(HOST).unwrap(), Mirror::parse(base).unwrap());
        Self { mirrors: Mirrors::new([mirror].into()), ..self }
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, answers: BTreeMap<String, Vec<u8>>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let path = one(stream, &answers).await;
        asked.lock().unwrap().push(path);
    }
}

async fn one(mut stream: TcpStream, answers: &BTreeMap<String, Vec<u8>>) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return String::new();
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let absent = answer("404 Not Found", "content-length: 0\r\n", b"");
    // Who hangs up early has what it wanted.
    drop(stream.write_all(answers.get(&path).unwrap_or(&absent)).await);
    drop(stream.shutdown().await);
    path
}
