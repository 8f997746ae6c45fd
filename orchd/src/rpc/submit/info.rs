//! Answers to questions of runs. Values of secrets go to their store and nowhere else: not even a digest of them is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_adapters::secret_store::SecretStoreError;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::entity::{FieldKind, FieldValue, InfoRequest};
use orch_proto::id::CommandId;
use orch_proto::request::{Accepted, Bytes};
use orch_proto::{ErrorCode, Ref, RpcError};

use super::super::identity::Caller;
use super::super::{errors, resolve};
use super::{answer, answered};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// What the answers are, as far as it is on record.
type Answers = BTreeMap<String, FieldValue>;

pub(crate) async fn info_answer(
    app: &Arc<App>,
    caller: &Caller,
    info: Ref,
    key: CommandId,
    values: BTreeMap<String, Bytes>,
) -> Result<Accepted, RpcError> {
    let asked = {
        let app = Arc::clone(app);
        blocking(move || super::with_view(&app, |view| resolve::entity::<InfoRequest>(view, &info))).await?
    };
    let answers = sorted(&asked, &values)?;
    let request = Digest::of_json(&("info_answer", asked.id, &answers));
    if let Some(first) = answered(app, key, request).await? {
        return first.map(answer).map_err(|error| errors::execute(&error));
    }
    let turn = app.answers.turn.lock().await;
    let (site, id) = (Arc::clone(app), asked.id);
    blocking(move || put(&site, id, &values)).await?;
    let command = Command::AnswerInfo { info: id, answers };
    let committed = app.store.execute(Envelope { id: key, actor: caller.actor(), request, command }).await;
    if committed.is_err() {
        // It was refused, or nobody knows yet; what is not on record nobody takes.
        let site = Arc::clone(app);
        blocking(move || crate::answers::sweep(&site)).await;
    }
    drop(turn);
    let committed = committed.map_err(|error| errors::execute(&error))?;
    tracing::info!(user = caller.name, %key, seq = committed.last_seq, "a question of a run is answered");
    Ok(answer(committed))
}

/// What the values are to the fields.
fn sorted(asked: &InfoRequest, values: &BTreeMap<String, Bytes>) -> Result<Answers, RpcError> {
    let invalid = |message: String| RpcError::new(ErrorCode::Invalid, message);
    let sort = |(name, value): (&String, &Bytes)| {
        let text = || invalid(format!("the value of `{name}` is not text"));
        let text = std::str::from_utf8(&value.0).map_err(|_| text())?;
        let is_secret = asked.fields.iter().any(|field| field.name == *name && field.kind == FieldKind::Secret);
        let value = if is_secret { FieldValue::Secret } else { FieldValue::Plain { text: text.to_owned() } };
        Ok((name.clone(), value))
    };
    values.iter().map(sort).collect()
}

/// Keeps the values of secrets, while the question waits.
fn put(app: &App, id: orch_proto::id::InfoRequestId, values: &BTreeMap<String, Bytes>) -> Result<(), RpcError> {
    use orch_core::view::View as _;
    let asked = app.store.read(|view| view.get::<InfoRequest>(id)).map_err(|error| errors::read(&error))?;
    let Some(asked) = asked.filter(InfoRequest::is_pending) else { return Ok(()) };
    let is_secret = |name: &str| asked.fields.iter().any(|field| field.name == name && field.kind == FieldKind::Secret);
    for (name, value) in values.iter().filter(|(name, _)| is_secret(name)) {
        app.answers.put(&asked, name, &value.0).map_err(|error| match &error {
            SecretStoreError::Value { problem, .. } => {
                RpcError::new(ErrorCode::Invalid, format!("the value of `{name}` cannot be given: it is {problem}"))
            }
            _ => RpcError::new(ErrorCode::Storage, chain(&error)).hint("look at the state directory and its disk"),
        })?;
    }
    Ok(())
}
