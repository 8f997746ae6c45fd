//! The loop of a shim: waits for anything to happen, tells the machine, does what it says.
//!
//! Decides nothing itself. **Invariant:** output that was written before a step ended is in the log before the record
//! that says so. **Invariant:** every wait has a deadline or a descriptor that ends it.

mod ending;
mod pause;
mod requests;

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use super::claimed::Claimed;
use super::hidden::Hidden;
use super::inside::{Heard, Inside};
use super::keeper::Keeper;
use super::lease::{Lease, LeaseEnd};
use super::machine::{Action, Input, Machine, Stage};
use super::rest::Rest;
use super::server::ControlServer;
use super::streams::{Echo, Progress, StepStream, pipe};
use super::timers::{Passed, Timers};
use crate::clock::unix_us;
use crate::egress::Proxy;
use crate::exit_record::{Outcome, StepFailure, StepResult};
use crate::init::{self, Reply};
use crate::level::{Guarantee, LevelReport};
use crate::limit::Excess;
use crate::log::{ControlEvent, LogWriter, Stream};
use crate::probes::host::probe_host;
use crate::redact::Redactor;
use crate::spec::{CheckedSpec, Isolation};

/// Longest time that building and probing may take.
const BUILD_WAIT: Duration = Duration::from_secs(60);
/// Longest time that killing everything inside may take.
const KILL_WAIT: Duration = Duration::from_secs(20);
/// Longest time for the last output after everything inside has died.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// How a run ended, as far as the supervisor knows.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) steps: Vec<StepResult>,
    pub(super) level: Option<LevelReport>,
    pub(super) log_bytes: u64,
    pub(super) dropped_bytes: u64,
    pub(super) claim_to_exec_ns: Option<u64>,
    /// Kept open until the record is written, so that whoever waits on a connection finds it.
    pub(super) server: Option<ControlServer>,
    /// Whether the run still was the one at its end: otherwise there is to be no record.
    pub(super) has_lease: bool,
}

impl Ended {
    /// The end of a run that never had a log.
    pub(super) fn without_log(outcome: Outcome, steps: Vec<StepResult>) -> Self {
        Self {
            outcome,
            steps,
            level: None,
            log_bytes: 0,
            dropped_bytes: 0,
            claim_to_exec_ns: None,
            server: None,
            has_lease: true,
        }
    }
}

/// What a shim holds on the host side.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    pub(super) log: LogWriter,
    /// Absent when nobody but a person at a terminal can reach the run.
    pub(super) server: Option<ControlServer>,
    pub(super) signals: SignalFd,
    /// Absent when the run is to go on whatever becomes of its directory.
    pub(super) lease: Option<Lease<'a>>,
}

