//! One request and its answer on their way through.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use orch_core::entity::TokenUse;
use orch_sandbox::Secrets;
use orch_sandbox::redact::{Patterns, Redactor};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::api::Route;
use super::ledger::{Answered, Asked, End, Ledger, Refusal};
use super::meter::Meter;
use super::serve::Served;
use super::upstream::Sent;

/// How much of an answer is kept for the audit, in bytes. All of it is passed on.
pub const RESPONSE_BYTES_KEPT_MAX: usize = 4 << 20;

/// How long nothing may come of an answer that has begun.
const SILENCE_MAX: Duration = Duration::from_secs(5 * 60);
/// Pieces of an answer that wait for a run which does not read.
const PIECES_MAX: usize = 16;

/// Headers that are about one connection and not about what is sent over it (RFC 9110, section 7.6.1).
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
];

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// What a run is told when its request is not passed on.
type NotPassed = (StatusCode, Refusal);

/// What a request says of itself in its body.
#[derive(Default, Deserialize)]
struct Named {
    model: Option<String>,
    #[serde(default)]
    stream: bool,
}

/// Passes a request on and answers what came back, or why it was not passed on.
pub(super) async fn answer<L: Ledger>(gateway: Arc<Served<L>>, request: Request<Incoming>) -> Response<AnswerBody> {
    match pass(&gateway, request).await {
        Ok(answer) => answer,
        Err((status, Refusal { code, message })) => {
            let mut answer = Response::new(whole(gateway.upstream.api.error_body(status, code, &message)));
            *answer.status_mut() = status;
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
    }
}

async fn pass<L: Ledger>(
    gateway: &Arc<Served<L>>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, NotPassed> {
    let (head, body) = request.into_parts();
    let route = gateway.upstream.api.route(&head.method, head.uri.path()).ok_or_else(|| {
        let message =
            format!("`{} {}` is not passed on: a run asks models, and nothing else", head.method, head.uri.path());
        not_passed(StatusCode::NOT_FOUND, "not_a_model_request", message)
    })?;
    let taken = gateway.room.read(body).await;
    let taken = taken.map_err(|(status, message)| not_passed(status, "request_not_taken", message))?;
    let body = without_secrets(&gateway.secrets, taken.body);
    let (model, body) = if route.is_metered() { named(route, body)? } else { (None, body) };
    let sent = sent(gateway, &head, body.clone())?;
    if !route.is_metered() {
        let (answer, _) = gateway.client.ask(&sent).await;
        return answer.map(straight).map_err(unreachable);
    }
    let asked = Asked { api: gateway.upstream.api, path: head.uri.path().to_owned(), model, body };
    let request_bytes = asked.body.len() as u64;
    let ticket = gateway.ledger.open(asked).await.map_err(|refusal| (StatusCode::FORBIDDEN, refusal))?;
    // It is brought to its end on record, also when the run hangs up.
    let (begun, beginning) = oneshot::channel();
    let exchange = Exchange { gateway: Arc::clone(gateway), ticket, route, request_bytes };
    tokio::spawn(exchange.run(sent, taken.room, begun));
    beginning.await.unwrap_or_else(|_| Err(unreachable("the exchange ended without an answer".to_owned())))
}

/// An exchange that the ledger knows of.
struct Exchange<L: Ledger> {
    gateway: Arc<Served<L>>,
    ticket: L::Ticket,
    route: Route,
    request_bytes: u64,
}

/// Tells whoever waits for the beginning of an answer.
type Begun = oneshot::Sender<Result<Response<AnswerBody>, NotPassed>>;

/// Takes an answer to the run, piece by piece.
type Pieces = mpsc::Sender<Result<Frame<Bytes>, io::Error>>;

impl<L: Ledger> Exchange<L> {
    async fn run(self, sent: Sent, room: Vec<OwnedSemaphorePermit>, mut begun: Begun) {
        let asked = tokio::select! {
            asked = self.gateway.client.ask(&sent) => Some(asked),
            () = begun.closed() => None,
        };
        // It has left, and is not sent again.
        drop((sent, room));
        let (answer, tries) = match asked {
            Some((Ok(answer), tries)) => (answer, tries),
            Some((Err(reason), tries)) => {
                self.close_without_answer(End::Unreachable, tries).await;
                return tell(begun, Err(unreachable(reason)));
            }
            None => return self.close_without_answer(End::Unwanted, 1).await,
        };
        let (head, body) = answer.into_parts();
        let passing = Passing::new(self.route, head.status, &head.headers, tries);
        let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
        let stream = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
        let mut answer = Response::new(StreamBody::new(stream).boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = passed_headers(head.headers);
        tell(begun, Ok(answer));
        self.forward(body, passing, &sender).await;
    }

    /// Passes the answer on while it comes, but for its end, which waits until it is on record what it cost.
    async fn forward(self, mut body: Incoming, mut passing: Passing, run: &Pieces) {
        let mut last = None;
        let end = loop {
            let frame = tokio::select! {
                frame = next(&mut body) => frame,
                () = run.closed() => break End::Unwanted,
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => break End::Complete,
                Err(end) => break end,
            };
            if let Some(data) = frame.data_ref() {
                passing.take(data);
            }
            if passing.meter.is_over() {
                last = Some(frame);
                break End::Complete;
            }
            if run.send(Ok(frame)).await.is_err() {
                break End::Unwanted;
            }
        };
        let answered = passing.answered(end, self.request_bytes);
        self.gateway.ledger.close(self.ticket, answered).await;
        // The run sees that it is not whole, as it would without anybody in between.
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the model's server broke off");
        let mut rest = match end {
            End::Broken | End::Silent => Some(Err(cut())),
            End::Complete | End::Unwanted | End::Unreachable => last.map(Ok),
        };
        // Who has gone misses nothing. After the last word there may be an empty line or trailers.
        while let Some(piece) = rest {
            let is_whole = piece.is_ok();
            if run.send(piece).await.is_err() || !is_whole {
                return;
            }
            rest = next(&mut body).await.unwrap_or(None).map(Ok);
        }
    }

    async fn close_without_answer(self, end: End, tries: u32) {
        let passing = Passing { status: None, ..Passing::new(self.route, StatusCode::OK, &HeaderMap::new(), tries) };
        // What nobody received cost nothing.
        let request_bytes = if end == End::Unreachable { 0 } else { self.request_bytes };
        self.gateway.ledger.close(self.ticket, passing.answered(end, request_bytes)).await;
    }
}

/// The next piece of an answer; none at its end.
async fn next(body: &mut Incoming) -> Result<Option<Frame<Bytes>>, End> {
    match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(_))) => Err(End::Broken),
        Err(_) => Err(End::Silent),
    }
}

