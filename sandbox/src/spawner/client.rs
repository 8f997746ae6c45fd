//! The daemon's handle on its spawner process: starts it, asks it, and starts it again when it has died.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use nix::sys::time::TimeVal;

use super::{CLAIM_MAX, MESSAGE_BYTES_MAX, PROTOCOL, Prewarm, ServeOptions, SpawnRequest, StartAnswer};
use crate::clock::monotonic_ns;
use crate::limit::Ceilings;
use crate::secrets::{SealedSecrets, Secrets, TransferError};
use crate::sys::channel;

/// Longest wait for one start, in seconds: [`START_MAX`](super::START_MAX), and what is to be done between claim and answer.
const ANSWER_TIMEOUT_S: i64 = 15;

/// How a spawner is started.
#[derive(Debug, Clone, Default)]
pub struct SpawnerOptions {
    /// Where its diagnostics go; `None` lets it write to the caller's standard error.
    pub stderr: Option<PathBuf>,
    /// What it prepares ahead.
    pub prewarm: Prewarm,
    /// What all its runs together keep to.
    pub ceilings: Ceilings,
}

impl SpawnerOptions {
    /// Options with these ceilings, and nothing else set.
    pub fn with_ceilings(ceilings: Ceilings) -> Self {
        Self { ceilings, ..Self::default() }
    }
}

/// A started run.
#[derive(Debug)]
pub struct Spawned {
    /// Process id of the shim, for logs; ask [`inspect`](crate::run_dir::inspect) who is alive.
    pub pid: i32,
    /// Becomes readable when the shim has ended, after it has written the exit record.
    pub pidfd: OwnedFd,
}

