//! Starting a step but the first: fork, bounds, descriptors, working directory, execute.
//!
//! Such a step inherits the confinement of init and adds landlock for files. **Invariant:** a step starts with descriptors 0, 1 and 2 and no other,
//! no blocked signal, default dispositions and exactly the environment of the spec.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdout, pipe2, setsid, write};

use super::confine;
use super::namespaces::{OOM_SCORE_OF_INIT, OOM_SCORE_OF_STEPS, OomScore};
use super::script::Prepared;
use crate::sys::descriptors;
use crate::sys::execute::Image;
use crate::sys::process::{self, Forked};

/// By how much the priority of steps is below that of the daemon, of shims and of init, which have little to do and must
/// be able to do it.
const STEP_NICE: i32 = 5;
/// Most signals that wait in a run to be taken, those of its timers included.
const SIGNALS_MAX: u64 = 4096;
/// Bounds of every process inside, init included.
const FIXED_BOUNDS: [(Resource, u64); 5] = [
    // One byte, not none: a core pattern that is a pipe ignores a limit of zero.
    (Resource::RLIMIT_CORE, 1),
    (Resource::RLIMIT_MSGQUEUE, 1 << 20),
    (Resource::RLIMIT_NICE, 0),
    (Resource::RLIMIT_RTPRIO, 0),
    // Signals that wait are counted for the user of the host as well, whose own timers need some.
    (Resource::RLIMIT_SIGPENDING, SIGNALS_MAX),
];

/// Why a step's program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("failed to fork: {}", .0.desc())]
    Fork(Errno),
    #[error("failed to make a pipe: {}", .0.desc())]
    Pipe(Errno),
    #[error("failed to {}: {}", stage.text(), errno.desc())]
    Child { stage: Stage, errno: Errno },
}

/// What a step's process does before its program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Prepare,
    Restrict,
    Limits,
    WorkingDirectory,
    Execute,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Prepare, Self::Restrict, Self::Limits, Self::WorkingDirectory, Self::Execute];

    fn text(self) -> &'static str {
        match self {
            Self::Prepare => "prepare the process",
            Self::Restrict => "restrict it by landlock",
            Self::Limits => "set its limits",
            Self::WorkingDirectory => "enter its working directory",
            Self::Execute => "execute its program",
        }
    }
}

/// Starts `step` with its two streams and returns when its program runs.
pub(super) fn start(
    step: &Prepared,
    rules: Option<&RulesetCreated>,
    (stdout, stderr): (OwnedFd, OwnedFd),
    score: &OomScore,
) -> Result<Pid, StartError> {
    let (verdict, report) = pipe2(OFlag::O_CLOEXEC).map_err(StartError::Pipe)?;
    score.set(OOM_SCORE_OF_STEPS);
    let forked = process::fork(CloneFlags::empty());
    if !matches!(forked, Ok(Forked::Child)) {
        score.set(OOM_SCORE_OF_INIT);
    }
    match forked.map_err(StartError::Fork)? {
        Forked::Child => {
            let ready = become_plain(&stdout, &stderr).map_err(|errno| (Stage::Prepare, errno));
            // The crate keeps the errno to itself; whatever it is, nothing is executed.
            let restricted =
                || rules.map_or(Ok(()), |rules| confine::restrict(rules).map_err(|_| (Stage::Restrict, Errno::EPERM)));
            let ready = ready.and_then(|()| restricted()).and_then(|()| ready_to_execute(step));
            let failed = ready.and_then(|()| execute(&step.programs, &step.image()));
            process::exit_now(report_failure(&report, failed))
        }
        Forked::Parent { pid, .. } => {
            drop((stdout, stderr, report));
            read_verdict(verdict).map(|()| pid)
        }
    }
}

/// Tells whoever started this process why it does not become the step; what it then ends with.
pub(crate) fn report_failure(report: &OwnedFd, failed: Result<Infallible, (Stage, Errno)>) -> i32 {
    let (stage, errno) = match failed {
        Err(failed) => failed,
        Ok(never) => match never {},
    };
    let [a, b, c, d] = (errno as i32).to_le_bytes();
    if write(report, &[stage as u8, 0, 0, 0, a, b, c, d]) == Ok(8) { 127 } else { 126 }
}

/// Waits until the process with the other end executes its program, or says why not. That end is open nowhere else.
pub(crate) fn read_verdict(verdict: OwnedFd) -> Result<(), StartError> {
    let mut message = [0; 9];
    match File::from(verdict).read(&mut message) {
        Ok(8) => {
            let [stage, _, _, _, errno @ .., _] = message;
            let stage = Stage::ALL.get(usize::from(stage)).copied().unwrap_or(Stage::Prepare);
            Err(StartError::Child { stage, errno: Errno::from_raw(i32::from_le_bytes(errno)) })
        }
        // Nothing was written, so the descriptor was closed by the execution or by a signal; in both cases the process is
        // the step.
        _ => Ok(()),
    }
}

/// A session of its own, its two streams, default signals, and nothing that stays open over an execution.
pub(crate) fn become_plain(stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), Errno> {
    setsid()?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    descriptors::close_all_on_exec()?;
    // Rust ignores this one in every program that it starts.
    process::default_disposition(Signal::SIGPIPE)?;
    SigSet::all().thread_unblock()
}

/// Takes on the priority, the bounds and the working directory of `step`.
pub(crate) fn ready_to_execute(step: &Prepared) -> Result<(), (Stage, Errno)> {
    process::lower_priority(STEP_NICE).map_err(|errno| (Stage::Limits, errno))?;
    limit(&step.bounds).map_err(|errno| (Stage::Limits, errno))?;
    chdir(step.cwd.as_c_str()).map_err(|errno| (Stage::WorkingDirectory, errno))
}

/// Becomes the first of `programs` that there is; returns only what went wrong. Allocates nothing.
pub(crate) fn execute(programs: &[CString], image: &Image<'_>) -> Result<Infallible, (Stage, Errno)> {
    let mut refused = Errno::ENOENT;
    for program in programs {
        match image.execute(program) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // Like the shell: look further, but say what was found.
            Errno::EACCES => refused = Errno::EACCES,
            errno => return Err((Stage::Execute, errno)),
        }
    }
    Err((Stage::Execute, refused))
}

/// Sets the bounds that init and all steps share.
pub(crate) fn limit_all() -> Result<(), Errno> {
    limit(&FIXED_BOUNDS)
}

fn limit(bounds: &[(Resource, u64)]) -> Result<(), Errno> {
    for (resource, bound) in bounds {
        let bound = match resource {
            // Descriptors on their way in local sockets are counted for the user of the host and compared with the limit
            // of whoever sends: shims, with the hard limit as theirs, must be able to when every run has sent all.
            Resource::RLIMIT_NOFILE => &(*bound).min(getrlimit(*resource)?.1 / 2),
            _ => bound,
        };
        match setrlimit(*resource, *bound, *bound) {
            // Higher than what the daemon itself may have.
            Err(Errno::EPERM) => {
                let (_, hard) = getrlimit(*resource)?;
                setrlimit(*resource, hard, hard)?;
            }
            set => set?,
        }
    }
    Ok(())
}

impl From<(Stage, Errno)> for StartError {
    fn from((stage, errno): (Stage, Errno)) -> Self {
        Self::Child { stage, errno }
    }
}
