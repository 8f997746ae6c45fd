//! Asks a model's server, with patience where that helps.
//!
//! An answer that says "later" (429) or that the server has a trouble of its own (500, 502, 503, 504, and 529 of
//! Anthropic) is asked for again a few times, after as long as its `Retry-After` says or twice as long as the last time.
//! That is only done before anything was passed on: what follows is the agent's to decide.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::api::Api;
use super::room::Room;

/// How often a request is sent at most.
const TRIES_MAX: u32 = 4;
/// Wait before the first time that a request is sent again, where the server says nothing; it doubles with each.
const BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait between two tries. Who is told to wait for longer is told so, and has something else to do meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a server may take until its answer begins. Models think for minutes before their first word when they are
/// not asked for a stream.
const BEGIN_MAX: Duration = Duration::from_secs(15 * 60);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request. Servers close theirs after five seconds and more: what is sent on one that is
/// being closed has no answer, and nobody knows whether it was paid for.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// Connections to one server that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// Most bytes of an answer that are taken from a connection at once.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub api: Api,
    base: String,
}

/// What is no place of a model's server.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not the address of a server: {reason}")]
pub struct UrlError {
    url: String,
    reason: &'static str,
}

impl Upstream {
    /// A server that is spoken to as `api` says. Paths of requests, which begin with `/v1` or `/api`, are put behind
    /// `url`: `https://api.openai.com`, `https://gateway.example.org/openai`.
    ///
    /// # Errors
    /// When it has no scheme `http` or `https`, no host, or more than a path.
    pub fn new(api: Api, url: &str) -> Result<Self, UrlError> {
        let wrong = |reason| UrlError { url: url.to_owned(), reason };
        let parsed: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it has to begin with `https://` or `http://`"));
        }
        let authority = parsed.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a key belongs into `key`, not into the address"));
        }
        if parsed.query().is_some() {
            return Err(wrong("it has a query"));
        }
        let base = url.trim_end_matches('/').to_owned();
        if base.ends_with("/v1") {
            return Err(wrong("leave `/v1` out: requests bring it along"));
        }
        Ok(Self { api, base })
    }

    /// Whether what is sent there can be read on the way: it goes without TLS to another machine, as far as the name tells.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        let Ok(parsed) = self.base.parse::<Uri>() else { return true };
        let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        parsed.scheme_str() != Some("https") && !is_here
    }

    /// Where it is, without what requests add.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The address of a request for `path`, which may have a query.
    pub(super) fn address(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.base).parse().ok()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the certificates that this host trusts; install `ca-certificates`")]
pub struct ClientError(#[source] std::io::Error);

/// What opens connections, with TLS where an address says so. Trusts the certificates that the host trusts.
pub(crate) fn connector() -> Result<HttpsConnector<HttpConnector>, ClientError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    connector.set_nodelay(true);
    Ok(HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(ClientError)?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector))
}

/// Connections to model servers, shared by all runs.
#[derive(Clone, Debug)]
pub struct Client {
    /// For what all runs ask and are answered, and for their connections.
    pub(super) room: Room,
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: Method,
    /// What it asks of the server, with its query.
    pub(super) path: String,
    pub(super) address: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// Trusts the certificates that the host trusts.
    ///
    /// # Errors
    /// When there are none.
    pub fn new() -> Result<Self, ClientError> {
        let connector = connector()?;
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(PIECE_BYTES_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { room: Room::default(), pool })
    }

