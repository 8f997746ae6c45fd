//! Which turn a request gets, and the record of all of them.
//!
//! All that the server remembers from one request to the next is here. Does no I/O. **Invariant:** how often a turn was
//! asked for is all that can change the answer to a request, unless the script is sequential.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::conversation::{self, Conversation};
use super::manner::{Content, Failure, Manner};
use super::piece::FILLER;
use super::protocol::{self, Protocol, Route};
use super::record::{Answer, Delivery, Request};
use super::reply::Reply;
use super::script::{End, Order, Script, Turn};
use super::tool;

/// Most requests that are kept. Further ones are refused.
const REQUESTS_MAX: usize = 100_000;

/// Most bytes of bodies that are kept. Of further requests only the head is.
const BODIES_BYTES_MAX: u64 = 1 << 30;

/// Most turns of conversations whose attempts are counted. Then all are forgotten.
const ATTEMPTS_MAX: usize = 100_000;

/// A request as it came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Nothing when it is too large.
    pub(super) body: Option<Bytes>,
    pub(super) body_bytes: u64,
}

/// A request to a model, as far as its answer depends on it.
#[derive(Debug)]
struct Asked {
    talk: Conversation,
    /// A number for the conversation.
    identity: u64,
    /// Whether it is beside an agent's work.
    is_aside: bool,
}

impl Asked {
    fn new(protocol: Protocol, headers: &HeaderMap, body: &Value, key: Option<&str>) -> Self {
        let talk = protocol.read(body);
        let identity = conversation::identity(key, headers, body, &talk.history);
        let is_aside = talk.is_aside(headers);
        Self { talk, identity, is_aside }
    }
}

/// What is sent.
#[derive(Debug)]
pub(super) enum What {
    Reply { protocol: Protocol, reply: Reply, streams: bool },
    Json(Value),
    Text(&'static str),
    Failure(Failure),
}

/// An answer, and how it is given.
#[derive(Debug)]
pub(super) struct Chosen {
    /// That of the request.
    pub(super) number: Option<usize>,
    pub(super) route: Route,
    pub(super) what: What,
    pub(super) manner: Manner,
}

/// A choice before it is put on record.
#[derive(Debug)]
struct Choice {
    answer: Answer,
    what: What,
    manner: Manner,
    conversation: u64,
    attempt: u32,
}

impl Choice {
    fn plain(answer: Answer, what: What) -> Self {
        Self { answer, what, manner: Manner::default(), conversation: 0, attempt: 0 }
    }

