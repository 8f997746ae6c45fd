//! How the two sides meet on the Unix socket: a line each way, then framed JSON for tarpc.
//!
//! The lines come before tarpc so that two sides of different versions can still tell each other so. Client:
//! `orch <protocol> <version>\n`. Daemon: `orch <protocol> <version> ok\n`, or the same with `error <json>` in place of
//! `ok`, where the JSON is an [`RpcError`]. Nothing here knows what the methods do.

mod server;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tarpc::{context, serde_transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_serde::formats::Json;
use tokio_util::codec::length_delimited;

use crate::error::{ErrorCode, RpcError};
use crate::request::{Accepted, Envelope};
use crate::service::OrchClient;
use crate::{PROTOCOL_VERSION, WAIT_MS_MAX};

pub use server::ServerTransport;

/// Largest frame that either side reads, in bytes. A peer that sends more is told so and cut off; an answer that would
/// be more becomes an error of its call.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Largest request that a client sends, in bytes of JSON. Below [`FRAME_BYTES_MAX`], so that an honest client gets a
/// typed error instead of a broken connection.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;

/// Requests of one connection that the daemon works on at once; more are answered with `E_BUSY`.
pub const REQUESTS_MAX: usize = 64;

/// How long a client waits for the line of a daemon that it is connected to. One that starts can be connected to before it
/// answers, and takes its time where the machine is busy.
pub const GREETING_WAIT_MAX: Duration = Duration::from_secs(30);

const LINE_BYTES_MAX: usize = 4 << 10;
/// How long the daemon waits for the line of a client, which writes it at once.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call may take at most. Long polls are held for at most [`WAIT_MS_MAX`].
const CALL_TIMEOUT: Duration = Duration::from_millis(WAIT_MS_MAX as u64 + 52_000);

/// A connection on which nothing was said yet.
#[derive(Debug)]
pub struct Opened {
    stream: UnixStream,
    socket: PathBuf,
}

impl Opened {
    /// Opens a connection to what listens on `socket`.
    ///
    /// # Errors
    /// `E_UNREACHABLE` when nobody does, `E_PERMISSION` when the socket may not be opened.
    pub async fn to(socket: &Path) -> Result<Self, RpcError> {
        let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
        Ok(Self { stream, socket: socket.to_owned() })
    }

    /// Exchanges lines with the daemon, which may take as long as [`GREETING_WAIT_MAX`] for its own.
    ///
    /// # Errors
    /// `E_UNREACHABLE` when it takes longer, `E_PROTOCOL` when the daemon speaks another version, or what the daemon answered.
    pub async fn greet(self) -> Result<Client, RpcError> {
        self.greet_within(GREETING_WAIT_MAX).await
    }

    async fn greet_within(mut self, wait: Duration) -> Result<Client, RpcError> {
        let greeting = tokio::time::timeout(wait, greet(&mut self.stream)).await;
        let daemon_version = greeting.map_err(|_| silent(&self.socket, wait))??;
        let transport = serde_transport::new(codec().new_framed(self.stream), Json::default());
        let inner = OrchClient::new(tarpc::client::Config::default(), transport).spawn();
        Ok(Client { inner, daemon_version })
    }
}

/// A connection to the daemon. Cheap to clone; all clones share the connection.
#[derive(Clone)]
pub struct Client {
    inner: OrchClient,
    /// Version of the daemon's program, as `0.1.0`.
    daemon_version: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client(daemon {})", self.daemon_version)
    }
}

impl Client {
    /// Connects to the daemon that listens on `socket`, and compares versions.
    ///
    /// # Errors
    /// `E_UNREACHABLE` when nobody answers, `E_PERMISSION` when the socket may not be opened, `E_PROTOCOL` when the
    /// daemon speaks another version, or what the daemon answered.
    pub async fn connect(socket: &Path) -> Result<Self, RpcError> {
        Opened::to(socket).await?.greet().await
    }

    /// Version of the daemon's program.
    #[must_use]
    pub fn daemon_version(&self) -> &str {
        &self.daemon_version
    }

    /// Makes one call: `client.call(async |orch, context| orch.status(context).await).await`.
    ///
    /// # Errors
    /// What the daemon answered, or `E_UNREACHABLE`, `E_BUSY`, `E_TIMEOUT` of the connection.
    pub async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&OrchClient, context::Context) -> Result<Result<T, RpcError>, tarpc::client::RpcError>,
    ) -> Result<T, RpcError> {
        let mut context = context::current();
        context.deadline = Instant::now() + CALL_TIMEOUT;
        call(&self.inner, context).await.unwrap_or_else(|error| Err(transport_error(&error)))
    }

    /// Sends a request, once its size is known to be acceptable.
    ///
    /// # Errors
    /// `E_TOO_LARGE`, and those of [`Client::call`].
    pub async fn submit(&self, envelope: Envelope) -> Result<Accepted, RpcError> {
        let size = serde_json::to_vec(&envelope).map_or(usize::MAX, |json| json.len());
        if size > REQUEST_BYTES_MAX {
            return Err(RpcError::new(
                ErrorCode::TooLarge,
                format!("the request has {size} bytes; {REQUEST_BYTES_MAX} are accepted"),
            )
            .hint("send less at once, without attachments"));
        }
        self.call(async |orch, context| orch.submit(context, envelope).await).await
    }
}

