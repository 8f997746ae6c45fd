//! From a command line and an environment to a connection: which socket, and how long to wait between tries.
//!
//! Shared by both programs. Knows nothing of what is asked over the connection, and never reads the process's
//! environment by itself.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_proto::wire::{Client, Opened, default_socket};
use orch_proto::{ErrorCode, RpcError};

/// First pause between two tries to reach the daemon.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// Longest pause between two tries to reach the daemon.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a daemon that is connected to may say nothing before that is told.
const SILENCE: Duration = Duration::from_secs(1);

/// The socket to talk to: the one given, else where [`default_socket`] looks.
///
/// `env` reads a variable; programs pass [`process_env`].
#[must_use]
pub fn socket_path(flag: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> PathBuf {
    flag.map_or_else(|| default_socket(env, is_root()), Path::to_path_buf)
}

/// Reads a variable of this process. One that is not UTF-8 counts as absent.
#[must_use]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Connects once. When the daemon is connected to and says nothing yet, `on_silence` tells whoever waits, once.
///
/// # Errors
/// Those of [`Client::connect`]; a path that no Unix socket can have is `E_USAGE`.
pub async fn connect(socket: &Path, on_silence: impl AsyncFnOnce()) -> Result<Client, RpcError> {
    // The kernel's own error for this is "invalid argument", which helps nobody.
    const PATH_BYTES_MAX: usize = 107;
    let bytes = socket.as_os_str().len();
    if bytes > PATH_BYTES_MAX {
        return Err(RpcError::new(
            ErrorCode::Usage,
            format!("the socket path has {bytes} bytes; Unix sockets can have {PATH_BYTES_MAX}"),
        )
        .hint("name a shorter path with `--socket` or `ORCH_SOCKET`"));
    }
    let mut greeting = std::pin::pin!(Opened::to(socket).await?.greet());
    if let Ok(greeted) = tokio::time::timeout(SILENCE, &mut greeting).await {
        return greeted;
    }
    on_silence().await;
    greeting.await
}

/// Whether a later try can help: the daemon is away or busy, not of another version or closed to this user.
#[must_use]
pub const fn is_worth_another_try(error: &RpcError) -> bool {
    matches!(error.code, ErrorCode::Unreachable | ErrorCode::Busy | ErrorCode::ShuttingDown | ErrorCode::Timeout)
}

/// Pauses between tries: doubling from [`BACKOFF_FIRST`] to [`BACKOFF_MAX`], each shortened by up to a quarter at
/// random, so that many clients of a restarted daemon do not come back together.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// No try has failed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { tries: 0 }
    }

    /// How many tries have failed since the last success.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// The pause after one more failed try.
    #[must_use]
    pub fn next_pause(&mut self) -> Duration {
        let full = BACKOFF_FIRST.saturating_mul(1 << self.tries.min(10)).min(BACKOFF_MAX);
        self.tries = self.tries.saturating_add(1);
        // The standard library's keyed hasher is the randomness that is at hand without a crate.
        let random = RandomState::new().build_hasher().finish() % 256;
        let shortened = full.as_millis() / 4 * u128::from(random) / 256;
        full.saturating_sub(Duration::from_millis(u64::try_from(shortened).unwrap_or(0)))
    }

    /// A try succeeded.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Whether this process runs as root: its directory in `/proc` belongs to its user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment() {
        let env = |name: &str| (name == "ORCH_SOCKET").then(|| "/env.sock".to_owned());
        assert_eq!(socket_path(Some(Path::new("/flag.sock")), env), Path::new("/flag.sock"));
        assert_eq!(socket_path(None, env), Path::new("/env.sock"));
    }

    #[test]
    fn pauses_grow_to_their_limit_and_begin_anew() {
        let mut backoff = Backoff::new();
        let first = backoff.next_pause();
        assert!(first <= BACKOFF_FIRST && first >= BACKOFF_FIRST * 3 / 4, "{first:?}");
        let late = (0..100).map(|_| backoff.next_pause()).last().unwrap();
        assert!(late <= BACKOFF_MAX && late >= BACKOFF_MAX * 3 / 4, "{late:?}");
        backoff.reset();
        assert!(backoff.next_pause() <= BACKOFF_FIRST);
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_named_as_such() {
        let path = PathBuf::from(format!("/{}", "x".repeat(200)));
        assert_eq!(connect(&path, async || ()).await.unwrap_err().code, ErrorCode::Usage);
    }

    /// Goal: a daemon that listens and does not answer yet is waited for, and whoever waits is told so. Method: nobody takes
    /// the connection until that was told.
    #[tokio::test]
    async fn a_daemon_that_says_nothing_yet_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("orchd.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let (told, mut is_told) = tokio::sync::mpsc::channel(1);
        let accepting = async {
            is_told.recv().await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            orch_proto::wire::accept(stream, None).await.unwrap()
        };
        let connecting = connect(&socket, async || told.send(()).await.unwrap());
        let (connected, _accepted) = tokio::join!(connecting, accepting);
        assert_eq!(connected.unwrap().daemon_version(), env!("CARGO_PKG_VERSION"));
    }
}
