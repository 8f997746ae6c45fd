//! A daemon that is watched, and killed at one of its effects: just before it, so that it does not happen, or just after,
//! so that the daemon never learns of it, or so that a program which it has started does its work much later.
//!
//! A program of its own stands between the story and the daemon (`e2e-trace`, as `strace` would): it sees every system
//! call of the daemon's threads, and none of the programs that the daemon starts. What it saw it writes into a report, the
//! names of all effects in order. **Invariant:** the daemon does not outlive it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::effects::{self, Call, Effects};
use crate::env::{Env, tell};

/// Waits for a line before it becomes the program, so that all of the program is seen.
const HOLD: &str = r#"read -r _ && exec "$@""#;

/// Before or after an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
    /// After the start of a program, which stands still from then on, until somebody lets it go on.
    Late,
}

impl Side {
    const ALL: [(Self, &'static str); 3] = [(Self::Before, "before"), (Self::After, "after"), (Self::Late, "late")];
}

/// A moment in the life of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Which effect, as `sync state/orch.db-wal#12`: the twelfth of that name. Or `#40`, the fortieth of all.
    pub effect: String,
    pub side: Side,
}

/// What became of a daemon that was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The effects in order, each with its number among those of its name.
    pub effects: Vec<String>,
    /// The one at which it was killed.
    pub killed_at: Option<Moment>,
}

impl std::fmt::Display for Moment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = Side::ALL.iter().find(|(side, _)| *side == self.side).map_or("", |(_, word)| word);
        write!(out, "{side} {}", self.effect)
    }
}

impl std::str::FromStr for Moment {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (word, effect) =
            text.split_once(' ').context("a moment is `before EFFECT#n`, `after ...` or `late ...`")?;
        let found = Side::ALL.iter().find(|(_, known)| *known == word);
        let (side, _) = *found.with_context(|| format!("a moment is before or after an effect, not `{word}`"))?;
        Ok(Self { effect: effect.to_owned(), side })
    }
}

/// The command that starts `daemon` under `program`, which is `e2e-trace`, and ends it at `moment`, if there is one.
#[must_use]
pub fn command(
    env: &Env,
    program: &str,
    moment: Option<&Moment>,
    daemon: &tokio::process::Command,
) -> tokio::process::Command {
    let mut command = env.command(program);
    command.arg(report_path(env)).arg(env.root());
    command.arg(moment.map_or_else(|| "never".to_owned(), ToString::to_string));
    command.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
    command
}

/// Takes the report of the last daemon that was watched, which has ended.
///
/// # Errors
/// When there is none.
pub fn take_report(env: &Env) -> anyhow::Result<Report> {
    let path = report_path(env);
    let text = std::fs::read_to_string(&path).context("the daemon was watched to its end")?;
    std::fs::remove_file(path)?;
    let mut effects: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = effects.pop().context("a report has a last line")?;
    let killed_at = last.strip_prefix("killed ").map(str::parse).transpose()?;
    Ok(Report { effects, killed_at })
}

fn report_path(env: &Env) -> PathBuf {
    env.path("trace.report")
}

/// Runs the program; the exit code is 0 when the daemon was watched to its end.
#[must_use]
pub fn main_impl() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match watch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("e2e-trace: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn watch(words: &[OsString]) -> anyhow::Result<()> {
    let [report, root, moment, program @ ..] = words else { bail!("usage: REPORT ROOT MOMENT PROGRAM [ARGUMENT ...]") };
    let moment = moment.to_str().context("the moment is no text")?;
    let moment = if moment == "never" { None } else { Some(moment.parse()?) };
    let mut child = Command::new("/bin/sh").args(["-c", HOLD, "sh"]).args(program).stdin(Stdio::piped()).spawn()?;
    let main = Pid::from_raw(i32::try_from(child.id())?);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    let seized = ptrace::seize(main, options).and_then(|()| ptrace::interrupt(main));
    if let Err(errno) = seized {
        child.kill()?;
        child.wait()?;
        bail!("a process cannot be watched here: {}", errno.desc());
    }
    child.stdin.take().context("it has an input")?.write_all(b"\n")?;
    let mut watch = Watch {
        main,
        effects: Effects::within(Path::new(root)),
        is_program: false,
        seen: Vec::new(),
        counts: BTreeMap::new(),
        moment,
        until_end_of: None,
        killed: false,
    };
    let last = watch.until_it_ends()?;
    watch.seen.push(last);
    std::fs::write(report, watch.seen.join("\n")).context("failed to write the report")
}

/// A process under observation.
#[derive(Debug)]
struct Watch {
    main: Pid,
    effects: Effects,
    /// What was started first has become the program.
    is_program: bool,
    seen: Vec<String>,
    counts: BTreeMap<String, u32>,
    moment: Option<Moment>,
    /// The thread whose call was the one, and is to be over first.
    until_end_of: Option<Pid>,
    killed: bool,
}

impl Watch {
    /// Watches until the process has ended. Gives the last line of the report.
    fn until_it_ends(&mut self) -> anyhow::Result<String> {
        loop {
            let (thread, signal) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::PtraceSyscall(thread)) => {
                    self.at_call(thread)?;
                    (thread, None)
                }
                Ok(WaitStatus::PtraceEvent(thread, _, event)) => {
                    self.is_program |= event == libc::PTRACE_EVENT_EXEC;
                    (thread, None)
                }
                Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
                Ok(WaitStatus::Exited(thread, code)) if thread == self.main => {
                    ensure!(!self.killed, "it has exited with {code} before it was killed");
                    return Ok(format!("exited with {code}"));
                }
                Ok(WaitStatus::Signaled(thread, signal, _)) if thread == self.main => {
                    return Ok(match &self.moment {
                        Some(moment) if self.killed => format!("killed {moment}"),
                        _ => format!("ended by {signal}"),
                    });
                }
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno).context("failed to wait for it"),
            };
            match ptrace::syscall(thread, signal) {
                // Killed in the meantime.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno).context("failed to let it go on"),
            }
        }
    }

    /// A thread stands where a call begins or ends.
    fn at_call(&mut self, thread: Pid) -> anyhow::Result<()> {
        if !self.is_program || self.killed {
            return Ok(());
        }
        if self.until_end_of == Some(thread) {
            if self.moment.as_ref().is_some_and(|moment| moment.side == Side::Late) {
                let started = Call::result(thread).context("failed to see what was started")?;
                ensure!(started > 0, "nothing was started: {started}");
                kill(Pid::from_raw(i32::try_from(started)?), Signal::SIGSTOP)
                    .context("failed to stop what was started")?;
            }
            return self.kill();
        }
        // A thread that is gone does nothing more.
        let Ok(call) = Call::of(thread) else { return Ok(()) };
        if !effects::may_be(call.number)
            || ptrace::syscall_info(thread).map(|info| info.op) != Ok(libc::PTRACE_SYSCALL_INFO_ENTRY)
        {
            return Ok(());
        }
        let Some(name) = self.effects.name(thread, &call) else { return Ok(()) };
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        self.seen.push(format!("{name}#{count}"));
        let Some(moment) = &self.moment else { return Ok(()) };
        let is_it = self.seen.last() == Some(&moment.effect) || moment.effect == format!("#{}", self.seen.len());
        match moment.side {
            _ if !is_it || self.until_end_of.is_some() => Ok(()),
            Side::Before => self.kill(),
            Side::After | Side::Late => {
                self.until_end_of = Some(thread);
                Ok(())
            }
        }
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.killed = true;
        kill(self.main, Signal::SIGKILL).context("failed to kill it")
    }
}
