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
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};

use crate::run_dir::{lives, start_ticks};
use crate::small_file;
use crate::sys::process;

/// The variable. Its value is the number of the shim and when that was started, in clock ticks since boot.
const NAME: &str = "ORCH_SANDBOX_SHIM";
/// More than the environment of a process can be when it is executed, in bytes.
const ENVIRONMENT_BYTES_MAX: u64 = 8 << 20;
/// Longest time for ending what is left. What was killed and is still there then hangs in a call of the kernel.
const END_WAIT: Duration = Duration::from_secs(2);
/// Most processes that are waited for at once; what is beyond is found by the next look.
const ENDING_MAX: usize = 256;

/// The mark of what this process starts as a shim.
pub(crate) fn own_mark() -> CString {
    CString::new(format!("{NAME}={}.{}", getpid(), start_ticks())).unwrap_or_default()
}

/// Puts `mark` into the environment of a step, which may bring one of its own.
pub(crate) fn put_mark(env: &mut Vec<CString>, mark: &CString) {
    env.retain(|word| shim_of(word.as_bytes()).is_none());
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
    let mut shims = BTreeMap::new();
    let mut is_left = |pid: Pid| {
        environment(pid)
            .split(|byte| *byte == 0)
            .filter_map(shim_of)
            .any(|(shim, ticks)| !*shims.entry((shim, ticks)).or_insert_with(|| lives(shim, ticks)))
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

/// Which shim a variable names, if it is the one.
fn shim_of(variable: &[u8]) -> Option<(i32, u64)> {
    let value = std::str::from_utf8(variable).ok()?.strip_prefix(NAME)?.strip_prefix('=')?;
    let (pid, ticks) = value.split_once('.')?;
    Some((pid.parse().ok()?, ticks.parse().ok()?))
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

    fn sleeper(mark: &str) -> Child {
        Command::new("sleep").arg("1000").env(NAME, mark).spawn().unwrap()
    }

    #[test]
    fn a_mark_is_put_once_and_read() {
        let mark = own_mark();
        assert_eq!(shim_of(mark.as_bytes()), Some((getpid().as_raw(), start_ticks())));
        let mut env = vec![c"A=1".to_owned(), c"ORCH_SANDBOX_SHIM=1.1".to_owned(), c"ORCH_SANDBOX_SHIMS=2".to_owned()];
        put_mark(&mut env, &mark);
        assert_eq!(env, [c"A=1".to_owned(), c"ORCH_SANDBOX_SHIMS=2".to_owned(), mark]);
        for other in ["ORCH_SANDBOX_SHIM=", "ORCH_SANDBOX_SHIM=1", "ORCH_SANDBOX_SHIM=a.1", "X=1.1"] {
            assert_eq!(shim_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_a_dead_shim_has_left_ends_and_nothing_else_does() {
        let own = format!("{}.{}", getpid(), start_ticks());
        // No process has started before the boot.
        let (mut left, mut kept) = (sleeper(&format!("{}.0", getpid())), sleeper(&own));
        let mut unmarked = sleeper("nothing");
        assert!(end().unwrap() >= 1);
        assert!(left.wait().unwrap().code().is_none(), "it was killed");
        for other in [&mut kept, &mut unmarked] {
            assert_eq!(other.try_wait().unwrap(), None);
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
