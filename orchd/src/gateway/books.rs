//! The books of one run: what it asks is on record before it leaves, what came of it afterwards, and both texts are kept.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use orch_adapters::gateway::{Answered, Asked, End, Ledger, Refusal, Way};
use orch_core::command::Command;
use orch_core::decide::{DecideError, Standing, standing};
use orch_core::digest::Digest;
use orch_core::entity::{ModelAnswer, ModelRequest, OpenExchange, Run, Spend, TokenUse, model_name};
use orch_core::view::View as _;
use orch_proto::id::{CommandId, RunId};
use orch_store::ExecuteError;
use tokio::sync::OnceCell;

use super::{AGAIN, way};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// Part of the daemon that these commands come from.
const PART: &str = "gateway";
/// About how many bytes of a request are a token.
const BYTES_OF_TOKEN: u64 = 4;
/// How many tokens are kept for an answer of which the request does not say how long it may be.
const OUTPUT_TOKENS: u64 = 8_192;
/// Most tokens that are kept for an answer: more is no figure.
const OUTPUT_TOKENS_MAX: u64 = 1 << 20;
/// How much of what passed between a run and its model is kept, in bytes. Beyond it the record has the digest alone.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// What is known of a run's exchanges beside the record, once in a daemon.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Numbers of those that are under way here.
    live: Mutex<BTreeSet<u32>>,
    /// Held from a number until it is on record: they are used in their order, and none twice.
    recording: tokio::sync::Mutex<()>,
    /// Bytes that are kept, those of daemons before this one included.
    kept: OnceCell<AtomicU64>,
    run_is_over: AtomicBool,
}

impl Book {
    /// Whether nothing more happens in it.
    pub(super) fn is_done(&self) -> bool {
        self.run_is_over.load(Ordering::Relaxed) && self.live().is_empty()
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is on record.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    number: u32,
    /// The model that it names.
    model: Option<String>,
}

/// The books of one run, for whoever serves it.
#[derive(Clone, Debug)]
pub(super) struct Books {
    app: Arc<App>,
    run: RunId,
    fence: u64,
    book: Arc<Book>,
}

impl Ledger for Books {
    type Ticket = Ticket;

    async fn way(&self) -> Result<Way, Refusal> {
        let run = self.run_that_may_ask().await?;
        let app = Arc::clone(&self.app);
        let no_agent = || over(format!("R-{} is no agent's", run.number));
        let agent = run.agent.ok_or_else(no_agent)?;
        blocking(move || way::find(&app, &agent)).await
    }

    async fn open(&self, asked: Asked) -> Result<Ticket, Refusal> {
        let body = asked.body;
        let hashed = body.clone();
        let request = ModelRequest {
            path: asked.path,
            model: asked.model.as_deref().and_then(model_name),
            body: blocking(move || Digest::of(&hashed)).await,
            body_bytes: body.len() as u64,
        };
        let reserved = self.reserved(&request, asked.output_max);
        let number = loop {
            self.wait_until_it_may_spend().await?;
            if let Some(number) = self.record(&request, reserved).await? {
                break number;
            }
            self.wait().await?;
        };
        self.keep(number, "request", body).await;
        Ok(Ticket { number, model: request.model })
    }

    async fn close(&self, ticket: Ticket, answered: Answered) {
        let Ticket { number, model: asked } = ticket;
        let body_bytes = answered.body.len() as u64 + answered.left_out;
        let body = (!answered.body.is_empty()).then(|| Digest::of(&answered.body));
        self.keep(number, "answer", answered.body.into()).await;
        let answer = ModelAnswer {
            status: answered.status,
            cost: self.cost([answered.model.as_deref(), asked.as_deref()], &answered.tokens),
            tokens: answered.tokens,
            is_estimate: answered.is_estimate,
            model: answered.model,
            end: word(answered.end).to_owned(),
            body,
            body_bytes,
            tries: answered.tries,
        };
        self.put(number, answer).await;
        self.is_done_with(number);
    }
}

impl Books {
    pub(super) fn of(app: &Arc<App>, run: RunId, fence: u64) -> Self {
        Self { app: Arc::clone(app), run, fence, book: app.gateways.book(run) }
    }

