//! The connection: made again for ever, with growing pauses, and carrying the event cursor over every break.
//!
//! First load, lag and reconnection are one way: the status, then events from the cursor on.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use orch_proto::id::InstanceId;
use orch_proto::wire::Client;
use orch_proto::{RpcError, WAIT_MS_MAX};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::connect::{self, Backoff};
use crate::view::{LinkEvent, Msg};

/// Events before the newest that are fetched at first, for the audit screen.
const EVENTS_BACK: u64 = 500;

/// Most events of one page.
const EVENTS_PAGE_MAX: u32 = 500;

/// How long a connection must hold before a break of it counts as the first one.
const STEADY: Duration = Duration::from_secs(2);

/// What outlives one connection.
#[derive(Debug)]
pub(super) struct Link {
    socket: PathBuf,
    /// The connection, while there is one.
    clients: watch::Sender<Option<Client>>,
    messages: mpsc::Sender<Msg>,
    /// Ends a pause early.
    hurry: Rc<Notify>,
    /// The installation that the cursor belongs to.
    seen: Option<(InstanceId, u64)>,
}

impl Link {
    pub(super) fn new(
        socket: &Path,
        clients: watch::Sender<Option<Client>>,
        messages: mpsc::Sender<Msg>,
        hurry: Rc<Notify>,
    ) -> Self {
        Self { socket: socket.to_owned(), clients, messages, hurry, seen: None }
    }

    /// Keeps the connection until nobody listens.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        while !self.messages.is_closed() {
            let Err(error) = self.session(&mut backoff).await else { return };
            self.clients.send_replace(None);
            let pause = backoff.next_pause();
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let event = LinkEvent::Down { tries: backoff.tries(), pause_ms, error };
            if self.messages.send(Msg::Link(event)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.hurry.notified() => {}
            }
        }
    }

    /// One connection from greeting to break. `Ok`: nobody listens any more.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), RpcError> {
        let tell = async || drop(self.messages.send(Msg::Link(LinkEvent::Waiting)).await);
        let client = connect::connect(&self.socket, tell).await?;
        let status = client.call(async |orch, context| orch.status(context).await).await?;
        let (mut cursor, fresh) = match self.seen {
            // A head behind the cursor is another past, such as a restored backup.
            Some((instance, cursor)) if instance == status.instance && cursor <= status.seq => (cursor, false),
            _ => (status.seq.saturating_sub(EVENTS_BACK), true),
        };
        self.seen = Some((status.instance, cursor));
        let instance = status.instance;
        let since = Instant::now();
        self.clients.send_replace(Some(client.clone()));
        let event = LinkEvent::Up { status: Box::new(status), fresh };
        if self.messages.send(Msg::Link(event)).await.is_err() {
            return Ok(());
        }
        loop {
            let page = client
                .call(async |orch, context| {
                    orch.events_since(context, cursor, EVENTS_PAGE_MAX, WAIT_MS_MAX, false).await
                })
                .await?;
            // A daemon whose answers break the connection again and again is left in peace for longer and longer.
            if since.elapsed() >= STEADY {
                backoff.reset();
            }
            cursor = page.next;
            self.seen = Some((instance, cursor));
            if self.messages.send(Msg::Events(page)).await.is_err() {
                return Ok(());
            }
        }
    }
}
