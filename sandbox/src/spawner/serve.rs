//! The spawner process: takes requests, gives each a shim, and prepares sandboxes for the next ones in between.
//!
//! It waits for none of them: a shim answers whoever asked for it, on a channel that came with the request. So starts
//! overlap, each of which waits for the disk. Should the spawner itself hang, whoever waited for too long starts another one.
//!
//! **Invariant:** it has one thread. **Invariant:** what a shim that was killed has left is killed before anything else is
//! started. **Invariant:** a shim keeps nothing of it but what it needs for its run. It ends when its daemon closes the socket,
//! and with it the sandboxes that nobody claimed; its shims do not.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::children::Children;
use super::networks::Networks;
use super::pool::{Pool, Waiting};
use super::templates::Templates;
use super::{MESSAGE_BYTES_MAX, PROTOCOL, ServeOptions, SpawnRequest, home};
use crate::listeners;
use crate::run_dir;
use crate::seccomp;
use crate::secrets::SealedSecrets;
use crate::shim::{self, Assignment, Host, Prepared, Slot};
use crate::spec::{CheckedSpec, Egress, Isolation, Shape, SyscallProfile};
use crate::sys::process::{self, Forked};
use crate::sys::{channel, descriptors, memory};
use crate::view::Directories;

/// How long it must be quiet before anything is prepared, so that preparing takes no processor from a run that starts: longer
/// than a start takes, and shorter than the time between two starts by which anybody would notice.
const QUIET: Duration = Duration::from_millis(10);
/// How often what is not used is looked for.
const TIDY_PERIOD: Duration = Duration::from_secs(60);
/// How soon again when something was left: processes that were killed need a moment to end. Doubles up to the period.
const TIDY_AGAIN: Duration = Duration::from_millis(100);

