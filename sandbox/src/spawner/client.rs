//! The daemon's handle on its spawner process: starts it, asks it, and starts it again when it has died.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{MESSAGE_BYTES_MAX, SpawnRequest, StartAnswer};
use crate::limit::Ceilings;

/// Longest wait for one start. The spawner itself gives a shim less than that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How a spawner is started.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SpawnerOptions {
    /// Where its diagnostics go; `None` lets it write to the caller's standard error.
    pub stderr: Option<PathBuf>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spawned {
    /// Process id of the shim, for logs; ask [`inspect`](crate::run_dir::inspect) who is alive.
    pub pid: i32,
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
    /// The attempt is taken, outdated, or another shim lives in the directory. Nothing was started.
    #[error("run is fenced: {reason}")]
    Fenced {
        /// Which of these.
        reason: String,
    },
    /// The shim could not start, for example because the spec is wrong. Nothing was started.
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
    socket: BufReader<UnixStream>,
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
        let mut slot = self.process();
        let mut process = match slot.take() {
            Some(process) if process.alive() => process,
            Some(process) => {
                process.stop();
                Process::start(&self.program, &self.options)?
            }
            None => Process::start(&self.program, &self.options)?,
        };
        match process.ask(run_dir) {
            Ok(answer) => {
                *slot = Some(process);
                match answer {
                    StartAnswer::Started { pid } => Ok(Spawned { pid }),
                    StartAnswer::Fenced { reason } => Err(SpawnError::Fenced { reason }),
                    StartAnswer::Failed { reason } => Err(SpawnError::Failed { reason }),
                }
            }
            Err(error) => {
                // An answer that comes late must not be taken for that of the next request.
                process.stop();
                Err(error)
            }
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
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        ours.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        let stderr = match &options.stderr {
            Some(path) => std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?.into(),
            None => Stdio::inherit(),
        };
        let ceilings = serde_json::to_string(&options.ceilings).map_err(SpawnError::Decode)?;
        let child = Command::new(program)
            .args(["serve", &ceilings])
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, socket: BufReader::new(ours) })
    }

    /// Whether the other end is still open: a dead spawner is found before a request is lost on it.
    fn alive(&self) -> bool {
        let mut byte = [0];
        let flags = nix::sys::socket::MsgFlags::MSG_PEEK | nix::sys::socket::MsgFlags::MSG_DONTWAIT;
        let fd = std::os::fd::AsRawFd::as_raw_fd(self.socket.get_ref());
        nix::sys::socket::recv(fd, &mut byte, flags) == Err(nix::errno::Errno::EAGAIN)
    }

    fn ask(&mut self, run_dir: &Path) -> Result<StartAnswer, SpawnError> {
        let request = SpawnRequest { run_dir: run_dir.to_owned() };
        let mut line = serde_json::to_vec(&request).map_err(SpawnError::Decode)?;
        line.push(b'\n');
        self.socket.get_mut().write_all(&line).map_err(SpawnError::Exchange)?;
        let mut answer = Vec::new();
        let got = (&mut self.socket).take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut answer);
        if got.map_err(SpawnError::Exchange)? == 0 {
            return Err(SpawnError::Exchange(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&answer).map_err(SpawnError::Decode)
    }

    /// Ends the process. Its shims go on; it has nothing of its own to save.
    fn stop(mut self) {
        drop(self.socket);
        let ended = self.child.kill().and_then(|()| self.child.wait());
        debug_assert!(ended.is_ok(), "{ended:?}");
    }
}