/// Reads the client's line and answers it; on agreement gives the transport for tarpc.
///
/// `refusal` is what every client is told at the moment, such as too many connections.
///
/// # Errors
/// When the peer sends no acceptable line in time, speaks another version or was refused. It was told so.
pub async fn accept(mut stream: UnixStream, refusal: Option<RpcError>) -> io::Result<ServerTransport> {
    let line = tokio::time::timeout(GREETING_TIMEOUT, read_line(&mut stream)).await??;
    let answer = match (parse_line(&line), refusal) {
        (Some((PROTOCOL_VERSION, _, _)), None) => None,
        (Some((PROTOCOL_VERSION, _, _)), Some(refusal)) => Some(refusal),
        (Some((protocol, version, _)), _) => Some(version_mismatch(version, protocol, true)),
        (None, _) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer is not a client of this daemon")),
    };
    let version = env!("CARGO_PKG_VERSION");
    let Some(error) = answer else {
        stream.write_all(format!("orch {PROTOCOL_VERSION} {version} ok\n").as_bytes()).await?;
        return Ok(ServerTransport::new(stream));
    };
    let json = serde_json::to_string(&error).map_err(io::Error::other)?;
    stream.write_all(format!("orch {PROTOCOL_VERSION} {version} error {json}\n").as_bytes()).await?;
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, error))
}

/// Where the daemon's socket is looked for, in this order: `$ORCH_SOCKET`; `$XDG_RUNTIME_DIR/orchd/orchd.sock`, or for an
/// ordinary user without that directory the socket in the state directory; `/run/orchd/orchd.sock`. The system's socket
/// is taken when only it exists. `is_root` is whether the caller is root, who by default runs the system's daemon.
#[must_use]
pub fn default_socket(env: impl Fn(&str) -> Option<String>, is_root: bool) -> PathBuf {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    if let Some(socket) = set("ORCH_SOCKET") {
        return PathBuf::from(socket);
    }
    let system = PathBuf::from("/run/orchd/orchd.sock");
    let runtime = set("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("orchd/orchd.sock"));
    let state = || {
        let home = set("HOME").map(|home| Path::new(&home).join(".local/state"));
        let state = set("XDG_STATE_HOME").map(PathBuf::from).or(home)?;
        (!is_root).then(|| state.join("orchd/orchd.sock"))
    };
    match runtime.or_else(state) {
        Some(own) if own.exists() || !system.exists() => own,
        _ => system,
    }
}

fn codec() -> length_delimited::Builder {
    let mut builder = length_delimited::Builder::new();
    builder.max_frame_length(FRAME_BYTES_MAX);
    builder
}

async fn greet(stream: &mut UnixStream) -> Result<String, RpcError> {
    let version = env!("CARGO_PKG_VERSION");
    let lost = |error: io::Error| RpcError::new(ErrorCode::Unreachable, format!("the daemon hung up: {error}"));
    stream.write_all(format!("orch {PROTOCOL_VERSION} {version}\n").as_bytes()).await.map_err(lost)?;
    let line = read_line(stream).await.map_err(lost)?;
    let Some((protocol, daemon, rest)) = parse_line(&line) else {
        return Err(RpcError::new(ErrorCode::Protocol, "what listens on the socket is not an orchd")
            .hint("check `--socket`, `ORCH_SOCKET` and what process owns the socket"));
    };
    if let Some(json) = rest.strip_prefix("error ") {
        // A daemon of another version may know codes that this client does not.
        return Err(serde_json::from_str(json).unwrap_or_else(|_| version_mismatch(daemon, protocol, false)));
    }
    if protocol != PROTOCOL_VERSION {
        return Err(version_mismatch(daemon, protocol, false));
    }
    Ok(daemon.to_owned())
}

fn version_mismatch(peer: &str, protocol: u32, peer_is_client: bool) -> RpcError {
    let own = env!("CARGO_PKG_VERSION");
    let (client, daemon) = if peer_is_client {
        (format!("{peer} (protocol {protocol})"), format!("{own} (protocol {PROTOCOL_VERSION})"))
    } else {
        (format!("{own} (protocol {PROTOCOL_VERSION})"), format!("{peer} (protocol {protocol})"))
    };
    RpcError::new(ErrorCode::Protocol, format!("client {client} and daemon {daemon} do not understand each other"))
        .hint("install the same version of both; after an upgrade restart the daemon, runs go on meanwhile")
}

fn parse_line(line: &str) -> Option<(u32, &str, &str)> {
    let mut parts = line.splitn(4, ' ');
    if parts.next() != Some("orch") {
        return None;
    }
    let protocol = parts.next()?.parse().ok()?;
    let version = parts.next()?;
    let plain = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    (plain && version.len() <= 64).then(|| (protocol, version, parts.next().unwrap_or("")))
}

/// Reads up to the newline, byte by byte, so that nothing of the frames behind it is taken.
async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let byte = stream.read_u8().await?;
        if byte == b'\n' {
            return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
        }
        if line.len() == LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        line.push(byte);
    }
}

