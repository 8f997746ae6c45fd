//! The shim: one process per run that owns everything of it on the host side.
//!
//! Claims the run directory, starts init or without isolation the steps themselves, feeds the machine with what happens,
//! keeps the log and writes the exit record.
//! Depends on neither daemon nor spawner once it has answered. **Invariant:** without the claim it writes nothing.
//! **Invariant:** with the claim it leaves an exit record, whatever fails in between; only its own death, and the end of its
//! lease, lose a run.

mod asked;
mod claimed;
mod hidden;
mod inside;
mod keeper;
mod lease;
mod machine;
mod plain;
mod prepared;
mod rest;
mod sandbox;
mod server;
mod streams;
mod supervisor;
mod timers;

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{alarm, geteuid, setgroups};

use crate::clock::{monotonic_ns, unix_us};
use crate::exit_record::{ExitRecord, FORMAT_VERSION, Outcome, StepResult, StepStatus};
use crate::limit::Ceilings;
use crate::log::LogWriter;
use crate::run_dir::{Claim, ClaimError, EXIT_FILE, LOG_FILE, Reserve, ShimIdentity, start_ticks, write_durable};
use crate::secrets::{SealedSecrets, Secrets, SecretsError, TransferError};
use crate::spawner::StartAnswer;
use crate::spec::CheckedSpec;
use crate::sys::process;
use crate::sys::{channel, descriptors};
use claimed::Claimed;
pub(crate) use keeper::Host;
use keeper::Keeper;
use lease::Lease;
use machine::Input;
pub(crate) use prepared::{Prepared, Slot};
use server::ControlServer;
use streams::Echo;
use supervisor::{Ended, Outside, Supervisor};

/// Longest time from the claim of a run until its shim follows it. One that hangs before leaves a lost run, not one that nobody can
/// end.
const FOLLOW_MAX: Duration = Duration::from_secs(60);

/// What a shim is to run: an open run directory and its spec.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) dir: File,
    pub(crate) spec: CheckedSpec,
    pub(crate) secrets: Option<SealedSecrets>,
    /// Until when on the monotonic clock the attempt may be taken, in nanoseconds.
    pub(crate) claim_until_ns: u64,
}