    fn refused(failure: Failure) -> Self {
        Self::plain(Answer::Refused { status: failure.status }, What::Failure(failure))
    }
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    bodies_bytes: u64,
    /// By conversation and turn.
    attempts: HashMap<(u64, usize), u32>,
    /// The next turn of a sequential script.
    next: usize,
    /// Requests to a model so far.
    asked: u32,
}

/// The script and what happened.
#[derive(Debug)]
pub(super) struct Ledger {
    script: Script,
    state: Mutex<State>,
    started: Instant,
    changes: watch::Sender<u64>,
    is_released: watch::Sender<bool>,
}

impl Ledger {
    pub(super) fn new(script: Script) -> Self {
        let (changes, is_released) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { script, state: Mutex::default(), started: Instant::now(), changes, is_released }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Tells of every change of the record.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How long there has been this server, in microseconds.
    pub(super) fn age_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Tells whether what is held may go.
    pub(super) fn is_released(&self) -> watch::Receiver<bool> {
        self.is_released.subscribe()
    }

    pub(super) fn release(&self) {
        self.is_released.send_replace(true);
    }

    /// An answer came so far.
    pub(super) fn deliver(&self, number: usize, delivery: Delivery) {
        if let Some(request) = self.state().requests.get_mut(number) {
            request.delivery = delivery;
        }
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Puts a request on record and chooses its answer.
    pub(super) fn take(&self, arrival: Arrival) -> Chosen {
        let route = Route::of(&arrival.method, arrival.uri.path());
        let key = key(&arrival.headers);
        // Reading may take long, and nobody has to wait for it.
        let looked = self.look(route, &arrival, key.as_deref());
        let mut state = self.state();
        let choice = if state.requests.len() >= REQUESTS_MAX {
            Choice::refused(Failure::because(503, "The record is full."))
        } else {
            match looked {
                Ok(Some(asked)) => self.ask(&mut state, &asked),
                Ok(None) => self.list(route, &arrival),
                Err(failure) => Choice::refused(failure),
            }
        };
        let Choice { answer, what, manner, conversation, attempt } = choice;
        let number = state.requests.len();
        let is_kept = number < REQUESTS_MAX;
        if is_kept {
            let body = arrival.body.filter(|body| state.bodies_bytes + body.len() as u64 <= BODIES_BYTES_MAX);
            let body = body.unwrap_or_default();
            state.bodies_bytes += body.len() as u64;
            state.requests.push(Request {
                number,
                arrived: self.started.elapsed(),
                method: arrival.method.as_str().to_owned(),
                path: arrival.uri.path().to_owned(),
                query: arrival.uri.query().map(str::to_owned),
                headers: headers(&arrival.headers),
                body,
                body_bytes: arrival.body_bytes,
                key,
                conversation,
                attempt,
                answer,
                delivery: Delivery::Open,
            });
        }
        drop(state);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        Chosen { number: is_kept.then_some(number), route, what, manner }
    }

    /// What is asked of a model; nothing when something else is asked for.
    ///
    /// # Errors
    /// When it is refused whatever happened before.
    fn look(&self, route: Route, arrival: &Arrival, key: Option<&str>) -> Result<Option<Asked>, Failure> {
        if !self.script.keys.is_empty() && !self.script.keys.iter().any(|at| Some(at.as_str()) == key) {
            return Err(Failure::new(401));
        }
        let body = arrival.body.as_ref().ok_or(Failure::new(413))?;
        let Route::Model(protocol) = route else { return Ok(None) };
        let body = json_body(&arrival.headers, body)?;
        Ok(Some(Asked::new(protocol, &arrival.headers, &body, key)))
    }

    fn list(&self, route: Route, arrival: &Arrival) -> Choice {
        let listing = |what| Choice::plain(Answer::Listing, what);
        match route {
            Route::Models if arrival.headers.contains_key("anthropic-version") => {
                listing(What::Json(protocol::anthropic_models(&self.script.models)))
            }
            Route::Models => listing(What::Json(protocol::openai_models(&self.script.models))),
            // Four bytes are a token; nobody relies on more.
            Route::CountTokens => listing(What::Json(json!({ "input_tokens": arrival.body_bytes / 4 }))),
            Route::Tags => listing(What::Json(protocol::ollama_tags(&self.script.models))),
            Route::Version => listing(What::Json(json!({ "version": "0.12.0" }))),
            // A body that is not sent would count as abandoned.
            Route::Root if arrival.method == Method::HEAD => listing(What::Text("")),
            Route::Root => listing(What::Text("A scripted model is running.")),
            Route::Socket => Choice::refused(Failure::because(426, "No WebSocket is spoken here.")),
            Route::Model(_) | Route::Unknown => Choice::refused(Failure::new(404)),
        }
    }

    fn ask(&self, state: &mut State, asked: &Asked) -> Choice {
        let Asked { talk, identity, is_aside } = asked;
        let everyone = Some(&self.script.manner).filter(|manner| manner.is_due(state.asked));
        state.asked = state.asked.saturating_add(1);
        let choice = match everyone {
            Some(manner) if manner.failure.is_some() || manner.hangs_up || manner.content == Content::Garbage => {
                reply(Answer::Fault { index: None }, talk, Reply::to(talk, 0))
            }
            _ if *is_aside => aside(talk),
            _ => self.turn(state, talk, *identity),
        };
        let answer = match choice.answer {
            Answer::Turn { index } if everyone.is_some() => Answer::Fault { index: Some(index) },
            answer => answer,
        };
        let manner = everyone.unwrap_or(&choice.manner).clone();
        let what = match (choice.what, &manner.failure) {
            (What::Reply { .. }, Some(failure)) => What::Failure(failure.clone()),
            (What::Reply { reply, protocol, streams }, None) => {
                What::Reply { reply: filled(reply, manner.huge_bytes), protocol, streams }
            }
            (what, _) => what,
        };
        Choice { answer, what, manner, conversation: *identity, attempt: choice.attempt }
    }

    /// The turn that a conversation is at.
    fn turn(&self, state: &mut State, talk: &Conversation, identity: u64) -> Choice {
        let is_counted = self.script.order == Order::ByCount;
        let at = if is_counted { state.next } else { talk.history.replies };
        let Some((index, turn)) = self.turn_at(talk, at) else {
            return reply(Answer::Over, talk, Reply::over(talk, at));
        };
        if !turn.acts.is_empty() && talk.tools.is_empty() {
            return aside(talk);
        }
        let calls = match tool::calls(at, &turn.acts, &talk.tools) {
            Ok(calls) => calls,
            Err(missing) => return Choice::refused(Failure::because(400, missing)),
        };
        let attempt = state.attempt(if is_counted { 0 } else { identity }, at);
        let is_due = turn.manner.is_due(attempt);
        if is_counted && (!is_due || turn.manner.times.is_none()) {
            state.next = at.saturating_add(1);
        }
        let answer = if is_due { Answer::Fault { index: Some(index) } } else { Answer::Turn { index } };
        let Turn { thought, text, usage, .. } = turn.clone();
        let said = Reply { thought, text, calls, usage, ..Reply::to(talk, at) };
        let manner = if is_due { turn.manner.clone() } else { Manner::default() };
        Choice { manner, attempt, ..reply(answer, talk, said) }
    }

    fn turn_at(&self, talk: &Conversation, at: usize) -> Option<(usize, &Turn)> {
        let fits = |needle: &Option<String>| needle.as_ref().is_none_or(|needle| talk.is_asked(needle));
        let turns = &self.script.parts.iter().find(|part| fits(&part.needle))?.turns;
        let index = match self.script.end {
            End::Word => at,
            End::FirstTurn => at.checked_rem(turns.len())?,
        };
        Some((index, turns.get(index)?))
    }
}

impl State {
    /// How often this turn was asked for before; it is asked for once more.
    fn attempt(&mut self, conversation: u64, turn: usize) -> u32 {
        if self.attempts.len() >= ATTEMPTS_MAX {
            self.attempts.clear();
        }
        let count = self.attempts.entry((conversation, turn)).or_default();
        let before = *count;
        *count = count.saturating_add(1);
        before
    }
}

fn aside(talk: &Conversation) -> Choice {
    reply(Answer::Aside, talk, Reply::aside(talk))
}

fn reply(answer: Answer, talk: &Conversation, reply: Reply) -> Choice {
    Choice::plain(answer, What::Reply { protocol: talk.protocol, reply, streams: talk.streams })
}

/// A reply with filler at the end of its text.
fn filled(mut reply: Reply, bytes: u64) -> Reply {
    if bytes > 0 {
        reply.text.get_or_insert_default().push(FILLER);
        reply.filler = bytes;
    }
    reply
}

fn json_body(headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    let encoding = headers.get(hyper::header::CONTENT_ENCODING).map(hyper::header::HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| encoding != b"identity") {
        return Err(Failure::because(415, "The body is encoded."));
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(body) if body.is_object() => Ok(body),
        Ok(_) => Err(Failure::because(400, "The body is no object.")),
        Err(error) => Err(Failure::because(400, format!("The body is no JSON: {error}"))),
    }
}

/// The key that somebody shows.
fn key(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (kind, key) = value.split_once(' ')?;
        kind.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned())
    });
    bearer.or_else(|| text("x-api-key").map(str::to_owned))
}

fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(header).collect()
}
