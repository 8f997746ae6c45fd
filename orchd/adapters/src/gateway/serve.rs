//! Serves the listener of one run: its connections, and the requests on them.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::api::Api;
use super::exchange;
use super::ledger::Ledger;
use super::room::RunRoom;
use super::upstream::Client;
use crate::accept;

/// Connections of one run at once; further ones wait in the listener.
const CONNECTIONS_MAX: usize = 32;
/// How long a run may take for the header of a request.
const HEADER_MAX: Duration = Duration::from_secs(30);
/// Most bytes that are read from a connection at once, the header of a request among them.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What one run is served with.
#[derive(Debug)]
pub struct Gateway<L> {
    /// How the run speaks to it.
    pub api: Api,
    pub client: Client,
    /// Says with each request how it goes on.
    pub ledger: L,
}

/// The same while it serves.
pub(super) struct Served<L> {
    pub(super) api: Api,
    pub(super) client: Client,
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
        let Self { api, client, ledger } = self;
        let room = client.room.of_run();
        let gateway = Arc::new(Served { api, client, ledger, room });
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= CONNECTIONS_MAX {
                let _ended = connections.join_next().await;
            }
            let stream = accept::next(&listener, "model").await?;
            while connections.try_join_next().is_some() {}
            // One connection of each run waits so, and no more are taken.
            let place = gateway.room.place().await;
            let gateway = Arc::clone(&gateway);
            connections.spawn(async move {
                connection(gateway, stream).await;
                drop(place);
            });
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
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of a run to its model broke");
    }
}
