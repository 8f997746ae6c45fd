//! One child process: bounded in time, output and memory, and gone with everything it started when it is over.
//!
//! Knows nothing of git. **Invariant:** when [`Call::run`] returns, every process of the call's
//! process group has been killed.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::iter;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::path::escape;

/// Most bytes of standard output that a call keeps unless it says otherwise.
const OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of standard error that are kept for the message.
const STDERR_BYTES_MAX: u64 = 8 << 10;
/// Longest time of a call unless it says otherwise.
const TIME_MAX: Duration = Duration::from_secs(120);
/// Address space of a call in KiB: a hostile object can ask for more than the host has.
const ADDRESS_SPACE_KIB_MAX: u32 = 4 << 20;
/// Sets the limits, then becomes the program. A limit that is already lower stays.
const LIMITED: &str = r#"ulimit -c 0 2>/dev/null; ulimit -v "$1" 2>/dev/null; shift; exec "$@""#;

/// Why a call has no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The process could not be started or followed.
    #[error("failed to run `{command}`")]
    Process { command: String, source: io::Error },
    /// It was killed at its time limit.
    #[error("`{command}` took longer than {} s and was stopped", limit.as_secs())]
    Timeout { command: String, limit: Duration },
    /// Its output is over the bound of the call.
    #[error("output of `{command}` is larger than {max} bytes")]
    OutputTooLarge { command: String, max: u64 },
    /// The disk is full.
    #[error("no space left on the disk for `{command}`")]
    StorageFull { command: String },
    /// It said no. `code` is absent when a signal ended it; `stderr` is escaped and cut.
    #[error("`{command}` failed{}: {stderr}", code.map(|code| format!(" with code {code}")).unwrap_or_default())]
    Failed { command: String, code: Option<i32>, stderr: String },
}

