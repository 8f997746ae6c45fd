//! Downloads what a recipe pins: over TLS, from hosts that the recipe names, no more than so much, and compares it.
//!
//! Nothing that is downloaded is used before all of it has the checksum of the recipe. **Invariant:** a redirect leads to no
//! host that neither the recipe nor the operator named.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use orch_core::recipe::{ChecksumMismatch, Domain, Source};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::time::timeout;

use crate::gateway::{ClientError, connector};

/// Largest download, in bytes.
pub const DOWNLOAD_BYTES_MAX: u64 = 2 << 30;
/// How often a server may say that something is elsewhere.
const REDIRECTS_MAX: u32 = 5;
/// How long a server may take until its answer begins, and between two pieces of it.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const IDLE_MAX: Duration = Duration::from_secs(10);
/// What is written to the disk at once, in bytes.
const BUFFER_BYTES: usize = 1 << 18;
/// Longest part of an answer that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Why there is no download.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("there is nothing that could ask servers")]
    Client(#[from] ClientError),
    #[error("`{url}` is not an address: {reason}")]
    Address { url: String, reason: &'static str },
    #[error("`{url}` cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("`{url}` answers {status}")]
    Status { url: String, status: u16 },
    #[error("`{url}` sends to `{to}`: {reason}")]
    Redirect { url: String, to: String, reason: &'static str },
    #[error("`{url}` has {bytes} bytes or more; {DOWNLOAD_BYTES_MAX} are taken")]
    TooLarge { url: String, bytes: u64 },
    #[error("`{url}` broke off after {bytes} bytes: {reason}")]
    Broken { url: String, bytes: u64, reason: String },
    #[error("failed to write what was downloaded")]
    Write(#[source] io::Error),
    #[error("`{url}` is not what the recipe pins")]
    Checksum {
        url: String,
        #[source]
        source: ChecksumMismatch,
    },
}

impl FetchError {
    /// Whether it may be otherwise a little later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => matches!(*status, 408 | 425 | 429 | 500..=599),
            // A full disk, mostly.
            Self::Write(_) => true,
            _ => false,
        }
    }
}

/// Other addresses for hosts, as the operator says: an installation without the internet has a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(BTreeMap<Domain, Mirror>);

/// Where what a host has is to be found instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(String);

impl Mirror {
    /// An address with a scheme and a host, and perhaps a path; what it is asked for is put behind it. Without TLS, too: what
    /// comes is compared with what the recipe pins.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "is no address")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("has to begin with `https://` or `http://`");
        }
        match uri.authority() {
            None => Err("names no host"),
            Some(authority) if authority.as_str().contains('@') => Err("has a name or a password in it"),
            Some(_) if uri.query().is_some() => Err("has a query"),
            Some(_) => Ok(Self(text.trim_end_matches('/').to_owned())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Mirrors {
    #[must_use]
    pub const fn new(by_host: BTreeMap<Domain, Mirror>) -> Self {
        Self(by_host)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Domain, &Mirror)> {
        self.0.iter()
    }

    /// Where an address leads.
    fn lead(&self, url: &str) -> Result<Uri, FetchError> {
        let wrong = |reason| FetchError::Address { url: shown(url), reason };
        let uri: Uri = url.parse().map_err(|_| wrong("it has another form"))?;
        let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
        let Some(mirror) = self.0.iter().find(|(of, _)| of.as_str() == host).map(|(_, mirror)| mirror) else {
            return Ok(uri);
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        format!("{}{path}", mirror.0).parse().map_err(|_| wrong("its mirror has no such address"))
    }
}

/// What is to be downloaded.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub source: &'a Source,
    /// Hosts that a redirect may lead to.
    pub hosts: &'a [Domain],
    pub mirrors: &'a Mirrors,
    /// The file that is made.
    pub into: &'a Path,
}

/// Name of the file that an address leads to, as the steps of a recipe find it.
#[must_use]
pub fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte);
    let fits =
        name.bytes().all(plain) && name.len() <= 128 && name.starts_with(|char: char| char.is_ascii_alphanumeric());
    if fits { name.to_owned() } else { "download".to_owned() }
}

/// Asks servers for downloads.
#[derive(Clone, Debug)]
pub struct Fetcher {
    pool: Pool<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// Trusts the certificates that the host trusts.
    ///
    /// # Errors
    /// When there are none.
    pub fn new() -> Result<Self, FetchError> {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector()?);
        Ok(Self { pool })
    }

    /// Downloads into a file; `progress` is told how many bytes of how many there are. How many there were.
    ///
    /// # Errors
    /// When it does not come, or is something else.
    pub async fn fetch(
        &self,
        order: Order<'_>,
        progress: &(dyn Fn(u64, Option<u64>) + Sync),
    ) -> Result<u64, FetchError> {
        let url = shown(&order.source.url);
        let answer = self.ask(order).await?;
        let total = answer.headers().get(CONTENT_LENGTH).and_then(length);
        if let Some(bytes) = total.filter(|bytes| *bytes > DOWNLOAD_BYTES_MAX) {
            return Err(FetchError::TooLarge { url, bytes });
        }
        let mut file =
            BufWriter::with_capacity(BUFFER_BYTES, File::create(order.into).await.map_err(FetchError::Write)?);
        let (mut body, mut hasher, mut bytes) = (answer.into_body(), order.source.checksum.hasher(), 0_u64);
        progress(0, total);
        loop {
            let broken = |reason: String| FetchError::Broken { url: url.clone(), bytes, reason };
            let piece = match timeout(SILENCE_MAX, body.frame()).await {
                Err(_) => return Err(broken(format!("nothing for {} seconds", SILENCE_MAX.as_secs()))),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(broken(reason_of(&error))),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            bytes += piece.len() as u64;
            if bytes > DOWNLOAD_BYTES_MAX {
                return Err(FetchError::TooLarge { url, bytes });
            }
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(FetchError::Write)?;
            progress(bytes, total);
        }
        file.flush().await.map_err(FetchError::Write)?;
        match hasher.verify(&order.source.checksum) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(FetchError::Checksum { url, source }),
        }
    }

    /// The answer of the server that has it.
    async fn ask(&self, order: Order<'_>) -> Result<Response<Incoming>, FetchError> {
        let mut at = order.mirrors.lead(&order.source.url)?;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask_once(&at).await?;
            let status = answer.status();
            if status == StatusCode::OK {
                return Ok(answer);
            }
            let elsewhere = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let to = answer.headers().get(LOCATION).filter(|_| elsewhere);
            let Some(to) = to.and_then(|to| to.to_str().ok()) else {
                return Err(FetchError::Status { url: shown(&at.to_string()), status: status.as_u16() });
            };
            at = follow(&at, to, order)?;
        }
        let reason = "it does so again and again";
        Err(FetchError::Redirect { url: shown(&order.source.url), to: shown(&at.to_string()), reason })
    }

    async fn ask_once(&self, at: &Uri) -> Result<Response<Incoming>, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = at.clone();
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("orchd"));
        let unreachable = |reason: String| FetchError::Unreachable { url: shown(&at.to_string()), reason };
        match timeout(SILENCE_MAX, self.pool.request(request)).await {
            Ok(answer) => answer.map_err(|error| unreachable(reason_of(&error))),
            Err(_) => Err(unreachable(format!("no answer within {} seconds", SILENCE_MAX.as_secs()))),
        }
    }
}

