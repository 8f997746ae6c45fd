//! The books of one run: what it asks is on record before it leaves, what came of it afterwards, and both texts are kept.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use orch_adapters::gateway::{Answered, Asked, End, Ledger, OUTPUT_TOKENS, Opened, Refusal, Way};
use orch_core::command::Command;
use orch_core::decide::{DecideError, Standing, standing};
use orch_core::digest::Digest;
use orch_core::entity::{
    AgentUse, END_UNKNOWN, ModelAnswer, ModelRequest, OpenExchange, Run, RunEvent, Spend, TaskEvent, TokenUse,
    model_name,
};
use orch_core::event::Event;
use orch_core::view::{ReadError, View as _};
use orch_proto::id::{CommandId, RunId};
use orch_store::ExecuteError;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::AGAIN;
use super::way::KnownWay;
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// Part of the daemon that these commands come from.
const PART: &str = "gateway";
/// About how many bytes of a request are a token.
const BYTES_OF_TOKEN: u64 = 4;
/// Most tokens that are kept for an answer: more is no figure.
const OUTPUT_TOKENS_MAX: u64 = 1 << 20;
/// How many tokens a model may have written in a second of which nobody says how many it wrote: what it thinks is not in
/// what it sends. Hosted models write 50 to 300.
const TOKENS_OF_SECOND: u64 = 300;

/// What is known of a run's exchanges beside the record, once in a daemon.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Numbers of those that are under way here.
    live: Mutex<BTreeSet<u32>>,
    /// The last number that is on record, once it is known. Held from a number until that is on record: they are used in
    /// their order, and none twice.
    recording: tokio::sync::Mutex<Option<u32>>,
    /// Bytes of texts that are kept, those of daemons before this one included.
    pub(super) kept: OnceCell<AtomicU64>,
    run_is_over: AtomicBool,
    way: KnownWay,
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
#[derive(Debug)]
pub(super) struct Ticket {
    number: u32,
    /// The model that it names.
    model: Option<String>,
    /// Tokens that are kept for its answer.
    output: u64,
    /// Ends when its text is kept.
    keeping: JoinHandle<()>,
}

/// The books of one run, for whoever serves it.
#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) app: Arc<App>,
    pub(super) run: RunId,
    fence: u64,
    agent: Option<Arc<AgentUse>>,
    pub(super) book: Arc<Book>,
}

impl Ledger for Books {
    type Ticket = Ticket;

    async fn way(&self) -> Result<Way, Refusal> {
        if let Some(way) = self.book.way.now(&self.app) {
            return Ok(way);
        }
        let books = self.clone();
        blocking(move || {
            let agent = books.agent.as_deref().ok_or_else(|| over("the run is no agent's".to_owned()))?;
            books.book.way.find(&books.app, agent)
        })
        .await
    }

    async fn admits(&self) -> Result<(), Refusal> {
        self.look().await.map(|_| ())
    }

    async fn open(&self, asked: Asked) -> Result<Opened<Ticket>, Refusal> {
        let output = output(&asked);
        let until = asked.patience.map(|patience| Instant::now() + patience);
        let request = ModelRequest {
            path: asked.path,
            model: asked.model.as_deref().and_then(model_name),
            body: asked.digest,
            body_bytes: asked.body.len() as u64,
        };
        let reserved = reserved(&self.app, &request, output);
        let mut has_waited = false;
        let number = loop {
            if let Some(number) = self.record(&request, reserved).await? {
                break number;
            }
            has_waited = true;
            self.wait_until_it_may_spend(until).await?;
        };
        // Beside its way to the server: what is kept is for people, and its digest is on record.
        let (books, body, hold) = (self.clone(), asked.body, asked.hold);
        let keeping = tokio::spawn(async move {
            books.keep(number, body).await;
            drop(hold);
        });
        Ok(Opened { ticket: Ticket { number, model: request.model, output, keeping }, has_waited })
    }

    async fn close(&self, ticket: Ticket, answered: Answered) {
        let Ticket { number, model: asked, output, keeping } = ticket;
        let tokens = tokens_of(&answered, output);
        let body_bytes = answered.body.len() as u64 + answered.left_out;
        let body = (!answered.body.is_empty()).then(|| Digest::of(&answered.body));
        let (text, hold) = (Bytes::from(answered.body), answered.hold);
        let answer = ModelAnswer {
            status: answered.status,
            cost: cost(&self.app, [answered.model.as_deref(), asked.as_deref()], &tokens),
            tokens,
            is_estimate: answered.is_estimate,
            model: answered.model,
            end: word(answered.end).to_owned(),
            body,
            body_bytes,
            tries: answered.tries,
        };
        let kept = async {
            self.keep(number, text).await;
            drop(hold);
            if keeping.await.is_err() {
                tracing::warn!(run = %self.run, number, "what an agent asked is not kept");
            }
        };
        tokio::join!(kept, self.put(number, answer));
        self.is_done_with(number);
    }
}