/// Why a shim does not start; it has written nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("failed to protect the shim: {}", .0.desc())]
    Protect(Errno),
    #[error("failed to take the secrets")]
    Transfer(#[source] TransferError),
    #[error("the secrets do not fit the spec")]
    Secrets(#[source] SecretsError),
    #[error("failed to claim the run")]
    Claim(#[source] ClaimError),
    #[error("nobody waits for the start any more")]
    Late,
    #[error("nobody could serve the `listeners` of this run: only runs of a daemon can have some")]
    Listeners,
}

/// Runs one attempt from claim to exit record for whoever asked for it at the other end of `asker`, in the sandbox that
/// `prepare` makes. Without the claim nothing is written.
pub(crate) fn run(
    assignment: Assignment,
    asker: OwnedFd,
    host: &Host,
    prepare: impl FnOnce(&CheckedSpec) -> Result<Prepared, Outcome>,
) -> Result<ExitRecord, StartError> {
    let Assignment { dir, spec, secrets, claim_until_ns } = assignment;
    umask(Mode::from_bits_truncate(0o077));
    let taken = check_secrets(&spec, secrets.as_ref()).and_then(|()| {
        // Whatever it hangs in, it does not take the run when nobody waits for that any more.
        let left_ns = claim_until_ns.checked_sub(monotonic_ns()).filter(|left| *left > 0).ok_or(StartError::Late)?;
        die_in(Duration::from_nanos(left_ns));
        Claim::take(&dir, spec.fence).map_err(StartError::Claim)
    });
    // From here on it has to come as far as following the run, which keeps its times then.
    die_in(FOLLOW_MAX);
    let claim = match taken {
        Ok(claim) => claim,
        Err(error) => {
            answer(&asker, &refusal(&error), &[]);
            return Err(error);
        }
    };
    let begun = Begun::now(host);
    let ready = protect().map_err(PrepareError::Protect);
    let (ended, reserve) =
        match ready.and_then(|()| Reserve::take(&dir, spec.steps.len()).map_err(PrepareError::Reserve)) {
            Ok(reserve) => {
                let (prepared, keeper) = keep(&spec, host, prepare(&spec));
                // While the sandbox is being built; nothing is executed before.
                let claimed = match claim.make_durable(&dir) {
                    Ok(()) => Claimed::claim(&spec, prepared, secrets, &keeper),
                    Err(error) => {
                        drop(prepared);
                        Err(Input::Lost { message: format!("failed to sync the claim: {error}") })
                    }
                };
                // While the first step is on its way.
                let attempt = Attempt { dir: &dir, claim: &claim, spec: &spec, begun: &begun };
                (attempt.follow(asker, keeper, claimed), Some(reserve))
            }
            Err(error) => (Ended::without_log(give_up(&asker, &error.to_string()), not_run(&spec)), None),
        };
    let has_lease = ended.has_lease;
    let (record, server) = begun.record(&spec, ended);
    if !has_lease {
        // Held to the last moment of this process: it is seen to live as long as it does, and then not any more.
        std::mem::forget(claim);
        return Ok(record);
    }
    leave_record(&dir, reserve, &record);
    // In this order: whoever finds nobody listening finds the lock free and the record written.
    drop(claim);
    drop(server);
    Ok(record)
}

/// Has the kernel end this process in so much time, to the second that follows, unless that is called off or set anew.
fn die_in(time: Duration) {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    alarm::set(seconds);
}

/// One attempt whose claim is taken.
#[derive(Debug)]
struct Attempt<'a> {
    dir: &'a File,
    claim: &'a Claim,
    spec: &'a CheckedSpec,
    begun: &'a Begun,
}

impl Attempt<'_> {
    /// Makes what is kept of the run in its directory, says that it has started, and follows it to its end.
    fn follow(&self, asker: OwnedFd, keeper: Keeper<'_>, claimed: Result<Claimed, Input>) -> Ended {
        let outside = Outside::of_run((self.dir, self.claim), self.spec, &self.begun.boot_id);
        match outside.and_then(|outside| Ok((outside, process::own_pidfd().map_err(PrepareError::Name)?))) {
            Ok((mut outside, pidfd)) => {
                outside.lease = Lease::begin(self.spec, self.dir, self.claim);
                alarm::cancel();
                answer(&asker, &StartAnswer::Started { pid: own_pid() }, &[pidfd.as_fd()]);
                drop((asker, pidfd));
                Supervisor::new(self.spec, outside, keeper, Echo::Nothing).run(claimed)
            }
            Err(error) => self.give_up(&asker, keeper, claimed, &error),
        }
    }

    /// Ends everything inside, which may have begun and cannot be followed.
    fn give_up(
        &self,
        asker: &OwnedFd,
        keeper: Keeper<'_>,
        claimed: Result<Claimed, Input>,
        error: &PrepareError,
    ) -> Ended {
        keeper.kill();
        let mut steps = not_run(self.spec);
        if let (Ok(true), Some(first)) = (claimed.as_ref().map(Claimed::may_have_begun), steps.first_mut()) {
            first.status = StepStatus::Lost;
        }
        let outcome = match claimed.map_or(Ok(()), Claimed::give_up).and(keeper.end()) {
            Ok(()) => give_up(asker, &error.to_string()),
            Err(errno) => give_up(asker, &format!("{error}; failed to end the sandbox: {}", errno.desc())),
        };
        Ended::without_log(outcome, steps)
    }
}

/// Tells whoever asked that the run does not go on; what its record says then.
fn give_up(asker: &OwnedFd, why: &str) -> Outcome {
    refuse(asker, why.to_owned());
    Outcome::ShimError { message: why.to_owned() }
}

/// Tells whoever asked that the run does not start.
pub(crate) fn refuse(asker: &OwnedFd, reason: String) {
    answer(asker, &StartAnswer::Failed { reason }, &[]);
}

