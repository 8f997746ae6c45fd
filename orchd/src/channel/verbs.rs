//! What a run asks for over its channel, done.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_adapters::job;
use orch_core::command::Word;
use orch_core::decide::{action_digest, asked_action, asked_info};
use orch_core::digest::Digest;
use orch_core::entity::{Approval, FieldValue, InfoRequest, Project, Run};
use orch_core::event::Event;
use orch_core::recipe::Step;
use orch_core::state::approval::ApprovalState;
use orch_core::state::info_request::InfoRequestState;
use orch_core::view::View as _;
use orch_proto::channel::{Answer, Answered, ApprovalAnswer, Check, InfoAnswer, Verb, WAIT_MS_MAX};
use orch_proto::id::ApprovalId;
use orch_proto::{ErrorCode, RpcError};
use tokio::time::Instant;

use super::line::Line;
use super::{messages, tool};
use crate::answers;
use crate::app::blocking;
use crate::convert;
use crate::reconcile::gates;
use crate::rpc::errors;

/// Does what a call asks for.
pub(super) async fn answer(line: &Line, verb: Verb) -> Answer {
    line.begun().await?;
    match verb {
        Verb::Progress { percent, text } => {
            if percent.is_some_and(|percent| percent > 100) || text.len() > orch_core::decide::SAID_BYTES_MAX {
                return Err(RpcError::new(
                    ErrorCode::Invalid,
                    "the percentage or the text of the progress is too large",
                ));
            }
            line.is_at(percent, text);
            Ok(Answered::Done)
        }
        Verb::Note { text } => line.say(Word::Note { text }).await.map(|_| Answered::Done),
        Verb::Tests => tests(line).await,
        Verb::RequestInfo { .. } => request_info(line, verb).await,
        Verb::TakeInfo { key } => take_info(line, key).await,
        Verb::Withdraw { key, action, details } => {
            let action = action.map(|action| (action, details));
            line.say(Word::Withdraw { key, action }).await.map(|_| Answered::Done)
        }
        Verb::AwaitApproval { .. } => await_approval(line, verb).await,
        Verb::TakeMessages { after, wait_ms } => messages::take(line, after, wait_ms).await,
        Verb::MessageTold { number } => line.say(Word::Told { number }).await.map(|_| Answered::Done),
        Verb::Replied { number, text } => line.say(Word::Replied { number, text }).await.map(|_| Answered::Done),
        Verb::ProposeChange { title, body } => line.say(Word::Propose { title, body }).await.map(|_| Answered::Done),
        Verb::RequestTool { .. } => tool::request(line, verb).await,
        Verb::WithdrawTool { name } => {
            let app = std::sync::Arc::clone(&line.app);
            let name = blocking(move || tool::canonical(&app, &name)).await;
            line.say(Word::WithdrawTool { name }).await.map(|_| Answered::Done)
        }
        Verb::Artifact { .. } => Err(RpcError::new(ErrorCode::Internal, "a file was taken for a question")),
    }
}

/// What is run on the result of the run, as far as that is known before there is one: on the commit that it began with.
async fn tests(line: &Line) -> Answer {
    let checks = line.checks.get_or_try_init(async || checks(line).await).await?.clone();
    Ok(Answered::Tests { workspace: job::WORKSPACE_INSIDE.to_owned(), checks })
}

async fn checks(line: &Line) -> Result<Vec<Check>, RpcError> {
    let run = line.look().await.map_err(|error| errors::read(&error))?;
    let Some(run) = run else { return Err(RpcError::new(ErrorCode::NotFound, "the run is not there any more")) };
    let project = line.app.read(move |view| view.get::<Project>(run.project)).await;
    let Some(project) = project.map_err(|error| errors::read(&error))? else {
        return Err(RpcError::new(ErrorCode::NotFound, "the project of the run is not there any more"));
    };
    let (app, base) = (std::sync::Arc::clone(&line.app), run.base);
    let parameters = project.blueprint.as_ref().map(|(_, parameters)| parameters.clone()).unwrap_or_default();
    let gates = blocking(move || base.map(|commit| gates::on(&app, &project, &commit).run).unwrap_or_default()).await;
    let check = |gate: Step| {
        let mut env = parameters.clone();
        env.extend(gate.env.into_iter().map(|(name, value)| (name.to_string(), value)));
        let (run, timeout_ms) = (gate.run, gate.timeout_ms);
        Check { name: gate.name, run, cwd: gate.cwd.as_str().to_owned(), timeout_ms, env }
    };
    Ok(gates.into_iter().map(check).collect())
}

async fn request_info(line: &Line, verb: Verb) -> Answer {
    let Verb::RequestInfo { key, text, fields, expires_ms, wait_ms } = verb else {
        return Err(RpcError::new(ErrorCode::Internal, "no question"));
    };
    let fields: Vec<_> = fields.into_iter().map(convert::info::field).collect();
    let until = until(wait_ms);
    let asked = loop {
        match find_info(line, &key).await?.filter(|asked| asked.text == text && asked.fields == fields) {
            Some(asked) => break asked.id,
            None => {
                let expires = crate::clock::now().plus_ms(expires_ms);
                let word = Word::Ask { key: key.clone(), text: text.clone(), fields: fields.clone(), expires };
                line.say(word).await?;
            }
        }
    };
    let is_it = move |event: &Event| matches!(event, Event::InfoRequest { id, .. } if *id == asked);
    let mut changed = line.app.store.subscribe_to(is_it);
    loop {
        changed.mark_unchanged();
        let found = line.app.read(move |view| view.get::<InfoRequest>(asked)).await;
        let found = found.map_err(|error| errors::read(&error))?.ok_or_else(gone)?;
        if !found.is_pending() || Instant::now() >= until {
            return told(line, found).await;
        }
        tokio::select! {
            () = line.app.stopped() => return Err(stopping()),
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Until when an answer is held.
pub(super) fn until(wait_ms: u32) -> Instant {
    Instant::now() + Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)))
}

