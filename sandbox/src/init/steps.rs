//! Starting one step: fork, limits, descriptors, working directory, execute.
//!
//! Everything that needs memory is prepared before the sandbox closes. **Invariant:** a step starts with descriptors
//! 0, 1 and 2 and no other, no blocked signal, default dispositions and exactly the environment of the spec.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdout, execve, pipe2, setsid};

use crate::probes::inside::{self, Expected};
use crate::spec::{CheckedSpec, HOME_INSIDE, Isolation, Limits, StepSpec};
use crate::sys::descriptors;
use crate::sys::process::{self, Disposition, Forked};

/// Most signals that wait in a run to be taken, those of its timers included.
const SIGNALS_MAX: u64 = 4096;

/// Environment of a step where the spec names none.
const DEFAULT_ENV: [(&str, &str); 4] = [
    ("HOME", HOME_INSIDE),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("TMPDIR", "/tmp"),
];

/// A step ready to be executed.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Where the program may be, in the order of `PATH`.
    programs: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    bounds: Vec<(Resource, u64)>,
}

/// Why a step's program does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("failed to fork: {}", .0.desc())]
    Fork(Errno),
    #[error("failed to make a pipe: {}", .0.desc())]
    Pipe(Errno),
    #[error("failed to {}: {}", stage.text(), errno.desc())]
    Child { stage: Stage, errno: Errno },
}

/// What a step's process does before its program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Prepare,
    Limits,
    WorkingDirectory,
    Execute,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Prepare, Self::Limits, Self::WorkingDirectory, Self::Execute];

    fn text(self) -> &'static str {
        match self {
            Self::Prepare => "prepare the process",
            Self::Limits => "set its limits",
            Self::WorkingDirectory => "enter its working directory",
            Self::Execute => "execute its program",
        }
    }
}

impl Prepared {
    /// Prepares `step` of the run in `spec`.
    pub(super) fn new(spec: &CheckedSpec, step: &StepSpec) -> Self {
        let mut env: BTreeMap<&str, &str> = DEFAULT_ENV.into();
        let workspace = spec.workspace.to_string_lossy();
        if spec.isolation == Isolation::None {
            // The home inside does not exist on the host, and the user's own is none of the run's business.
            env.insert("HOME", &workspace);
        }
        env.extend(spec.env.iter().chain(&step.env).map(|(name, value)| (name.as_str(), value.as_str())));
        let path = env.get("PATH").copied().unwrap_or_default();
        let program = step.argv.first().map_or("", String::as_str);
        let programs = if program.contains('/') {
            vec![text(program)]
        } else {
            let directories = path.split(':').filter(|directory| directory.starts_with('/'));
            directories.map(|directory| text(&format!("{directory}/{program}"))).collect()
        };
        Self {
            programs,
            argv: step.argv.iter().map(|word| text(word)).collect(),
            env: env.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect(),
            cwd: path_text(&spec.workspace_at.join(&step.cwd)),
            bounds: bounds(&spec.limits, spec.isolation),
        }
    }
}

/// Starts `step` with its two streams and returns when its program runs.
pub(super) fn start(step: &Prepared, stdout: OwnedFd, stderr: OwnedFd) -> Result<Pid, StartError> {
    let (verdict, report) = pipe2(OFlag::O_CLOEXEC).map_err(StartError::Pipe)?;
    match process::fork(CloneFlags::empty()).map_err(StartError::Fork)? {
        Forked::Child => {
            let Err((stage, errno)) = execute(step, &stdout, &stderr, &report);
            let message = [stage as u8, 0, 0, 0].into_iter().chain((errno as i32).to_le_bytes()).collect::<Vec<_>>();
            let written = File::from(report).write_all(&message);
            process::exit_now(if written.is_ok() { 127 } else { 126 })
        }
        Forked::Parent { pid, .. } => {
            drop((stdout, stderr, report));
            let mut message = Vec::new();
            let got = File::from(verdict).read_to_end(&mut message);
            match (got, <[u8; 8]>::try_from(message)) {
                (Ok(8), Ok([stage, _, _, _, errno @ ..])) => {
                    let stage = Stage::ALL.get(usize::from(stage)).copied().unwrap_or(Stage::Prepare);
                    Err(StartError::Child { stage, errno: Errno::from_raw(i32::from_le_bytes(errno)) })
                }
                // Nothing was written, so the descriptor was closed by the execution or by a signal; in both cases the
                // process is the step.
                _ => Ok(pid),
            }
        }
    }
}