fn silent(socket: &Path, wait: Duration) -> RpcError {
    let (socket, seconds) = (socket.display(), wait.as_secs());
    RpcError::new(ErrorCode::Unreachable, format!("what listens on `{socket}` has said nothing for {seconds} s"))
        .hint("try again if the host is busy; else the daemon hangs or was stopped: look at its log and at its process")
}

fn unreachable(socket: &Path, error: &io::Error) -> RpcError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return RpcError::new(
            ErrorCode::Permission,
            format!("the socket `{}` may not be opened by you", socket.display()),
        )
        .hint("ask to be put into the group of the socket (`socket_group` in the daemon's configuration)");
    }
    RpcError::new(ErrorCode::Unreachable, format!("no daemon answers on `{}`: {error}", socket.display()))
        .hint("start one with `orchctl up`, or name its socket with `--socket` or `ORCH_SOCKET`")
}

fn transport_error(error: &tarpc::client::RpcError) -> RpcError {
    use tarpc::client::RpcError as Transport;
    match error {
        Transport::DeadlineExceeded => RpcError::new(ErrorCode::Timeout, "the daemon did not answer in time")
            .hint("try again; a retry is harmless"),
        Transport::Server(server) if server.kind == io::ErrorKind::WouldBlock => {
            let mut busy = RpcError::new(ErrorCode::Busy, "too many requests at once on this connection");
            busy.retry_after_ms = Some(200);
            busy
        }
        Transport::Server(server) => serde_json::from_str(&server.detail)
            .unwrap_or_else(|_| RpcError::new(ErrorCode::Internal, format!("the daemon gave up: {}", server.detail))),
        Transport::Shutdown | Transport::Send(_) | Transport::Channel(_) => {
            RpcError::new(ErrorCode::Unreachable, "the connection to the daemon broke")
                .hint("connect again; a retry with the same key is harmless; if it stays so, client and daemon are of different builds")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_of_another_version_is_told_both_versions() {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(b"orch 99 7.0.0\n").await.unwrap();
        assert!(accept(server, None).await.is_err());
        let line = read_line(&mut client).await.unwrap();
        let (_, _, rest) = parse_line(&line).unwrap();
        let error: RpcError = serde_json::from_str(rest.strip_prefix("error ").unwrap()).unwrap();
        assert_eq!(error.code, ErrorCode::Protocol);
        assert!(error.message.contains("7.0.0 (protocol 99)"), "{error}");
    }

    #[tokio::test]
    async fn garbage_and_endless_lines_are_cut_off() {
        for garbage in [&b"GET / HTTP/1.1\n"[..], &[b'x'; LINE_BYTES_MAX + 1], b"orch 1 a\x1b[2J\n", b"\xff\xfe\n"] {
            let (mut client, server) = UnixStream::pair().unwrap();
            client.write_all(garbage).await.unwrap();
            assert!(accept(server, None).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_daemon_that_says_nothing_is_told_from_one_that_is_not_there() {
        let (stream, _silent) = UnixStream::pair().unwrap();
        let opened = Opened { stream, socket: "/run/orchd.sock".into() };
        let error = opened.greet_within(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unreachable);
        assert_eq!(error.message, "what listens on `/run/orchd.sock` has said nothing for 0 s");
        let absent = Client::connect(Path::new("/nowhere/orchd.sock")).await.unwrap_err();
        assert!(absent.message.starts_with("no daemon answers"), "{absent}");
    }

    #[tokio::test]
    async fn agreement_gives_the_daemons_version() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (greeted, accepted) = tokio::join!(greet(&mut client), accept(server, None));
        assert_eq!(greeted.unwrap(), env!("CARGO_PKG_VERSION"));
        assert!(accepted.is_ok());
    }
}
