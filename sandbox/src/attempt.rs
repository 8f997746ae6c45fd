//! What a step tries that must not work, where somebody outside has laid out what it would find.
//!
//! The probes of every run ask what the kernel answers. These attempts need more: a file, a listener or a socket of the
//! host that is really there, and a look from outside at whether it was touched. The program makes them as a step
//! (`orch-sandbox attempt`); whoever checks a host starts that run. **Invariant:** what was not refused is a hole, and what
//! could not be found out is not said to hold.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::{Deserialize, Serialize};

use crate::egress::PROXY_PORT;

/// Longest wait for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Processes beyond its bound that a run tries to have: more than the numbers of processes that the kernel keeps back, by
/// which the bound of a pid namespace is larger.
const PROCESSES_BEYOND: u64 = 512;
/// Processes that a run has before it tries, at most: another bound that answers so early is not its own.
const PROCESSES_BEFORE: u64 = 16;
/// More than a thread needs of memory, in bytes: when there is that much, it is not what was short.
const MEMORY_OF_THREAD: usize = 1 << 20;
/// Where the input of a request that must be refused leads. Nobody has that name.
const DENIED: &str = "denied.invalid:443";

/// What to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "case", rename_all = "snake_case", deny_unknown_fields)]
pub enum Attempt {
    /// Read files of the host.
    ReadFiles {
        /// They exist on the host.
        paths: Vec<PathBuf>,
    },
    /// Connect to a listener on the loopback of the host.
    ReachLoopback {
        /// Its port.
        port: u16,
    },
    /// Connect to an abstract socket of the host.
    ReachAbstract {
        /// Its name.
        name: String,
    },
    /// Have more processes than the run may.
    Multiply {
        /// What the run may have.
        bound: u64,
    },
    /// Ask the proxy of the run for what its policy does not name.
    AskProxy,
    /// Wait until somebody outside, who looks at the processes of the host meanwhile, makes this file.
    WaitFor {
        /// Relative to the workspace.
        path: PathBuf,
    },
}

/// Whether the sandbox withstood an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It was refused as it must be.
    Held,
    /// It worked, or was refused in a way that nobody meant.
    Open,
    /// The attempt could not be made.
    Unclear,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempted {
    /// Whether the sandbox withstood.
    pub finding: Finding,
    /// What was seen.
    pub seen: String,
}

impl Attempt {
    /// Makes the attempt.
    pub(crate) fn make(&self) -> Attempted {
        let (finding, seen) = match self {
            Self::ReadFiles { paths } => read_files(paths),
            Self::ReachLoopback { port } => reach_loopback(*port),
            Self::ReachAbstract { name } => reach_abstract(name),
            Self::Multiply { bound } => multiply(*bound),
            Self::AskProxy => ask_proxy(),
            Self::WaitFor { path } => wait_for(path),
        };
        Attempted { finding, seen }
    }
}

fn judged(holds: bool, seen: String) -> (Finding, String) {
    (if holds { Finding::Held } else { Finding::Open }, seen)
}

fn read_files(paths: &[PathBuf]) -> (Finding, String) {
    for path in paths {
        match std::fs::File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return (Finding::Open, format!("open of `{}`: {error}", path.display())),
            Ok(_) => return (Finding::Open, format!("open of `{}`: allowed", path.display())),
        }
    }
    let finding = if paths.is_empty() { Finding::Unclear } else { Finding::Held };
    (finding, "open of what the host has: ENOENT".to_owned())
}

fn reach_loopback(port: u16) -> (Finding, String) {
    match TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), ANSWER_WAIT) {
        Err(error) => {
            judged(error.kind() == ErrorKind::ConnectionRefused, format!("connect to 127.0.0.1:{port}: {error}"))
        }
        Ok(_) => (Finding::Open, format!("connect to 127.0.0.1:{port}: somebody answered")),
    }
}

fn reach_abstract(name: &str) -> (Finding, String) {
    let connected = UnixAddr::new_abstract(name.as_bytes()).and_then(|address| {
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        connect(socket.as_raw_fd(), &address)
    });
    match connected {
        Err(errno) => judged(matches!(errno, Errno::ECONNREFUSED | Errno::EPERM), format!("connect to it: {errno:?}")),
        Ok(()) => (Finding::Open, "connect to it: allowed".to_owned()),
    }
}

/// Threads count as processes do, and end with this one.
fn multiply(bound: u64) -> (Finding, String) {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let mut made = 0;
    let refused = loop {
        if made >= bound + PROCESSES_BEYOND {
            break None;
        }
        let held = std::sync::Arc::clone(&held);
        // Waits for the lock, or for the channel to close; both end when this function does.
        let waiting = move || drop(held.lock().map(|held| held.recv()));
        match std::thread::Builder::new().stack_size(64 << 10).spawn(waiting) {
            Ok(_) => made += 1,
            Err(error) => break Some(error),
        }
    };
    let has_memory = Vec::<u8>::new().try_reserve_exact(MEMORY_OF_THREAD).is_ok();
    drop(release);
    match refused {
        // The answer of the bound. Memory that is short says the same, and so does another bound.
        Some(error)
            if made + PROCESSES_BEFORE >= bound && has_memory && error.raw_os_error() == Some(Errno::EAGAIN as i32) =>
        {
            (Finding::Held, format!("after {made} more: {error}"))
        }
        Some(error) => (Finding::Unclear, format!("after {made} more: {error}")),
        None => (Finding::Open, format!("{made} more were possible, and {bound} are allowed")),
    }
}

fn ask_proxy() -> (Finding, String) {
    let asked = TcpStream::connect(("127.0.0.1", PROXY_PORT)).and_then(|mut stream| {
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.write_all(format!("CONNECT {DENIED} HTTP/1.1\r\nHost: {DENIED}\r\n\r\n").as_bytes())?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    });
    match asked {
        Ok(answer) => judged(answer == *b"HTTP/1.1 403", format!("CONNECT {DENIED}: {}", answer.escape_ascii())),
        Err(error) => (Finding::Unclear, format!("the proxy does not answer: {error}")),
    }
}

fn wait_for(path: &std::path::Path) -> (Finding, String) {
    let pause = Duration::from_millis(2);
    let rounds = ANSWER_WAIT.as_millis() / pause.as_millis();
    for _ in 0..rounds {
        if path.exists() {
            return (Finding::Held, "looked at from outside".to_owned());
        }
        std::thread::park_timeout(pause);
    }
    (Finding::Unclear, "nobody looked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a sandbox around it, what is there is found: an attempt that always fails would say nothing.
    #[test]
    fn what_is_there_is_found() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = |attempt: Attempt| attempt.make().finding == Finding::Open;
        assert!(open(Attempt::ReachLoopback { port }));
        let name = format!("orch-attempt-{}", std::process::id());
        let address = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name);
        let _listener = std::os::unix::net::UnixListener::bind_addr(&address.unwrap()).unwrap();
        assert!(open(Attempt::ReachAbstract { name }));
        assert!(open(Attempt::ReadFiles { paths: vec!["/proc/self/status".into()] }));
        assert!(open(Attempt::Multiply { bound: 2 }));
        assert_eq!(Attempt::ReadFiles { paths: Vec::new() }.make().finding, Finding::Unclear);
    }
}
