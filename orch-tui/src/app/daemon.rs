//! What the view asks of the daemon, as tasks: each ends with one message, so that the event loop never waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use orch_proto::id::{CommandId, InfoRequestId, RunId};
use orch_proto::request::{Accepted, Bytes, Envelope, Request};
use orch_proto::wire::Client;
use orch_proto::{ErrorCode, Ref, RpcError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::fetch::fetch;
use super::follow::follow;
use super::link::Link;
use crate::view::{Loaded, Msg, Query};

/// How long a request is tried again over a broken connection. Its key makes that harmless.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// The daemon as the event loop sees it.
#[derive(Debug)]
pub(super) struct Daemon {
    clients: watch::Receiver<Option<Client>>,
    messages: mpsc::Sender<Msg>,
    hurry: Rc<Notify>,
    tasks: JoinSet<()>,
    following: Option<AbortHandle>,
}

impl Daemon {
    /// Starts to connect. What comes of it and of every question arrives as messages.
    pub(super) fn start(socket: &Path, messages: mpsc::Sender<Msg>) -> Self {
        let (sender, clients) = watch::channel(None);
        let hurry = Rc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn_local(Link::new(socket, sender, messages.clone(), Rc::clone(&hurry)).run());
        Self { clients, messages, hurry, tasks, following: None }
    }

    /// Does not wait out the pause before the next try to connect.
    pub(super) fn connect_now(&self) {
        self.hurry.notify_one();
    }

    /// Asks one thing.
    pub(super) fn fetch(&mut self, query: Query, project: Option<Ref>, epoch: u32) {
        let (client, messages) = (self.clients.borrow().clone(), self.messages.clone());
        self.tasks.spawn_local(async move {
            let result = match client {
                Some(client) => fetch(&client, &query, project).await,
                None => Err(not_connected()),
            };
            send(&messages, Msg::Loaded(Loaded { query, epoch, result })).await;
        });
    }

    /// Follows the log of one run, and no other any more.
    pub(super) fn follow(&mut self, run: RunId, offset: u64) {
        self.stop_following();
        let (client, messages) = (self.clients.borrow().clone(), self.messages.clone());
        let handle = self.tasks.spawn_local(async move {
            match client {
                Some(client) => follow(client, run, offset, messages).await,
                None => send(&messages, Msg::Log { run, offset, result: Err(not_connected()) }).await,
            }
        });
        self.following = Some(handle);
    }

    /// Follows no log any more.
    pub(super) fn stop_following(&mut self) {
        if let Some(handle) = self.following.take() {
            handle.abort();
        }
    }

    /// Sends a request under a key of its own.
    pub(super) fn submit(&mut self, ticket: u32, request: Request) {
        let envelope = Envelope { key: CommandId::generate(), request };
        self.ask_for(ticket, async move |client: Client| client.submit(envelope.clone()).await);
    }

    /// Answers a question of a run, by the names of its fields, likewise.
    pub(super) fn answer(&mut self, ticket: u32, info: InfoRequestId, values: BTreeMap<String, Bytes>) {
        let (info, key) = (Ref(info.to_string()), CommandId::generate());
        let answer = async move |client: Client| {
            client.call(async |orch, context| orch.info_answer(context, info.clone(), key, values.clone()).await).await
        };
        self.ask_for(ticket, answer);
    }

    /// Has the daemon do something, and asks again when the connection broke meanwhile: its key makes that harmless.
    fn ask_for(&mut self, ticket: u32, ask: impl AsyncFn(Client) -> Result<Accepted, RpcError> + 'static) {
        let (clients, messages) = (self.clients.clone(), self.messages.clone());
        self.tasks.spawn_local(async move {
            let result = tokio::time::timeout(SUBMIT_TIMEOUT, over_breaks(clients, ask)).await;
            let result = result.unwrap_or_else(|_| {
                Err(RpcError::new(
                    ErrorCode::Timeout,
                    "the daemon did not answer in time; the request may still be done",
                )
                .hint("look whether it was, then try again"))
            });
            send(&messages, Msg::Submitted { ticket, result }).await;
        });
    }

    /// Waits for the end of any task. A panic in one goes on here. Never ends while there is no task.
    pub(super) async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Asks, and again when the connection broke meanwhile.
async fn over_breaks(
    mut clients: watch::Receiver<Option<Client>>,
    ask: impl AsyncFn(Client) -> Result<Accepted, RpcError>,
) -> Result<Accepted, RpcError> {
    loop {
        let client = clients.borrow_and_update().clone();
        if let Some(client) = client {
            match ask(client).await {
                Err(error) if error.code == ErrorCode::Unreachable => {}
                result => return result,
            }
        }
        if clients.changed().await.is_err() {
            return Err(not_connected());
        }
    }
}

fn not_connected() -> RpcError {
    RpcError::new(ErrorCode::Unreachable, "not connected to the daemon")
}

/// Nobody listens when the program ends, and then nobody misses the message.
async fn send(messages: &mpsc::Sender<Msg>, message: Msg) {
    drop(messages.send(message).await);
}
