//! Values of secrets that people answered questions of runs with: where they lie, and when they go.
//!
//! They lie where secrets do, by question and field, in a place that no recipe can name and no list shows. **Invariant:** a
//! value is there from before its answer is on record until the run is over: the run is given it once, but it can say it as long
//! as it lives, and so long it is taken out of what it says. **Invariant:** a run is given none before it is taken out of what
//! the run writes to its log. **Invariant:** none is removed of which it is not known that no record
//! needs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use orch_adapters::sealing::Sealer;
use orch_adapters::secret_store::{SecretStore, SecretStoreError, Stamp};
use orch_core::entity::{FieldKind, InfoRequest, Run};
use orch_core::recipe::SecretName;
use orch_core::state::info_request::InfoRequestState;
use orch_core::view::{Filter, ReadError, View};
use orch_proto::ErrorCode;
use orch_proto::id::{Id as _, InfoRequestId, RunId};
use orch_sandbox::Secrets;
use orch_sandbox::control::ControlError;
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
    pub(crate) fn open(secrets: &Path, sealer: Arc<Sealer>) -> Result<Self, SecretStoreError> {
        Ok(Self { store: SecretStore::open(&secrets.join(PLACE), None, sealer)?, turn: Mutex::default() })
    }

    /// Keeps a value for a field. Blocks.
    pub(crate) fn put(&self, info: &InfoRequest, field: &str, value: &[u8]) -> Result<(), SecretStoreError> {
        name(info, field).map_or(Ok(()), |name| self.store.set(&name, value))
    }

    /// Values of all secrets of an answer, by field. Blocks.
    pub(crate) fn values(&self, info: &InfoRequest) -> Result<BTreeMap<String, String>, SecretStoreError> {
        let mut values = BTreeMap::new();
        for field in info.secrets() {
            let Some(name) = name(info, field) else { continue };
            // One by one: together they may be more than a run is started with.
            let one = self.store.values([&name])?;
            let value = one.get(name.as_str()).map(|value| String::from_utf8_lossy(value).into_owned());
            values.extend(value.map(|value| (field.to_owned(), value)));
        }
        Ok(values)
    }

    /// All values that have at least so many bytes, of all runs that are not over. Blocks.
    pub(crate) fn all(&self, bytes_min: usize) -> Result<Vec<Secrets>, SecretStoreError> {
        self.store.all(bytes_min)
    }

    /// Tells whether one of them has changed. Blocks.
    pub(crate) fn stamp(&self) -> Result<Stamp, SecretStoreError> {
        self.store.stamp()
    }

    /// Removes all values for a question. Blocks.
    pub(crate) fn forget(&self, info: &InfoRequest) {
        for field in info.fields.iter().filter(|field| field.kind == FieldKind::Secret) {
            let Some(name) = name(info, &field.name) else { continue };
            if let Err(error) = self.store.remove(&name) {
                tracing::warn!(info = %info.id, error = chain(&error), "an answer is not removed yet");
            }
        }
    }
}

/// Why a run is not given the values of an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotGiven {
    #[error("the values cannot be read")]
    Values(#[from] SecretStoreError),
    #[error("the values cannot be taken out of the log of the run")]
    Concealed(#[from] ControlError),
}

impl NotGiven {
    /// How a run is told: it asks again when that can help.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Values(_) => ErrorCode::Storage,
            Self::Concealed(ControlError::Refused { .. }) => ErrorCode::Conflict,
            // Whoever keeps the log has just begun, or is slow.
            Self::Concealed(_) => ErrorCode::Timeout,
        }
    }
}

/// Values of all secrets of an answer, by field, for its run: whatever that writes from now on is without them. Blocks.
///
/// # Errors
/// When they cannot be read, or whoever keeps the log of the run cannot take them out. One of an earlier version cannot at all,
/// and the run is given them all the same, since its person has answered.
pub(crate) fn for_run(app: &App, run: RunId, info: &InfoRequest) -> Result<BTreeMap<String, String>, NotGiven> {
    let values = app.answers.values(info)?;
    let directory = app.dirs.run(run);
    for set in sets(&values) {
        match app.executor.conceal(&directory, &set) {
            Err(ControlError::Unknown) => {
                tracing::warn!(%run, info = %info.id, "a run of an earlier version is given secrets that stay in its log if it writes them");
                break;
            }
            concealed => concealed?,
        }
    }
    Ok(values)
}