/// Where a redirect leads: on the same server, or over TLS to a host that the recipe names.
fn follow(from: &Uri, to: &str, order: Order<'_>) -> Result<Uri, FetchError> {
    let wrong = |reason| FetchError::Redirect { url: shown(&from.to_string()), to: shown(to), reason };
    let is_path = to.starts_with('/') && !to.starts_with("//");
    if is_path {
        let (scheme, authority) = (from.scheme_str().unwrap_or("https"), from.authority());
        let authority = authority.map_or("", |authority| authority.as_str());
        return format!("{scheme}://{authority}{to}").parse().map_err(|_| wrong("that is no address"));
    }
    let target: Uri = to.parse().map_err(|_| wrong("that is no address"))?;
    if target.scheme() == from.scheme() && target.authority() == from.authority() {
        return Ok(target);
    }
    if target.scheme_str() != Some("https") || target.port_u16().is_some_and(|port| port != 443) {
        return Err(wrong("that is not the usual port of `https://`"));
    }
    if target.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("it has a name or a password in it"));
    }
    match target.host().and_then(|host| Domain::parse(host).ok()) {
        Some(host) if order.hosts.iter().any(|named| named.covers(&host)) => order.mirrors.lead(to),
        _ => Err(wrong("`permissions.network` of the recipe does not name that host")),
    }
}