    /// Nothing more is asked for the run.
    pub(super) fn run_is_over(&self) {
        self.book.run_is_over.store(true, Ordering::Relaxed);
        self.app.gateways.forget(self.run);
    }

    /// Puts on record that nobody knows what became of an exchange: the daemon that passed it on is gone. None that is
    /// passed on here.
    pub(super) async fn give_up(&self, open: OpenExchange) {
        if self.book.live().contains(&open.number) {
            return;
        }
        let tokens = TokenUse { input: open.request_bytes.div_ceil(BYTES_OF_TOKEN), ..TokenUse::default() };
        let answer = ModelAnswer {
            status: None,
            model: None,
            // As much as was kept for it.
            cost: (open.reserved.cost > 0).then_some(open.reserved.cost),
            tokens,
            is_estimate: true,
            end: "unknown".to_owned(),
            body: None,
            body_bytes: 0,
            tries: 1,
        };
        self.put(open.number, answer).await;
    }

    /// The run as it is, if something may be asked for it.
    async fn run_that_may_ask(&self) -> Result<Run, Refusal> {
        let id = self.run;
        loop {
            match self.app.read(move |view| view.get::<Run>(id)).await {
                Ok(Some(run)) if run.fence != self.fence || run.state.is_final() => {
                    return Err(over(format!("R-{} is over: nothing more is asked for it", run.number)));
                }
                Ok(Some(run)) => {
                    return match &run.cancel_requested {
                        Some(reason) => Err(over(format!("R-{} is to end: {reason}", run.number))),
                        None => Ok(run),
                    };
                }
                Ok(None) => return Err(over("there is no such run".to_owned())),
                Err(error) => {
                    tracing::warn!(run = %id, error = chain(&error), "an agent waits: its run cannot be read");
                }
            }
            self.wait().await?;
        }
    }

    /// A run that stands still asks for nothing, and one that may not spend more waits; what it has sent already waits, too.
    async fn wait_until_it_may_spend(&self) -> Result<(), Refusal> {
        let mut changed = self.app.store.subscribe();
        loop {
            changed.mark_unchanged();
            let run = self.run_that_may_ask().await?;
            let now = crate::clock::now();
            match self.app.read(move |view| standing(view, &run, now)).await {
                // When nothing is left, to ask for more is what has a person asked.
                Ok(Standing::Free | Standing::Held) => return Ok(()),
                Ok(Standing::Waits) => {}
                Err(error) => {
                    tracing::warn!(run = %self.run, error = chain(&error), "an agent waits: its project cannot be read");
                }
            }
            tokio::select! {
                waited = self.wait() => waited?,
                _ = changed.changed() => {}
            }
        }
    }

    async fn wait(&self) -> Result<(), Refusal> {
        tokio::select! {
            () = self.app.stopped() => Err(stopping()),
            () = tokio::time::sleep(AGAIN) => Ok(()),
        }
    }

    /// What a request may come to.
    fn reserved(&self, request: &ModelRequest, output_max: Option<u64>) -> Spend {
        let output = output_max.unwrap_or(OUTPUT_TOKENS).min(OUTPUT_TOKENS_MAX);
        let tokens = TokenUse { input: request.body_bytes.div_ceil(BYTES_OF_TOKEN), output, ..TokenUse::default() };
        let price = request.model.as_deref().and_then(|model| self.app.prices.of(model));
        Spend { tokens: tokens.total(), cost: price.map_or(0, |price| price.of(&tokens)) }
    }

    /// What an answer cost, by the name that the model has by its own word, or as it was asked for.
    fn cost(&self, names: [Option<&str>; 2], tokens: &TokenUse) -> Option<u64> {
        names.into_iter().flatten().find_map(|model| self.app.prices.of(model)).map(|price| price.of(tokens))
    }

