//! Taking connections from a listener inside a run: one way for all that serve one.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Wait after the daemon had no descriptor left for a connection.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The next connection of a run to its `what`. What passes, as having no descriptor left, is waited for.
///
/// # Errors
/// When the listener cannot be used any more: the run has ended.
pub async fn next(listener: &TcpListener, what: &'static str) -> io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(stream),
            // What the sandbox's listeners say when their run is over.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                tracing::warn!(%error, what, "failed to take a connection of a run");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}