/// Failure to start a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The spawner process cannot be started.
    #[error("failed to start `{} serve`", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The spawner died or did not answer. The run may or may not have started: inspect its directory.
    #[error("failed to talk to the spawner")]
    Exchange(#[source] io::Error),
    /// The answer is not understood.
    #[error("failed to understand the spawner")]
    Decode(#[source] serde_json::Error),
    /// The secrets cannot be passed. Nothing was started.
    #[error("failed to pass the secrets")]
    Secrets(#[source] TransferError),
    /// The attempt is taken, outdated, or another shim lives in the directory. Nothing was started.
    #[error("run is fenced: {reason}")]
    Fenced {
        /// Which of these.
        reason: String,
    },
    /// The shim could not start, for example because the spec is wrong. Nothing goes on; when the attempt was taken, its
    /// record says whether the first step had begun.
    #[error("shim failed to start: {reason}")]
    Failed {
        /// Its reason.
        reason: String,
    },
}

/// A spawner process and the right to use it from any thread.
#[derive(Debug)]
pub struct Spawner {
    program: PathBuf,
    options: SpawnerOptions,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    socket: OwnedFd,
}

impl Spawner {
    /// Starts `program serve` with an empty environment.
    ///
    /// # Errors
    /// When the program cannot be executed.
    pub fn start(program: &Path, options: SpawnerOptions) -> Result<Self, SpawnError> {
        let process = Process::start(program, &options)?;
        Ok(Self { program: program.to_owned(), options, process: Mutex::new(Some(process)) })
    }

    /// Starts the run in `run_dir`, which [`prepare`](crate::run_dir::prepare) has written. Returns when its shim holds
    /// lock and claim, at the latest after a few seconds. A spawner that has died is started again.
    ///
    /// # Errors
    /// See [`SpawnError`]. After [`SpawnError::Exchange`] the run may have started.
    pub fn spawn(&self, run_dir: &Path) -> Result<Spawned, SpawnError> {
        self.spawn_with(run_dir, &Secrets::new())
    }

    /// Like [`Spawner::spawn`], with the values of the secrets that the spec names. They are passed by descriptor, and
    /// the spawner itself does not read them.
    ///
    /// # Errors
    /// See [`SpawnError`]; [`SpawnError::Failed`] when spec and values do not fit.
    pub fn spawn_with(&self, run_dir: &Path, secrets: &Secrets) -> Result<Spawned, SpawnError> {
        let sealed = if secrets.is_empty() { None } else { Some(secrets.seal().map_err(SpawnError::Secrets)?) };
        match self.ask(run_dir, sealed.as_ref(), false) {
            // The spawner died, or the sandbox that had waited for a run. If that had taken this one, the claim says so.
            Err(SpawnError::Exchange(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.ask(run_dir, sealed.as_ref(), true)
            }
            answered => answered,
        }
    }

    fn ask(&self, run_dir: &Path, secrets: Option<&SealedSecrets>, is_repeated: bool) -> Result<Spawned, SpawnError> {
        let (ours, theirs) = channel::pair().map_err(exchange)?;
        setsockopt(&ours, ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_S, 0)).map_err(exchange)?;
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend(secrets.map(SealedSecrets::as_fd));
        let asked = self.send((run_dir, is_repeated), &descriptors)?;
        // From here on it is open with whoever is to answer, and nowhere else.
        drop(theirs);
        let mut answer = vec![0; MESSAGE_BYTES_MAX];
        let (len, mut descriptors) = channel::receive(ours.as_fd(), &mut answer).map_err(|errno| {
            if errno == Errno::EAGAIN {
                self.replace(asked);
            }
            exchange(errno)
        })?;
        if len == 0 {
            return Err(SpawnError::Exchange(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&answer[..len]).map_err(SpawnError::Decode)? {
            StartAnswer::Started { pid } => {
                let pidfd = descriptors.pop();
                let pidfd = pidfd.ok_or_else(|| SpawnError::Exchange(io::ErrorKind::InvalidData.into()))?;
                Ok(Spawned { pid, pidfd })
            }
            StartAnswer::Fenced { reason } => Err(SpawnError::Fenced { reason }),
            StartAnswer::Failed { reason } => Err(SpawnError::Failed { reason }),
        }
    }

    /// Asks the spawner, which is started again when it has died; the process id of the one that was asked.
    fn send(&self, (run_dir, is_repeated): (&Path, bool), descriptors: &[BorrowedFd<'_>]) -> Result<u32, SpawnError> {
        let mut slot = self.process();
        let process = match slot.take() {
            Some(process) if process.alive() => process,
            died => {
                died.into_iter().for_each(Process::stop);
                Process::start(&self.program, &self.options)?
            }
        };
        // From now on, however long it took to get here.
        let claim_max_ns = u64::try_from(CLAIM_MAX.as_nanos()).unwrap_or(u64::MAX);
        let claim_until_ns = monotonic_ns().saturating_add(claim_max_ns);
        let request = SpawnRequest { run_dir: run_dir.to_owned(), claim_until_ns, is_repeated };
        let json = serde_json::to_vec(&request).map_err(SpawnError::Decode)?;
        match channel::send(process.socket.as_fd(), &json, descriptors) {
            Ok(()) => {
                let id = process.child.id();
                *slot = Some(process);
                Ok(id)
            }
            Err(errno) => {
                process.stop();
                let died = matches!(errno, Errno::EPIPE | Errno::ECONNRESET);
                Err(if died { SpawnError::Exchange(io::ErrorKind::UnexpectedEof.into()) } else { exchange(errno) })
            }
        }
    }

    /// Ends the spawner with this process id, from which nothing was heard in time: it may hang in a call, and all that ask it
    /// wait behind that. They ask the next one. Shims that it has started go on.
    fn replace(&self, id: u32) {
        let mut slot = self.process();
        if let Some(process) = slot.take_if(|process| process.child.id() == id) {
            process.stop();
        }
    }

    /// Process id of the spawner, for logs and tests; `None` after a failure, until the next call.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(|process| process.child.id())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A panic while it was held leaves at worst a process that does not answer, which `spawn` replaces.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exchange(errno: Errno) -> SpawnError {
    SpawnError::Exchange(errno.into())
}

impl Drop for Spawner {
    fn drop(&mut self) {
        if let Some(process) = self.process().take() {
            process.stop();
        }
    }
}

impl Process {
    fn start(program: &Path, options: &SpawnerOptions) -> Result<Self, SpawnError> {
        let failed = |source| SpawnError::Program { program: program.to_owned(), source };
        let (ours, theirs) = channel::pair().map_err(|errno| failed(errno.into()))?;
        setsockopt(&ours, SendTimeout, &TimeVal::new(ANSWER_TIMEOUT_S, 0)).map_err(|errno| failed(errno.into()))?;
        let stderr = match &options.stderr {
            Some(path) => std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?.into(),
            None => Stdio::inherit(),
        };
        let serve_options =
            ServeOptions { protocol: PROTOCOL, prewarm: options.prewarm, ceilings: options.ceilings.clone() };
        let serve_options = serde_json::to_string(&serve_options).map_err(SpawnError::Decode)?;
        let child = Command::new(program)
            .args(["serve", &serve_options])
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, socket: ours })
    }

    /// Whether the other end is still open: a dead spawner is found before a request is lost on it.
    fn alive(&self) -> bool {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.socket.as_raw_fd(), &mut byte, flags) == Err(Errno::EAGAIN)
    }

    /// Ends the process. Its shims go on; it has nothing of its own to save.
    fn stop(mut self) {
        drop(self.socket);
        let ended = self.child.kill().and_then(|()| self.child.wait());
        debug_assert!(ended.is_ok(), "{ended:?}");
    }
}
