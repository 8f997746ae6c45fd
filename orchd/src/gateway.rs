//! The models of runs: serves each living run of an agent with a gateway, and keeps its books in the state.
//!
//! A daemon that comes back serves the same listener again; what its predecessor had under way is put on record as broken
//! off, since nobody knows what became of it. **Invariant:** a request that costs something is on record before it leaves, whatever the state of
//! the disk: while nothing can be written, agents wait.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use orch_adapters::agent::MODEL_LISTENER;
use orch_adapters::gateway::{Answered, Asked, Client, End, Gateway, Ledger, Refusal};
use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{ModelAnswer, ModelRequest, OpenExchange, Run, TokenUse};
use orch_core::recipe::SecretName;
use orch_proto::id::RunId;
use orch_sandbox::Secrets;
use orch_sandbox::control::{self, ControlError};
use orch_store::ExecuteError;

use crate::app::{App, blocking};
use crate::config::ModelServer;
use crate::error_chain::chain;
use crate::site::Served;

/// Wait before something that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Part of the daemon that these commands come from.
const PART: &str = "gateway";
/// Longest name of a model that is put on record, in characters.
const MODEL_CHARS_MAX: usize = 200;
/// About how many bytes of a request are a token.
const BYTES_OF_TOKEN: u64 = 4;

/// Serves a run until what this answers is dropped; none when its agent is not configured any more.
pub(crate) fn serve(app: &Arc<App>, run: &Run) -> Option<Served> {
    let agent = app.config.agents.agents.get(&run.agent.as_ref()?.name)?;
    let server = app.config.agents.models.get(&agent.models)?.clone();
    let (app, run) = (Arc::clone(app), run.clone());
    Some(Served::by(tokio::spawn(attend(app, run, server)).abort_handle()))
}