impl Books {
    pub(super) fn of(app: &Arc<App>, run: &Run) -> Self {
        let agent = run.agent.clone().map(Arc::from);
        Self { app: Arc::clone(app), run: run.id, fence: run.fence, agent, book: app.gateways.book(run.id) }
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
        self.put(open.number, unknown(&open)).await;
    }

    /// The run, if something may be asked for it.
    fn may_ask(&self, run: Option<Run>) -> Result<Run, Refusal> {
        let run = run.ok_or_else(|| over("there is no such run".to_owned()))?;
        if run.fence != self.fence || run.state.is_final() {
            return Err(over(format!("R-{} is over: nothing more is asked for it", run.number)));
        }
        match &run.cancel_requested {
            Some(reason) => Err(over(format!("R-{} is to end: {reason}", run.number))),
            None => Ok(run),
        }
    }

    /// How the run stands at the moment.
    async fn look(&self) -> Result<(Run, Standing), Refusal> {
        let (id, now) = (self.run, crate::clock::now());
        loop {
            let found = self.app.read(move |view| {
                let run = view.get::<Run>(id)?;
                let standing = run.as_ref().map(|run| standing(view, run, now)).transpose()?;
                Ok((run, standing.unwrap_or(Standing::Waits)))
            });
            match found.await {
                Ok((run, standing)) => return Ok((self.may_ask(run)?, standing)),
                Err(error) => self.cannot_read(&error).await?,
            }
        }
    }

    async fn cannot_read(&self, error: &ReadError) -> Result<(), Refusal> {
        tracing::warn!(run = %self.run, error = chain(error), "an agent waits: its run cannot be read");
        self.wait().await
    }

    /// A run that stands still asks for nothing, and one that may not spend more waits; what it has sent already waits, too.
    /// Until then at most, where that is bounded.
    async fn wait_until_it_may_spend(&self, until: Option<Instant>) -> Result<(), Refusal> {
        let mut changed = self.app.store.subscribe_to(may_free);
        loop {
            if until.is_some_and(|until| Instant::now() >= until) {
                let message = "the run waits for leave to ask, and others need the room that its request takes";
                return Err(Refusal { code: "waits", message: message.to_owned(), is_passing: true });
            }
            let has_waited = tokio::select! {
                waited = self.wait() => waited.map(|()| true)?,
                _ = changed.changed() => false,
            };
            changed.mark_unchanged();
            match self.look().await?.1 {
                Standing::Free => return Ok(()),
                // To ask for more is what has a person asked, which is not done all the time.
                Standing::Held if has_waited => return Ok(()),
                Standing::Held | Standing::Waits => {}
            }
        }
    }

    async fn wait(&self) -> Result<(), Refusal> {
        tokio::select! {
            () = self.app.stopped() => Err(stopping()),
            () = tokio::time::sleep(AGAIN) => Ok(()),
        }
    }

