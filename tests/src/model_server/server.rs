//! Listens, reads requests, sends answers. Loopback only.
//!
//! Knows HTTP and nothing of what is asked and answered. **Invariant:** when the server is dropped, the socket is
//! closed and all its tasks end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::body::{Dropped, ReplyBody, Sending};
use super::ledger::{Arrival, Chosen, Ledger, What};
use super::manner::{Content, Failure, Manner};
use super::piece::{Piece, Pieces};
use super::protocol::{Protocol, Route};
use super::record::{Delivery, Request};
use super::refusal;
use super::reply::Reply;
use super::script::Script;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Most connections at a time. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// How long nothing is accepted after that failed, as it does without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// No vendor's JSON, though it is called that.
const NO_JSON: &str = "<html><body><h1>502 Bad Gateway</h1></body>";

/// No vendor's stream: bytes that are no text, JSON without an end, fields without a name, and no end.
const NO_STREAM: &[u8] =
    b"\xff\xfe\0: \n\nevent\ndata: {\"type\": \"response.created\", \"resp\n\n::\ndata: [[[[\n\ndata";

/// A scripted model that listens on loopback until it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    /// Dropping it stops the server.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ModelServer {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::new(script));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listen(listener, Arc::clone(&ledger), stopped));
        Ok(Self { address, ledger, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it was sent so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.ledger.requests()
    }

    /// Waits until the requests are as wanted. The caller sets the bound.
    pub async fn until(&self, is_enough: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let mut changes = self.ledger.changes();
        loop {
            let requests = self.requests();
            if is_enough(&requests) || changes.changed().await.is_err() {
                return requests;
            }
        }
    }

    /// Lets go what is held, and holds nothing from now on.
    pub fn release(&self) {
        self.ledger.release();
    }

    /// Stops, and tells what it was sent when nothing of it runs any more.
    pub async fn stop(self) -> Vec<Request> {
        let Self { ledger, stop, task, .. } = self;
        drop(stop);
        // It cannot fail but with the runtime, and then nothing runs either.
        let _is_ended = task.await.is_ok();
        ledger.requests()
    }
}

async fn listen(listener: TcpListener, ledger: Arc<Ledger>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&ledger)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, ledger: Arc<Ledger>) {
    // A stream of small events is sent as it is written; it works without that too.
    let _is_prompt = stream.set_nodelay(true).is_ok();
    let service = service_fn(move |request| answer(Arc::clone(&ledger), request));
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // An error is that the other side went away, or what the script wants.
    let _is_well = connection.await.is_ok();
}

async fn answer(ledger: Arc<Ledger>, request: hyper::Request<Incoming>) -> Result<Response<ReplyBody>, Dropped> {
    let (head, body) = request.into_parts();
    let told = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => None,
        Err(_) => return Err(Dropped),
    };
    let body_bytes = body.as_ref().map_or(told.unwrap_or(BODY_BYTES_MAX as u64), |body| body.len() as u64);
    let path = head.uri.path().to_owned();
    let arrival = Arrival { method: head.method, uri: head.uri, headers: head.headers, body, body_bytes };
    let Chosen { number, route, what, manner } = ledger.take(arrival);
    let mut sending = Sending::new(ledger, number);
    if manner.holds {
        sending.released().await;
    }
    if let Some(delay) = manner.delay {
        tokio::time::sleep(delay).await;
    }
    if manner.hangs_up {
        sending.end(Delivery::Cut);
        return Err(Dropped);
    }
    Ok(match what {
        What::Reply { protocol, reply, streams: true } => stream(protocol, &reply, &manner, sending),
        What::Reply { protocol, .. } if manner.content == Content::ErrorInStream => {
            failed(&Failure::new(500), Route::Model(protocol), &path, &manner, sending)
        }
        What::Reply { protocol, reply, streams: false } => whole(protocol, &reply, &manner, sending),
        What::Json(value) => response(pieces(&value.to_string()), "application/json", &manner, sending),
        What::Text(text) => response(pieces(text), "text/plain", &manner, sending),
        What::Failure(failure) => failed(&failure, route, &path, &manner, sending),
    })
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Pieces::default();
    pieces.push(text);
    pieces.into_list()
}

fn stream(protocol: Protocol, reply: &Reply, manner: &Manner, sending: Sending) -> Response<ReplyBody> {
    let mut list = protocol.stream(reply).into_list();
    match manner.content {
        Content::Whole => {}
        Content::Garbage => list = vec![Piece { bytes: NO_STREAM.into(), filler: 0, is_step: false }],
        Content::Half => list.truncate(list.len() / 2),
        Content::ErrorInStream => {
            list.truncate(list.len().div_ceil(2));
            list.extend(protocol.error_event(reply, &Failure::new(500)).into_list());
        }
    }
    let mut body = ReplyBody::new(list, manner, sending);
    if let Some(rate) = manner.tokens_per_second {
        body = body.paced(f64::from(u32::try_from(reply.usage.output).unwrap_or(u32::MAX)) / rate);
    }
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protocol.stream_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    identify(headers);
    response
}

fn whole(protocol: Protocol, reply: &Reply, manner: &Manner, sending: Sending) -> Response<ReplyBody> {
    if manner.content == Content::Garbage {
        return response(pieces(NO_JSON), "application/json", manner, sending);
    }
    let mut text = protocol.whole(reply).to_string();
    if manner.content == Content::Half {
        text = text.chars().take(text.chars().count() / 2).collect();
    }
    let mut pieces = Pieces::with_filler(reply.filler);
    pieces.push(&text);
    response(pieces.into_list(), "application/json", manner, sending)
}

/// An answer in one part, with its length.
fn response(list: Vec<Piece>, kind: &'static str, manner: &Manner, sending: Sending) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::new(list, manner, sending).with_length());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    identify(response.headers_mut());
    response
}

fn failed(failure: &Failure, route: Route, path: &str, manner: &Manner, sending: Sending) -> Response<ReplyBody> {
    let body = refusal::body(route.vendor(path), failure).to_string();
    let mut response = response(pieces(&body), "application/json", manner, sending);
    *response.status_mut() = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(secs) = failure.retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if failure.status == 413 {
        // The rest of the body was not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The vendors' names for a request: Anthropic's and OpenAI's.
fn identify(headers: &mut HeaderMap) {
    let name = HeaderValue::from_static("req_scripted");
    headers.insert("request-id", name.clone());
    headers.insert("x-request-id", name);
}