async fn attend(app: Arc<App>, run: Run, server: ModelServer) {
    let next = Arc::new(Mutex::new(run.models.exchanges.saturating_add(1)));
    let ledger = Books { app: Arc::clone(&app), run: run.id, fence: run.fence, next };
    for open in &run.models.open {
        ledger.give_up(*open).await;
    }
    let directory = app.dirs.run(run.id);
    loop {
        let Some((client, key, secrets)) = equipment(&app, &run, &server).await else { return };
        let at = directory.clone();
        match blocking(move || control::take_listener(&at, MODEL_LISTENER)).await {
            Ok(listener) => {
                let upstream = server.upstream.clone();
                let gateway = Gateway { upstream, client, key, secrets, ledger: ledger.clone() };
                match gateway.serve(listener).await {
                    Ok(never) => match never {},
                    Err(error) => tracing::debug!(run = %run.id, %error, "a run asks no models any more"),
                }
                return;
            }
            Err(ControlError::NotRunning { .. }) => return,
            Err(error) => tracing::warn!(run = %run.id, error = chain(&error), "no way to its model for a run yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What a gateway needs beside its books.
type Equipment = (Client, Option<Vec<u8>>, Secrets);

/// The door to the model's server, its key, and the values that are taken out of requests. None when the daemon stops.
async fn equipment(app: &Arc<App>, run: &Run, server: &ModelServer) -> Option<Equipment> {
    loop {
        let (site, run, key) = (Arc::clone(app), run.clone(), server.key.clone());
        match blocking(move || equip(&site, &run, key.as_ref())).await {
            Ok(found) => return Some(found),
            Err(error) => tracing::warn!(%error, "no model can be asked yet"),
        }
        tokio::select! {
            () = app.stopped() => return None,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn equip(app: &App, run: &Run, key: Option<&SecretName>) -> Result<Equipment, String> {
    let client = app.models().map_err(|error| chain(&error))?;
    let values = app.secrets.values(key).map_err(|error| chain(&error))?;
    let key = key.and_then(|key| values.get(key.as_str())).map(<[u8]>::to_vec);
    let secrets = app.secrets.values(run.access.secrets.iter().map(|secret| &secret.name));
    Ok((client, key, secrets.map_err(|error| chain(&error))?))
}

/// The books of one run.
#[derive(Clone, Debug)]
struct Books {
    app: Arc<App>,
    run: RunId,
    fence: u64,
    /// Number of the next exchange.
    next: Arc<Mutex<u32>>,
}

impl Ledger for Books {
    type Ticket = u32;

    async fn open(&self, asked: Asked) -> Result<u32, Refusal> {
        let request = ModelRequest {
            path: asked.path,
            model: asked.model.map(|model| model.chars().take(MODEL_CHARS_MAX).collect()),
            body: Digest::of(&asked.body),
            body_bytes: asked.body.len() as u64,
        };
        loop {
            // In the order of their numbers: each is in the queue before the next is drawn.
            let (number, written) = {
                let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
                let number = *next;
                *next += 1;
                let request = Box::new(request.clone());
                let command = Command::AskModel { run: self.run, fence: self.fence, number, request };
                (number, self.app.execute(PART, command))
            };
            let kept = self.keep(number, "request", asked.body.clone());
            let (written, ()) = tokio::join!(written, kept);
            let message = match written {
                Ok(_) => return Ok(number),
                Err(ExecuteError::Rejected(refusal)) => refusal.to_string(),
                Err(ExecuteError::Closed) => "the daemon stops; ask again".to_owned(),
                Err(error) => {
                    tracing::warn!(run = %self.run, error = chain(&error), "an agent waits: its request is not on record");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            return Err(Refusal { code: "not_admitted", message });
        }
    }

    async fn close(&self, number: u32, answered: Answered) {
        let body_bytes = answered.body.len() as u64 + answered.left_out;
        let body = (!answered.body.is_empty()).then(|| Digest::of(&answered.body));
        self.keep(number, "answer", answered.body.into()).await;
        let answer = ModelAnswer {
            status: answered.status,
            model: answered.model.map(|model| model.chars().take(MODEL_CHARS_MAX).collect()),
            tokens: answered.tokens.unwrap_or(answered.estimate),
            is_estimate: answered.tokens.is_none(),
            end: word(answered.end).to_owned(),
            body,
            body_bytes,
            tries: answered.tries,
        };
        self.put(number, answer).await;
    }
}

impl Books {
    /// Puts on record that nobody knows what became of an exchange: the daemon that passed it on is gone.
    async fn give_up(&self, open: OpenExchange) {
        let tokens = TokenUse { input: open.request_bytes.div_ceil(BYTES_OF_TOKEN), ..TokenUse::default() };
        let answer = ModelAnswer {
            status: None,
            model: None,
            tokens,
            is_estimate: true,
            end: "unknown".to_owned(),
            body: None,
            body_bytes: 0,
            tries: 1,
        };
        self.put(open.number, answer).await;
    }

    async fn put(&self, number: u32, answer: ModelAnswer) {
        loop {
            let answer = Box::new(answer.clone());
            let error = match self.app.execute(PART, Command::AnswerModel { run: self.run, number, answer }).await {
                Ok(_) | Err(ExecuteError::Closed) => return,
                Err(error) => error,
            };
            let (run, cause) = (self.run, chain(&error));
            if matches!(error, ExecuteError::Rejected(_) | ExecuteError::Apply(_)) {
                tracing::error!(%run, number, error = cause, "an answer of a model makes no sense and is not on record");
                return;
            }
            tracing::warn!(%run, number, error = cause, "an answer of a model is not on record yet");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Keeps what was asked or answered beside the run's log. The record has its digest; without room for it the digest is
    /// what is left.
    async fn keep(&self, number: u32, part: &str, body: Bytes) {
        if body.is_empty() {
            return;
        }
        let path = self.app.dirs.run(self.run).join(format!("model-{number}.{part}"));
        if let Err(error) = blocking(move || write(&path, &body)).await {
            tracing::warn!(run = %self.run, number, %error, "what passed between an agent and its model is not kept");
        }
    }
}

fn write(path: &Path, body: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(body)
}

const fn word(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Broken => "broken",
        End::Silent => "silent",
        End::Unwanted => "unwanted",
        End::Unreachable => "unreachable",
    }
}