    /// Puts a request on record; none when it may not leave yet. While that cannot be written the same is tried again, under
    /// the same number.
    async fn record(&self, request: &ModelRequest, reserved: Spend) -> Result<Option<u32>, Refusal> {
        let mut last = self.book.recording.lock().await;
        let number = match *last {
            Some(last) => last.saturating_add(1),
            None => self.look().await?.0.models.exchanges.saturating_add(1),
        };
        let id = CommandId::generate();
        self.is_under_way(number);
        loop {
            let request = Box::new(request.clone());
            let exchange = OpenExchange { number, request_bytes: request.body_bytes, reserved };
            let command = Command::AskModel { run: self.run, fence: self.fence, exchange, request };
            let refusal = match self.app.execute_as(id, PART, command).await {
                // What may not leave yet says so.
                Ok(done) if done.notes.is_empty() => {
                    *last = Some(number);
                    return Ok(Some(number));
                }
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
            *last = None;
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
}

/// Whether a run that may not spend may do so now, or is to end.
fn may_free(event: &Event) -> bool {
    matches!(
        event,
        Event::Project { .. }
            | Event::Task { event: TaskEvent::SpendingRaised, .. }
            | Event::Run {
                event: RunEvent::ModelAnswered { .. }
                    | RunEvent::SpendingRaised
                    | RunEvent::PauseRequested { .. }
                    | RunEvent::ResumeRequested
                    | RunEvent::Undone { .. }
                    | RunEvent::Channel { .. }
                    | RunEvent::CancelRequested { .. }
                    | RunEvent::OverBudget { .. }
                    | RunEvent::Ended { .. },
                ..
            }
    )
}

/// What an answer cost. Of one that broke off nobody says what was thought for it: as much as there was time for, and no more
/// than was kept for it.
pub(super) fn tokens_of(answered: &Answered, output: u64) -> TokenUse {
    let tokens = answered.tokens;
    if !answered.is_estimate || answered.end == End::Complete {
        return tokens;
    }
    let in_time = u64::try_from(answered.took.as_millis()).unwrap_or(u64::MAX).saturating_mul(TOKENS_OF_SECOND) / 1_000;
    TokenUse { output: tokens.output.max(in_time.min(output)), ..tokens }
}

/// Tokens that are kept for an answer to a request that may have so many.
pub(super) fn output(asked: &Asked) -> u64 {
    asked.output_max.unwrap_or(OUTPUT_TOKENS).min(OUTPUT_TOKENS_MAX)
}

/// What a request may come to.
pub(super) fn reserved(app: &App, request: &ModelRequest, output: u64) -> Spend {
    let tokens = TokenUse { input: request.body_bytes.div_ceil(BYTES_OF_TOKEN), output, ..TokenUse::default() };
    let price = request.model.as_deref().and_then(|model| app.prices.of(model));
    Spend { tokens: tokens.total(), cost: price.map_or(0, |price| price.of(&tokens)) }
}

/// What an answer cost, by the name that the model has by its own word, or as it was asked for.
pub(super) fn cost(app: &App, names: [Option<&str>; 2], tokens: &TokenUse) -> Option<u64> {
    names.into_iter().flatten().find_map(|model| app.prices.of(model)).map(|price| price.of(tokens))
}

/// What is on record of an exchange that nobody knows the end of: as much as was kept for it.
pub(super) fn unknown(open: &OpenExchange) -> ModelAnswer {
    let input = open.request_bytes.div_ceil(BYTES_OF_TOKEN);
    let output = open.reserved.tokens.saturating_sub(input);
    ModelAnswer {
        status: None,
        model: None,
        cost: (open.reserved.cost > 0).then_some(open.reserved.cost),
        tokens: TokenUse { input, output, ..TokenUse::default() },
        is_estimate: true,
        end: END_UNKNOWN.to_owned(),
        body: None,
        body_bytes: 0,
        tries: 1,
    }
}

pub(super) fn over(message: String) -> Refusal {
    Refusal { code: "not_admitted", message, is_passing: false }
}

pub(super) fn stopping() -> Refusal {
    Refusal { code: "stopping", message: "the daemon stops; ask again".to_owned(), is_passing: true }
}

/// Why something is not admitted, with the next step.
pub(super) fn told(refusal: &DecideError) -> String {
    match refusal {
        DecideError::Conflict { message, hint: Some(hint) } => format!("{message}; {hint}"),
        refusal => refusal.to_string(),
    }
}

pub(super) const fn word(end: End) -> &'static str {
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
    use std::time::Duration;

    use orch_adapters::gateway::Hold;

    use super::*;

    #[test]
    fn what_broke_off_cost_what_there_was_time_for() {
        let answered = |end, took_ms, is_estimate| Answered {
            status: Some(200),
            model: None,
            tokens: TokenUse { output: 100, ..TokenUse::default() },
            is_estimate,
            body: Vec::new(),
            left_out: 0,
            end,
            tries: 1,
            took: Duration::from_millis(took_ms),
            hold: Hold::default(),
        };
        for (end, took_ms, is_estimate, expected) in [
            (End::Complete, 10_000, true, 100),
            (End::Complete, 10_000, false, 100),
            (End::Broken, 200, true, 100),
            (End::Unwanted, 10_000, true, 3_000),
            (End::Silent, 300_000, true, 8_192),
        ] {
            assert_eq!(
                tokens_of(&answered(end, took_ms, is_estimate), 8_192).output,
                expected,
                "{end:?}, {took_ms} ms"
            );
        }
    }

    #[test]
    fn a_refusal_has_its_next_step() {
        let refusal = DecideError::Conflict { message: "too often".into(), hint: Some("make it smaller".into()) };
        assert_eq!(told(&refusal), "too often; make it smaller");
    }
}
