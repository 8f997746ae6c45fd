//! The shim: one process per run that owns everything of it on the host side.
//!
//! Claims the run directory, starts init, feeds the machine with what happens, keeps the log and writes the exit record.
//! Depends on neither daemon nor spawner once it has answered. **Invariant:** without the claim it writes nothing.
//! **Invariant:** with the claim it leaves an exit record, whatever fails in between; only its own death loses a run.

mod inside;
mod keeper;
mod machine;
mod server;
mod streams;
mod supervisor;
mod timers;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{geteuid, setgroups};

pub(crate) use keeper::Host;
pub(crate) use streams::Echo;

use crate::clock::unix_us;
use crate::exit_record::{ExitRecord, FORMAT_VERSION, Outcome, StepResult, StepStatus};
use crate::log::LogWriter;
use crate::run_dir::{
    Claim, ClaimError, EXIT_FILE, InspectError, LOG_FILE, Reserve, SHIM_FILE, ShimIdentity, read_spec, write_atomic,
    write_durable,
};
use crate::spawner::StartAnswer;
use crate::spec::{CheckedSpec, SpecError};
use server::ControlServer;
use supervisor::{Ended, Supervisor};

/// Why a shim cannot start; it has written nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("failed to open run directory `{}`", dir.display())]
    OpenDir {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to read the spec")]
    ReadSpec(#[source] InspectError),
    #[error("no `spec.json` in `{}`", dir.display())]
    NoSpec { dir: PathBuf },
    #[error("the spec is not valid")]
    Spec(#[source] SpecError),
    #[error("failed to claim the run")]
    Claim(#[source] ClaimError),
}

/// Who waits for the news that the shim has started.
#[derive(Debug)]
pub(crate) enum Starter {
    /// A spawner at the other end of a pipe.
    Spawner(File),
    /// A person, who sees the output itself.
    Person,
}

impl Starter {
    /// Gives the answer; a starter that has gone does not need it.
    fn answer(&mut self, answer: &StartAnswer) {
        if let (Self::Spawner(pipe), Ok(mut line)) = (self, serde_json::to_vec(answer)) {
            line.push(b'\n');
            drop(pipe.write_all(&line));
        }
    }
}

/// Runs the run in `dir` on `host` from claim to exit record.
pub(crate) fn run(dir: &Path, host: &Host, mut starter: Starter) -> Result<ExitRecord, StartError> {
    let (spec, handle, claim) = match take(dir) {
        Ok(taken) => taken,
        Err(error) => {
            starter.answer(&refusal(&error));
            return Err(error);
        }
    };
    let started_at_us = unix_us();
    let boot_id = boot_id();
    let echo = match starter {
        Starter::Spawner(_) => Echo::Nothing,
        Starter::Person => Echo::Stdio,
    };
    let ended = match Parts::prepare(&handle, &spec, &boot_id) {
        Ok(parts) => {
            starter.answer(&StartAnswer::Started { pid: own_pid() });
            drop(starter);
            Supervisor::new(&spec, parts, host, echo).run(dir)
        }
        Err(error) => {
            starter.answer(&StartAnswer::Failed { reason: error.to_string() });
            Ended::without_log(Outcome::ShimError { message: error.to_string() }, not_run(&spec))
        }
    };
    let record = ExitRecord {
        version: FORMAT_VERSION,
        fence: spec.fence,
        outcome: ended.outcome,
        steps: ended.steps,
        started_at_us,
        finished_at_us: unix_us(),
        boot_id,
        level: ended.level,
        log_bytes: ended.log_bytes,
        dropped_bytes: ended.dropped_bytes,
    };
    leave_record(&handle, &record);
    // In this order: whoever finds nobody listening finds the lock free and the record written.
    drop(claim);
    drop(ended.server);
    Ok(record)
}

fn take(dir: &Path) -> Result<(CheckedSpec, File, Claim), StartError> {
    let handle = File::open(dir).map_err(|source| StartError::OpenDir { dir: dir.to_owned(), source })?;
    let spec = read_spec(dir).map_err(StartError::ReadSpec)?;
    let spec = spec.ok_or_else(|| StartError::NoSpec { dir: dir.to_owned() })?;
    let spec = spec.check().map_err(StartError::Spec)?;
    umask(Mode::from_bits_truncate(0o077));
    let claim = Claim::take(&handle, dir, spec.fence).map_err(StartError::Claim)?;
    Ok((spec, handle, claim))
}

fn refusal(error: &StartError) -> StartAnswer {
    let reason = crate::chain(error);
    match error {
        StartError::Claim(ClaimError::Busy | ClaimError::Taken { .. } | ClaimError::Outdated { .. }) => {
            StartAnswer::Fenced { reason }
        }
        StartError::Claim(_)
        | StartError::OpenDir { .. }
        | StartError::ReadSpec(_)
        | StartError::NoSpec { .. }
        | StartError::Spec(_) => StartAnswer::Failed { reason },
    }
}

/// What a shim needs before init can start.
#[derive(Debug)]
struct Parts {
    log: LogWriter,
    server: ControlServer,
    signals: SignalFd,
    reserve: Reserve,
}

/// Failure to make what a shim needs.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("failed to protect the shim: {}", .0.desc())]
    Protect(Errno),
    #[error("failed to take over signals: {}", .0.desc())]
    Signals(Errno),
    #[error("failed to reserve space for the exit record: {0}")]
    Reserve(std::io::Error),
    #[error("failed to write `shim.json`: {0}")]
    Identity(std::io::Error),
    #[error("failed to create the log: {0}")]
    Log(std::io::Error),
    #[error("failed to listen on the control socket: {0}")]
    Listen(std::io::Error),
}

impl Parts {
    fn prepare(dir: &File, spec: &CheckedSpec, boot_id: &str) -> Result<Self, PrepareError> {
        // The spec in memory may hold secrets; other processes of the same user must not read it.
        prctl::set_dumpable(false).map_err(PrepareError::Protect)?;
        if geteuid().is_root() {
            // Where it is allowed: group rights of the host are none of the run's.
            match setgroups(&[]) {
                Ok(()) | Err(Errno::EPERM) => {}
                Err(errno) => return Err(PrepareError::Protect(errno)),
            }
        }
        let identity = ShimIdentity {
            version: FORMAT_VERSION,
            fence: spec.fence,
            pid: own_pid(),
            start_ticks: start_ticks(),
            boot_id: boot_id.to_owned(),
        };
        let json = serde_json::to_vec(&identity).map_err(|error| PrepareError::Identity(error.into()))?;
        write_atomic(dir, SHIM_FILE, &json).map_err(|error| PrepareError::Identity(error.into()))?;
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let log = openat(dir, LOG_FILE, flags | OFlag::O_NOFOLLOW, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| PrepareError::Log(errno.into()))?;
        let log = LogWriter::create(log, spec.limits.log_bytes_max)
            .map_err(|error| PrepareError::Log(std::io::Error::other(error)))?;
        let server = ControlServer::listen(dir).map_err(PrepareError::Listen)?;
        let reserve = Reserve::take(dir).map_err(PrepareError::Reserve)?;
        Ok(Self { log, server, signals: end_signals().map_err(PrepareError::Signals)?, reserve })
    }
}

/// The signals that ask a shim to end its run.
fn end_signals() -> Result<SignalFd, Errno> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Writes the exit record.
///
/// The control socket stays, because by now it may be that of the next attempt; nobody listens on it.
fn leave_record(dir: &File, record: &ExitRecord) {
    let written = serde_json::to_vec(record).map(|json| write_durable(dir, EXIT_FILE, &json));
    // When the record cannot be written there is nobody to tell: the run is found lost, which is what it then is.
    drop(written);
}

fn not_run(spec: &CheckedSpec) -> Vec<StepResult> {
    let result = |name: &String| StepResult {
        name: name.clone(),
        status: StepStatus::NotRun,
        started_at_us: None,
        finished_at_us: None,
    };
    spec.steps.iter().map(|step| result(&step.name)).collect()
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Start time of this process in clock ticks since boot; 0 when `/proc` does not say.
fn start_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses can hold anything; what follows it is field 3 on, and the start time is field 22.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    fields.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or_default()
}
