//! The loop of a shim: waits for anything to happen, tells the machine, does what it says.
//!
//! Decides nothing itself. **Invariant:** output that was written before a step ended is in the log before the record
//! that says so. **Invariant:** every wait has a deadline or a descriptor that ends it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::read;

use super::inside::Inside;
use super::machine::{Action, Input, Machine, Stage};
use super::server::ControlServer;
use super::streams::{Echo, Progress, StepStream, pipe};
use super::timers::{Passed, Timers};
use crate::clock::unix_us;
use crate::control::{Activity, Answer, Request, RunStatus};
use crate::egress::{Egress, Proxy};
use crate::exit_record::{Outcome, StepResult};
use crate::init::{self, Reply};
use crate::level::{Guarantee, LevelReport};
use crate::log::{ControlEvent, LogWriter, Stream};
use crate::probes::host::probe_host;
use crate::spec::CheckedSpec;

/// Longest time that building and probing may take.
const BUILD_WAIT: Duration = Duration::from_secs(60);
/// Longest time that killing everything inside may take.
const KILL_WAIT: Duration = Duration::from_secs(20);
/// Longest time for the last output after everything inside has died.
const DRAIN_WAIT: Duration = Duration::from_secs(2);
/// Most bytes that the probes can report.
const PROBE_BYTES_MAX: usize = 64 << 10;

/// How a run ended, as far as the supervisor knows.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) steps: Vec<StepResult>,
    pub(super) level: Option<LevelReport>,
    pub(super) log_bytes: u64,
    pub(super) dropped_bytes: u64,
    /// Kept open until the record is written, so that whoever waits on a connection finds it.
    pub(super) server: Option<ControlServer>,
}

impl Ended {
    /// The end of a run that never had a log.
    pub(super) fn without_log(outcome: Outcome, steps: Vec<StepResult>) -> Self {
        Self { outcome, steps, level: None, log_bytes: 0, dropped_bytes: 0, server: None }
    }
}

/// What the probes have reported so far.
#[derive(Debug)]
struct Probing {
    pipe: std::os::fd::OwnedFd,
    bytes: Vec<u8>,
}

