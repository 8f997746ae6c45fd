//! What the result of a run is checked with, done in the run itself: the same commands, in its own sandbox. It proves nothing to
//! anybody else; the daemon does them again by itself before it merges.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use orch_proto::channel::{Answered, Check, Verb};
use orch_proto::{ErrorCode, RpcError};

use super::client::{Channel, Wanted};

/// Pieces of output that wait to be taken, and how large they are, in bytes.
const PIECES_MAX: usize = 8;
const PIECE_BYTES: usize = 16 << 10;
/// How often it is looked whether a check is over, or not wanted any more.
const LOOK: Duration = Duration::from_millis(200);
/// How long what a check printed is read when it has ended and something that it left behind could print on.
const LEFTOVER: Duration = Duration::from_secs(1);
/// Most bytes that are kept of the output of a check, its last ones.
const TAIL_BYTES_MAX: usize = 16 << 10;

/// What takes the output of a check, piece by piece.
type Take<'t> = &'t mut dyn FnMut(&[u8]) -> io::Result<()>;

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed {
        why: String,
    },
    /// Nobody wanted it any more.
    GivenUp,
}

/// What the run's result is checked with, in order, and where; only those of these names, if any is named.
///
/// # Errors
/// When the daemon does not say, or there is no check of a name.
pub(crate) fn list(channel: &mut Channel, names: &[String]) -> Result<(String, Vec<Check>), RpcError> {
    let Answered::Tests { workspace, mut checks } = channel.call(&Verb::Tests)? else {
        return Err(RpcError::new(ErrorCode::Internal, "the daemon answered another question"));
    };
    if let Some(unknown) = names.iter().find(|name| !checks.iter().any(|check| check.name == **name)) {
        let known: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        let message = format!("nothing named `{unknown}` is run on the result; there is: {}", known.join(", "));
        return Err(RpcError::new(ErrorCode::NotFound, message).hint("leave the name out to run all"));
    }
    checks.retain(|check| names.is_empty() || names.contains(&check.name));
    Ok((workspace, checks))
}

/// Does a check, and hands over what it prints.
///
/// # Errors
/// When it cannot be started, or what it prints cannot be handed over.
pub(crate) fn run(check: &Check, workspace: &Path, wanted: &Wanted, take: Take<'_>) -> io::Result<Verdict> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("exec 2>&1\n{}", check.run)])
        .current_dir(workspace.join(&check.cwd))
        .envs(&check.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let output = child.stdout.take().map(pieces).transpose()?;
    let verdict = output.map_or(Ok(Verdict::GivenUp), |output| attend(&mut child, check, wanted, (&output, take)));
    // With all that it left behind; what is gone already cannot be killed.
    let _is_gone = group.is_ok_and(|group| killpg(group, Signal::SIGKILL).is_err());
    child.wait()?;
    verdict
}

fn attend(
    child: &mut Child,
    check: &Check,
    wanted: &Wanted,
    (output, take): (&Receiver<Vec<u8>>, Take<'_>),
) -> io::Result<Verdict> {
    let begun = Instant::now();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        let piece = output.recv_timeout(LOOK);
        if let Ok(piece) = &piece {
            take(piece)?;
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now() + LEFTOVER));
        }
        match (ended, piece) {
            (Some((status, _)), Err(RecvTimeoutError::Disconnected)) => return Ok(verdict(status)),
            (Some((status, until)), _) if Instant::now() >= until => return Ok(verdict(status)),
            // It closed its output and works on.
            (None, Err(RecvTimeoutError::Disconnected)) => std::thread::park_timeout(LOOK),
            _ => {}
        }
        if wanted.is_over() {
            return Ok(Verdict::GivenUp);
        }
        if begun.elapsed() >= Duration::from_millis(check.timeout_ms) {
            return Ok(Verdict::Failed { why: format!("not done after {} s", check.timeout_ms / 1_000) });
        }
    }
}

