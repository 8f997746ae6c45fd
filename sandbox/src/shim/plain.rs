//! A run without isolation: its shim starts the steps itself and ends whatever they leave.
//!
//! There is no init: all that one would be for, reaping and finding the processes of the run, is done by the shim, to which
//! orphans return. **Invariant:** every process of the run is a descendant of the shim, whatever session it is in. **Invariant:**
//! the process of a step dies with the shim, by the kernel; what that has started is marked, so that it is found when the shim
//! was killed (`leftovers`). **Invariant:** nothing here waits for a process of the run, but for a bounded time.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, alarm, getpid, getppid, pipe2};

use super::inside::{FirstStreams, Heard};
use super::streams::pipe;
use super::{FOLLOW_MAX, die_in};
use crate::cgroup::{self, RunGroup};
use crate::clock::monotonic_ns;
use crate::init::reap::{self, Next, Wait};
use crate::init::steps::{self, Stage, StartError};
use crate::init::{self, Ended, OOM_SCORE_OF_STEPS, OomScore, Prepared, Reply, Request, SetupFailure};
use crate::leftovers;
use crate::spec::CheckedSpec;
use crate::sys::execute::{Image, start_sharing};
use crate::sys::process::{self, Forked};
use crate::watch::{descendants, runs};

/// Longest wait for the end of what was killed.
const END_WAIT: Duration = Duration::from_secs(10);
/// How often those that are left are looked for meanwhile, though none has ended.
const END_LOOK: Duration = Duration::from_millis(100);
/// Most rounds of stopping at once. One is enough unless processes of the run start or wake each other at that very moment.
const STOP_ROUNDS_MAX: usize = 100;

/// The processes of a run without isolation.
#[derive(Debug)]
pub(crate) struct Plain {
    children: SignalFd,
    /// Where steps are born, if the run has a group.
    group: Option<OwnedFd>,
    /// Says to everybody which shim the processes of the run are of.
    mark: CString,
    steps: Vec<Prepared>,
    current: Option<Current>,
    /// The first step until it is to begin, and one whose turn came in a pause.
    waiting: Option<(u16, [OwnedFd; 2])>,
    is_killing: bool,
    /// What the shim has not heard yet.
    news: VecDeque<Heard>,
    is_over: bool,
}

/// The step that runs.
#[derive(Debug, Clone, Copy)]
struct Current {
    index: u16,
    pid: Pid,
}

impl Plain {
    /// Gets this process ready to be the parent of all others of a run, which are born in `group` where there is one.
    pub(super) fn prepare(group: Option<&RunGroup>) -> Result<Self, SetupFailure> {
        let failed = |what: &'static str| move |errno| SetupFailure::call("shim", what, errno);
        // A shell ignores some for what it starts behind itself, and steps would inherit that. Writing to nobody stays an
        // error. No signal is handled by code: see `start_sharing`.
        process::default_dispositions(Signal::SIGPIPE);
        let children = init::child_signals().map_err(failed("failed to take over signals"))?;
        prctl::set_child_subreaper(true).map_err(failed("failed to become the reaper"))?;
        let group = group.map(RunGroup::place).transpose().map_err(failed("failed to open the control group"))?;
        Ok(Self {
            children,
            group,
            mark: leftovers::own_mark(),
            steps: Vec::new(),
            current: None,
            waiting: None,
            is_killing: false,
            news: VecDeque::new(),
            is_over: false,
        })
    }

    /// Takes the steps of `spec`, of which the first waits for [`begin`](Self::begin). `is_watched`: whether what the run uses
    /// is to be watched.
    pub(super) fn claim(&mut self, spec: &CheckedSpec, is_watched: bool) -> Result<FirstStreams, Errno> {
        let (stdout, their_stdout) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        let indexes = (0..spec.steps.len()).filter_map(|index| u16::try_from(index).ok());
        self.steps = indexes.filter_map(|index| init::prepare_step(spec, index)).collect();
        self.steps.iter_mut().for_each(|step| leftovers::put_mark(&mut step.env, &self.mark));
        self.waiting = Some((0, [their_stdout, their_stderr]));
        if is_watched {
            self.news.push_back(Heard::Said(Reply::Lent, Vec::new()));
        }
        Ok(FirstStreams { stdout, stderr })
    }