/// Whether the cause of an error, however deep, is a full disk or quota.
#[must_use]
pub fn is_storage_full(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |&error| error.source()).any(|cause| {
        let call = cause.downcast_ref::<CallError>();
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(call, Some(CallError::StorageFull { .. }))
            || matches!(io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

/// Whether the cause of an error, however deep, is the host and not what it was asked to look at: a program that cannot be
/// run, a full disk, a failing one, time that was up, a process that somebody else killed. Files of others that are not there,
/// or not what they should be, are no fault of the host.
#[must_use]
pub fn is_hosts_fault(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind as Kind;
    is_storage_full(error)
        || iter::successors(Some(error), |&error| error.source()).any(|cause| {
            if let Some(call) = cause.downcast_ref::<CallError>() {
                return match call {
                    CallError::Process { .. } | CallError::Timeout { .. } | CallError::StorageFull { .. } => true,
                    CallError::Failed { code, .. } => code.is_none(),
                    CallError::OutputTooLarge { .. } => false,
                };
            }
            // Links, pipes and devices in the place of a file (ELOOP, ENXIO) have no stable kinds.
            let is_of_others = |io: &io::Error| {
                let kinds = [Kind::NotFound, Kind::PermissionDenied, Kind::NotADirectory, Kind::IsADirectory];
                let codes = [nix::errno::Errno::ELOOP as i32, nix::errno::Errno::ENXIO as i32];
                kinds.contains(&io.kind()) || io.raw_os_error().is_some_and(|code| codes.contains(&code))
            };
            cause.downcast_ref::<io::Error>().is_some_and(|io| !is_of_others(io))
        })
}

/// What a finished call left.
#[derive(Debug)]
pub(super) struct Finished {
    /// Exit code; absent when a signal ended the process.
    pub(super) code: Option<i32>,
    /// Standard output, at most the bound of the call.
    pub(super) stdout: Vec<u8>,
    /// Whether there was more, in which case the process was stopped and `code` means nothing.
    pub(super) truncated: bool,
    /// The start of standard error, raw.
    stderr: Vec<u8>,
}

/// What the process reads.
#[derive(Debug)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
}

/// A process about to be started. Its environment is empty but for what the maker adds.
#[derive(Debug)]
pub(super) struct Call {
    name: String,
    command: Command,
    input: Input,
    output_max: u64,
    time_max: Duration,
}

impl Call {
    /// A call of `program`, known to messages as `name`.
    pub(super) fn new(program: &std::path::Path, name: String) -> Self {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(LIMITED).arg("sh").arg(ADDRESS_SPACE_KIB_MAX.to_string()).arg(program);
        command.env_clear().current_dir("/").process_group(0);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { name, command, input: Input::Nothing, output_max: OUTPUT_BYTES_MAX, time_max: TIME_MAX }
    }

    /// Adds one argument.
    pub(super) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(super) fn args<A: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets one environment variable.
    pub(super) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives the process these bytes to read; without this it reads an empty file.
    pub(super) fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Input::Bytes(bytes);
        self
    }

    /// Gives the process the rest of this file to read, from its position on.
    pub(super) fn input_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    /// Bounds standard output, in bytes.
    pub(super) fn output_max(mut self, bytes: u64) -> Self {
        self.output_max = bytes;
        self
    }

    /// Bounds the time.
    pub(super) fn time_max(mut self, limit: Duration) -> Self {
        self.time_max = limit;
        self
    }

    /// Runs the process to its end, whatever its exit code.
    pub(super) fn run(mut self) -> Result<Finished, CallError> {
        let input = match self.input {
            Input::Nothing => {
                self.command.stdin(Stdio::null());
                None
            }
            Input::Bytes(bytes) => {
                self.command.stdin(Stdio::piped());
                Some(bytes)
            }
            Input::File(file) => {
                self.command.stdin(Stdio::from(file));
                None
            }
        };
        let process_error = |source| CallError::Process { command: self.name.clone(), source };
        let mut child = self.command.spawn().map_err(process_error)?;
        let followed = follow(&mut child, input, self.output_max, self.time_max).map_err(process_error)?;
        if followed.timed_out {
            return Err(CallError::Timeout { command: self.name, limit: self.time_max });
        }
        Ok(followed.finished)
    }

    /// Runs the process and takes its whole output.
    ///
    /// # Errors
    /// Also when the exit code is not 0 or there was more output than the bound.
    pub(super) fn output(self) -> Result<Vec<u8>, CallError> {
        let (name, max) = (self.name.clone(), self.output_max);
        let finished = self.run()?;
        if finished.truncated {
            return Err(CallError::OutputTooLarge { command: name, max });
        }
        if finished.code == Some(0) { Ok(finished.stdout) } else { Err(finished.failure(name)) }
    }

    /// Runs the process and takes its output as one line of text.
    pub(super) fn line(self) -> Result<String, CallError> {
        self.output_max(64 << 10).output().map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }
}

impl Finished {
    /// The error that a call with this end stands for, when its exit code is not one that means something.
    pub(super) fn failure(&self, command: String) -> CallError {
        let stderr = String::from_utf8_lossy(&self.stderr);
        if stderr.contains("No space left on device") || stderr.contains("Disk quota exceeded") {
            return CallError::StorageFull { command };
        }
        let excerpt: Vec<String> = stderr.lines().take(8).map(|line| escape(line.as_bytes())).collect();
        let mut text = excerpt.join("; ");
        if text.is_empty() {
            text.push_str("no message");
        }
        CallError::Failed { command, code: self.code, stderr: text }
    }
}

struct Followed {
    finished: Finished,
    timed_out: bool,
}

/// Feeds the child, reads it, and ends its whole group at its exit or at the limit, whichever is first.
fn follow(child: &mut Child, input: Option<Vec<u8>>, output_max: u64, limit: Duration) -> io::Result<Followed> {
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let out = scope.spawn(move || stdout.map_or(Ok((Vec::new(), false)), |pipe| read_bounded(pipe, output_max)));
        let err = scope.spawn(move || stderr.map_or(Ok(Vec::new()), read_start));
        if let (Some(mut pipe), Some(bytes)) = (stdin, input) {
            // A process that ends without reading everything says why itself; the broken pipe adds nothing.
            scope.spawn(move || drop(pipe.write_all(&bytes)));
        }
        let (exited, exit) = mpsc::channel();
        scope.spawn(move || {
            // The process stays a zombie, so that its group id cannot become anybody else's before the kill below.
            while waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::errno::Errno::EINTR) {
            }
            exited.send(()).ok();
        });
        let timed_out = exit.recv_timeout(limit).is_err();
        // Also after a normal end: whatever was left in the group must not outlive the call or hold its pipes open.
        killpg(group, Signal::SIGKILL).ok();
        let status = child.wait()?;
        let (stdout, truncated) = out.join().unwrap_or_else(|_| Err(io::Error::other("reader of stdout panicked")))?;
        let stderr = err.join().unwrap_or_else(|_| Err(io::Error::other("reader of stderr panicked")))?;
        Ok(Followed { finished: Finished { code: status.code(), stdout, truncated, stderr }, timed_out })
    })
}

