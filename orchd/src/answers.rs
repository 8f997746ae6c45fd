//! Values of secrets that people answered questions of runs with: where they lie, and when they go.
//!
//! They lie where secrets do, by question and field, in a place that no recipe can name and no list shows. **Invariant:** a
//! value is there from before its answer is on record until the run has it or is over.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;

use orch_adapters::secret_store::{SecretStore, SecretStoreError};
use orch_core::entity::InfoRequest;
use orch_core::recipe::SecretName;
use orch_core::state::info_request::InfoRequestState;
use orch_core::view::View as _;
use orch_proto::id::{Id as _, InfoRequestId, RunId};
use tokio::sync::Mutex;

use crate::app::App;
use crate::error_chain::chain;

/// Place of these values among those of secrets.
const PLACE: &str = ".answers";

/// The values of one installation.
#[derive(Debug)]
pub(crate) struct Answers {
    store: SecretStore,
    /// Held by who answers: whoever comes second sees that the question is answered before touching a value.
    pub(crate) turn: Mutex<()>,
}

impl Answers {
    /// Opens the place below that of secrets.
    pub(crate) fn open(secrets: &Path) -> Result<Self, SecretStoreError> {
        Ok(Self { store: SecretStore::open(&secrets.join(PLACE), None)?, turn: Mutex::default() })
    }

    /// Keeps a value for a field. Blocks.
    pub(crate) fn put(&self, info: &InfoRequest, field: &str, value: &[u8]) -> Result<(), SecretStoreError> {
        name(info, field).map_or(Ok(()), |name| self.store.set(&name, value))
    }

    /// Values of all secrets of an answer, by field. Blocks.
    pub(crate) fn values(&self, info: &InfoRequest) -> Result<BTreeMap<String, String>, SecretStoreError> {
        let named: Vec<_> = info.secrets().filter_map(|field| Some((field, name(info, field)?))).collect();
        let secrets = self.store.values(named.iter().map(|(_, name)| name))?;
        let value = |name: &SecretName| Some(String::from_utf8_lossy(secrets.get(name.as_str())?).into_owned());
        Ok(named.iter().filter_map(|(field, name)| Some(((*field).to_owned(), value(name)?))).collect())
    }

    /// Removes all values for a question. Blocks.
    pub(crate) fn forget(&self, info: &InfoRequest) {
        for field in &info.fields {
            let Some(name) = name(info, &field.name) else { continue };
            if let Err(error) = self.store.remove(&name) {
                tracing::warn!(info = %info.id, error = chain(&error), "an answer is not removed yet");
            }
        }
    }
}

/// Under which name a value lies.
fn name(info: &InfoRequest, field: &str) -> Option<SecretName> {
    let at = info.fields.iter().position(|known| known.name == field)?;
    SecretName::parse(&format!("{}.{at}", info.id.uuid().as_simple())).ok()
}

/// Removes what a run that is over was answered and has not taken. Blocks.
pub(crate) fn forget_of(app: &App, run: RunId) {
    let filter = orch_core::view::Filter::under(run);
    match app.store.read(|view| view.list::<InfoRequest>(&filter)) {
        Ok(infos) => {
            let with_values = infos.iter().filter(|info| info.secrets().next().is_some());
            with_values.for_each(|info| app.answers.forget(info));
        }
        Err(error) => tracing::warn!(%run, error = chain(&error), "answers to a run are not removed yet"),
    }
}

/// Removes values that no run will take: those of a daemon that ended between a value and its record, or before it removed them.
/// Only while nobody answers. Blocks.
pub(crate) fn sweep(app: &App) {
    let known = match app.answers.store.list() {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(error = chain(&error), "answers that nobody takes are not removed yet");
            return;
        }
    };
    for entry in known {
        let id = entry.name.as_str().split('.').next().unwrap_or_default();
        let id = InfoRequestId::from_str(&format!("info-{id}"));
        let found = id.map_or(Ok(None), |id| app.store.read(|view| view.get::<InfoRequest>(id)));
        let is_wanted = match found {
            Ok(Some(info)) => matches!(info.state, InfoRequestState::Answered { .. }) && !info.is_taken,
            Ok(None) => false,
            Err(_) => true,
        };
        if !is_wanted && let Err(error) = app.answers.store.remove(&entry.name) {
            tracing::warn!(error = chain(&error), "an answer that nobody takes is not removed yet");
        }
    }
}