    /// Sends a request until there is an answer that is worth passing on. `tries` says how often that was, at any time.
    ///
    /// # Errors
    /// When there is none at all.
    pub(super) async fn ask(&self, sent: &Sent, tries: &AtomicU32) -> Result<Response<Incoming>, Failed> {
        let mut sent_now = 0;
        loop {
            tries.fetch_add(1, Ordering::Relaxed);
            sent_now += 1;
            let answer = self.ask_once(sent).await;
            let came = answer.as_ref().map(|answer| (answer.status(), answer.headers()));
            let Some(wait) = wait_after(came, sent_now) else { return answer };
            tracing::debug!(tries = sent_now, ?wait, address = %sent.address, "a model's server is asked again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_once(&self, sent: &Sent) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::new(Full::new(sent.body.clone()));
        *request.method_mut() = sent.method.clone();
        *request.uri_mut() = sent.address.clone();
        *request.headers_mut() = sent.headers.clone();
        match tokio::time::timeout(BEGIN_MAX, self.pool.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_connect() => Err(Failed::Before(reason_of(&error))),
            Ok(Err(error)) => Err(Failed::Since(reason_of(&error))),
            Err(_) => Err(Failed::Since(format!("no answer within {} minutes", BEGIN_MAX.as_secs() / 60))),
        }
    }
}

/// How there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was sent.
    Before(String),
    /// The server may have the request.
    Since(String),
}

/// How long to wait before a request is sent again that was sent so many times, by what came of it; none when that is worth passing on.
fn wait_after(came: Result<(StatusCode, &HeaderMap), &Failed>, sent: u32) -> Option<Duration> {
    let backoff = || BACKOFF.saturating_mul(1 << sent.saturating_sub(1).min(TRIES_MAX));
    let wait = match came {
        Ok((status, headers)) if is_passing(status) => asked_to_wait(headers).unwrap_or_else(backoff),
        Err(Failed::Before(_)) => backoff(),
        // It may have been answered, and paid for.
        Ok(_) | Err(Failed::Since(_)) => return None,
    };
    (sent < TRIES_MAX && wait <= WAIT_MAX).then_some(wait)
}

/// Whether another answer can be expected soon.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504 | 529)
}

/// How long the server wants nothing to come, if it says so in seconds. The other form, a date, is of no use without the
/// server's clock.
fn asked_to_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER).map(HeaderValue::to_str)?.ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// An error with its causes: the first alone says next to nothing.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_nothing_that_is_put_behind_it() {
        let address = |url: &str| Upstream::new(Api::OpenAi, url).map(|upstream| upstream.address("/v1/models?a=b"));
        assert_eq!(address("https://a.example/").unwrap().unwrap(), "https://a.example/v1/models?a=b");
        assert_eq!(
            address("http://127.0.0.1:8080/openai").unwrap().unwrap(),
            "http://127.0.0.1:8080/openai/v1/models?a=b"
        );
        for url in [
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://a.example/v1",
            "https://k@a.example",
            "https://a.example?k=1",
        ] {
            assert!(address(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_goes_to_this_machine_or_through_tls_is_read_by_nobody_on_the_way() {
        for (url, is_open) in [
            ("https://a.example", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:1/x", false),
            ("http://localhost:11434", false),
            ("http://a.example", true),
            ("http://10.0.0.7:11434", true),
            ("http://127.0.0.1.a.example", true),
        ] {
            assert_eq!(Upstream::new(Api::OpenAi, url).unwrap().is_open_to_others(), is_open, "{url}");
        }
    }

    /// As often as is said above, twice as long each time, or as the server says, and only where nothing was paid for.
    #[test]
    fn a_server_with_a_trouble_is_asked_a_few_times_and_left_alone_in_between() {
        let status = |code: u16| StatusCode::from_u16(code).unwrap();
        let nothing = HeaderMap::new();
        let later = |seconds| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(seconds))]);
        let ms = |wait: Option<Duration>| wait.map(|wait| wait.as_millis());
        for code in [429, 500, 502, 503, 504, 529] {
            let after = |sent| ms(wait_after(Ok((status(code), &nothing)), sent));
            assert_eq!([1, 2, 3, 4].map(after), [Some(500), Some(1_000), Some(2_000), None], "{code}");
            let after = |seconds, sent| ms(wait_after(Ok((status(code), &later(seconds))), sent));
            assert_eq!([1, 3, 4].map(|sent| after("7", sent)), [Some(7_000), Some(7_000), None], "{code}");
            assert_eq!((after("60", 1), after("61", 1), after("0", 1)), (Some(60_000), None, Some(0)), "{code}");
        }
        for code in [200, 400, 401, 404, 501] {
            assert_eq!(wait_after(Ok((status(code), &later("1"))), 1), None, "{code}");
        }
        let (before, since) = (Failed::Before("refused".into()), Failed::Since("closed".into()));
        assert_eq!(ms(wait_after(Err(&before), 3)), Some(2_000));
        assert_eq!(wait_after(Err(&before), TRIES_MAX), None);
        assert_eq!(wait_after(Err(&since), 1), None);
    }

    #[test]
    fn a_wait_is_a_number_of_seconds() {
        let wait =
            |text: &'static str| asked_to_wait(&[(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect());
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        for text in ["-1", "Wed, 21 Oct 2026 07:28:00 GMT", "", "1e99", "NaN"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}
