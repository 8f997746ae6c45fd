//! The listening socket and the life of a connection.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::Mode;
use nix::unistd::Group;
use orch_proto::service::Orch as _;
use orch_proto::wire::{self, REQUESTS_MAX};
use orch_proto::{ErrorCode, RpcError};
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{self, JoinSet};

use super::identity::Caller;
use super::service::Service;
use crate::app::App;

/// One place in so many is not for the user who has all the others.
const PLACES_FOR_OTHERS: usize = 8;
/// Most clients at once that are told to come later. More are cut off: descriptors are needed for other things.
const TURNED_AWAY_MAX: usize = 64;

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
    #[error("`{}` is there and is no socket", path.display())]
    NoSocket { path: PathBuf },
    #[error("there is no group `{group}` for the socket")]
    Group { group: String },
    #[error("failed to set owner and mode of the socket")]
    Mode(#[source] io::Error),
}

impl BindError {
    /// What can be done about it.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::Directory { .. } | Self::Bind { .. } | Self::NoSocket { .. } => "name another path with `--socket`",
            Self::Group { .. } | Self::Mode(_) => {
                "`daemon.socket_group` is a group that exists and that the daemon's user is a member of"
            }
        }
    }
}

/// Listens on `path`, which is for the daemon's user alone from its first moment on: the mode of a socket before it is
/// bound is that of its file (Linux, `unix_bind_bsd` in `net/unix/af_unix.c`).
fn listen_for_nobody_else(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::stat::fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    Ok(fd.into())
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
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(BindError::NoSocket { path: path.to_owned() });
            }
            // Somebody may listen there that has another state directory.
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(bind(io::ErrorKind::AddrInUse.into()));
            }
            std::fs::remove_file(path).map_err(bind)?;
        }
        let listener = listen_for_nobody_else(path).and_then(UnixListener::from_std).map_err(bind)?;
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
        let mut hall = Hall::new(app.config.connections_max);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = app.stopped() => break,
                accepted = self.listener.accept() => accepted,
                Some(ended) = connections.join_next_with_id() => {
                    hall.leave(ended.map_or_else(|error| error.id(), |(id, ())| id));
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => hall.enter(&app, stream, &mut connections),
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

/// Who is connected. A user cannot take the last places: some are left for the others.
struct Hall {
    connections_max: usize,
    guests: BTreeMap<task::Id, Guest>,
}

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Guest {
    uid: u32,
    /// Is only told to come later.
    turned_away: bool,
}

impl Hall {
    const fn new(connections_max: usize) -> Self {
        Self { connections_max, guests: BTreeMap::new() }
    }

    /// Serves the connection, or tells the client that there is no place. Without time for that it is closed.
    fn enter(&mut self, app: &Arc<App>, stream: UnixStream, connections: &mut JoinSet<()>) {
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => {
                tracing::warn!(%error, "a client without credentials");
                return;
            }
        };
        let refusal = self.refusal(uid);
        let guest = Guest { uid, turned_away: refusal.is_some() };
        if guest.turned_away && self.count(|guest| guest.turned_away) >= TURNED_AWAY_MAX {
            tracing::debug!(uid, "a client was not even told that there is no place");
            return;
        }
        let id = connections.spawn(connection(Arc::clone(app), uid, stream, refusal)).id();
        self.guests.insert(id, guest);
    }

    /// Why there is no place for one more connection of the user.
    fn refusal(&self, uid: u32) -> Option<RpcError> {
        let inside = self.count(|guest| !guest.turned_away);
        let of_user = self.count(|guest| !guest.turned_away && guest.uid == uid);
        if inside >= self.connections_max {
            return Some(busy("too many clients are connected", "try again later, or raise `limits.connections_max`"));
        }
        let for_one = self.connections_max - self.connections_max / PLACES_FOR_OTHERS;
        let hint = "end some of your clients; the places that are left are for other users";
        (of_user >= for_one).then(|| busy("you have too many connections", hint))
    }

    fn count(&self, fits: impl Fn(&Guest) -> bool) -> usize {
        self.guests.values().filter(|guest| fits(guest)).count()
    }

    fn leave(&mut self, id: task::Id) {
        self.guests.remove(&id);
    }
}

fn busy(message: &str, hint: &str) -> RpcError {
    let mut busy = RpcError::new(ErrorCode::Busy, message);
    busy.retry_after_ms = Some(1_000);
    busy.hint(hint)
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket was gone already");
        }
    }
}

async fn connection(app: Arc<App>, uid: u32, stream: UnixStream, refusal: Option<RpcError>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_user_and_takes_no_other_file_away() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("precious");
        std::fs::write(&file, "data").unwrap();
        assert!(matches!(Listener::bind(&file, None), Err(BindError::NoSocket { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"data");
        let path = directory.path().join("orchd.sock");
        drop(listen_for_nobody_else(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let bound = Listener::bind(&path, None).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "what a dead daemon left is replaced");
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn one_user_leaves_places_to_others() {
        let mut tasks = JoinSet::new();
        let mut hall = Hall::new(16);
        let mut enter = |hall: &mut Hall, uid, turned_away| {
            let id = tasks.spawn(async {}).id();
            hall.guests.insert(id, Guest { uid, turned_away });
            id
        };
        for _ in 0..14 {
            assert_eq!(hall.refusal(1), None);
            enter(&mut hall, 1, false);
        }
        assert!(hall.refusal(1).is_some_and(|error| error.message.starts_with("you have")));
        // Those who are only told so take no place.
        enter(&mut hall, 1, true);
        assert_eq!(hall.refusal(2), None);
        enter(&mut hall, 2, false);
        let last = enter(&mut hall, 3, false);
        assert!(hall.refusal(4).is_some_and(|error| error.code == ErrorCode::Busy));
        hall.leave(last);
        assert_eq!(hall.refusal(4), None);
    }
}
