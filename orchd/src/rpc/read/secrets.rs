//! Secrets: their names for those who use them, their values in and never out.

use std::sync::Arc;

use orch_adapters::secret_store::{SecretSource, SecretStoreError};
use orch_core::recipe::{SecretName, TextError};
use orch_proto::request::Bytes;
use orch_proto::view::SecretView;
use orch_proto::{ErrorCode, RpcError};

use super::super::identity::Caller;
use crate::app::{App, blocking};
use crate::error_chain::chain;

pub(crate) async fn secrets(app: &Arc<App>, _: &Caller) -> Result<Vec<SecretView>, RpcError> {
    let app = Arc::clone(app);
    let listed = blocking(move || app.secrets.list()).await.map_err(|error| failed(&error))?;
    let view = |entry: orch_adapters::secret_store::SecretEntry| SecretView {
        name: entry.name.to_string(),
        source: match entry.source {
            SecretSource::Stored => "stored".to_owned(),
            SecretSource::Credential => "credential".to_owned(),
        },
        size_bytes: entry.size_bytes,
        changed_at: entry.changed_at,
    };
    Ok(listed.into_iter().map(view).collect())
}

pub(crate) async fn secret_set(app: &Arc<App>, caller: &Caller, name: String, value: Bytes) -> Result<(), RpcError> {
    let name = parse(&name)?;
    tracing::info!(user = caller.name, secret = %name, "a secret is set");
    let store = app.secrets.clone();
    blocking(move || store.set(&name, &value.0)).await.map_err(|error| failed(&error))?;
    // A task may have waited for it.
    app.look_again();
    Ok(())
}

pub(crate) async fn secret_remove(app: &Arc<App>, caller: &Caller, name: String) -> Result<(), RpcError> {
    let name = parse(&name)?;
    tracing::info!(user = caller.name, secret = %name, "a secret is removed");
    let (store, removed) = (app.secrets.clone(), name.clone());
    if blocking(move || store.remove(&removed)).await.map_err(|error| failed(&error))? {
        return Ok(());
    }
    let hint = if app.secrets.has(&name) {
        "it is a credential of the daemon's service: take it out of the unit"
    } else {
        "`orchctl secret list` names those there are"
    };
    Err(RpcError::new(ErrorCode::NotFound, format!("no secret `{name}` was set here")).hint(hint))
}

fn parse(name: &str) -> Result<SecretName, RpcError> {
    SecretName::parse(name).map_err(|error| {
        let hint = match &error {
            TextError::SecretName { .. } => "use 1 to 63 letters, digits, `_`, `-` and `.`, not starting with a dot",
            _ => "give the secret a name",
        };
        RpcError::new(ErrorCode::Invalid, error.to_string()).hint(hint)
    })
}

fn failed(error: &SecretStoreError) -> RpcError {
    match error {
        SecretStoreError::Value { .. } => RpcError::new(ErrorCode::Invalid, error.to_string())
            .hint("hand in the value itself, from a file or standard input"),
        _ => {
            tracing::error!(error = chain(error), "the secrets failed");
            RpcError::new(ErrorCode::Storage, chain(error)).hint("look at the state directory and its disk")
        }
    }
}