/// Values in as many sets as they need.
fn sets(values: &BTreeMap<String, String>) -> Vec<Secrets> {
    let mut sets = vec![Secrets::new()];
    for (field, value) in values {
        if sets.last().is_none_or(|set| !set.has_room_for(value.as_bytes())) {
            sets.push(Secrets::new());
        }
        // What is too short or too large was not kept.
        let added = sets.last_mut().map(|set| set.insert(field, value.clone().into_bytes()));
        if let Some(Err(error)) = added {
            tracing::warn!(%error, "a value is not taken out of the log of its run");
        }
    }
    sets.retain(|set| !set.is_empty());
    sets
}

/// Under which name a value lies.
fn name(info: &InfoRequest, field: &str) -> Option<SecretName> {
    let at = info.fields.iter().position(|known| known.name == field)?;
    SecretName::parse(&format!("{}.{at}", info.id.uuid().as_simple())).ok()
}

/// Removes what a run that is over was answered, and what it would have been if the record had been written. Blocks.
pub(crate) fn forget_of(app: &App, run: RunId) {
    match app.store.read(|view| view.list::<InfoRequest>(&Filter::under(run))) {
        Ok(infos) => infos.iter().for_each(|info| app.answers.forget(info)),
        Err(error) => tracing::warn!(%run, error = chain(&error), "answers to a run are not removed yet"),
    }
}

/// Removes values for a question that nobody answered with them, as is known. Only while nobody answers. Blocks.
pub(crate) fn forget_refused(app: &App, id: InfoRequestId) {
    let looked = app.store.read(|view| Ok((is_wanted(view, id)?, view.get::<InfoRequest>(id)?)));
    match looked {
        Ok((false, Some(info))) => app.answers.forget(&info),
        Ok(_) => {}
        Err(error) => tracing::warn!(info = %id, error = chain(&error), "an answer is not removed yet"),
    }
}

/// Removes values that no run has a use for: those of a daemon that ended between a value and its record, or before it removed
/// them. Only before anybody answers. Blocks.
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
        // What cannot be looked up stays.
        let is_wanted = id.map_or(Ok(false), |id| app.store.read(|view| is_wanted(view, id))).unwrap_or(true);
        if !is_wanted && let Err(error) = app.answers.store.remove(&entry.name) {
            tracing::warn!(error = chain(&error), "an answer that nobody takes is not removed yet");
        }
    }
}

/// Whether a question is answered, and its run not over.
fn is_wanted(view: &impl View, id: InfoRequestId) -> Result<bool, ReadError> {
    let answered = view.get::<InfoRequest>(id)?;
    let Some(info) = answered.filter(|info| matches!(info.state, InfoRequestState::Answered { .. })) else {
        return Ok(false);
    };
    // The planner asks for no secret.
    let Some(run) = info.run else { return Ok(false) };
    Ok(view.get::<Run>(run)?.is_some_and(|run| !run.state.is_final()))
}

#[cfg(test)]
mod tests {
    use orch_core::entity::InfoField;
    use orch_core::ids::sample_id;
    use orch_proto::Timestamp;

    use super::*;

    /// A question for two secrets and a text.
    fn question() -> InfoRequest {
        let field = |name: &str, kind| InfoField { name: name.into(), label: String::new(), kind, is_required: true };
        InfoRequest {
            id: sample_id(1),
            project: sample_id(2),
            number: 1,
            run: Some(sample_id(3)),
            vision: None,
            key: "k".into(),
            text: "?".into(),
            fields: vec![field("a", FieldKind::Secret), field("b", FieldKind::Text), field("c", FieldKind::Secret)],
            state: InfoRequestState::Answered { by: 1 },
            answers: ["a", "c"].map(|name| (name.to_owned(), orch_core::entity::FieldValue::Secret)).into(),
            answered_by: None,
            is_taken: false,
            asked_at: Timestamp::from_unix_us(1),
            decided_at: None,
        }
    }

    #[test]
    fn values_that_are_large_together_are_given_and_known_until_they_are_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let sealer = Arc::new(Sealer::open(place.path(), None).unwrap());
        let (answers, info) = (Answers::open(place.path(), sealer).unwrap(), question());
        let large = "x".repeat(orch_sandbox::secrets::VALUES_BYTES_MAX - 8);
        answers.put(&info, "a", large.as_bytes()).unwrap();
        answers.put(&info, "c", b"a longer value").unwrap();
        let values = answers.values(&info).unwrap();
        assert_eq!((values["a"].len(), values["c"].as_str()), (large.len(), "a longer value"));
        let sets = sets(&values);
        assert_eq!(sets.iter().map(|set| set.iter().count()).collect::<Vec<_>>(), [1, 1]);
        let known: usize = answers.all(8).unwrap().iter().map(|set| set.iter().count()).sum();
        assert_eq!(known, 2);
        answers.forget(&info);
        assert!(answers.all(8).unwrap().is_empty());
    }
}
