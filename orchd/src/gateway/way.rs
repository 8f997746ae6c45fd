//! How a request of a run goes on: the server that the run was made with, its key as it is now, and what is taken out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use orch_adapters::agent::AgentKind;
use orch_adapters::gateway::{Api, Refusal, Way};
use orch_adapters::secret_store::{SecretStoreError, Stamp};
use orch_core::entity::{AgentUse, ServerUse};
use orch_core::recipe::SecretName;
use orch_sandbox::Secrets;
use orch_sandbox::redact::Patterns;

use crate::app::App;
use crate::config::ModelServer;
use crate::error_chain::chain;

/// Shortest value that is taken out of requests, in bytes. Shorter ones are words that stand everywhere.
const VALUE_BYTES_MIN: usize = 8;

/// Values of secrets, those among them that people answered runs with which are not over, and what they look like: made anew
/// when one has changed.
#[derive(Debug, Default)]
pub(super) struct Redactions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Of the files that this is of; none before the first look.
    stamp: Option<[Stamp; 2]>,
    /// What is taken out of requests.
    of_requests: Vec<Arc<Patterns>>,
    /// Keys of servers.
    keys: BTreeMap<SecretName, Key>,
}

/// A key, and what is taken out of answers.
type Key = (Arc<Secrets>, Option<Arc<Patterns>>);

/// How requests of a run go on, as it was found: so for as long as no file of a secret changes.
#[derive(Debug, Default)]
pub(super) struct KnownWay(Mutex<Option<([Stamp; 2], Way)>>);

impl KnownWay {
    /// The way, if it is known. Looks at the times of the files of secrets and reads none: that takes less than to wake
    /// another thread for it.
    pub(super) fn now(&self, app: &App) -> Option<Way> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stamp, way) = known.as_ref()?;
        (stamps(app).ok()? == *stamp).then(|| way.clone())
    }

    /// Finds the way of a run of `agent`. Blocks: files of secrets are read.
    pub(super) fn find(&self, app: &App, agent: &AgentUse) -> Result<Way, Refusal> {
        // Before anything is read: what changes meanwhile is seen with the next request.
        let stamp = stamps(app).ok();
        let way = find(app, agent)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stamp.map(|stamp| (stamp, way.clone()));
        Ok(way)
    }
}

fn stamps(app: &App) -> Result<[Stamp; 2], SecretStoreError> {
    Ok([app.secrets.stamp()?, app.answers.stamp()?])
}

impl Redactions {
    /// Calls `take` with what is known of the secrets as they are now.
    fn now<T>(
        &self,
        app: &App,
        take: impl FnOnce(&mut Known) -> Result<T, SecretStoreError>,
    ) -> Result<T, SecretStoreError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamps(app)?;
        if known.stamp.as_ref() != Some(&stamp) {
            let mut values = app.secrets.all(VALUE_BYTES_MIN)?;
            values.extend(app.answers.all(VALUE_BYTES_MIN)?);
            let of_requests = values.iter().filter_map(Patterns::new).collect();
            *known = Known { stamp: Some(stamp), of_requests, keys: BTreeMap::new() };
        }
        take(&mut known)
    }

    fn of_requests(&self, app: &App) -> Result<Vec<Arc<Patterns>>, SecretStoreError> {
        self.now(app, |known| Ok(known.of_requests.clone()))
    }

    /// A key, and what is taken out of the answers of its server.
    fn key(&self, app: &App, name: &SecretName) -> Result<Key, SecretStoreError> {
        self.now(app, |known| {
            if let Some(found) = known.keys.get(name) {
                return Ok(found.clone());
            }
            let value = app.secrets.values([name])?;
            let patterns = Patterns::new(&value);
            Ok(known.keys.entry(name.clone()).or_insert((Arc::new(value), patterns)).clone())
        })
    }
}