/// What a run is told of its question.
async fn told(line: &Line, asked: InfoRequest) -> Answer {
    let name = orch_proto::EntityKind::InfoRequest.short(asked.number);
    let state = match &asked.state {
        InfoRequestState::Pending { .. } => InfoAnswer::Pending,
        InfoRequestState::Expired => InfoAnswer::Expired,
        InfoRequestState::Cancelled { reason } => InfoAnswer::Cancelled { reason: reason.clone() },
        InfoRequestState::Answered { .. } => {
            let plain = |(field, value): (&String, &FieldValue)| match value {
                FieldValue::Plain { text } => Some((field.clone(), text.clone())),
                FieldValue::Secret => None,
            };
            let values: BTreeMap<String, String> = asked.answers.iter().filter_map(plain).collect();
            let secrets = if asked.is_taken { BTreeMap::new() } else { secrets(line, asked).await? };
            InfoAnswer::Answered { values, secrets }
        }
    };
    Ok(Answered::Info { name, state })
}

async fn secrets(line: &Line, asked: InfoRequest) -> Result<BTreeMap<String, String>, RpcError> {
    let (app, run) = (std::sync::Arc::clone(&line.app), line.run);
    blocking(move || answers::for_run(&app, run, &asked)).await.map_err(|error| {
        tracing::error!(run = %line.run, error = crate::error_chain::chain(&error), "an answer cannot be given");
        RpcError::new(error.code(), error.to_string()).hint("ask the same again, or anew with another key")
    })
}

async fn take_info(line: &Line, key: String) -> Answer {
    line.say(Word::Taken { key }).await?;
    Ok(Answered::Done)
}

async fn find_info(line: &Line, key: &str) -> Result<Option<InfoRequest>, RpcError> {
    let (id, key) = (line.run, key.to_owned());
    let found = line.app.read(move |view| match view.get::<Run>(id)? {
        Some(run) => asked_info(view, &run, &key),
        None => Ok(None),
    });
    found.await.map_err(|error| errors::read(&error))
}

async fn await_approval(line: &Line, verb: Verb) -> Answer {
    let Verb::AwaitApproval { key, action, details, expires_ms, wait_ms } = verb else {
        return Err(RpcError::new(ErrorCode::Internal, "nothing to be allowed"));
    };
    let digest = action_digest(line.run, &key, &action, &details);
    let until = until(wait_ms);
    let asked = loop {
        match find_action(line, digest).await? {
            Some(asked) => break asked.id,
            None => {
                let expires = crate::clock::now().plus_ms(expires_ms);
                let word = Word::Await { key: key.clone(), action: action.clone(), details: details.clone(), expires };
                line.say(word).await?;
            }
        }
    };
    let (name, state) = decided(line, asked, until).await?;
    Ok(Answered::Approval { name, state })
}

pub(super) async fn find_action(line: &Line, digest: Digest) -> Result<Option<Approval>, RpcError> {
    let id = line.run;
    let found = line.app.read(move |view| match view.get::<Run>(id)? {
        Some(run) => asked_action(view, &run, digest),
        None => Ok(None),
    });
    found.await.map_err(|error| errors::read(&error))
}

/// The short name of an approval, and how it is decided, as soon as it is or the time is over.
pub(super) async fn decided(
    line: &Line,
    asked: ApprovalId,
    until: Instant,
) -> Result<(String, ApprovalAnswer), RpcError> {
    let is_it = move |event: &Event| matches!(event, Event::Approval { id, .. } if *id == asked);
    let mut changed = line.app.store.subscribe_to(is_it);
    loop {
        changed.mark_unchanged();
        let found = line.app.read(move |view| view.get::<Approval>(asked)).await;
        let found = found.map_err(|error| errors::read(&error))?.ok_or_else(gone)?;
        let state = match found.state {
            ApprovalState::Pending { .. } => ApprovalAnswer::Pending,
            ApprovalState::Granted { .. } | ApprovalState::Answered { .. } => ApprovalAnswer::Granted,
            ApprovalState::Denied { reason, .. } => ApprovalAnswer::Denied { reason },
            ApprovalState::Expired => ApprovalAnswer::Expired,
            ApprovalState::Void { reason } => ApprovalAnswer::Void { reason },
        };
        if state != ApprovalAnswer::Pending || Instant::now() >= until {
            return Ok((orch_proto::EntityKind::Approval.short(found.number), state));
        }
        tokio::select! {
            () = line.app.stopped() => return Err(stopping()),
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

fn gone() -> RpcError {
    RpcError::new(ErrorCode::NotFound, "the question is not there any more").hint("ask anew, with another key")
}

pub(super) fn stopping() -> RpcError {
    RpcError::new(ErrorCode::ShuttingDown, "the daemon is stopping").hint("ask again; the next one knows the question")
}