/// Who has hung up is told nothing, and the exchange notices.
fn tell(begun: Begun, answer: Result<Response<AnswerBody>, NotPassed>) {
    if begun.send(answer).is_err() {
        tracing::debug!("a run did not wait for its answer");
    }
}

/// What is known of an answer while it passes.
struct Passing {
    status: Option<StatusCode>,
    meter: Meter,
    kept: Vec<u8>,
    left_out: u64,
    tries: u32,
}

impl Passing {
    fn new(route: Route, status: StatusCode, headers: &HeaderMap, tries: u32) -> Self {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let meter = Meter::new(route, content_type);
        Self { status: Some(status), meter, kept: Vec::new(), left_out: 0, tries }
    }

    fn take(&mut self, data: &[u8]) {
        self.meter.feed(data);
        let room = RESPONSE_BYTES_KEPT_MAX - self.kept.len();
        let (kept, left_out) = data.split_at(room.min(data.len()));
        self.kept.extend_from_slice(kept);
        self.left_out += left_out.len() as u64;
    }

    fn answered(mut self, end: End, request_bytes: u64) -> Answered {
        self.meter.finish(&self.kept);
        // An error costs nothing, whatever its text is like.
        let is_answer = self.status.is_none_or(|status| status.is_success());
        let estimate = self.meter.estimate(request_bytes);
        Answered {
            status: self.status.map(|status| status.as_u16()),
            model: self.meter.model().map(str::to_owned),
            tokens: if is_answer { self.meter.tokens() } else { Some(TokenUse::default()) },
            estimate: if is_answer { estimate } else { TokenUse::default() },
            body: self.kept,
            left_out: self.left_out,
            end,
            tries: self.tries,
        }
    }
}

/// The model that a request names, and the request as it is sent: one for a stream of Chat Completions also asks what it costs.
fn named(route: Route, body: Bytes) -> Result<(Option<String>, Bytes), NotPassed> {
    let not_json = |error: serde_json::Error| {
        not_passed(StatusCode::BAD_REQUEST, "not_json", format!("the request is not JSON of the known form: {error}"))
    };
    let Named { model, stream } = serde_json::from_slice(&body).map_err(not_json)?;
    if !(route == Route::Chat && stream) {
        return Ok((model, body));
    }
    let mut request: Value = serde_json::from_slice(&body).map_err(not_json)?;
    request["stream_options"]["include_usage"] = Value::Bool(true);
    Ok((model, Bytes::from(request.to_string())))
}

/// A request as it goes to the server: with the key, and without what is about the run's own connection.
fn sent<L>(gateway: &Served<L>, head: &Parts, body: Bytes) -> Result<Sent, NotPassed> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let address = gateway
        .upstream
        .address(path)
        .ok_or_else(|| not_passed(StatusCode::BAD_REQUEST, "no_address", format!("`{path}` cannot be asked for")))?;
    let mut headers = passed_headers(head.headers.clone());
    for name in [HOST, CONTENT_LENGTH, ACCEPT_ENCODING] {
        headers.remove(name);
    }
    // What is packed cannot be counted.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let api = gateway.upstream.api;
    let key = match &gateway.key {
        Some(key) => Some(api.key_header(key).ok_or_else(|| {
            let message = "the key of the model's server cannot be sent; set it anew with `orchctl secret set`";
            not_passed(StatusCode::BAD_GATEWAY, "unusable_key", message.to_owned())
        })?),
        None => None,
    };
    api.authorize(&mut headers, key);
    Ok(Sent { method: head.method.clone(), address, headers, body })
}

/// Headers without those that are about one connection.
fn passed_headers(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
    headers
}

/// An answer to what costs nothing.
fn straight(answer: Response<Incoming>) -> Response<AnswerBody> {
    let (mut head, body) = answer.into_parts();
    head.headers = passed_headers(head.headers);
    Response::from_parts(head, body.map_err(io::Error::other).boxed_unsync())
}

fn whole(body: Vec<u8>) -> AnswerBody {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync()
}

fn without_secrets(secrets: &Secrets, body: Bytes) -> Bytes {
    let Some(patterns) = Patterns::new(secrets) else { return body };
    let (mut redactor, mut clear) = (Redactor::new(&patterns), Vec::with_capacity(body.len()));
    redactor.feed(&body, &mut clear);
    redactor.finish(&mut clear);
    clear.into()
}

fn unreachable(reason: String) -> NotPassed {
    not_passed(StatusCode::BAD_GATEWAY, "model_unreachable", format!("the model's server gave no answer: {reason}"))
}

fn not_passed(status: StatusCode, code: &'static str, message: String) -> NotPassed {
    (status, Refusal { code, message })
}