fn verdict(status: ExitStatus) -> Verdict {
    match (status.success(), status.code(), status.signal()) {
        (true, ..) => Verdict::Passed,
        (false, Some(code), _) => Verdict::Failed { why: format!("exit code {code}") },
        (false, None, signal) => Verdict::Failed { why: format!("killed by signal {}", signal.unwrap_or_default()) },
    }
}

/// Reads on a thread of its own, and not faster than pieces are taken.
fn pieces(mut output: impl Read + Send + 'static) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = sync_channel(PIECES_MAX);
    std::thread::Builder::new().spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = output.read(&mut piece) {
            if sender.send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// The end of what was printed.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
        let surplus = self.0.len().saturating_sub(TAIL_BYTES_MAX);
        self.0.drain(..surplus);
    }
}

/// Does all checks, or those of these names, and says how they ended, with the end of what those printed that failed. Whether one
/// failed; none when nobody wants it any more.
///
/// # Errors
/// As [`list`] and [`run`].
pub(super) fn report(
    channel: &mut Channel,
    names: &[String],
    wanted: &Wanted,
) -> Result<Option<(String, bool)>, RpcError> {
    let (workspace, checks) = list(channel, names)?;
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for check in &checks {
        let mut tail = Tail::default();
        let mut take = |piece: &[u8]| {
            tail.push(piece);
            Ok(())
        };
        let ended = run(check, Path::new(&workspace), wanted, &mut take);
        let ended = ended.unwrap_or_else(|error| Verdict::Failed { why: format!("it cannot be done: {error}") });
        match ended {
            Verdict::Passed => lines.push(format!("{}: passed", check.name)),
            Verdict::Failed { why } => {
                lines.push(format!("{}: failed, {why}", check.name));
                failed.push(format!("\n--- {}\n{}", check.name, String::from_utf8_lossy(&tail.0)));
            }
            Verdict::GivenUp => return Ok(None),
        }
    }
    if checks.is_empty() {
        lines.push("nothing is run on the result of this run".to_owned());
    }
    let is_failed = !failed.is_empty();
    Ok(Some((lines.into_iter().chain(failed).collect::<Vec<_>>().join("\n"), is_failed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(run_text: &str, timeout_ms: u64) -> (Verdict, String) {
        let check = Check {
            name: "c".into(),
            run: run_text.into(),
            cwd: ".".into(),
            timeout_ms,
            env: [("GREETING".to_owned(), "hi".to_owned())].into(),
        };
        let mut said = Vec::new();
        let mut take = |piece: &[u8]| {
            said.extend_from_slice(piece);
            Ok(())
        };
        let verdict = run(&check, Path::new("/"), &Wanted::default(), &mut take).unwrap();
        (verdict, String::from_utf8(said).unwrap())
    }

    #[test]
    fn a_check_says_how_it_ended_and_all_that_it_printed() {
        assert_eq!(done("echo $GREETING; pwd >&2", 60_000), (Verdict::Passed, "hi\n/\n".to_owned()));
        assert_eq!(done("exit 3", 60_000).0, Verdict::Failed { why: "exit code 3".into() });
        assert_eq!(done("kill -9 $$", 60_000).0, Verdict::Failed { why: "killed by signal 9".into() });
        // What is left behind holds nobody up.
        assert_eq!(done("sleep 1000 & echo done", 60_000), (Verdict::Passed, "done\n".to_owned()));
        assert_eq!(done("sleep 1000", 1_000).0, Verdict::Failed { why: "not done after 1 s".into() });
    }

    #[test]
    fn what_nobody_wants_any_more_ends() {
        let wanted = Wanted::default();
        wanted.give_up();
        let check =
            Check { name: "c".into(), run: "sleep 1000".into(), cwd: ".".into(), timeout_ms: 60_000, env: [].into() };
        assert_eq!(run(&check, Path::new("/"), &wanted, &mut |_| Ok(())).unwrap(), Verdict::GivenUp);
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let mut tail = Tail::default();
        (0..100_000).for_each(|number: u32| tail.push(format!("{number}\n").as_bytes()));
        assert!(tail.0.len() == TAIL_BYTES_MAX && tail.0.ends_with(b"99999\n"));
    }
}
