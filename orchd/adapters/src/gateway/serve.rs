//! Serves the listener of one run: its connections, and the requests on them.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use orch_sandbox::Secrets;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::exchange;
use super::ledger::Ledger;
use super::room::RunRoom;
use super::upstream::{Client, Upstream};

/// Connections of one run at once; further ones wait in the listener.
const CONNECTIONS_MAX: usize = 64;
/// How long a run may take for the header of a request.
const HEADER_MAX: Duration = Duration::from_secs(30);
/// Wait after the daemon had no descriptor left for a connection.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What one run is served with.
pub struct Gateway<L> {
    pub upstream: Upstream,
    pub client: Client,
    /// The key; none where the server wants none.
    pub key: Option<Vec<u8>>,
    /// Values that are taken out of requests.
    pub secrets: Secrets,
    pub ledger: L,
}

impl<L> std::fmt::Debug for Gateway<L> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        out.debug_struct("Gateway").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// The same while it serves.
pub(super) struct Served<L> {
    pub(super) upstream: Upstream,
    pub(super) client: Client,
    pub(super) key: Option<Vec<u8>>,
    pub(super) secrets: Secrets,
    pub(super) ledger: L,
    pub(super) room: RunRoom,
}

impl<L: Ledger> Gateway<L> {
    /// Serves `listener` until this is dropped, with all exchanges that are under way.
    ///
    /// # Errors
    /// When the listener cannot be used any more: the run has ended.
    pub async fn serve(self, listener: StdListener) -> io::Result<Infallible> {
        let listener = TcpListener::from_std(listener)?;
        let Self { upstream, client, key, secrets, ledger } = self;
        let room = client.room.of_run();
        let gateway = Arc::new(Served { upstream, client, key, secrets, ledger, room });
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                biased;
                Some(_) = connections.join_next() => continue,
                stream = accept(&listener), if connections.len() < CONNECTIONS_MAX => stream?,
            };
            connections.spawn(connection(Arc::clone(&gateway), stream));
        }
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(stream),
            // What the sandbox's listeners say when their run is over.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "failed to take a connection of a run to its model");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn connection<L: Ledger>(gateway: Arc<Served<L>>, stream: TcpStream) {
    // Without it small pieces wait for each other, and nothing else.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "pieces of answers wait for each other");
    }
    let answer = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(exchange::answer(gateway, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of a run to its model broke");
    }
}