/// Runs `spec` for a person, who sees the output itself: nothing is left behind, and nobody else can reach the run.
///
/// # Errors
/// When the secrets are not those of the spec, or the spec has listeners. Nothing was started.
pub(crate) fn run_for_person(spec: &CheckedSpec, secrets: Option<SealedSecrets>) -> Result<ExitRecord, StartError> {
    check_secrets(spec, secrets.as_ref())?;
    if !spec.listeners.is_empty() {
        return Err(StartError::Listeners);
    }
    // Whoever starts it may not want to hear of its children; it has to hear of its own.
    drop(process::default_disposition(Signal::SIGCHLD).map_err(std::io::Error::from));
    let host = Host::prepare(Ceilings::default());
    let begun = Begun::now(&host);
    umask(Mode::from_bits_truncate(0o077));
    let ended = match Outside::of_person(spec) {
        Ok(outside) => {
            let (prepared, keeper) = keep(spec, &host, Prepared::on_host(spec, &host));
            let claimed = Claimed::claim(spec, prepared, secrets, &keeper);
            Supervisor::new(spec, outside, keeper, Echo::Stdio).run(claimed)
        }
        Err(error) => Ended::without_log(Outcome::ShimError { message: error.to_string() }, not_run(spec)),
    };
    Ok(begun.record(spec, ended).0)
}

/// Who keeps the limits of a run that is being prepared.
fn keep<'a>(
    spec: &'a CheckedSpec,
    host: &Host,
    prepared: Result<Prepared, Outcome>,
) -> (Result<Prepared, Outcome>, Keeper<'a>) {
    match prepared {
        Ok(Prepared { inside, findings, trees, roots, group, proxy, listeners }) => {
            let keeper = Keeper::new(spec, host, group, roots);
            let group = Err(String::new());
            (Ok(Prepared { inside, findings, trees, roots: Vec::new(), group, proxy, listeners }), keeper)
        }
        Err(outcome) => (Err(outcome), Keeper::new(spec, host, Err("there is no run".to_owned()), Vec::new())),
    }
}

/// Whether the secrets are those of the spec. Their values are forgotten again: they must not be in this memory when init
/// is forked, which cannot be protected while it takes on its ids.
fn check_secrets(spec: &CheckedSpec, sealed: Option<&SealedSecrets>) -> Result<(), StartError> {
    let values = match sealed {
        Some(sealed) => {
            protect().map_err(StartError::Protect)?;
            sealed.open().map_err(StartError::Transfer)?
        }
        None => Secrets::new(),
    };
    values.check(spec).map_err(StartError::Secrets)
}

/// Gives the answer; whoever has gone does not need it.
fn answer(asker: &OwnedFd, answer: &StartAnswer, descriptors: &[BorrowedFd<'_>]) {
    if let Ok(json) = serde_json::to_vec(answer) {
        let sent = channel::send(asker.as_fd(), &json, descriptors);
        debug_assert!(matches!(sent, Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET)), "{sent:?}");
    }
}

/// When and in which boot a run began.
#[derive(Debug)]
struct Begun {
    at_us: u64,
    boot_id: String,
}

impl Begun {
    fn now(host: &Host) -> Self {
        Self { at_us: unix_us(), boot_id: host.boot_id.clone() }
    }

    /// The record of a run that ended now, and what must stay open until it is written.
    fn record(self, spec: &CheckedSpec, ended: Ended) -> (ExitRecord, Option<ControlServer>) {
        let record = ExitRecord {
            version: FORMAT_VERSION,
            fence: spec.fence,
            outcome: ended.outcome,
            steps: ended.steps,
            started_at_us: self.at_us,
            finished_at_us: unix_us(),
            boot_id: self.boot_id,
            level: ended.level,
            log_bytes: ended.log_bytes,
            dropped_bytes: ended.dropped_bytes,
            claim_to_exec_ns: ended.claim_to_exec_ns,
        };
        (record, ended.server)
    }
}