/// Everything that one run consists of on the host side.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    spec: &'a CheckedSpec,
    machine: Machine,
    log: LogWriter,
    server: ControlServer,
    signals: SignalFd,
    echo: Echo,
    timers: Timers,
    inside: Option<Inside>,
    proxy: Option<Proxy>,
    streams: Vec<StepStream>,
    probing: Option<Probing>,
    /// How many ends of steps are in the log.
    ends_logged: usize,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        spec: &'a CheckedSpec,
        log: LogWriter,
        server: ControlServer,
        signals: SignalFd,
        echo: Echo,
    ) -> Self {
        let wall = Duration::from_millis(spec.limits.wall_ms);
        Self {
            spec,
            machine: Machine::new(spec),
            log,
            server,
            signals,
            echo,
            timers: Timers::new(Instant::now(), wall),
            inside: None,
            proxy: None,
            streams: Vec::new(),
            probing: None,
            ends_logged: 0,
        }
    }

    /// Runs to the end.
    pub(super) fn run(mut self, dir: &Path) -> Ended {
        self.timers.arm_guard(Instant::now(), BUILD_WAIT);
        match self.start_proxy().and_then(|proxy| Inside::start(self.spec, dir, proxy)) {
            Ok(inside) => self.inside = Some(inside),
            Err(outcome) => self.feed(Input::NotBuilt(outcome)),
        }
        while self.machine.stage() != Stage::Over {
            if let Err(errno) = self.turn() {
                self.lost(&format!("the shim failed: {}", errno.desc()));
            }
        }
        self.end()
    }

    /// Starts the proxy of the run, if it has one; returns where its listeners go.
    fn start_proxy(&mut self) -> Result<Option<OwnedFd>, Outcome> {
        let Egress::Allow(policy) = &self.spec.egress else { return Ok(None) };
        let (proxy, listeners) = Proxy::start(policy).map_err(|errno| Outcome::SetupFailed {
            step: "proxy".to_owned(),
            message: format!("failed to start the proxy: {}", errno.desc()),
            hint: String::new(),
        })?;
        self.proxy = Some(proxy);
        Ok(Some(listeners))
    }

    /// Waits once and handles everything that is ready.
    fn turn(&mut self) -> Result<(), Errno> {
        let ready = self.wait()?;
        let now = Instant::now();
        self.drain_streams(now);
        if ready.signals {
            while self.signals.read_signal()?.is_some() {
                self.cancel();
            }
        }
        if ready.probing {
            self.read_probes()?;
        }
        if ready.channel {
            self.read_reply(now)?;
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.take(now).iter().for_each(|event| self.log.control(unix_us(), event));
        }
        self.serve_clients();
        while let Some(passed) = self.timers.take_passed(now) {
            match passed {
                Passed::Wall => self.feed(Input::WallTimeout),
                Passed::Step => self.feed(Input::StepTimeout),
                Passed::Guard => self.lost("the sandbox did not answer in time"),
            }
        }
        for stream in &mut self.streams {
            stream.show_partial(now, &mut self.log);
        }
        self.flush_log();
        Ok(())
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let channel = self.inside.as_ref().map(|inside| {
            fds.push(PollFd::new(inside.channel(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let probing = self.probing.as_ref().map(|probing| {
            fds.push(PollFd::new(probing.pipe.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        fds.extend(self.proxy.as_ref().and_then(Proxy::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.server.fds().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.streams.iter().map(|stream| PollFd::new(stream.fd(), PollFlags::POLLIN)));
        let partial = self.streams.iter().filter_map(StepStream::partial_deadline);
        let next = partial.chain(self.proxy.as_ref().and_then(Proxy::deadline)).min();
        let timeout = self.timers.timeout(Instant::now(), next);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(true));
        Ok(Ready {
            signals: is_ready(0),
            channel: channel.is_some_and(is_ready),
            probing: probing.is_some_and(is_ready),
        })
    }

    fn drain_streams(&mut self, now: Instant) {
        let mut open = Vec::with_capacity(self.streams.len());
        for mut stream in self.streams.drain(..) {
            match stream.drain(now, &mut self.log, self.echo) {
                Progress::Open => open.push(stream),
                Progress::Ended => stream.finish(&mut self.log),
            }
        }
        self.streams = open;
    }

    fn read_reply(&mut self, now: Instant) -> Result<(), Errno> {
        let Some(inside) = &self.inside else { return Ok(()) };
        let reply = inside.receive()?;
        // What a step wrote before it ended has arrived by now.
        self.drain_streams(now);
        match reply {
            Some(Reply::Ready) => self.feed(Input::Ready),
            Some(Reply::SetupFailed { step, message, hint }) => {
                self.feed(Input::NotBuilt(Outcome::SetupFailed { message, hint, step }));
            }
            Some(Reply::StepEnded { index, ended }) => {
                let current = match self.machine.stage() {
                    Stage::Running(running) | Stage::Killing(running, _) => running == index,
                    Stage::Building | Stage::Probing | Stage::Clearing(_) | Stage::Over => false,
                };
                if current {
                    self.feed(Input::StepEnded { failure: ended.failure() });
                }
            }
            Some(Reply::KilledAll) => self.feed(Input::KilledAll),
            None => {
                let how = self.inside.take().map(Inside::end);
                self.lost(&format!("init ended: {how:?}"));
            }
        }
        Ok(())
    }

    fn read_probes(&mut self) -> Result<(), Errno> {
        let Some(probing) = &mut self.probing else { return Ok(()) };
        let mut buffer = [0; 4096];
        match read(&probing.pipe, &mut buffer) {
            Ok(0) => {}
            Ok(count) if probing.bytes.len() + count <= PROBE_BYTES_MAX => {
                probing.bytes.extend_from_slice(&buffer[..count]);
                return Ok(());
            }
            Ok(_) => return Err(Errno::EMSGSIZE),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let found: Result<Vec<Guarantee>, _> = serde_json::from_slice(&probing.bytes);
        self.probing = None;
        match found {
            Ok(guarantees) => {
                let report = LevelReport::new(guarantees);
                self.log.control(unix_us(), &ControlEvent::Level { report: report.clone() });
                let fix = if report.level < self.spec.required_level { probe_host().fixes() } else { String::new() };
                self.feed(Input::Probed { report, fix });
            }
            Err(error) => self.lost(&format!("the probes gave no report: {error}")),
        }
        Ok(())
    }

    fn serve_clients(&mut self) {
        let mut requests = Vec::new();
        let status = self.status();
        let refuse_pause = match self.machine.stage() {
            Stage::Running(_) => None,
            Stage::Building | Stage::Probing | Stage::Killing(..) | Stage::Clearing(_) | Stage::Over => {
                Some("no step is running")
            }
        };
        self.server.serve(|request| match (request, refuse_pause) {
            (Request::Status, _) => Answer::Status(status.clone()),
            (Request::Pause, Some(reason)) => Answer::Refused { reason: reason.to_owned() },
            (Request::Pause | Request::Resume | Request::Cancel, _) => {
                requests.push(request);
                Answer::Done
            }
        });
        for request in requests {
            match request {
                Request::Cancel => self.cancel(),
                Request::Pause => self.pause(),
                Request::Resume => self.resume(),
                Request::Status => {}
            }
        }
    }

    fn status(&self) -> RunStatus {
        let stage = self.machine.stage();
        RunStatus {
            fence: self.spec.fence,
            activity: match stage {
                Stage::Building | Stage::Probing => Activity::Starting,
                _ if self.machine.finishing() => Activity::Finishing,
                _ => Activity::Running,
            },
            paused: self.timers.paused(),
            step: match stage {
                Stage::Running(index) | Stage::Killing(index, _) => Some(index),
                Stage::Building | Stage::Probing | Stage::Clearing(_) | Stage::Over => None,
            },
            log_bytes: self.log.len(),
            dropped_bytes: self.log.dropped_bytes(),
        }
    }

    fn cancel(&mut self) {
        self.log.control(unix_us(), &ControlEvent::CancelRequested);
        self.feed(Input::Cancel);
    }

    fn pause(&mut self) {
        if !self.timers.paused() && self.send(&init::Request::Stop) {
            self.timers.pause(Instant::now());
            self.log.control(unix_us(), &ControlEvent::Paused);
        }
    }

    fn resume(&mut self) {
        if self.timers.paused() && self.send(&init::Request::Continue) {
            self.timers.resume(Instant::now());
            self.log.control(unix_us(), &ControlEvent::Resumed);
        }
    }

    fn lost(&mut self, message: &str) {
        self.feed(Input::Lost { message: message.to_owned() });
    }

    /// Tells the machine and does what it says.
    fn feed(&mut self, input: Input) {
        let now_us = unix_us();
        let action = self.machine.next(input, now_us);
        self.log_ends(now_us);
        let now = Instant::now();
        let done = match action {
            Action::Wait | Action::Finish => Ok(()),
            Action::Probe => self.start_probes(),
            Action::Start(index) => self.start_step(index, now).and_then(|()| match self.timers.paused() {
                // The pause came while the step before this one was ending.
                true => self.request(&init::Request::Stop, &[]),
                false => Ok(()),
            }),
            Action::KillAll => {
                // Nothing that is dead stays paused.
                self.timers.resume(now);
                self.timers.arm_guard(now, KILL_WAIT);
                self.request(&init::Request::KillAll, &[])
            }
        };
        if let Err(errno) = done {
            self.lost(&format!("failed to reach the sandbox: {}", errno.desc()));
        }
    }

    fn start_probes(&mut self) -> Result<(), Errno> {
        let (ours, theirs) = pipe()?;
        self.request(&init::Request::Probe, &[theirs.as_fd()])?;
        self.probing = Some(Probing { pipe: ours, bytes: Vec::new() });
        Ok(())
    }

    fn start_step(&mut self, index: u16, now: Instant) -> Result<(), Errno> {
        let Some(step) = self.spec.steps.get(usize::from(index)) else { return Err(Errno::EPROTO) };
        self.timers.arm_step(now, Duration::from_millis(step.timeout_ms));
        self.log.control(unix_us(), &ControlEvent::StepStarted { index, name: step.name.clone() });
        let (stdout, their_stdout) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        self.request(&init::Request::StartStep { index }, &[their_stdout.as_fd(), their_stderr.as_fd()])?;
        self.streams.push(StepStream::new(stdout, Stream::Stdout, index));
        self.streams.push(StepStream::new(stderr, Stream::Stderr, index));
        Ok(())
    }

    /// Sends a request; a failure ends the run.
    fn send(&mut self, request: &init::Request) -> bool {
        match self.request(request, &[]) {
            Ok(()) => true,
            Err(errno) => {
                self.lost(&format!("failed to reach the sandbox: {}", errno.desc()));
                false
            }
        }
    }

    fn request(&self, request: &init::Request, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Result<(), Errno> {
        self.inside.as_ref().ok_or(Errno::ESRCH)?.send(request, descriptors)
    }

    /// Logs the ends of steps that the machine has recorded since the last time. Steps end in the order of their index.
    fn log_ends(&mut self, now_us: u64) {
        for (index, result) in self.machine.results().iter().enumerate().skip(self.ends_logged) {
            if result.finished_at_us.is_some() {
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                let (name, status) = (result.name.clone(), result.status.clone());
                self.log.control(now_us, &ControlEvent::StepFinished { index, name, status });
                self.ends_logged = usize::from(index) + 1;
            }
        }
    }

    fn flush_log(&mut self) {
        if let Err(error) = self.log.flush() {
            self.lost(&crate::chain(&error));
        }
    }

    /// Ends init, takes in the last output and closes the log.
    fn end(mut self) -> Ended {
        let ended = self.inside.take().map(Inside::end);
        if let Some(proxy) = self.proxy.take() {
            proxy.end(Instant::now()).iter().for_each(|event| self.log.control(unix_us(), event));
        }
        let mut deadline = Instant::now().checked_add(DRAIN_WAIT);
        while !self.streams.is_empty() && deadline.is_some_and(|deadline| Instant::now() < deadline) {
            self.drain_streams(Instant::now());
            if self.wait_for_output(deadline).is_err() {
                deadline = None;
            }
        }
        for stream in self.streams.drain(..) {
            stream.finish(&mut self.log);
        }
        self.log.control(unix_us(), &ControlEvent::Finished { dropped_bytes: self.log.dropped_bytes() });
        let logged = self.log.finish();
        let (mut outcome, steps, level) = self.machine.into_parts();
        if let Some(Err(errno)) = ended {
            outcome = Outcome::ShimError { message: format!("failed to end the sandbox: {}", errno.desc()) };
        }
        if let Err(error) = logged {
            outcome = Outcome::ShimError { message: crate::chain(&error) };
        }
        let (log_bytes, dropped_bytes) = (self.log.len(), self.log.dropped_bytes());
        Ended { outcome, steps, level, log_bytes, dropped_bytes, server: Some(self.server) }
    }

    fn wait_for_output(&self, deadline: Option<Instant>) -> Result<(), Errno> {
        let mut fds: Vec<_> = self.streams.iter().map(|stream| PollFd::new(stream.fd(), PollFlags::POLLIN)).collect();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())).unwrap_or_default();
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// What a wait has found.
#[derive(Debug)]
struct Ready {
    signals: bool,
    channel: bool,
    probing: bool,
}