/// Becomes the step; returns only what went wrong.
fn execute(
    step: &Prepared,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    report: &OwnedFd,
) -> Result<Infallible, (Stage, Errno)> {
    become_plain(stdout, stderr, report).map_err(|errno| (Stage::Prepare, errno))?;
    limit(&step.bounds).map_err(|errno| (Stage::Limits, errno))?;
    chdir(step.cwd.as_c_str()).map_err(|errno| (Stage::WorkingDirectory, errno))?;
    let mut refused = Errno::ENOENT;
    for program in &step.programs {
        match execve(program, &step.argv, &step.env) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // Like the shell: look further, but say what was found.
            Err(Errno::EACCES) => refused = Errno::EACCES,
            Err(errno) => return Err((Stage::Execute, errno)),
            Ok(never) => match never {},
        }
    }
    Err((Stage::Execute, refused))
}

/// A session of its own, its two streams, default signals, nothing else of init's.
fn become_plain(stdout: &OwnedFd, stderr: &OwnedFd, report: &OwnedFd) -> Result<(), Errno> {
    setsid()?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    descriptors::close_all_but(&[report.as_fd()])?;
    // Rust ignores this one in every program that it starts.
    process::set_disposition(Signal::SIGPIPE, Disposition::Default)?;
    SigSet::all().thread_unblock()
}

fn bounds(limits: &Limits, isolation: Isolation) -> Vec<(Resource, u64)> {
    let mut bounds = vec![
        // One byte, not none: a core pattern that is a pipe ignores a limit of zero.
        (Resource::RLIMIT_CORE, 1),
        (Resource::RLIMIT_CPU, limits.cpu_seconds),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_FSIZE, limits.file_size_bytes),
        (Resource::RLIMIT_MEMLOCK, 8 << 20),
        (Resource::RLIMIT_MSGQUEUE, 1 << 20),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
        // Signals that wait are counted for the user of the host as well, whose own timers need some.
        (Resource::RLIMIT_SIGPENDING, SIGNALS_MAX),
    ];
    bounds.extend(limits.memory_bytes.map(|bytes| (Resource::RLIMIT_AS, bytes)));
    match isolation {
        // Counted in the run's own user namespace.
        Isolation::Sandboxed => bounds.push((Resource::RLIMIT_NPROC, limits.processes)),
        // Would count whatever else the user runs on the host.
        Isolation::None => {}
    }
    bounds
}

fn limit(bounds: &[(Resource, u64)]) -> Result<(), Errno> {
    for (resource, bound) in bounds {
        let (_, hard) = getrlimit(*resource)?;
        let most = match resource {
            // Descriptors on their way in local sockets are counted for the user of the host and compared with the limit
            // of whoever sends: shims, with the hard limit as theirs, must be able to when every run has sent all.
            Resource::RLIMIT_NOFILE => hard / 2,
            _ => hard,
        };
        let bound = most.min(*bound);
        setrlimit(*resource, bound, bound)?;
    }
    Ok(())
}

/// Starts a process that probes the sandbox as a step would find it and writes what it found to `output`.
pub(super) fn start_probe(expected: &Expected, output: OwnedFd) -> Result<Pid, Errno> {
    match process::fork(CloneFlags::empty())? {
        Forked::Child => {
            // The channel of init is closed first, as for a step: the probes look at descriptors, too.
            let closed = descriptors::close_all_but(&[output.as_fd()]);
            let found = closed.map_err(std::io::Error::from).and_then(|()| {
                let json = serde_json::to_vec(&inside::probe(expected))?;
                File::from(output).write_all(&json)
            });
            process::exit_now(i32::from(found.is_err()))
        }
        Forked::Parent { pid, .. } => Ok(pid),
    }
}

fn text(word: &str) -> CString {
    CString::new(word).expect("words of a checked spec have no NUL")
}

fn path_text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("paths of a checked spec have no NUL")
}