    /// Starts the first step. Last, when whoever asked for the run has been answered: this process stands still until the
    /// program of the step is executed, which on a busy host can be a while.
    pub(super) fn begin(&mut self) {
        let Some((index, streams)) = self.waiting.take() else { return };
        let started = self.start_guarded(streams, index);
        self.news.push_back(Heard::Began { at_ns: monotonic_ns() });
        self.take_note(index, started);
    }

    /// Readable when children have ended.
    pub(super) fn children(&self) -> BorrowedFd<'_> {
        self.children.as_fd()
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(super) fn receive(&mut self) -> Result<Heard, Errno> {
        self.reap()?;
        Ok(self.news.pop_front().unwrap_or(Heard::Nothing))
    }

    pub(super) fn request(&mut self, request: &Request) -> Result<(), Errno> {
        match request {
            Request::KillAll => {
                (self.is_killing, self.waiting) = (true, None);
                signal_all(Signal::SIGKILL);
                self.reap()
            }
            Request::Stop => {
                let all = stop_all();
                self.news.push_back(Heard::Said(Reply::Stopped { all }, Vec::new()));
                Ok(())
            }
            Request::Continue => {
                signal_all(Signal::SIGCONT);
                if let Some((index, streams)) = self.waiting.take() {
                    self.start_step(index, streams, false);
                }
                Ok(())
            }
            // The one is `claim`, the other `start_step`.
            Request::Claim { .. } | Request::StartStep { .. } => Err(Errno::EPROTO),
        }
    }

    /// Starts a step but the first. In a pause that waits: in a group that stands still it would not come to execute.
    pub(super) fn start_step(&mut self, index: u16, streams: [OwnedFd; 2], is_paused: bool) {
        if is_paused {
            self.waiting = Some((index, streams));
        } else {
            let started = self.start_guarded(streams, index);
            self.take_note(index, started);
        }
    }

    /// Everything inside has ended, and nobody is left who could start anything.
    pub(super) fn leave(mut self) {
        self.is_over = true;
    }

    /// Ends everything inside. What is still there after a long wait hangs in a call of the kernel: it was killed, too, and
    /// does no more than finish that.
    pub(super) fn end(mut self) -> Result<(), Errno> {
        self.is_over = true;
        self.end_all()
    }

    fn take_note(&mut self, index: u16, started: Result<Pid, StartError>) {
        match started {
            Ok(pid) => self.current = Some(Current { index, pid }),
            Err(failure) => {
                let ended = Ended::NotExecuted { message: failure.to_string() };
                self.news.push_back(Heard::Said(Reply::StepEnded { index, ended, alone: false }, Vec::new()));
            }
        }
    }

    /// An execution can hang in a file system, and this process with it: nobody could end such a run, and so the kernel does.
    fn start_guarded(&self, streams: [OwnedFd; 2], index: u16) -> Result<Pid, StartError> {
        die_in(FOLLOW_MAX);
        let started = self.start(streams, index);
        alarm::cancel();
        started
    }

    /// Starts the step with this index and returns when its program runs.
    fn start(&self, [stdout, stderr]: [OwnedFd; 2], index: u16) -> Result<Pid, StartError> {
        let missing = StartError::from((Stage::Prepare, Errno::ENOENT));
        let step = self.steps.get(usize::from(index)).ok_or(missing)?;
        let (verdict, report) = pipe2(OFlag::O_CLOEXEC).map_err(StartError::Pipe)?;
        let child = Child { step, image: step.image(), shim: getpid(), stdout, stderr, report };
        let pid = match &self.group {
            Some(group) => child.start_in(group.as_fd()),
            None => start_sharing(|| child.run(None)),
        };
        // With the ends of the child that are open here.
        drop(child);
        let pid = pid.map_err(StartError::Fork)?;
        steps::read_verdict(verdict).map(|()| pid)
    }