fn refusal(error: &StartError) -> StartAnswer {
    let reason = crate::chain(error);
    match error {
        StartError::Claim(ClaimError::Busy | ClaimError::Taken { .. } | ClaimError::Outdated { .. }) => {
            StartAnswer::Fenced { reason }
        }
        StartError::Claim(_)
        | StartError::Late
        | StartError::Protect(_)
        | StartError::Transfer(_)
        | StartError::Secrets(_)
        | StartError::Listeners => StartAnswer::Failed { reason },
    }
}

/// Failure to make what a shim needs.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("failed to protect the shim: {}", .0.desc())]
    Protect(Errno),
    #[error("failed to take over signals: {}", .0.desc())]
    Signals(Errno),
    #[error("failed to reserve space for the exit record: {0}")]
    Reserve(std::io::Error),
    #[error("failed to write who the shim is: {0}")]
    Identity(std::io::Error),
    #[error("failed to create the log: {0}")]
    Log(std::io::Error),
    #[error("failed to listen on the control socket: {0}")]
    Listen(std::io::Error),
    #[error("failed to name the shim: {}", .0.desc())]
    Name(Errno),
}

impl Outside<'_> {
    /// For a run with a directory, in which all of it is made.
    fn of_run((dir, claim): (&File, &Claim), spec: &CheckedSpec, boot_id: &str) -> Result<Self, PrepareError> {
        let identity = ShimIdentity {
            version: FORMAT_VERSION,
            fence: spec.fence,
            pid: own_pid(),
            start_ticks: start_ticks(),
            boot_id: boot_id.to_owned(),
        };
        claim.name(&identity).map_err(PrepareError::Identity)?;
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let log = openat(dir, LOG_FILE, flags | OFlag::O_NOFOLLOW, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| PrepareError::Log(errno.into()))?;
        let log = LogWriter::create(log, spec.limits.log_bytes_max)
            .map_err(|error| PrepareError::Log(std::io::Error::other(error)))?;
        let server = ControlServer::listen(dir).map_err(PrepareError::Listen)?;
        let signals = end_signals().map_err(PrepareError::Signals)?;
        Ok(Self { log, server: Some(server), signals, lease: None })
    }

    /// For a run without a directory: its log goes nowhere.
    fn of_person(spec: &CheckedSpec) -> Result<Self, PrepareError> {
        protect().and_then(|()| descriptors::raise_limit()).map_err(PrepareError::Protect)?;
        let nowhere = open("/dev/null", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        let nowhere = nowhere.map_err(|errno| PrepareError::Log(errno.into()))?;
        let log = LogWriter::create(nowhere, spec.limits.log_bytes_max)
            .map_err(|error| PrepareError::Log(std::io::Error::other(error)))?;
        Ok(Self { log, server: None, signals: end_signals().map_err(PrepareError::Signals)?, lease: None })
    }
}

/// Keeps other processes of the same user away from what this one holds.
fn protect() -> Result<(), Errno> {
    // The spec in memory may hold secrets.
    prctl::set_dumpable(false)?;
    if geteuid().is_root() {
        // Where it is allowed: group rights of the host are none of the run's.
        match setgroups(&[]) {
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The signals that ask a shim to end its run.
fn end_signals() -> Result<SignalFd, Errno> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Writes the exit record.
///
/// The control socket stays, because by now it may be that of the next attempt; nobody listens on it.
fn leave_record(dir: &File, reserve: Option<Reserve>, record: &ExitRecord) {
    let Ok(json) = serde_json::to_vec(record) else { return };
    if reserve.is_none_or(|reserve| reserve.become_file(EXIT_FILE, &json).is_err()) {
        // When the record cannot be written there is nobody to tell: the run is found lost, which is what it then is.
        drop(write_durable(dir, EXIT_FILE, &json));
    }
}

fn not_run(spec: &CheckedSpec) -> Vec<StepResult> {
    let result = |name: &String| StepResult {
        name: name.clone(),
        status: StepStatus::NotRun,
        started_at_us: None,
        finished_at_us: None,
    };
    spec.steps.iter().map(|step| result(&step.name)).collect()
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}
