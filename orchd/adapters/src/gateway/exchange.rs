//! One request and its answer on their way through.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use orch_core::digest::Digest;
use orch_core::entity::TokenUse;
use orch_sandbox::redact::Patterns;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::api::Route;
use super::headers;
use super::ledger::{Answered, Asked, End, Ledger, Opened, Refusal, Way};
use super::meter;
use super::passing::{AnswerBody, Cleaning, Coming, Passing, Writing, passed_headers};
use super::request;
use super::room::{Held, Hold, REQUEST_BYTES_MAX, Taken};
use super::serve::Served;
use super::upstream::{Failed, Sent};

/// Largest request that costs nothing, and largest answer to it, in bytes: a count of tokens, a list of models.
const FREE_BYTES_MAX: usize = 4 << 20;
/// Longest query of a request, in bytes.
const QUERY_BYTES_MAX: usize = 256;
/// What may follow the last word of an answer, in bytes: empty lines.
const AFTER_BYTES_MAX: usize = 64 << 10;
/// Largest request that is looked at where it arrives, in bytes: that takes less than to wake another thread for it.
const LOOKED_HERE_BYTES_MAX: usize = 32 << 10;
/// How long a request waits for leave that takes room which others wait for, too.
const SHARED_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// When a run that is told "later" is to ask again, in seconds. Claude Code does not ask again where this is more than a minute.
const ASK_AGAIN_SECONDS: &str = "5";

/// What a run is told when its request is not passed on.
pub(super) type NotPassed = (StatusCode, &'static str, String);

/// Passes a request on and answers what came back, or why it was not passed on.
pub(super) async fn answer<L: Ledger>(gateway: Arc<Served<L>>, request: Request<Incoming>) -> Response<AnswerBody> {
    // Programs look first whether anybody is there, and whether they can have another protocol.
    let answer = match (request.method(), request.uri().path()) {
        (&Method::HEAD, "/") => return Response::new(whole(Vec::new())),
        (&Method::GET, "/v1/responses") if request.headers().contains_key(UPGRADE) => {
            let message = "no WebSocket is spoken here; requests are sent by `POST`";
            Err((StatusCode::UPGRADE_REQUIRED, "no_websocket", message.to_owned()))
        }
        _ => pass(&gateway, request).await,
    };
    answer.unwrap_or_else(|(status, code, message)| {
        let mut answer = Response::new(whole(gateway.api.error_body(status, code, &message)));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(ASK_AGAIN_SECONDS));
        }
        answer
    })
}