/// Reads up to the bound and tells whether there was more; dropping the pipe then stops the writer.
fn read_bounded(pipe: impl Read, max: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    pipe.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    let keep = usize::try_from(max).unwrap_or(usize::MAX);
    let truncated = bytes.len() > keep;
    bytes.truncate(keep);
    Ok((bytes, truncated))
}

/// Reads the start and drains the rest, so that a talkative process neither blocks nor dies of its own messages.
fn read_start(mut pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.by_ref().take(STDERR_BYTES_MAX).read_to_end(&mut bytes)?;
    io::copy(&mut pipe, &mut io::sink())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use nix::errno::Errno;

    use super::*;

    fn sh(script: &str) -> Call {
        Call::new(Path::new("/bin/sh"), "sh".to_owned()).env("PATH", "/usr/bin:/bin").arg("-c").arg(script)
    }

    #[test]
    fn output_code_and_input_arrive() {
        assert_eq!(sh("cat").input(b"given".to_vec()).output().unwrap(), b"given");
        let finished = sh("echo out; exit 7").run().unwrap();
        assert_eq!((finished.code, finished.stdout.as_slice()), (Some(7), &b"out\n"[..]));
        let error = sh("printf 'bad \\033[2J\\n' >&2; exit 3").output().unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed with code 3: bad \\u{1b}[2J");
        let full = sh("echo 'x: No space left on device' >&2; exit 1").output().unwrap_err();
        assert!(matches!(full, CallError::StorageFull { .. }), "{full}");
        assert!(is_storage_full(&crate::git::CreateError::Git(full)));
        assert!(!is_storage_full(&error));
    }

    #[test]
    fn what_the_host_did_is_told_from_what_it_looked_at() {
        let limit = Duration::from_millis(50);
        let slow = sh("tail -f /dev/null").time_max(limit).output().unwrap_err();
        let killed = sh("kill -9 $$").output().unwrap_err();
        let absent = Call::new(Path::new("/bin/sh"), "sh".to_owned()).time_max(limit);
        let process = CallError::Process { command: absent.name, source: io::ErrorKind::NotFound.into() };
        for fault in [slow, killed, process, CallError::StorageFull { command: "sh".into() }] {
            assert!(is_hosts_fault(&fault) && is_hosts_fault(&crate::git::CreateError::Git(fault)));
        }
        let said_no = sh("exit 1").output().unwrap_err();
        let too_long = sh("echo long").output_max(2).output().unwrap_err();
        assert!(!is_hosts_fault(&said_no) && !is_hosts_fault(&too_long));
        let read = |code| crate::git::IngestError::Read(io::Error::from_raw_os_error(code));
        assert!([Errno::EIO, Errno::EMFILE, Errno::ENOSPC].into_iter().all(|code| is_hosts_fault(&read(code as i32))));
        let of_others = [Errno::ENOENT, Errno::ELOOP, Errno::EACCES, Errno::ENXIO, Errno::ENOTDIR];
        assert!(of_others.into_iter().all(|code| !is_hosts_fault(&read(code as i32))));
    }

    #[test]
    fn environment_is_empty() {
        let names = sh("env").output().unwrap();
        let names = String::from_utf8(names).unwrap();
        assert!(
            names.lines().all(|line| ["PATH=", "PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|n| line.starts_with(n))),
            "{names}"
        );
    }

    #[test]
    fn endless_output_is_cut_and_its_writer_stopped() {
        let finished = sh("while :; do echo yyyyyyyyyyyyyyyy; done").output_max(1000).run().unwrap();
        assert_eq!((finished.stdout.len(), finished.truncated), (1000, true));
    }

    /// A grandchild that keeps the pipe open must neither hold the call nor survive it.
    #[test]
    fn the_group_is_gone_at_the_limit_and_at_the_end() {
        let start = Instant::now();
        let limit = Duration::from_millis(200);
        let error = sh("tail -f /dev/null & tail -f /dev/null").time_max(limit).output().unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error}");
        let pid = sh("tail -f /dev/null & echo $!").line().unwrap();
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ") && !stat.contains(") X ")
        };
        // The kernel ends a killed process a moment later than it takes the signal.
        while alive() {
            assert!(start.elapsed() < Duration::from_secs(30), "process {pid} is left");
            thread::yield_now();
        }
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
