//! A request of the daemon's own, by the same way as those of runs: the same allowlist, the same key, the same meter and a
//! ledger that knows of it before it leaves.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use orch_core::digest::Digest;
use orch_core::entity::TokenUse;
use tokio::task::spawn_blocking;

use super::api::Route;
use super::exchange;
use super::headers;
use super::ledger::{Answered, Asked, End, Ledger, Opened, Way};
use super::meter;
use super::passing::{Coming, Passing};
use super::question::{Question, brief, text_of};
use super::request;
use super::room::Hold;
use super::upstream::{Client, Failed, Sent};

/// What Anthropic's servers want to know of each request.
const ANTHROPIC_VERSION: (&str, HeaderValue) = ("anthropic-version", HeaderValue::from_static("2023-06-01"));

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAnswered {
    /// It was not sent, or nothing of use came back; the same question may have an answer another time.
    Failed(String),
    /// Nobody wants it any more.
    Unwanted,
    /// It may not leave at the moment.
    NotNow,
}

/// A request as it leaves, and the route that its answer is counted by.
struct Ready {
    asked: Asked,
    sent: Sent,
    route: Route,
}

impl Client {
    /// Asks a model, and answers with its text. `unwanted` ends when nobody wants it any more. It is on record to its end.
    ///
    /// # Errors
    /// Why there is no text.
    pub async fn question<L: Ledger>(
        &self,
        ledger: &L,
        question: Question,
        unwanted: impl Future<Output = ()> + Send,
    ) -> Result<String, NotAnswered> {
        let mut way = ledger.way().await.map_err(|refusal| NotAnswered::Failed(refusal.message))?;
        let (api, protocol) = (way.upstream.api, question.protocol);
        let ready = ready(&way, question).await.map_err(NotAnswered::Failed)?;
        let Ready { asked, mut sent, route } = ready;
        let request_bytes = asked.body.len() as u64;
        let Opened { ticket, has_waited } = ledger.open(asked).await.map_err(|refusal| match refusal.code {
            "waits" => NotAnswered::NotNow,
            _ => NotAnswered::Failed(refusal.message),
        })?;
        if has_waited {
            match exchange::renewed(ledger, sent).await {
                Ok(anew) => (sent, way) = anew,
                Err((_, _, message)) => {
                    ledger.close(ticket, without_answer((End::Unreachable, None), None, (0, Duration::ZERO))).await;
                    return Err(NotAnswered::Failed(message));
                }
            }
        }
        let (tries, begun) = (AtomicU32::new(0), Instant::now());
        let mut unwanted = std::pin::pin!(unwanted);
        let answer = tokio::select! {
            biased;
            () = &mut unwanted => Err(None),
            answer = self.ask(&sent, &tries) => answer.map_err(Some),
        };
        let without = |end, status, has_left| {
            let tries = tries.load(Ordering::Relaxed);
            without_answer((end, status), (has_left && tries > 0).then_some(request_bytes), (tries, begun.elapsed()))
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(None) => {
                ledger.close(ticket, without(End::Unwanted, None, true)).await;
                return Err(NotAnswered::Unwanted);
            }
            Err(Some(failed)) => {
                let (reason, has_left) = match failed {
                    Failed::Before(reason) => (reason, false),
                    Failed::Since(reason) => (reason, true),
                };
                ledger.close(ticket, without(End::Unreachable, None, has_left)).await;
                return Err(NotAnswered::Failed(brief(&format!("the model's server gave no answer: {reason}"))));
            }
        };
        let (head, body) = answer.into_parts();
        if headers::is_packed(&head.headers) {
            ledger.close(ticket, without(End::Broken, Some(head.status.as_u16()), true)).await;
            return Err(NotAnswered::Failed(
                "the model's server packs its answers although it was asked not to".into(),
            ));
        }
        let room = self.room.of_run().answer();
        let passing = Passing::new(route, (head.status, &head.headers), way.of_answers.as_ref(), room);
        let (passing, end) = read(passing, Coming::new(body), unwanted).await;
        let (answered, _) = passing.answered(end, request_bytes, (tries.load(Ordering::Relaxed), begun.elapsed()));
        let (body, left_out) = (answered.body.clone(), answered.left_out);
        ledger.close(ticket, answered).await;
        match end {
            End::Unwanted if left_out == 0 => Err(NotAnswered::Unwanted),
            End::Complete if !head.status.is_success() => Err(NotAnswered::Failed(failure(head.status, &body))),
            End::Complete => text_of(api, protocol, &body).map_err(NotAnswered::Failed),
            End::Unwanted => Err(NotAnswered::Failed("the model's answer is too long".into())),
            End::Broken | End::Silent | End::Unreachable => {
                Err(NotAnswered::Failed("the model's answer broke off".into()))
            }
        }
    }
}

/// What a server says that has no answer.
fn failure(status: StatusCode, body: &[u8]) -> String {
    let said = String::from_utf8_lossy(&body[..body.len().min(4 << 10)]);
    brief(&format!("the model's server answered {}: {said}", status.as_u16()))
}

/// Reads an answer to its end, as long as it is wanted and what comes of it is kept.
async fn read(
    mut passing: Passing,
    mut coming: Coming,
    mut unwanted: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
) -> (Passing, End) {
    let end = loop {
        let data = tokio::select! {
            biased;
            () = &mut unwanted => break End::Unwanted,
            data = coming.next() => data,
        };
        match data {
            Ok(Some(data)) => drop(passing.take(&data)),
            Ok(None) => {
                drop(passing.rest());
                break End::Complete;
            }
            Err(end) => break end,
        }
        if passing.is_cut() {
            break End::Unwanted;
        }
    };
    (passing, end)
}

/// Takes secrets out of a question and looks at what it asks for, off the async threads.
async fn ready(way: &Way, question: Question) -> Result<Ready, String> {
    let (api, hosted, secrets) = (way.upstream.api, way.hosted, way.secrets.clone());
    let (path, route) = question.route(api);
    let work = spawn_blocking(move || {
        let body = question.body(route);
        let body = secrets.iter().fold(body, |body, patterns| patterns.taken_out(&body));
        let said = request::look(route, path, &body, hosted)?;
        Ok::<_, String>((
            said.model,
            said.output_max.unwrap_or(question.output_max),
            Bytes::from(said.body.unwrap_or(body)),
        ))
    });
    let looked = work.await.unwrap_or_else(|_| Err("the request could not be looked at".to_owned()));
    let (model, output_max, body) = looked?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What is packed can be neither counted nor searched.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if route == Route::Messages {
        headers.insert(ANTHROPIC_VERSION.0, ANTHROPIC_VERSION.1);
    }
    let sent =
        exchange::sent_as((Method::POST, path), headers, way, body.clone()).map_err(|(_, _, message)| message)?;
    let digest = Digest::of(&body);
    let output_max = Some(output_max);
    let asked =
        Asked { api, path: path.to_owned(), model, output_max, body, digest, patience: None, hold: Hold::default() };
    Ok(Ready { asked, sent, route })
}

/// What is on record of a request that has no answer. What has left, of so many bytes, may have been answered, and paid for.
fn without_answer(
    (end, status): (End, Option<u16>),
    left_bytes: Option<u64>,
    (tries, took): (u32, Duration),
) -> Answered {
    Answered {
        status,
        model: None,
        tokens: left_bytes.map_or_else(TokenUse::default, |bytes| meter::sizes(bytes, 0)),
        is_estimate: left_bytes.is_some(),
        body: Vec::new(),
        left_out: 0,
        end,
        tries,
        took,
        hold: Hold::default(),
    }
}
