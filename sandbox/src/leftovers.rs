//! What runs without isolation have left when their shim was killed: found by a mark in its environment, and ended.
//!
//! A shim ends what its run has started, and the kernel kills the process of a step with its shim. What that process had
//! started lives on then. The spawner of the shim finds it, because orphans come to it; but a shim outlives its spawner, and
//! its orphans go to whoever is the host's reaper. So everything that a step starts inherits a variable that names the shim: a
//! process that has it while that shim is gone is nobody's. **Invariant:** nothing is ended whose shim lives, nor anything
//! without a mark. A process that takes the mark out of its environment is not found; it could do anything else, too.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};

use crate::run_dir::{lives, start_ticks};
use crate::small_file;
use crate::sys::process;

/// The variable. Its value is the pid namespace of the shim, its number there, and when it was started, in clock ticks since
/// boot.
const NAME: &str = "ORCH_SANDBOX_SHIM";
/// More than the environment of a process can be when it is executed, in bytes.
const ENVIRONMENT_BYTES_MAX: u64 = 8 << 20;
/// Longest time for ending what is left. What was killed and is still there then hangs in a call of the kernel.
const END_WAIT: Duration = Duration::from_secs(2);
/// Most processes that are waited for at once; what is beyond is found by the next look.
const ENDING_MAX: usize = 256;

/// Which shim a mark names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shim {
    /// By its inode. A number means another process in another one.
    namespace: u64,
    pid: i32,
    start_ticks: u64,
}

impl Shim {
    /// This process.
    fn own() -> Self {
        Self { namespace: own_namespace(), pid: getpid().as_raw(), start_ticks: start_ticks() }
    }

    fn mark(self) -> String {
        let Self { namespace, pid, start_ticks } = self;
        format!("{NAME}={namespace}.{pid}.{start_ticks}")
    }

    /// The one that a variable names, if it is a mark.
    fn of(variable: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(variable).ok()?.strip_prefix(NAME)?.strip_prefix('=')?;
        let (namespace, process) = value.split_once('.')?;
        let (pid, start_ticks) = process.split_once('.')?;
        let (namespace, pid) = (namespace.parse().ok()?, pid.parse().ok()?);
        Some(Self { namespace, pid, start_ticks: start_ticks.parse().ok()? })
    }
}

/// The pid namespace of this process; 0 when `/proc` does not say.
fn own_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// The mark of what this process starts as a shim.
pub(crate) fn own_mark() -> CString {
    CString::new(Shim::own().mark()).unwrap_or_default()
}

/// Puts `mark` into the environment of a step, which may bring one of its own.
pub(crate) fn put_mark(env: &mut Vec<CString>, mark: &CString) {
    env.retain(|word| Shim::of(word.as_bytes()).is_none());
    env.push(mark.clone());
}

/// Ends every process whose shim is gone, and waits for that. How many there were.
pub(crate) fn end() -> io::Result<usize> {
    let deadline = Instant::now() + END_WAIT;
    let mut count = 0;
    loop {
        let ending = kill_round()?;
        if ending.is_empty() {
            return Ok(count);
        }
        count += ending.len();
        for process in &ending {
            if !wait_for(process, deadline)? {
                return Ok(count);
            }
        }
    }
}

/// Kills those that are there now. What they have started meanwhile is seen by the next round.
fn kill_round() -> io::Result<Vec<OwnedFd>> {
    let (namespace, mut shims) = (own_namespace(), BTreeMap::new());
    let mut is_left = |pid: Pid| {
        environment(pid)
            .split(|byte| *byte == 0)
            .filter_map(Shim::of)
            // What is in a container that has shims of its own is seen from outside of it.
            .filter(|shim| shim.namespace == namespace)
            .any(|shim| !*shims.entry(shim).or_insert_with(|| lives(shim.pid, shim.start_ticks)))
    };
    let mut killed = Vec::new();
    let numbers = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in numbers.map(Pid::from_raw) {
        // Whoever looks may have been started by such a run itself.
        if killed.len() == ENDING_MAX || pid == getpid() || !is_left(pid) {
            continue;
        }
        let Ok(process) = process::open_pidfd(pid) else { continue };
        // Whoever has the number now is behind the descriptor, whatever becomes of the number.
        if is_left(pid) && process::signal_pidfd(process.as_fd(), Signal::SIGKILL).is_ok() {
            killed.push(process);
        }
    }
    Ok(killed)
}

/// The environment that a process was executed with; nothing of one that is gone or another user's.
fn environment(pid: Pid) -> Vec<u8> {
    let file = std::fs::File::open(format!("/proc/{pid}/environ"));
    file.and_then(|file| small_file::bytes(file, ENVIRONMENT_BYTES_MAX)).unwrap_or_default()
}

/// Waits for the end of a process; whether it came.
fn wait_for(process: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(shim: Shim) -> Child {
        let mark = shim.mark();
        let (name, value) = mark.split_once('=').unwrap();
        Command::new("sleep").arg("1000").env(name, value).spawn().unwrap()
    }

    #[test]
    fn a_mark_is_put_once_and_read() {
        let mark = own_mark();
        assert_eq!(Shim::of(mark.as_bytes()), Some(Shim::own()));
        let mut env = [c"A=1", c"ORCH_SANDBOX_SHIM=1.1.1", c"ORCH_SANDBOX_SHIMS=2"].map(CString::from).to_vec();
        put_mark(&mut env, &mark);
        assert_eq!(env, [c"A=1".to_owned(), c"ORCH_SANDBOX_SHIMS=2".to_owned(), mark]);
        for other in ["ORCH_SANDBOX_SHIM=", "ORCH_SANDBOX_SHIM=1.1", "ORCH_SANDBOX_SHIM=a.1.1", "X=1.1.1"] {
            assert_eq!(Shim::of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_a_dead_shim_has_left_ends_and_nothing_else_does() {
        let own = Shim::own();
        // No process has started before the boot.
        let (mut left, mut kept) = (sleeper(Shim { start_ticks: 0, ..own }), sleeper(own));
        let mut elsewhere = sleeper(Shim { namespace: own.namespace + 1, start_ticks: 0, ..own });
        // How many that are is nobody's to say: other tests leave some, and end them.
        end().unwrap();
        assert!(left.wait().unwrap().code().is_none(), "it was killed");
        for other in [&mut kept, &mut elsewhere] {
            assert_eq!(other.try_wait().unwrap(), None);
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