/// Everything that one run consists of on the host side.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    spec: &'a CheckedSpec,
    machine: Machine,
    log: LogWriter,
    server: Option<ControlServer>,
    signals: SignalFd,
    lease: Option<Lease<'a>>,
    /// Why the run is not the one any more.
    lease_lost: Option<String>,
    echo: Echo,
    timers: Timers,
    rest: Rest,
    inside: Option<Inside>,
    keeper: Keeper<'a>,
    proxy: Option<Proxy>,
    /// What the run finds listening, in the order of the spec, once init has made it.
    listeners: Vec<OwnedFd>,
    streams: Vec<StepStream>,
    /// What is taken out of everything that the run says.
    hidden: Hidden,
    /// Whether nothing runs inside but init, if there is one.
    alone: bool,
    /// What the first process has found.
    findings: Vec<Guarantee>,
    /// When the sandbox was claimed, on the monotonic clock, in nanoseconds.
    claimed_at_ns: u64,
    /// How long after that the first program was executed.
    claim_to_exec_ns: Option<u64>,
    /// How many ends of steps are in the log.
    ends_logged: usize,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(spec: &'a CheckedSpec, outside: Outside<'a>, keeper: Keeper<'a>, echo: Echo) -> Self {
        let Outside { log, server, signals, lease } = outside;
        let wall = Duration::from_millis(spec.limits.wall_ms);
        Self {
            spec,
            machine: Machine::new(spec),
            log,
            server,
            signals,
            lease,
            lease_lost: None,
            echo,
            timers: Timers::new(Instant::now(), wall, spec.limits.idle_ms.map(Duration::from_millis)),
            rest: Rest::default(),
            inside: None,
            keeper,
            proxy: None,
            listeners: Vec::new(),
            streams: Vec::new(),
            hidden: Hidden::default(),
            alone: false,
            findings: Vec::new(),
            claimed_at_ns: 0,
            claim_to_exec_ns: None,
            ends_logged: 0,
        }
    }

    /// Runs to the end in a sandbox that was claimed.
    pub(super) fn run(mut self, claimed: Result<Claimed, Input>) -> Ended {
        self.timers.arm_guard(Instant::now(), BUILD_WAIT);
        match claimed {
            Ok(claimed) => self.take_over(claimed),
            Err(input) => self.feed(input),
        }
        while self.machine.stage() != Stage::Over {
            if let Err(errno) = self.turn() {
                self.lost(&format!("the shim failed: {}", errno.desc()));
            }
        }
        self.end()
    }

    fn take_over(&mut self, claimed: Claimed) {
        let Claimed { inside, proxy, listeners, hidden, findings, at_ns, first } = claimed;
        self.proxy = proxy;
        self.listeners = listeners;
        self.hidden = hidden;
        self.findings = findings;
        self.claimed_at_ns = at_ns;
        if let Some((stdout, stderr)) = first {
            self.follow(0, stdout, stderr);
            self.machine.claimed();
        }
        self.inside.insert(inside).begin();
    }

    /// Waits once and handles everything that is ready.
    fn turn(&mut self) -> Result<(), Errno> {
        let ready = self.wait()?;
        // Before anything else: who was stopped for too long is to do nothing of what is ready.
        if let Some(end) = self.lease.as_mut().and_then(Lease::look) {
            self.end_of_lease(end);
            return Ok(());
        }
        let now = Instant::now();
        self.drain_streams(now);
        if ready.channel {
            self.read_reply(now)?;
        }
        if ready.signals {
            while self.signals.read_signal()?.is_some() {
                self.cancel();
            }
        }
        if let Some(proxy) = &mut self.proxy {
            let events = proxy.take(now);
            self.log_network(events);
        }
        self.serve_clients();
        self.look_at_rest(now);
        if let Some(excess) = self.keeper.look(now) {
            self.exceeded(excess);
        }
        while let Some(passed) = self.timers.take_passed(now) {
            match passed {
                Passed::Wall => {
                    self.hear_of_beginning()?;
                    self.feed(Input::WallTimeout);
                }
                Passed::Step => self.feed(Input::StepTimeout),
                Passed::Idle => {
                    let idle_ms = self.spec.limits.idle_ms.unwrap_or_default();
                    self.log.control(unix_us(), &ControlEvent::Silent { idle_ms });
                    self.feed(Input::IdleTimeout { idle_ms });
                }
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
        fds.extend(self.proxy.as_ref().and_then(Proxy::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.server.iter().flat_map(ControlServer::fds).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.streams.iter().map(|stream| PollFd::new(stream.fd(), PollFlags::POLLIN)));
        let partial = self.streams.iter().filter_map(StepStream::partial_deadline).min();
        let proxy = self.proxy.as_ref().and_then(Proxy::deadline);
        let now = Instant::now();
        let lease = self.lease.as_ref().map(|lease| lease.next_look(now));
        let rest = self.rest.next_look();
        let other = [partial, self.keeper.next_look(), proxy, lease, rest].into_iter().flatten().min();
        let timeout = self.timers.timeout(now, other);
        let has_news = self.inside.as_ref().is_some_and(Inside::has_news);
        match poll(&mut fds, if has_news { PollTimeout::ZERO } else { timeout }) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(true));
        Ok(Ready { signals: is_ready(0), channel: has_news || channel.is_some_and(is_ready) })
    }

    fn drain_streams(&mut self, now: Instant) {
        let mut open = Vec::with_capacity(self.streams.len());
        for mut stream in self.streams.drain(..) {
            match stream.drain(now, &mut self.log, self.echo) {
                Progress::Open { taken } => {
                    if taken > 0 {
                        self.timers.heard(now);
                    }
                    open.push(stream);
                }
                Progress::Ended => stream.finish(&mut self.log, self.echo),
            }
        }
        self.streams = open;
    }

    /// Takes in what init has said already, before something ends the run: a step that has begun is ended as one.
    pub(super) fn hear_of_beginning(&mut self) -> Result<(), Errno> {
        while self.machine.stage() == Stage::Building && self.inside.as_ref().is_some_and(Inside::can_be_heard) {
            self.read_reply(Instant::now())?;
        }
        Ok(())
    }

    fn read_reply(&mut self, now: Instant) -> Result<(), Errno> {
        let Some(inside) = &mut self.inside else { return Ok(()) };
        let (heard, root) = (inside.receive()?, inside.root());
        // What a step wrote before it ended has arrived by now.
        self.drain_streams(now);
        match heard {
            Heard::Said(reply, lent) => self.take_reply(reply, lent, root),
            Heard::Began { at_ns } => {
                self.claim_to_exec_ns = Some(at_ns.saturating_sub(self.claimed_at_ns));
                self.probed(None);
            }
            Heard::Nothing => {}
            Heard::Gone => {
                self.look_for_kills();
                let how = self.inside.take().map(Inside::end);
                self.lost(&format!("init ended: {how:?}"));
            }
        }
        Ok(())
    }

    fn take_reply(&mut self, reply: Reply, lent: Vec<OwnedFd>, root: Pid) {
        match reply {
            Reply::Probed { guarantees } => self.findings = guarantees,
            Reply::Listening if lent.len() == self.spec.listeners.len() => self.listeners = lent,
            Reply::Listening => self.lost("init did not pass the listeners of the run"),
            Reply::Lent => self.keeper.watch(root, lent),
            Reply::Executing { landlock, at_ns } => {
                self.claim_to_exec_ns = Some(at_ns.saturating_sub(self.claimed_at_ns));
                self.probed(Some(landlock));
            }
            Reply::Refused { landlock } => self.probed(Some(landlock)),
            Reply::SetupFailed { step, message, hint } => {
                let message = self.clear(message);
                self.feed(Input::NotBuilt(Outcome::SetupFailed { message, hint, step }));
            }
            Reply::StepEnded { index, ended, alone } => {
                let current = match self.machine.stage() {
                    Stage::Running(running) | Stage::Killing(running, _) => running == index,
                    Stage::Building | Stage::Clearing(_) | Stage::Over => false,
                };
                if current {
                    self.alone = alone;
                    self.look_for_kills();
                    let failure = ended.failure().map(|failure| match failure {
                        StepFailure::Exec { message } => StepFailure::Exec { message: self.clear(message) },
                        other => other,
                    });
                    self.feed(Input::StepEnded { failure });
                }
            }
            Reply::KilledAll => {
                self.alone = true;
                self.feed(Input::KilledAll);
            }
            Reply::Stopped { all } => self.stopped(all),
        }
    }

    /// Takes in the last finding, where something was looked for.
    fn probed(&mut self, landlock: Option<Guarantee>) {
        let mut findings = std::mem::take(&mut self.findings);
        findings.extend(landlock);
        let report = LevelReport::new(match self.spec.isolation {
            Isolation::Sandboxed => self.keeper.judge(findings),
            Isolation::None => Vec::new(),
        });
        let fix = if report.level < self.spec.required_level { probe_host().fixes() } else { String::new() };
        self.log.control(unix_us(), &ControlEvent::Level { report: report.clone() });
        self.feed(Input::Probed { report, fix });
    }

    /// A process that the kernel has killed for its memory is no failure of the step that started it.
    fn look_for_kills(&mut self) {
        if let Some(excess) = self.keeper.out_of_memory() {
            self.exceeded(excess);
        }
    }

    fn exceeded(&mut self, excess: Excess) {
        if let Err(errno) = self.hear_of_beginning() {
            return self.lost(&format!("failed to hear of the sandbox: {}", errno.desc()));
        }
        if matches!(self.machine.stage(), Stage::Building | Stage::Running(_)) {
            self.log.control(unix_us(), &ControlEvent::LimitExceeded { excess });
            self.feed(Input::Exceeded(excess));
        }
    }

    fn end_of_lease(&mut self, end: LeaseEnd) {
        match end {
            LeaseEnd::Lost(why) => {
                self.lost(&why);
                self.lease_lost = Some(why);
            }
            LeaseEnd::Orphaned(why) => self.lost(&why),
        }
    }

    fn lost(&mut self, message: &str) {
        self.feed(Input::Lost { message: self.clear(message.to_owned()) });
    }

    /// Tells the machine and does what it says.
    fn feed(&mut self, input: Input) {
        let now_us = unix_us();
        let action = self.machine.next(input, now_us);
        self.log_ends(now_us);
        let now = Instant::now();
        let done = match action {
            Action::Wait | Action::Finish => Ok(()),
            Action::Began => {
                self.count_step(0, now);
                Ok(())
            }
            Action::Start(index) => self.start_step(index, now),
            Action::KillAll => {
                // Nothing that is dead stays paused, and init has work to do.
                self.timers.resume(now);
                self.rest.end();
                self.timers.arm_guard(now, KILL_WAIT);
                self.keeper.thaw().and_then(|()| self.request(&init::Request::KillAll))
            }
        };
        if let Err(errno) = done {
            self.lost(&format!("failed to reach the sandbox: {}", errno.desc()));
        }
    }

    /// Counts the time of the step that starts, and says so in the log.
    fn count_step(&mut self, index: u16, now: Instant) {
        if let Some(step) = self.spec.steps.get(usize::from(index)) {
            self.timers.arm_step(now, Duration::from_millis(step.timeout_ms));
            self.keeper.step_begins();
            self.log.control(unix_us(), &ControlEvent::StepStarted { index, name: step.name.clone() });
        }
    }

    fn start_step(&mut self, index: u16, now: Instant) -> Result<(), Errno> {
        self.alone = false;
        self.count_step(index, now);
        let (stdout, their_stdout) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        let is_paused = self.timers.paused();
        let inside = self.inside.as_mut().ok_or(Errno::ESRCH)?;
        inside.start_step(index, [their_stdout, their_stderr], is_paused)?;
        self.follow(index, stdout, stderr);
        Ok(())
    }

    /// Takes in what a step writes from now on.
    fn follow(&mut self, index: u16, stdout: OwnedFd, stderr: OwnedFd) {
        let redactor = || self.hidden.patterns().map(Redactor::new);
        let streams = [(stdout, Stream::Stdout), (stderr, Stream::Stderr)];
        self.streams.extend(streams.map(|(pipe, stream)| StepStream::new(pipe, stream, index, redactor())));
    }

    /// `text` without values of secrets.
    fn clear(&self, text: String) -> String {
        match self.hidden.patterns() {
            Some(patterns) => patterns.text(&text),
            None => text,
        }
    }

    /// Logs what a run asked the network for.
    fn log_network(&mut self, events: Vec<ControlEvent>) {
        for event in events {
            let event = self.hidden.clear(event);
            if self.echo == Echo::Stdio
                && let ControlEvent::Egress { record, .. } = &event
                && let Some(text) = record.refusal()
            {
                // Nobody else tells a person why; one who has closed the stream does not want to know.
                drop(writeln!(std::io::stderr(), "orch-sandbox: {text}"));
            }
            self.log.control(unix_us(), &event);
        }
    }

    /// Sends a request; a failure ends the run.
    fn send(&mut self, request: &init::Request) -> bool {
        match self.request(request) {
            Ok(()) => true,
            Err(errno) => {
                self.lost(&format!("failed to reach the sandbox: {}", errno.desc()));
                false
            }
        }
    }

    fn request(&mut self, request: &init::Request) -> Result<(), Errno> {
        self.inside.as_mut().ok_or(Errno::ESRCH)?.request(request)
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
}

/// What a wait has found.
#[derive(Debug)]
struct Ready {
    signals: bool,
    channel: bool,
}
