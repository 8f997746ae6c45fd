//! The books of a planning, by a model or by an agent: what is asked is on record before it leaves, what came of it afterwards,
//! and both texts are blobs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::Bytes;
use orch_adapters::gateway::{Answered, Api, Asked, Ledger, Opened, Refusal, Way};
use orch_core::command::{Command, PlanningCommand};
use orch_core::decide::{Standing, standing_of};
use orch_core::digest::Digest;
use orch_core::entity::{
    AgentUse, ModelAnswer, ModelRequest, OpenExchange, Planning, Project, ServerUse, Spend, model_name,
};
use orch_core::view::View as _;
use orch_proto::id::{CommandId, ProjectId};
use orch_store::ExecuteError;
use tokio::sync::{Mutex, watch};

use super::books::{self, cost, over, reserved, stopping, told, unknown};
use super::{AGAIN, texts, way};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// Part of the daemon that these commands come from.
const PART: &str = "planner";
/// What is said of a planning that is over, or of an agent's turn.
const GONE: &str = "planning_gone";

/// What is known of the exchanges of a project's planner beside the record, as long as somebody attends to it.
#[derive(Debug, Default)]
pub(crate) struct PlannerBook {
    /// Numbers of those that are under way here.
    live: watch::Sender<BTreeSet<u32>>,
    /// Held from a number until that is on record: they are used in their order, and none twice.
    recording: Mutex<()>,
    /// Why nothing more may be asked, once something was not to be.
    refused: watch::Sender<Option<String>>,
    /// How much of what passed is kept, in bytes.
    kept: AtomicU64,
}

/// The books of one planning.
#[derive(Clone, Debug)]
pub(crate) struct PlannerBooks {
    app: Arc<App>,
    project: ProjectId,
    planning: u32,
    /// Of an agent, for which of its turns they are.
    turn: Option<u32>,
    server: ServerUse,
    agent: Option<Box<AgentUse>>,
    book: Arc<PlannerBook>,
}

/// A request that is on record.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    number: u32,
    /// The model that it names.
    model: Option<String>,
    /// Tokens that are kept for its answer.
    output: u64,
}

impl Ledger for PlannerBooks {
    type Ticket = Ticket;

    async fn way(&self) -> Result<Way, Refusal> {
        let (app, server, agent) = (Arc::clone(&self.app), self.server.clone(), self.agent.clone());
        blocking(move || match &agent {
            Some(agent) => way::find(&app, agent),
            None => way::find_at(&app, &server),
        })
        .await
    }

    /// Whoever plans is there for as long as this is.
    async fn admits(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn open(&self, asked: Asked) -> Result<Opened<Ticket>, Refusal> {
        let (model, output) = (asked.model.as_deref().and_then(model_name), books::output(&asked));
        let body_bytes = asked.body.len() as u64;
        let until = asked.patience.map(|patience| Instant::now() + patience);
        let request = ModelRequest { path: asked.path, model: model.clone(), body: asked.digest, body_bytes };
        let reserved = reserved(&self.app, &request, output);
        let mut has_waited = false;
        loop {
            let recorded = self.record(&request, reserved).await;
            if let Some(number) = recorded.inspect_err(|refusal| self.refuse(refusal))? {
                self.keep(number, asked.body).await;
                return Ok(Opened { ticket: Ticket { number, model, output }, has_waited });
            }
            has_waited = true;
            self.wait_until_it_may_spend(until).await?;
        }
    }

    async fn close(&self, ticket: Ticket, answered: Answered) {
        let body_bytes = answered.body.len() as u64 + answered.left_out;
        let names = [answered.model.as_deref(), ticket.model.as_deref()];
        let tokens = books::tokens_of(&answered, ticket.output);
        let cost = cost(&self.app, names, &tokens);
        let body = (!answered.body.is_empty()).then(|| Digest::of(&answered.body));
        self.keep(ticket.number, answered.body.into()).await;
        drop(answered.hold);
        let answer = ModelAnswer {
            status: answered.status,
            cost,
            tokens,
            is_estimate: answered.is_estimate,
            model: answered.model,
            end: books::word(answered.end).to_owned(),
            body,
            body_bytes,
            tries: answered.tries,
        };
        self.put(ticket.number, answer).await;
        self.is_done_with(ticket.number);
    }
}

impl PlannerBooks {
    pub(crate) fn of(app: &Arc<App>, project: ProjectId, planning: &Planning, book: &Arc<PlannerBook>) -> Self {
        let planner = &planning.planner;
        Self {
            app: Arc::clone(app),
            project,
            planning: planning.number,
            turn: planning.turn.as_ref().map(|turn| turn.number),
            server: planner.server.clone(),
            agent: planner.agent.clone(),
            book: Arc::clone(book),
        }
    }

    /// How the server is spoken to.
    pub(super) fn api(&self) -> Option<Api> {
        Api::of(&self.server.api)
    }

    /// Ends when something was not to be asked, with the reason: whoever asks would ask in vain from then on.
    pub(crate) async fn refused(&self) -> String {
        let mut refused = self.book.refused.subscribe();
        // The other side is in the book, which is here.
        let _refused = refused.wait_for(Option::is_some).await;
        self.refusal().unwrap_or_default()
    }

    /// Why something was not to be asked, if anything was.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.book.refused.borrow().clone()
    }

    /// Keeps a text of an exchange, as long as it is not too much. What was kept before this daemon is not counted.
    async fn keep(&self, number: u32, body: Bytes) {
        if texts::has_room(&self.book.kept, body.len() as u64) {
            return texts::keep(&self.app, body).await;
        }
        let project = self.project;
        tracing::warn!(%project, number, "what passes between the planner and its model is not kept any more: it is too much");
    }