async fn pass<L: Ledger>(
    gateway: &Arc<Served<L>>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, NotPassed> {
    let (head, body) = request.into_parts();
    let route = route(gateway, &head, &body)?;
    let bytes_max = if route.is_metered() { REQUEST_BYTES_MAX } else { FREE_BYTES_MAX };
    let taken = gateway.room.read(body, bytes_max).await;
    let taken = taken.map_err(|(status, message)| (status, "request_not_taken", message))?;
    if !route.is_metered() {
        gateway.ledger.admits().await.map_err(refused)?;
    }
    // As it is when all of it is there: it may come slowly.
    let way = gateway.ledger.way().await.map_err(refused)?;
    let Looked { model, output_max, body, digest, room } = looked(&head, route, &way, taken).await?;
    let sent = sent(&head, &way, body.clone())?;
    if !route.is_metered() {
        return free(gateway, &sent, &way).await;
    }
    let hold = Hold::of(room);
    let patience = hold.is_shared().then_some(SHARED_WAIT_MAX);
    let path = head.uri.path().to_owned();
    let asked = Asked { api: gateway.api, path, model, output_max, body, digest, patience, hold: hold.clone() };
    // It is brought to its end on record, also when the run hangs up.
    let (begun, beginning) = oneshot::channel();
    let exchange = Exchange {
        gateway: Arc::clone(gateway),
        route,
        request_bytes: asked.body.len() as u64,
        key: way.of_answers,
        tries: AtomicU32::new(0),
        sent_at: OnceLock::new(),
    };
    tokio::spawn(exchange.run((asked, sent, hold), begun));
    beginning.await.unwrap_or_else(|_| Err(unreachable("the exchange ended without an answer")))
}

/// What is asked for, if a run may ask for it so.
fn route<L: Ledger>(gateway: &Served<L>, head: &Parts, body: &Incoming) -> Result<Route, NotPassed> {
    let path = head.uri.path();
    let route = gateway.api.route(&head.method, path).ok_or_else(|| {
        let message = format!("`{} {path}` is not passed on: a run asks models, and nothing else", head.method);
        (StatusCode::NOT_FOUND, "not_a_model_request", message)
    })?;
    let query = head.uri.query().unwrap_or_default();
    let is_get = head.method == Method::GET;
    if !(query.is_empty() || query == "beta=true" || is_get && query.len() <= QUERY_BYTES_MAX) {
        let message = format!("the query of `{path}` is not passed on");
        return Err((StatusCode::BAD_REQUEST, "not_a_model_request", message));
    }
    if is_get && !body.is_end_stream() {
        let message = format!("`GET {path}` has no body");
        return Err((StatusCode::BAD_REQUEST, "not_a_model_request", message));
    }
    Ok(route)
}

/// A request that was looked at, as it leaves, and the room that it takes.
struct Looked {
    model: Option<String>,
    output_max: Option<u64>,
    body: Bytes,
    digest: Digest,
    room: Held,
}

/// Takes secrets out of a request and looks at what it asks for. A large one off the async threads: that takes time with its
/// size.
async fn looked(head: &Parts, route: Route, way: &Way, taken: Taken) -> Result<Looked, NotPassed> {
    let Taken { body, room } = taken;
    if head.method == Method::GET {
        return Ok(Looked { model: None, output_max: None, digest: Digest::of(&body), body, room });
    }
    let (path, secrets, hosted) = (head.uri.path().to_owned(), way.secrets.clone(), way.hosted);
    let is_small = body.len() <= LOOKED_HERE_BYTES_MAX;
    let (temperature, answer_tokens, api) = (way.temperature_percent, way.answer_tokens, way.upstream.api);
    // With the room: it is taken until this is done, also when the run does not wait.
    let work = move || {
        let body: Bytes = secrets.iter().fold(body, |body, patterns| patterns.taken_out(&body).into());
        let body = match answer_tokens {
            Some(most) if route.is_metered() => Bytes::from(request::capped((api, route), &body, most)?),
            Some(_) | None => body,
        };
        let said = request::look(route, &path, &body, hosted)?;
        let (model, output_max) = (said.model, said.output_max);
        let body = said.body.map_or(body, Bytes::from);
        let body = match temperature {
            Some(percent) if route.is_metered() => Bytes::from(request::tempered(route, &body, percent)?),
            Some(_) | None => body,
        };
        Ok(Looked { model, output_max, digest: Digest::of(&body), body, room })
    };
    let looked = if is_small {
        work()
    } else {
        spawn_blocking(work).await.unwrap_or_else(|_| Err("the request could not be looked at".to_owned()))
    };
    looked.map_err(|message| (StatusCode::BAD_REQUEST, "not_passed_on", message))
}

/// Asks for what costs nothing. Its answer is small and is passed on as a whole.
async fn free<L>(gateway: &Served<L>, sent: &Sent, way: &Way) -> Result<Response<AnswerBody>, NotPassed> {
    let answer = gateway.client.ask(sent, &AtomicU32::new(0)).await;
    let (head, body) =
        answer.map_err(|(Failed::Before(reason) | Failed::Since(reason))| unreachable(&reason))?.into_parts();
    if headers::is_packed(&head.headers) {
        return Err(packed());
    }
    let (mut cleaning, mut clear) = (Cleaning::new(way.of_answers.as_ref()), Vec::new());
    let mut coming = Coming::new(body);
    loop {
        match coming.next().await {
            Ok(Some(data)) => clear.extend(cleaning.feed(&data)),
            Ok(None) => break,
            Err(_) => return Err(unreachable("it broke off")),
        }
        if clear.len() > FREE_BYTES_MAX {
            return Err(unreachable("it is longer than such an answer is"));
        }
    }
    clear.extend(cleaning.finish());
    let mut answer = Response::new(whole(clear));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = passed_headers(&head.headers, way.of_answers.as_ref());
    Ok(answer)
}

/// A request that costs something, from before the ledger knows of it.
struct Exchange<L: Ledger> {
    gateway: Arc<Served<L>>,
    route: Route,
    request_bytes: u64,
    /// What is taken out of the answer.
    key: Option<Arc<Patterns>>,
    /// How often it was sent.
    tries: AtomicU32,
    /// When it was sent first.
    sent_at: OnceLock<Instant>,
}

/// Tells whoever waits for the beginning of an answer.
type Begun = oneshot::Sender<Result<Response<AnswerBody>, NotPassed>>;

impl<L: Ledger> Exchange<L> {
    async fn run(mut self, (asked, mut sent, hold): (Asked, Sent, Hold), mut begun: Begun) {
        let Opened { ticket, has_waited } = match self.gateway.ledger.open(asked).await {
            Ok(opened) => opened,
            Err(refusal) => return tell(begun, Err(refused(refusal))),
        };
        if has_waited {
            match renewed(&self.gateway.ledger, sent).await {
                Ok((anew, way)) => (sent, self.key) = (anew, way.of_answers),
                Err(not_passed) => {
                    self.close_without_answer(ticket, (End::Unreachable, None), false).await;
                    return tell(begun, Err(not_passed));
                }
            }
        }
        let _first = self.sent_at.set(Instant::now());
        let answered = if begun.is_closed() {
            None
        } else {
            // An answer that is there was paid for, whether the run waits for it or not.
            tokio::select! {
                biased;
                answered = self.gateway.client.ask(&sent, &self.tries) => Some(answered),
                () = begun.closed() => None,
            }
        };
        // It has left, and is not sent again.
        drop((sent, hold));
        let answer = match answered {
            Some(Ok(answer)) => answer,
            Some(Err(failed)) => {
                let (reason, has_left) = match failed {
                    Failed::Before(reason) => (reason, false),
                    Failed::Since(reason) => (reason, true),
                };
                self.close_without_answer(ticket, (End::Unreachable, None), has_left).await;
                return tell(begun, Err(unreachable(&reason)));
            }
            None => {
                let has_left = self.tries.load(Ordering::Relaxed) > 0;
                return self.close_without_answer(ticket, (End::Unwanted, None), has_left).await;
            }
        };
        let (head, body) = answer.into_parts();
        if headers::is_packed(&head.headers) {
            self.close_without_answer(ticket, (End::Broken, Some(head.status)), true).await;
            return tell(begun, Err(packed()));
        }
        let room = self.gateway.room.answer();
        let passing = Passing::new(self.route, (head.status, &head.headers), self.key.as_ref(), room);
        let (writing, answer) = Writing::begin(head.status, &passed_headers(&head.headers, self.key.as_ref()));
        tell(begun, Ok(answer));
        self.forward(ticket, (Coming::new(body), passing), writing).await;
    }

    /// Passes the answer on while it comes, but for its end, which waits until it is on record what it cost.
    async fn forward(self, ticket: L::Ticket, (mut coming, mut passing): (Coming, Passing), run: Writing) {
        let (end, last) = pass_on(&mut coming, &mut passing, &run).await;
        let (tries, took) = (self.tries.load(Ordering::Relaxed), self.took());
        let (answered, mut cleaning) = passing.answered(end, self.request_bytes, (tries, took));
        self.gateway.ledger.close(ticket, answered).await;
        // Who gets no more sees that it is not whole, as it would without anybody in between.
        if end != End::Complete || !run.send(last).await {
            return;
        }
        // After the last word there may be an empty line.
        let mut after = 0;
        while let Ok(Some(data)) = coming.next().await {
            after += data.len();
            if after > AFTER_BYTES_MAX || !run.send(cleaning.feed(&data)).await {
                return;
            }
        }
        if run.send(cleaning.finish()).await {
            run.end();
        }
    }

    /// How long it has taken by now.
    fn took(&self) -> Duration {
        self.sent_at.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Puts on record that there is no answer. What has left may have been answered, and paid for.
    async fn close_without_answer(&self, ticket: L::Ticket, (end, status): (End, Option<StatusCode>), has_left: bool) {
        let tokens = if has_left { meter::sizes(self.request_bytes, 0) } else { TokenUse::default() };
        let answered = Answered {
            status: status.map(|status| status.as_u16()),
            model: None,
            tokens,
            is_estimate: has_left,
            body: Vec::new(),
            left_out: 0,
            end,
            tries: self.tries.load(Ordering::Relaxed),
            took: self.took(),
            hold: Hold::default(),
        };
        self.gateway.ledger.close(ticket, answered).await;
    }
}

/// Passes pieces on while they come. How that ended, and what was not passed on yet.
async fn pass_on(coming: &mut Coming, passing: &mut Passing, run: &Writing) -> (End, Vec<u8>) {
    let mut has_hung_up = pin!(run.closed());
    loop {
        // What is there is counted as the server says, also of a run that hangs up at the same moment.
        let data = tokio::select! {
            biased;
            data = coming.next() => data,
            () = &mut has_hung_up => return (End::Unwanted, Vec::new()),
        };
        let clear = match data {
            Ok(Some(data)) => passing.take(&data),
            Ok(None) => return (End::Complete, passing.rest()),
            Err(end) => return (end, Vec::new()),
        };
        if passing.is_over() {
            return (End::Complete, clear);
        }
        if !run.send(clear).await {
            return (End::Unwanted, Vec::new());
        }
    }
}

/// Who has hung up is told nothing, and the exchange notices.
fn tell(begun: Begun, answer: Result<Response<AnswerBody>, NotPassed>) {
    if begun.send(answer).is_err() {
        tracing::debug!("a run did not wait for its answer");
    }
}

/// A request as it goes to the server: with the key, and with headers that are known alone.
fn sent(head: &Parts, way: &Way, body: Bytes) -> Result<Sent, NotPassed> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = headers::of_request(&head.headers, way.hosted);
    if head.method == Method::GET {
        headers.remove(CONTENT_TYPE);
    } else {
        // It was looked at as this, and is to be read as nothing else.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    sent_as((head.method.clone(), path), headers, way, body)
}

/// The same with these headers, and the key put into them.
pub(super) fn sent_as(
    (method, path): (Method, &str),
    mut headers: HeaderMap,
    way: &Way,
    body: Bytes,
) -> Result<Sent, NotPassed> {
    let address = way.upstream.address(path);
    let address =
        address.ok_or_else(|| (StatusCode::BAD_REQUEST, "no_address", format!("`{path}` cannot be asked for")))?;
    let api = way.upstream.api;
    let key = match &way.key {
        Some(key) => Some(api.key_header(key).ok_or_else(|| {
            let message = "the key of the model's server cannot be sent; set it anew with `orchctl secret set`";
            (StatusCode::BAD_GATEWAY, "unusable_key", message.to_owned())
        })?),
        None => None,
    };
    api.authorize(&mut headers, key);
    Ok(Sent { method, path: path.to_owned(), address, headers, body })
}

/// A request that waited, as it leaves now: with the key of now. One with a value in it that has become a secret meanwhile is
/// another than the one on record, and is to be asked for again.
pub(super) async fn renewed<L: Ledger>(ledger: &L, sent: Sent) -> Result<(Sent, Way), NotPassed> {
    let way = ledger.way().await.map_err(refused)?;
    let (secrets, body) = (way.secrets.clone(), sent.body.clone());
    let is_small = body.len() <= LOOKED_HERE_BYTES_MAX;
    let work = move || secrets.iter().all(|patterns| patterns.taken_out(&body) == body);
    let is_clean = if is_small { work() } else { spawn_blocking(work).await.unwrap_or(false) };
    if !is_clean {
        let message = "a secret was set while the request waited, and the request has it; ask again";
        return Err((StatusCode::SERVICE_UNAVAILABLE, "secret_in_request", message.to_owned()));
    }
    let sent = sent_as((sent.method, &sent.path), sent.headers, &way, sent.body)?;
    Ok((sent, way))
}

fn whole(body: Vec<u8>) -> AnswerBody {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync()
}

fn refused(refusal: Refusal) -> NotPassed {
    let status = if refusal.is_passing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::FORBIDDEN };
    (status, refusal.code, refusal.message)
}

fn unreachable(reason: &str) -> NotPassed {
    let message = format!("the model's server gave no answer: {reason}");
    (StatusCode::BAD_GATEWAY, "model_unreachable", message)
}

fn packed() -> NotPassed {
    let message =
        "the model's server packs its answers although it was asked not to; they cannot be counted".to_owned();
    (StatusCode::BAD_GATEWAY, "packed_answer", message)
}
