//! Starting the daemon in the background and stopping it again.
//!
//! The daemon gets a session of its own without any unsafe code: this program starts itself as `internal-detach`, which
//! calls `setsid` and becomes the daemon. Waits are for states (the socket answers, the process is gone), with a bound.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use orch_proto::view::StatusView;
use orch_proto::{ErrorCode, RpcError};
use tokio::time::Instant;

use super::failure::Failure;
use super::session::Session;

/// Longest time for a daemon to answer after its start, or to be gone after its stop. Recovery of open runs is part of
/// a start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of the end of the log that a failed start shows.
const LOG_TAIL_BYTES: u64 = 2_000;

/// How the daemon is called.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    /// Where standard output and error of the daemon go.
    pub(crate) log: PathBuf,
    /// Variables of this program that the daemon does not get.
    pub(crate) without: &'static [&'static str],
}

impl Launch {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("--socket"), self.socket.clone().into()];
        if let Some(directory) = &self.state_dir {
            arguments.extend(["--state-dir".into(), directory.clone().into()]);
        }
        if let Some(config) = &self.config {
            arguments.extend(["--config".into(), config.clone().into()]);
        }
        arguments
    }
}

/// Finds a program of this product: named by a variable, beside this program, or in `PATH`.
pub(crate) fn find(name: &str, variable: &str, env: &impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    if let Some(path) = env(variable) {
        return Ok(PathBuf::from(path));
    }
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(name)));
    beside.filter(|path| is_program(path)).or_else(|| in_path(name, env)).ok_or_else(|| {
        Failure::new(
            ErrorCode::ToolMissing,
            format!("there is no `{name}` beside this program and none in PATH"),
            format!("build it with `cargo build`, or name it in {variable}"),
        )
    })
}

/// Finds a program in `PATH`.
pub(crate) fn in_path(name: &str, env: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let path = env("PATH")?;
    let directories = path.split(':').filter(|directory| !directory.is_empty());
    directories.map(|directory| Path::new(directory).join(name)).find(|path| is_program(path))
}

/// The file for the daemon's messages when none is named.
pub(crate) fn default_log(state_dir: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    if let Some(directory) = state_dir {
        return Ok(directory.join("orchd.out"));
    }
    let home = env("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| env("HOME").map(|home| Path::new(&home).join(".local/state")));
    home.map(|home| home.join("orchd/orchd.out"))
        .ok_or_else(|| Failure::usage("neither XDG_STATE_HOME nor HOME is set; name a file with `--log`"))
}

/// Starts the daemon in a session of its own and waits until it answers.
pub(crate) async fn start(session: &Session, launch: &Launch) -> Result<StatusView, Failure> {
    let log = open_log(&launch.log)?;
    let from = log.metadata()?.len();
    session.debug(&format!("starting `{}`, messages in `{}`", launch.program.display(), launch.log.display()));
    let mut command = Command::new(std::env::current_exe()?);
    for name in launch.without {
        command.env_remove(name);
    }
    let mut child = command
        .arg("internal-detach")
        .arg(&launch.program)
        .args(launch.arguments())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let deadline = Instant::now() + session.options.timeout.unwrap_or(PATIENCE);
    loop {
        session.disconnect();
        let asked = session.read(async |orch, context| orch.status(context).await);
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(status)) => return Ok(status),
            Ok(Err(failure)) if !failure.is_passing() => return Err(failure),
            Ok(Err(_)) | Err(_) => {}
        }
        if let Some(status) = child.try_wait()? {
            let message = format!("the daemon ended at once ({status})");
            return Err(did_not_start(ErrorCode::Unreachable, &message, &launch.log, from));
        }
        if Instant::now() >= deadline {
            let message = format!("the daemon (pid {}) does not answer", child.id());
            return Err(did_not_start(ErrorCode::Timeout, &message, &launch.log, from));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Asks the daemon to stop and waits until its process is gone.
pub(crate) async fn stop(session: &Session, pid: u32) -> Result<(), Failure> {
    session.read(async |orch, context| orch.shutdown(context).await).await?;
    session.disconnect();
    let deadline = Instant::now() + session.options.timeout.unwrap_or(PATIENCE);
    while is_alive(pid) {
        if Instant::now() >= deadline {
            return Err(Failure::new(
                ErrorCode::Timeout,
                format!("the daemon (pid {pid}) was told to stop and is still there"),
                "look at its log; `orchctl status` shows what it does",
            ));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

/// Becomes the program, in a session of its own. Returns only when that fails.
pub(crate) fn detach(command: &[OsString]) -> Failure {
    let Some((program, arguments)) = command.split_first() else {
        return Failure::usage("no program was named");
    };
    if let Err(errno) = nix::unistd::setsid() {
        return Failure::usage(format!("no session of its own for `{}`: {errno}", program.display()));
    }
    let error = Command::new(program).args(arguments).exec();
    Failure::new(
        ErrorCode::ToolMissing,
        format!("`{}` cannot be started: {error}", program.display()),
        "build it with `cargo build`, or name it in ORCHD_PROGRAM",
    )
}

/// A zombie counts as gone: it holds no lock and no socket any more.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

fn open_log(path: &Path) -> Result<File, Failure> {
    let cannot = |error: std::io::Error| Failure::cannot_write(path, &error);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(cannot)
}

fn did_not_start(code: ErrorCode, message: &str, log: &Path, from: u64) -> Failure {
    let tail = read_from(log, from).unwrap_or_default();
    let tail = if tail.trim().is_empty() { String::new() } else { format!(":\n{}", tail.trim_end()) };
    Failure::Refused(
        RpcError::new(code, format!("{message}{tail}")).hint(format!("its messages are in `{}`", log.display())),
    )
}

/// The end of what was written to the log since it had `from` bytes.
fn read_from(log: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_variable_and_path() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("orchd");
        let path = directory.path().display().to_string();
        let env = |name: &str| (name == "PATH").then(|| path.clone());
        assert_eq!(find("orch-no-such", "X", &env).unwrap_err().exit_code(), 78);
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&program).unwrap();
        assert_eq!(
            find("orchd", "X", &|name: &str| (name == "X").then(|| "/elsewhere/orchd".into())).unwrap(),
            Path::new("/elsewhere/orchd")
        );
        assert_eq!(find("orchd", "X", &env).unwrap().file_name(), program.file_name());
    }

    #[test]
    fn this_process_is_alive_and_pid_zero_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
    }
}
