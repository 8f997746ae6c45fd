//! Answers to questions of runs. Values of secrets go to their store and nowhere else: not even a digest of them is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_adapters::secret_store::SecretStoreError;
use orch_core::command::{Command, Envelope};
use orch_core::decide::may_be_sent;
use orch_core::digest::Digest;
use orch_core::entity::{FieldKind, FieldValue, InfoRequest};
use orch_core::view::View as _;
use orch_proto::id::{CommandId, InfoRequestId};
use orch_proto::request::{Accepted, Bytes};
use orch_proto::{ErrorCode, Ref, RpcError};
use orch_store::{Committed, ExecuteError};

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
    let texts = values.iter().filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(&value.0).ok()?)));
    may_be_sent(texts).map_err(|refused| errors::execute(&ExecuteError::Rejected(refused)))?;
    let request = Digest::of_json(&("info_answer", asked.id, &answers));
    if let Some(first) = answered(app, key, request).await? {
        return first.map(answer).map_err(|error| errors::execute(&error));
    }
    let envelope =
        Envelope { id: key, actor: caller.actor(), request, command: Command::AnswerInfo { info: asked.id, answers } };
    let work = tokio::spawn(record(Arc::clone(app), asked.id, values, envelope));
    let committed = match work.await {
        Ok(committed) => committed?,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => return Err(errors::execute(&ExecuteError::Closed)),
    };
    tracing::info!(user = caller.name, %key, seq = committed.last_seq, "a question of a run is answered");
    Ok(answer(committed))
}

/// Keeps the values and puts the answer on record, to the end, also when whoever asked hangs up: others would find a value
/// without its record, or have their turn while this one is written.
async fn record(
    app: Arc<App>,
    id: InfoRequestId,
    values: BTreeMap<String, Bytes>,
    envelope: Envelope,
) -> Result<Committed, RpcError> {
    let _turn = app.answers.turn.lock().await;
    // Nobody knows what is on record already.
    if app.store.outage().borrow().is_some() {
        let error = RpcError::new(ErrorCode::Storage, "the state cannot be written at the moment");
        return Err(error.hint("answer again when `orchctl status` says no more of it"));
    }
    let site = Arc::clone(&app);
    let kept = blocking(move || put(&site, id, &values)).await;
    let committed = match kept {
        Ok(()) => app.store.execute(envelope).await.map_err(|error| (is_refusal(&error), errors::execute(&error))),
        Err(error) => Err((true, error)),
    };
    committed.map_err(|(is_known, error)| {
        if is_known {
            crate::app::in_place(|| crate::answers::forget_refused(&app, id));
        }
        error
    })
}

/// Whether nothing of the command is on record, nor ever will be. Of others only the next daemon, or the end of the run, knows.
const fn is_refusal(error: &ExecuteError) -> bool {
    matches!(
        error,
        ExecuteError::Rejected(_)
            | ExecuteError::Apply(_)
            | ExecuteError::KeyReused { .. }
            | ExecuteError::Busy { .. }
            | ExecuteError::Panicked { .. }
    )
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
fn put(app: &App, id: InfoRequestId, values: &BTreeMap<String, Bytes>) -> Result<(), RpcError> {
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

#[cfg(test)]
mod tests {
    use orch_core::decide::DecideError;

    use super::*;

    #[test]
    fn a_value_is_removed_only_when_it_is_known_that_no_record_needs_it() {
        assert!(is_refusal(&ExecuteError::Rejected(DecideError::NotAPerson)));
        assert!(is_refusal(&ExecuteError::Busy { waiting: 1 }));
        let cause: Arc<dyn std::error::Error + Send + Sync> = Arc::new(std::io::Error::other("torn"));
        for doubtful in
            [ExecuteError::Storage(Arc::clone(&cause)), ExecuteError::StorageFull(cause), ExecuteError::Closed]
        {
            assert!(!is_refusal(&doubtful), "{doubtful}");
        }
    }
}