    /// Collects every child that has ended without waiting for one, and says if the step was among them. While everything is
    /// being killed, those that came since are killed, too.
    fn reap(&mut self) -> Result<(), Errno> {
        while self.children.read_signal()?.is_some() {}
        let mut ended_step = None;
        let alone = loop {
            match reap::next(Wait::No)? {
                Next::Ended(pid, ended) => {
                    let step = self.current.take_if(|current| current.pid == pid);
                    ended_step = step.map(|step| (step.index, ended)).or(ended_step);
                }
                Next::NoneYet => break false,
                Next::NoChild => break true,
            }
        };
        if let Some((index, ended)) = ended_step {
            self.news.push_back(Heard::Said(Reply::StepEnded { index, ended, alone }, Vec::new()));
        }
        match (self.is_killing, alone) {
            (true, true) => {
                self.is_killing = false;
                self.news.push_back(Heard::Said(Reply::KilledAll, Vec::new()));
            }
            (true, false) => signal_all(Signal::SIGKILL),
            (false, _) => {}
        }
        Ok(())
    }

    /// Kills every process of the run and waits until none is left, for a bounded time.
    fn end_all(&mut self) -> Result<(), Errno> {
        let deadline = Instant::now() + END_WAIT;
        loop {
            loop {
                match reap::next(Wait::No)? {
                    Next::Ended(..) => {}
                    Next::NoneYet => break,
                    Next::NoChild => return Ok(()),
                }
            }
            // Again and again: some may have been started by one that was looked at before.
            signal_all(Signal::SIGKILL);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::EBUSY);
            }
            let mut fds = [PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::try_from(left.min(END_LOOK)).unwrap_or(PollTimeout::ZERO)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            while self.children.read_signal()?.is_some() {}
        }
    }
}

impl Drop for Plain {
    /// Of a run that was given up, by a shim that fails.
    fn drop(&mut self) {
        if !self.is_over {
            // There is nobody to tell.
            self.end_all().unwrap_or_default();
        }
    }
}

/// What the process of a step does until it executes.
#[derive(Debug)]
struct Child<'a> {
    step: &'a Prepared,
    image: Image<'a>,
    /// With which it dies.
    shim: Pid,
    stdout: OwnedFd,
    stderr: OwnedFd,
    report: OwnedFd,
}

impl Child<'_> {
    /// Starts it in the control group at `group` from its first instruction on, where the kernel can do that.
    fn start_in(&self, group: BorrowedFd<'_>) -> Result<Pid, Errno> {
        match process::fork_into(CloneFlags::empty(), group) {
            Ok(Forked::Child) => process::exit_now(self.run(None)),
            Ok(Forked::Parent { pid, .. }) => Ok(pid),
            Err(errno @ (Errno::EAGAIN | Errno::ENOMEM)) => Err(errno),
            // Before Linux 5.7. It executes nothing before it is there.
            Err(_) => start_sharing(|| self.run(Some(group))),
        }
    }

    /// Becomes the step, in `group` if it is not born there; what to end with if it does not. Memory may be that of the shim:
    /// nothing is allocated that stays.
    fn run(&self, group: Option<BorrowedFd<'_>>) -> i32 {
        let failed = self
            .settle(group)
            .map_err(|errno| (Stage::Prepare, errno))
            .and_then(|()| steps::limit_all().map_err(|errno| (Stage::Limits, errno)))
            .and_then(|()| steps::ready_to_execute(self.step))
            .and_then(|()| steps::execute(&self.step.programs, &self.image));
        steps::report_failure(&self.report, failed)
    }

    fn settle(&self, group: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        // Not for what it will start, which does not inherit that.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != self.shim {
            // It died before that was said.
            return Err(Errno::ESRCH);
        }
        group.map_or(Ok(()), cgroup::enter)?;
        OomScore::open().set(OOM_SCORE_OF_STEPS);
        umask(Mode::from_bits_truncate(0o022));
        init::null_stdin()?;
        steps::become_plain(&self.stdout, &self.stderr)
    }
}

/// Signals every process of the run, which are found by who started whom.
fn signal_all(signal: Signal) {
    for pid in descendants(getpid()) {
        // It has ended in between, or it has become another user's, whom only root can signal: the others are signalled all
        // the same, and whether anybody is left is seen by who waits for that.
        kill(pid, signal).unwrap_or_default();
    }
}

/// Stops every process of the run. Whoever is inside a call when it is told to finishes that first, and may start another
/// process in it or let others go on: so this looks whether anybody still runs, and tries again. Whether all were seen to stand
/// still.
fn stop_all() -> bool {
    for _ in 0..STOP_ROUNDS_MAX {
        signal_all(Signal::SIGSTOP);
        std::thread::yield_now();
        if !descendants(getpid()).into_iter().any(runs) {
            return true;
        }
    }
    false
}