fn length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// An address as a person is shown it: without what follows `?`, which can be a key, and of no more than so many characters.
fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    plain.chars().filter(|char| char.is_ascii_graphic()).take(SHOWN_CHARS_MAX).collect()
}

/// An error with its causes.
fn reason_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use orch_core::recipe::Checksum;

    use super::*;

    fn domains(names: &[&str]) -> Vec<Domain> {
        names.iter().map(|name| Domain::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_redirect_stays_with_the_server_or_goes_to_a_host_that_is_named() {
        let sum = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let source = Source { processor: None, url: "https://a.org/x".into(), checksum: Checksum::parse(sum).unwrap() };
        let hosts = domains(&["b.org", "*.c.org", "mirrored.org"]);
        let mirror = Mirror::parse("http://127.0.0.1:9/m/").unwrap();
        let mirrors = Mirrors::new([(Domain::parse("mirrored.org").unwrap(), mirror)].into());
        let order = Order { source: &source, hosts: &hosts, mirrors: &mirrors, into: Path::new("/x") };
        let from: Uri = "https://a.org/x".parse().unwrap();
        let follow = |to: &str| follow(&from, to, order).map(|uri| uri.to_string());
        for (to, leads) in [
            ("/y?z", "https://a.org/y?z"),
            ("https://a.org/y", "https://a.org/y"),
            ("https://b.org/y", "https://b.org/y"),
            ("https://x.c.org:443/y", "https://x.c.org:443/y"),
            ("https://mirrored.org/y?z", "http://127.0.0.1:9/m/y?z"),
        ] {
            assert_eq!(follow(to).unwrap(), leads, "{to}");
        }
        for to in [
            "http://b.org/y",
            "http://a.org/y",
            "https://b.org:8443/y",
            "https://c.org/y",
            "https://evil.org/b.org",
            "https://b.org@evil.org/",
            "https://key@b.org/",
            "https://127.0.0.1/",
            "//b.org/y",
            "y",
            "",
            "file:///etc/passwd",
        ] {
            assert!(follow(to).is_err(), "{to}");
        }
    }

    #[test]
    fn a_download_has_the_name_that_its_address_ends_with() {
        for (url, name) in [
            ("https://a.org/x/tofu_1.7.0_linux_amd64.zip", "tofu_1.7.0_linux_amd64.zip"),
            ("https://a.org/@o/codex/-/codex-0.1.tgz?token=1", "codex-0.1.tgz"),
            ("https://a.org/", "download"),
            ("https://a.org/..", "download"),
            ("https://a.org/-x", "download"),
            ("https://a.org/a b", "download"),
        ] {
            assert_eq!(file_name(url), name);
        }
    }

    #[test]
    fn a_mirror_is_an_address_and_nothing_more() {
        assert_eq!(Mirror::parse("https://m.org/a/").unwrap().as_str(), "https://m.org/a");
        for text in ["", "m.org", "ftp://m.org", "https://", "https://k@m.org", "https://m.org/?a"] {
            assert!(Mirror::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_behind_a_question_mark_is_shown() {
        assert_eq!(shown("https://a.org/x?token=secret"), "https://a.org/x");
        assert_eq!(shown("https://a.org/\u{1b}[2J"), "https://a.org/[2J");
    }
}
