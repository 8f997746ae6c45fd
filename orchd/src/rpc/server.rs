//! The listening socket and the life of a connection.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use nix::unistd::Group;
use orch_proto::service::Orch as _;
use orch_proto::wire::{self, REQUESTS_MAX};
use orch_proto::{ErrorCode, RpcError};
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::identity::Caller;
use super::service::Service;
use crate::app::App;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("failed to make the directory of the socket `{}`", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to listen on `{}`", path.display())]
    Bind {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no group `{group}` for the socket")]
    Group { group: String },
    #[error("failed to set owner and mode of the socket")]
    Mode(#[source] io::Error),
}

/// A bound socket. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds the socket, for the daemon's user and the configured group only. A file that is left from a daemon that
    /// died is replaced: the lock of the state directory says that it is nobody's.
    ///
    /// # Errors
    /// When it cannot be bound so.
    pub(crate) fn bind(path: &Path, group: Option<&str>) -> Result<Self, BindError> {
        let bind = |source| BindError::Bind { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|source| BindError::Directory { path: directory.to_owned(), source })?;
        }
        if path.exists() {
            // Somebody may listen there that has another state directory.
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(bind(io::ErrorKind::AddrInUse.into()));
            }
            std::fs::remove_file(path).map_err(bind)?;
        }
        let listener = UnixListener::bind(path).map_err(bind)?;
        let bound = Self { listener, path: path.to_owned() };
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        if let Some(name) = group {
            let found =
                Group::from_name(name).ok().flatten().ok_or_else(|| BindError::Group { group: name.to_owned() })?;
            nix::unistd::chown(path, None, Some(found.gid)).map_err(|errno| BindError::Mode(errno.into()))?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(BindError::Mode)?;
        Ok(bound)
    }

    /// Answers clients until the daemon stops. Calls that are under way then are brought to their end.
    pub(crate) async fn serve(self, app: Arc<App>) {
        let places = Arc::new(Semaphore::new(app.config.connections_max));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = app.stopped() => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&app), stream, Arc::clone(&places)));
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to come back instead of spinning.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
        drop(connections);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket was gone already");
        }
    }
}

async fn connection(app: Arc<App>, stream: UnixStream, places: Arc<Semaphore>) {
    let uid = match stream.peer_cred() {
        Ok(credentials) => credentials.uid(),
        Err(error) => {
            tracing::warn!(%error, "a client without credentials");
            return;
        }
    };
    let place = places.try_acquire_owned();
    let refusal = place.is_err().then(|| {
        let mut busy = RpcError::new(ErrorCode::Busy, "too many clients are connected");
        busy.retry_after_ms = Some(1_000);
        busy.hint("try again later, or raise `limits.connections_max`")
    });
    let transport = match wire::accept(stream, refusal).await {
        Ok(transport) => transport,
        Err(error) => {
            tracing::debug!(%error, uid, "a client was turned away");
            return;
        }
    };
    let caller = Caller::new(uid, &app.config.roles);
    tracing::debug!(user = caller.name, "client connected");
    let service = Service::new(Arc::clone(&app), caller);
    let calls = BaseChannel::with_defaults(transport).max_concurrent_requests(REQUESTS_MAX).execute(service.serve());
    let mut calls = Box::pin(calls);
    loop {
        tokio::select! {
            () = app.stopped() => return,
            call = calls.next() => match call {
                Some(call) => { tokio::spawn(call); }
                None => return,
            },
        }
    }
}