/// How the run of `agent` speaks to its model; none when no such agent is known.
pub(super) fn api(app: &App, agent: &AgentUse) -> Option<Api> {
    let on_record = agent.server.as_ref().and_then(|server| Api::of(&server.api));
    let configured = || server(app, agent).ok().map(|server| server.upstream.api);
    on_record.or_else(configured).or_else(|| AgentKind::of(&agent.kind)?.usual_api())
}

/// The server that the run of `agent` asks, if it is what it was.
fn server<'a>(app: &'a App, agent: &AgentUse) -> Result<&'a ModelServer, String> {
    let (models, agents) = (&app.config.agents.models, &app.config.agents.agents);
    match &agent.server {
        Some(on_record) => as_it_was(app, on_record),
        None => agents
            .get(&agent.name)
            .and_then(|agent| models.get(agent.models.as_ref()?))
            .ok_or_else(|| format!("the agent `{0}` is not configured any more: put `[agents.{0}]` back", agent.name)),
    }
}

/// The server that is on record, if it is what it was.
fn as_it_was<'a>(app: &'a App, on_record: &ServerUse) -> Result<&'a ModelServer, String> {
    let name = &on_record.name;
    let found = app.config.agents.models.get(name).ok_or_else(|| {
        format!("the server `{name}`, which is to be asked, is not configured any more: put `[models.{name}]` back")
    })?;
    if found.upstream.url() == on_record.url && found.upstream.api.word() == on_record.api {
        return Ok(found);
    }
    Err(format!(
        "the server `{name}` is another than the one that was to be asked, {}: put that back, or end what asks it",
        on_record.url
    ))
}

/// How a request goes on at the moment. Blocks: the files of secrets are looked at.
pub(super) fn find(app: &App, agent: &AgentUse) -> Result<Way, Refusal> {
    let not_now = |code, message| Refusal { code, message, is_passing: true };
    let server = server(app, agent).map_err(|message| not_now("no_model_server", message))?;
    let config = app.config.agents.agents.get(&agent.name);
    Ok(Way {
        temperature_percent: config.and_then(|config| config.temperature_percent),
        answer_tokens: agent.answer_tokens,
        ..to(app, server)?
    })
}

/// The same for a server that is on record. Blocks.
pub(super) fn find_at(app: &App, on_record: &ServerUse) -> Result<Way, Refusal> {
    let refusal = |message| Refusal { code: "no_model_server", message, is_passing: true };
    to(app, as_it_was(app, on_record).map_err(refusal)?)
}

fn to(app: &App, server: &ModelServer) -> Result<Way, Refusal> {
    let not_now = |code, message| Refusal { code, message, is_passing: true };
    let redactions = &app.gateways.redactions;
    let (mut key, mut of_answers) = (None, None);
    if let Some(name) = &server.key {
        let (value, patterns) = redactions.key(app, name).map_err(|error| {
            not_now("no_key", format!("{}; set it with `orchctl secret set {name}`", chain(&error)))
        })?;
        key = value.get(name.as_str()).map(<[u8]>::to_vec);
        of_answers = patterns;
    }
    let secrets = redactions.of_requests(app);
    let secrets = secrets.map_err(|error| not_now("no_secrets", format!("nothing is passed on: {}", chain(&error))))?;
    Ok(Way {
        upstream: server.upstream.clone(),
        key,
        hosted: server.hosted,
        temperature_percent: None,
        answer_tokens: None,
        secrets,
        of_answers,
    })
}

/// Bytes without the values of all stored secrets, as requests to models leave. Blocks: the files of secrets are looked at.
///
/// # Errors
/// When they cannot be read.
pub(super) fn without_secrets(app: &App, bytes: Vec<u8>) -> Result<Vec<u8>, SecretStoreError> {
    let patterns = app.gateways.redactions.of_requests(app)?;
    Ok(patterns.iter().fold(bytes, |bytes, patterns| patterns.taken_out(&bytes)))
}