/// Failure of the spawner process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(
        "this program serves protocol {PROTOCOL}, and its daemon speaks {0}: both must be of one version; restart the daemon"
    )]
    Protocol(u32),
    #[error("failed to take over the socket on standard input")]
    Socket(#[source] io::Error),
    #[error("failed to protect the spawner")]
    Protect(#[source] Errno),
    #[error("failed to prepare signals")]
    Signals(#[source] Errno),
    #[error("failed to raise the limit of descriptors")]
    Limit(#[source] Errno),
    #[error("failed to wait for requests")]
    Wait(#[source] Errno),
    #[error("failed to read a request")]
    Read(#[source] Errno),
}

/// Serves the daemon at the other end of standard input until it closes.
pub(crate) fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let ServeOptions { prewarm, ceilings, protocol } = options;
    if protocol != PROTOCOL {
        return Err(ServeError::Protocol(protocol));
    }
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(ServeError::Socket)?;
    // A session of its own, so that keys pressed in the daemon's terminal do not end runs. It fails only for a process
    // that already leads one.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(ServeError::Signals(errno)),
    }
    // With the rights that it has on the host.
    let host = Host::prepare(ceilings);
    let at_home = home::enter().is_ok();
    // Descriptors of secrets pass through here; other processes of the same user must not take them.
    prctl::set_dumpable(false).map_err(ServeError::Protect)?;
    descriptors::raise_limit().map_err(ServeError::Limit)?;
    // Whoever starts this process may not want to hear of its children; it has to hear of its own, and of what they leave.
    process::default_disposition(Signal::SIGCHLD).map_err(ServeError::Signals)?;
    prctl::set_child_subreaper(true).map_err(ServeError::Signals)?;
    let mut children = Children::new().map_err(ServeError::Signals)?;
    // Every shim has it then.
    seccomp::program(SyscallProfile::Standard);
    let (slots, networks) = if at_home { (prewarm.slots, prewarm.networks) } else { (0, 0) };
    let networks = Networks::start(networks);
    networks.maker().into_iter().for_each(|maker| children.add(maker));
    let spawner = ServedSpawner {
        socket,
        host,
        at_home,
        children,
        templates: Templates::default(),
        networks,
        pool: Pool::new(slots),
        next_sweep: Instant::now() + TIDY_PERIOD,
        sweep_again: TIDY_AGAIN,
    };
    spawner.run()
}

/// Everything that the process holds.
#[derive(Debug)]
struct ServedSpawner {
    socket: OwnedFd,
    /// What all runs share.
    host: Host,
    /// Whether it lives in namespaces of its own.
    at_home: bool,
    children: Children,
    templates: Templates,
    networks: Networks,
    pool: Pool,
    /// When to look for what shims that were killed have left.
    next_sweep: Instant,
    /// How soon after that when something of it is still there.
    sweep_again: Duration,
}

impl ServedSpawner {
    fn run(mut self) -> Result<(), ServeError> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let mut quiet = false;
        loop {
            let now = Instant::now();
            if quiet {
                self.networks.refill();
                if let Some(shape) = self.pool.lacking(now) {
                    self.prepare_slot(&shape, now);
                    quiet = false;
                }
            }
            if !self.wait(&mut quiet)? {
                continue;
            }
            quiet = false;
            let (len, descriptors) = channel::receive(self.socket.as_fd(), &mut buffer).map_err(ServeError::Read)?;
            if len == 0 {
                return Ok(());
            }
            let mut descriptors = descriptors.into_iter();
            // Whoever gives no channel hears nothing.
            let Some(asker) = descriptors.next() else { continue };
            let secrets = descriptors.next().map(SealedSecrets::from);
            match serde_json::from_slice(&buffer[..len]) {
                Ok(request) => self.start(&request, secrets, asker),
                Err(error) => shim::refuse(&asker, format!("request is not understood: {error}")),
            }
        }
    }

    /// Waits for anything and takes in what is not a request; whether one is there.
    fn wait(&mut self, quiet: &mut bool) -> Result<bool, ServeError> {
        let mut fds = vec![
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.fd(), PollFlags::POLLIN),
        ];
        let network = self.networks.fd().map(|fd| {
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
            2
        });
        let first_slot = fds.len();
        fds.extend(self.pool.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = if *quiet { self.next_due().saturating_duration_since(Instant::now()) } else { QUIET };
        match poll(&mut fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => {
                *quiet = true;
                let now = Instant::now();
                self.templates.tidy(now);
                if now >= self.next_sweep {
                    self.sweep(now);
                }
                // Every fork took the right to write to its pages, which the next start would get back one by one.
                memory::fault_in();
                return Ok(false);
            }
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(ServeError::Wait(errno)),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
        // First: what was killed is to be dead before anything takes its place.
        if is_ready(1) && self.children.reap() {
            (self.next_sweep, *quiet) = (Instant::now(), false);
        }
        if network.is_some_and(is_ready) {
            self.networks.receive();
        }
        let mut spoke = ready.iter().skip(first_slot);
        let now = Instant::now();
        if self.pool.hear(|| spoke.next().copied().unwrap_or(false), now) {
            // When it is quiet, which it is not while that is waited for.
            (self.next_sweep, *quiet) = (now, false);
        }
        Ok(is_ready(0))
    }

    /// When something is to be done though nobody asks for anything.
    fn next_due(&self) -> Instant {
        self.pool.rested_at().map_or(self.next_sweep, |rested| rested.min(self.next_sweep))
    }

    /// Removes what shims that were killed have left.
    fn sweep(&mut self, now: Instant) {
        let (wait, again) = match self.host.tidy() {
            true => (TIDY_PERIOD, TIDY_AGAIN),
            false => (self.sweep_again, (self.sweep_again * 2).min(TIDY_PERIOD)),
        };
        self.sweep_again = again;
        self.next_sweep = now + wait;
    }

    /// Gives the run a shim, which answers `asker`: one that waits with a sandbox, or a new one.
    fn start(&mut self, request: &SpawnRequest, secrets: Option<SealedSecrets>, asker: OwnedFd) {
        // An earlier attempt of it may have ended since this process has last looked.
        if self.children.reap() {
            self.next_sweep = Instant::now();
        }
        let assignment = match take_assignment(request, secrets) {
            Ok(assignment) => assignment,
            Err(reason) => return shim::refuse(&asker, reason),
        };
        let shape = Shape::of(&assignment.spec);
        let template =
            if self.at_home && shape.isolation == Isolation::Sandboxed { self.templates.get(&shape) } else { None };
        let Some((number, template)) = template else {
            self.pool.forget(&shape);
            return self.start_shim(assignment, asker, None);
        };
        let template = template.try_clone_to_owned().ok();
        // Values that the spec does not name, or lacks, are refused by a shim of its own, before anything is taken.
        let has_what_it_names = assignment.secrets.is_some() != assignment.spec.secrets.is_empty();
        if has_what_it_names
            && !request.is_repeated
            && let Some(slot) = self.pool.take(&shape, number, Instant::now())
            && claim(&slot, &assignment, &asker)
        {
            return;
        }
        self.start_shim(assignment, asker, template);
    }

    /// Starts a shim that prepares a sandbox for its run itself.
    fn start_shim(&mut self, assignment: Assignment, asker: OwnedFd, template: Option<OwnedFd>) {
        let network =
            if template.is_some() && fits_any_network(&assignment.spec) { self.networks.take() } else { None };
        match process::fork(CloneFlags::empty()) {
            Ok(Forked::Child) => become_shim(
                &self.host,
                &[
                    raw(Some(&asker)),
                    Some(assignment.dir.as_raw_fd()),
                    assignment.secrets.as_ref().map(|secrets| secrets.as_fd().as_raw_fd()),
                    raw(template.as_ref()),
                    raw(network.as_ref()),
                ],
                || {
                    let prepare = |spec: &CheckedSpec| match &template {
                        Some(template) => Prepared::on_template(spec, template.as_fd(), network, &self.host),
                        None => Prepared::on_host(spec, &self.host),
                    };
                    shim::run(assignment, asker, &self.host, prepare).map_or(crate::cli::EXIT_FENCED, |_| 0)
                },
            ),
            Ok(Forked::Parent { pid, .. }) => self.children.add(pid),
            Err(errno) => shim::refuse(&asker, format!("failed to fork: {}", errno.desc())),
        }
    }

    /// Starts a shim that prepares a sandbox for a run of `shape` and waits for it.
    fn prepare_slot(&mut self, shape: &Shape, now: Instant) {
        let template = self.templates.get(shape);
        let Some((number, template)) = template.and_then(|(number, fd)| Some((number, fd.try_clone_to_owned().ok()?)))
        else {
            return self.pool.failed(shape, now);
        };
        let Ok((ours, theirs)) = channel::pair() else { return self.pool.failed(shape, now) };
        match process::fork(CloneFlags::empty()) {
            Ok(Forked::Child) => become_shim(&self.host, &[raw(Some(&theirs)), raw(Some(&template))], || {
                let slot = Slot::prepare(shape.clone(), template.as_fd(), &self.host);
                i32::from(slot.and_then(|slot| slot.serve(theirs, &self.host)).is_err())
            }),
            Ok(Forked::Parent { pid, .. }) => {
                self.children.add(pid);
                self.pool.add(shape, Waiting { channel: ours, template: number, ready: false });
            }
            Err(_) => self.pool.failed(shape, now),
        }
    }
}

/// Whether nothing has to be made in the network namespace of the run that only its own user namespace may make.
fn fits_any_network(spec: &CheckedSpec) -> bool {
    spec.egress == Egress::None && listeners::fit_any_network(&spec.listeners)
}

fn raw(fd: Option<&OwnedFd>) -> Option<RawFd> {
    fd.map(AsRawFd::as_raw_fd)
}

fn take_assignment(request: &SpawnRequest, secrets: Option<SealedSecrets>) -> Result<Assignment, String> {
    let shown = request.run_dir.display();
    let dir =
        File::open(&request.run_dir).map_err(|error| format!("failed to open run directory `{shown}`: {error}"))?;
    let spec = run_dir::read_spec_in(&dir).map_err(|error| crate::chain(&error))?;
    let spec = spec.ok_or_else(|| format!("no `spec.json` in `{shown}`"))?;
    let spec = spec.check().map_err(|error| format!("the spec is not valid: {error}"))?;
    Ok(Assignment { dir, spec, secrets, claim_until_ns: request.claim_until_ns })
}

/// Gives the run to `slot`, which answers `asker`. False when it did not get it, and nothing has happened.
fn claim(slot: &Waiting, assignment: &Assignment, asker: &OwnedFd) -> bool {
    // A directory that cannot be opened is said in the record of a run that has a shim of its own.
    let Ok(trees) = Directories::of(&assignment.spec).open() else { return false };
    let mut passed = vec![asker.as_fd(), assignment.dir.as_fd()];
    passed.extend(assignment.secrets.as_ref().map(SealedSecrets::as_fd));
    passed.extend(trees.descriptors());
    channel::send(slot.channel.as_fd(), &assignment.claim_until_ns.to_le_bytes(), &passed).is_ok()
}

/// Leaves everything of the spawner but `kept` behind, and runs `shim`.
fn become_shim(host: &Host, kept: &[Option<RawFd>], shim: impl FnOnce() -> i32) -> ! {
    let of_host = host.descriptors();
    let kept: Vec<_> = kept.iter().copied().flatten().chain(of_host.iter().map(AsRawFd::as_raw_fd)).collect();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match leave(&kept) {
        Ok(()) => shim(),
        Err(_) => crate::cli::EXIT_INTERNAL,
    }));
    process::exit_now(ran.unwrap_or(crate::cli::EXIT_INTERNAL))
}

fn leave(kept: &[RawFd]) -> Result<(), Errno> {
    descriptors::close_all_but(kept)?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    setsid()?;
    // A shim that hangs before it follows its run is ended by this one.
    process::default_disposition(Signal::SIGALRM)?;
    hear_of_children()
}

/// Lets the signal of ended children through, which the spawner reads.
fn hear_of_children() -> Result<(), Errno> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_unblock()
}