    /// Begins anew with what may be asked.
    pub(crate) fn allow(&self) {
        self.book.refused.send_replace(None);
    }

    /// Waits until nothing is under way here any more.
    pub(crate) async fn settled(&self) {
        let mut live = self.book.live.subscribe();
        // The other side is in the book, which is here.
        let _settled = live.wait_for(BTreeSet::is_empty).await;
    }

    /// What is refused for good is so from now on. Not what an agent asked before that is not at work any more.
    fn refuse(&self, refusal: &Refusal) {
        if refusal.code != GONE && !refusal.is_passing {
            self.book.refused.send_replace(Some(refusal.message.clone()));
        }
    }

    fn is_done_with(&self, exchange: u32) {
        self.book.live.send_modify(|live| {
            live.remove(&exchange);
        });
        self.app.gateways.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Puts on record that nobody knows what became of an exchange: whoever passed it on is gone.
    pub(crate) async fn give_up(&self, open: &OpenExchange) {
        self.put(open.number, unknown(open)).await;
    }

    /// Puts a request on record; none when it may not leave yet. While that cannot be written the same is tried again.
    async fn record(&self, request: &ModelRequest, reserved: Spend) -> Result<Option<u32>, Refusal> {
        let _turn = self.book.recording.lock().await;
        let (id, number) = (CommandId::generate(), self.next_number().await?);
        self.book.live.send_modify(|live| {
            live.insert(number);
        });
        self.app.gateways.under_way.send_modify(|count| *count += 1);
        let recorded = self.record_as(id, number, (request, reserved)).await;
        if !matches!(recorded, Ok(true)) {
            self.is_done_with(number);
        }
        recorded.map(|is_recorded| is_recorded.then_some(number))
    }

    /// The same under this number, which may be on record already.
    async fn record_as(
        &self,
        id: CommandId,
        number: u32,
        (request, reserved): (&ModelRequest, Spend),
    ) -> Result<bool, Refusal> {
        loop {
            let exchange = OpenExchange { number, request_bytes: request.body_bytes, reserved };
            let request = Box::new(request.clone());
            let command = PlanningCommand::AskModel { planning: self.planning, exchange, request };
            match self.app.execute_as(id, PART, Command::Planning { project: self.project, command }).await {
                Ok(done) => return Ok(done.notes.is_empty()),
                Err(ExecuteError::Rejected(refusal)) => return Err(over(told(&refusal))),
                Err(ExecuteError::Closed) => return Err(stopping()),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the planner waits: its request is not on record");
                    self.wait().await?;
                }
            }
        }
    }

    /// Whether nothing is left to spend. What cannot be read is looked at again.
    /// Waits for answers by which others of the project give back what is kept for them. Until then at most, where that is bounded.
    async fn wait_until_it_may_spend(&self, until: Option<Instant>) -> Result<(), Refusal> {
        let waits = |message: String| Refusal { code: "waits", message, is_passing: true };
        loop {
            match self.standing().await {
                Some(Standing::Held) => {
                    // Whoever asked looks what is left, and asks a person.
                    let message = "nothing is left to spend for the project".to_owned();
                    self.book.refused.send_replace(Some(message.clone()));
                    return Err(waits(message));
                }
                _ if until.is_some_and(|until| Instant::now() >= until) => {
                    let message =
                        "the planning waits for leave to ask, and others need the room that its request takes";
                    return Err(waits(message.to_owned()));
                }
                Some(Standing::Free) => return self.wait().await,
                // It cannot be read, or waits.
                Some(Standing::Waits) | None => self.wait().await?,
            }
        }
    }

    async fn standing(&self) -> Option<Standing> {
        let (id, now) = (self.project, crate::clock::now());
        let found = self.app.read(move |view| {
            let project = view.get::<Project>(id)?;
            project.map(|project| standing_of(view, &project, now)).transpose()
        });
        found.await.ok().flatten().map(|(standing, _)| standing)
    }

    async fn next_number(&self) -> Result<u32, Refusal> {
        let id = self.project;
        loop {
            match self.app.read(move |view| view.get::<Project>(id)).await {
                Ok(project) => {
                    let planning = project.and_then(|project| project.planning);
                    let is_it = |planning: &Planning| {
                        let turn = planning.turn.as_ref().map(|turn| turn.number);
                        planning.number == self.planning && turn == self.turn
                    };
                    let exchanges = planning.filter(is_it).map(|planning| planning.models.exchanges);
                    let gone = || {
                        let message = "there is no such planning any more".to_owned();
                        Refusal { code: GONE, message, is_passing: false }
                    };
                    return exchanges.map(|exchanges| exchanges.saturating_add(1)).ok_or_else(gone);
                }
                Err(error) => tracing::warn!(error = chain(&error), "the planner waits: its project cannot be read"),
            }
            self.wait().await?;
        }
    }

    async fn wait(&self) -> Result<(), Refusal> {
        tokio::select! {
            () = self.app.stopped() => Err(stopping()),
            () = tokio::time::sleep(AGAIN) => Ok(()),
        }
    }

    async fn put(&self, exchange: u32, answer: ModelAnswer) {
        loop {
            let answer = Box::new(answer.clone());
            let command = PlanningCommand::AnswerModel { planning: self.planning, exchange, answer };
            let error = match self.app.execute(PART, Command::Planning { project: self.project, command }).await {
                Ok(_) | Err(ExecuteError::Closed) => return,
                Err(error) => error,
            };
            let cause = chain(&error);
            if matches!(error, ExecuteError::Rejected(_) | ExecuteError::Apply(_)) {
                tracing::error!(error = cause, "an answer of the planner's model makes no sense and is not on record");
                return;
            }
            tracing::warn!(error = cause, "an answer of the planner's model is not on record yet");
            tokio::time::sleep(AGAIN).await;
        }
    }
}
