//! The books of a planning by a model: what it asks is on record before it leaves, what came of it afterwards, and both texts
//! are blobs.

use std::sync::Arc;

use orch_adapters::gateway::{Answered, Asked, Ledger, Opened, Refusal, Way};
use orch_core::command::{Command, PlanningCommand};
use orch_core::decide::{Standing, standing_of};
use orch_core::digest::Digest;
use orch_core::entity::{ModelAnswer, ModelRequest, OpenExchange, Planning, Project, ServerUse, Spend, model_name};
use orch_core::view::View as _;
use orch_proto::id::{CommandId, ProjectId};
use orch_store::ExecuteError;

use super::books::{self, cost, over, reserved, stopping, told, unknown};
use super::{AGAIN, texts, way};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// Part of the daemon that these commands come from.
const PART: &str = "planner";

/// The books of one planning.
#[derive(Clone, Debug)]
pub(crate) struct PlannerBooks {
    app: Arc<App>,
    project: ProjectId,
    planning: u32,
    server: ServerUse,
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
        let (app, server) = (Arc::clone(&self.app), self.server.clone());
        blocking(move || way::find_at(&app, &server)).await
    }

    async fn open(&self, asked: Asked) -> Result<Opened<Ticket>, Refusal> {
        let (model, output) = (asked.model.as_deref().and_then(model_name), books::output(&asked));
        let body_bytes = asked.body.len() as u64;
        texts::keep(&self.app, asked.body).await;
        let request = ModelRequest { path: asked.path, model: model.clone(), body: asked.digest, body_bytes };
        let reserved = reserved(&self.app, &request, output);
        let mut has_waited = false;
        loop {
            if let Some(number) = self.record(&request, reserved).await? {
                self.app.gateways.under_way.send_modify(|count| *count += 1);
                return Ok(Opened { ticket: Ticket { number, model, output }, has_waited });
            }
            has_waited = true;
            if self.is_held().await {
                // Whoever asked looks what is left, and asks a person.
                let message = "nothing is left to spend for the project".to_owned();
                return Err(Refusal { code: "waits", message, is_passing: true });
            }
            self.wait().await?;
        }
    }

    async fn close(&self, ticket: Ticket, answered: Answered) {
        let body_bytes = answered.body.len() as u64 + answered.left_out;
        let names = [answered.model.as_deref(), ticket.model.as_deref()];
        let tokens = books::tokens_of(&answered, ticket.output);
        let cost = cost(&self.app, names, &tokens);
        let body = (!answered.body.is_empty()).then(|| Digest::of(&answered.body));
        texts::keep(&self.app, answered.body.into()).await;
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
        self.app.gateways.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl PlannerBooks {
    pub(crate) fn of(app: &Arc<App>, project: ProjectId, planning: &Planning) -> Self {
        let (planning, server) = (planning.number, planning.planner.server.clone());
        Self { app: Arc::clone(app), project, planning, server }
    }

    /// Puts on record that nobody knows what became of an exchange: whoever passed it on is gone.
    pub(crate) async fn give_up(&self, open: &OpenExchange) {
        self.put(open.number, unknown(open)).await;
    }

    /// Puts a request on record; none when it may not leave yet. While that cannot be written the same is tried again.
    async fn record(&self, request: &ModelRequest, reserved: Spend) -> Result<Option<u32>, Refusal> {
        let (id, number) = (CommandId::generate(), self.next_number().await?);
        loop {
            let exchange = OpenExchange { number, request_bytes: request.body_bytes, reserved };
            let request = Box::new(request.clone());
            let command = PlanningCommand::AskModel { planning: self.planning, exchange, request };
            match self.app.execute_as(id, PART, Command::Planning { project: self.project, command }).await {
                Ok(done) if done.notes.is_empty() => return Ok(Some(number)),
                Ok(_) => return Ok(None),
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
    async fn is_held(&self) -> bool {
        let (id, now) = (self.project, crate::clock::now());
        let found = self.app.read(move |view| {
            let project = view.get::<Project>(id)?;
            project.map(|project| standing_of(view, &project, now)).transpose()
        });
        matches!(found.await, Ok(Some((Standing::Held, _))))
    }

    async fn next_number(&self) -> Result<u32, Refusal> {
        let id = self.project;
        loop {
            match self.app.read(move |view| view.get::<Project>(id)).await {
                Ok(project) => {
                    let planning = project.and_then(|project| project.planning);
                    let exchanges = planning.map(|planning| planning.models.exchanges);
                    let gone = || over("there is no such planning any more".to_owned());
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