    /// Puts a request on record; none when it may not leave yet. While that cannot be written the same is tried again, under
    /// the same number.
    async fn record(&self, request: &ModelRequest, reserved: Spend) -> Result<Option<u32>, Refusal> {
        let _recording = self.book.recording.lock().await;
        let number = self.run_that_may_ask().await?.models.exchanges.saturating_add(1);
        let id = CommandId::generate();
        self.is_under_way(number);
        loop {
            let request = Box::new(request.clone());
            let exchange = OpenExchange { number, request_bytes: request.body_bytes, reserved };
            let command = Command::AskModel { run: self.run, fence: self.fence, exchange, request };
            let refusal = match self.app.execute_as(id, PART, command).await {
                // What may not leave yet says so.
                Ok(done) if done.notes.is_empty() => return Ok(Some(number)),
                Ok(_) => {
                    self.is_done_with(number);
                    return Ok(None);
                }
                Err(ExecuteError::Rejected(refusal)) => over(told(&refusal)),
                Err(ExecuteError::Closed) => stopping(),
                Err(error) => {
                    tracing::warn!(run = %self.run, error = chain(&error), "an agent waits: its request is not on record");
                    match self.wait().await {
                        Ok(()) => continue,
                        // It may be on record all the same; then the next daemon closes it.
                        Err(refusal) => refusal,
                    }
                }
            };
            self.is_done_with(number);
            return Err(refusal);
        }
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

    fn is_under_way(&self, number: u32) {
        self.book.live().insert(number);
        self.app.gateways.under_way.send_modify(|count| *count += 1);
    }

    fn is_done_with(&self, number: u32) {
        self.book.live().remove(&number);
        self.app.gateways.under_way.send_modify(|count| *count = count.saturating_sub(1));
        self.app.gateways.forget(self.run);
    }

    /// Keeps what was asked or answered beside the run's log. The record has its digest; without room for it the digest is
    /// what is left.
    async fn keep(&self, number: u32, part: &str, body: Bytes) {
        if body.is_empty() {
            return;
        }
        let directory = self.app.dirs.run(self.run);
        let counted = directory.clone();
        let count = async || AtomicU64::new(blocking(move || kept_bytes(&counted)).await);
        let (kept, bytes) = (self.book.kept.get_or_init(count).await, body.len() as u64);
        if kept.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > KEPT_BYTES_MAX {
            kept.fetch_sub(bytes, Ordering::Relaxed);
            tracing::warn!(run = %self.run, number, "what passes between an agent and its model is not kept any more: it is too much");
            return;
        }
        let path = directory.join(format!("model-{number}.{part}"));
        if let Err(error) = blocking(move || write(&path, &body)).await {
            tracing::warn!(run = %self.run, number, %error, "what passed between an agent and its model is not kept");
        }
    }
}

/// Bytes of exchanges in the directory of a run.
fn kept_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_kept = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with("model-"));
    let sizes = entries.filter(|entry| is_kept(&entry.file_name())).filter_map(|entry| entry.metadata().ok());
    sizes.map(|meta| meta.len()).sum()
}

fn write(path: &Path, body: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(body)
}

fn over(message: String) -> Refusal {
    Refusal { code: "not_admitted", message, is_passing: false }
}

fn stopping() -> Refusal {
    Refusal { code: "stopping", message: "the daemon stops; ask again".to_owned(), is_passing: true }
}

/// Why something is not admitted, with the next step.
fn told(refusal: &DecideError) -> String {
    match refusal {
        DecideError::Conflict { message, hint: Some(hint) } => format!("{message}; {hint}"),
        refusal => refusal.to_string(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_daemons_before_kept_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [("model-1.request", 7), ("model-1.answer", 5), ("log", 100), ("prompt.md", 9)] {
            std::fs::write(directory.path().join(name), vec![b'x'; bytes]).unwrap();
        }
        assert_eq!(kept_bytes(directory.path()), 12);
        assert_eq!(kept_bytes(&directory.path().join("none")), 0);
    }

    #[test]
    fn a_refusal_has_its_next_step() {
        let refusal = DecideError::Conflict { message: "too often".into(), hint: Some("make it smaller".into()) };
        assert_eq!(told(&refusal), "too often; make it smaller");
    }
}
