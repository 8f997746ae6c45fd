//! Takes in the result of a run: its outcome, its artifacts, and what it wants to merge.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_adapters::agent::AGENT;
use orch_adapters::git::{CommitId, IngestLimits, NameError, ReadError, TakeError, Taken, branch_name, is_hosts_fault};
use orch_core::command::{Command, Said};
use orch_core::entity::{Artifact, ChangeProposal, DiffStat, LeftOut, LeftSession, Project, Run, RunPurpose, Task};
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::view::{Filter, View as _};
use orch_proto::id::{ProjectId, RunId};
use orch_sandbox::exit_record::{ExitRecord, Outcome};
use orch_sandbox::limit::LimitKind;

use super::artifacts::{self, remove_file};
use super::{PassError, gates, log};
use crate::answers;
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::sessions;
use crate::site::{Hindered, NotTaken, Site};

/// How long the host may keep the result of a run from being taken in before that is its end: long enough for somebody to make
/// room on a disk.
const HINDERED_MAX: Duration = Duration::from_secs(10 * 60);
/// How soon it is tried again, the first time and at most: it reads all that the run left.
const HINDERED_AGAIN: Duration = Duration::from_millis(500);
const HINDERED_AGAIN_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether something was kept for long enough.
const TIDY_AFTER: Duration = Duration::from_secs(10 * 60);

/// Why a result is not taken.
#[derive(Debug, thiserror::Error)]
enum ResultError {
    #[error("{0} is gone")]
    Gone(&'static str),
    #[error("failed to open the repository")]
    Repository(#[from] orch_adapters::git::OpenError),
    #[error("the base of the run is not a commit")]
    Base(#[from] NameError),
    #[error(transparent)]
    Take(#[from] TakeError),
    #[error("failed to look at the result")]
    Read(#[from] ReadError),
}

/// Settles a run that left no result.
pub(super) async fn without_result<S: Site>(
    app: &Arc<S>,
    run: RunId,
    fence: u64,
    outcome: RunOutcome,
) -> Result<(), PassError> {
    let found = app.read(move |view| view.get::<Run>(run)).await?.filter(has_checkpoints);
    let project = found.as_ref().map(|found| found.project);
    let from = found.as_ref().and_then(|found| found.session.from.as_ref().map(|from| from.run));
    if let Some(found) = found {
        take_kept(app, found, outcome.clone()).await?;
    }
    let (said, artifacts, left_out, proposal) = (None, Vec::new(), Box::default(), None);
    let command = Command::SettleRun { run, fence, said, outcome, artifacts, log_dropped_bytes: 0, left_out, proposal };
    app.execute("runner", command).await?;
    if let Some(project) = project {
        forget(app, project).await;
    }
    clean_up(app, run, false).await;
    clean_up_before(app, from).await;
    Ok(())
}

/// Settles a run by what its exit record says, once all that its log says is on record.
pub(super) async fn ended<S: Site>(
    app: &Arc<S>,
    run: &Run,
    scanned: &mut u64,
    mut ended: Ended,
) -> Result<(), PassError> {
    let is_kept = has_checkpoints(run);
    if is_kept {
        log::drain(app, run, scanned).await?;
        let (id, outcome) = (run.id, ended.outcome.clone());
        // As it is now: the rest of its log was put on record since it was looked at.
        if let Some(newest) = app.read(move |view| view.get::<Run>(id)).await? {
            take_kept(app, newest, outcome).await?;
        }
    } else {
        // One commit for both.
        ended.said = log::rest(app, run, scanned).await?.map(Box::new);
    }
    let is_collected = ended.is_collected();
    let settled = app.execute("runner", ended.settle(run)).await?;
    for note in settled.notes {
        tracing::warn!(run = %run.id, note, "settled a run");
    }
    if is_kept {
        forget(app, run.project).await;
    }
    clean_up(app, run.id, is_collected).await;
    clean_up_before(app, run.session.from.as_ref().map(|from| from.run)).await;
    Ok(())
}

/// Takes in what an interrupted run kept, before it is over on record: the next attempt begins with that.
async fn take_kept<S: Site>(app: &Arc<S>, run: Run, outcome: RunOutcome) -> Result<(), PassError> {
    let taken = app.take_kept(run, outcome).await;
    let is_in_vain =
        matches!(&taken, Some(Command::KeepSession { left: LeftSession::NotKept { .. }, .. })) && app.is_stopping();
    // The next daemon looks at it again.
    if is_in_vain {
        return Err(PassError::Stopping);
    }
    match taken {
        Some(command) => super::scheduler::accept(app.execute("runner", command).await),
        None => Ok(()),
    }
}

/// Forgets what nobody goes on from after the end of a run of the project.
async fn forget<S: Site>(app: &Arc<S>, project: ProjectId) {
    let site = Arc::clone(app);
    app.blocking(move || site.forget_kept(project)).await;
}

fn has_checkpoints(run: &Run) -> bool {
    run.resumed.is_some() || run.steps.iter().any(|step| step.inputs.is_some())
}

/// What is to be put on record of a run that has ended.
#[derive(Debug)]
pub struct Ended {
    outcome: RunOutcome,
    artifacts: Vec<Artifact>,
    left_out: LeftOut,
    proposal: Option<Box<ChangeProposal>>,
    log_dropped_bytes: u64,
    /// The rest of what its log says.
    said: Option<Box<Said>>,
}

impl Ended {
    /// A run has ended so, leaving that, to be merged if it proposes something.
    #[must_use]
    pub fn new(exit: &ExitRecord, left: (RunOutcome, Vec<Artifact>, Option<ChangeProposal>)) -> Self {
        let (outcome, artifacts, proposal) = left;
        let (proposal, left_out) = (proposal.map(Box::new), LeftOut::default());
        Self { outcome, artifacts, left_out, proposal, log_dropped_bytes: exit.dropped_bytes, said: None }
    }

    /// Whether nothing that the run left is needed once this is on record.
    fn is_collected(&self) -> bool {
        self.outcome == RunOutcome::Succeeded
    }

    fn settle(self, run: &Run) -> Command {
        let Self { outcome, artifacts, left_out, proposal, log_dropped_bytes, said } = self;
        let (run, fence, left_out) = (run.id, run.fence, Box::new(left_out));
        Command::SettleRun { run, fence, said, outcome, artifacts, log_dropped_bytes, left_out, proposal }
    }
}

/// For how long the host has kept the result of a run from being taken in.
#[derive(Debug, Default)]
pub(super) struct Hindrance {
    since: Option<Instant>,
    times: u32,
}

impl Hindrance {
    /// Rests until it is to be tried again, or the daemon stops. News of the run's directory are not waited for: trying makes some.
    pub(super) async fn rest<S: Site>(&mut self, app: &S, run: RunId, reason: &str) {
        let wait = self.met(run, reason, app.instant());
        tokio::select! {
            biased;
            () = app.stopped() => {}
            () = app.sleep(wait) => {}
        }
    }

    /// Takes note of one more time; when to try again.
    fn met(&mut self, run: RunId, reason: &str, now: Instant) -> Duration {
        tracing::warn!(%run, reason, "the result of a run cannot be taken in; trying again");
        self.since.get_or_insert(now);
        self.times = self.times.saturating_add(1);
        HINDERED_AGAIN.saturating_mul(1 << self.times.min(8)).min(HINDERED_AGAIN_MAX)
    }

    /// What is to follow the next time.
    pub(super) fn next(&self, now: Instant) -> Hindered {
        match self.since {
            Some(since) if now.saturating_duration_since(since) >= HINDERED_MAX => Hindered::IsTheEnd,
            _ => Hindered::IsTriedAgain,
        }
    }
}

/// Takes in what a run left that has ended. Blocks.
///
/// # Errors
/// When the state cannot be read, and when the host keeps it from being taken and that is to be tried again.
pub(super) fn take_in(app: &App, run: &Run, exit: &ExitRecord, hindered: Hindered) -> Result<Ended, NotTaken> {
    let (task, project) =
        app.store.read(|view| Ok((view.get::<Task>(run.task)?, view.get::<Project>(run.project)?)))?;
    let outcome = match outcome(&exit.outcome, run) {
        // What could not be made on a full disk is nothing that the run did.
        RunOutcome::Failed { class: FailureClass::Infrastructure, reason } if app.shortage().is_some() => {
            RunOutcome::Failed { class: FailureClass::Host, reason }
        }
        other => other,
    };
    let kept = task.as_ref().map(|task| artifacts::keep_all(app, run, task)).unwrap_or_default();
    let wanted = outcome == RunOutcome::Succeeded
        && run.purpose == RunPurpose::Work
        && task.as_ref().is_some_and(|task| task.spec.work.keeps_changes());
    let proposal = match &kept.fault {
        // Nothing is proposed of a result that is not whole.
        Some(reason) => Err(NotTaken::Host(reason.clone())),
        None if wanted => match proposal(app, run, task.as_ref(), project.as_ref()) {
            Ok(proposal) => Ok(Ok(proposal)),
            Err(error) => error.meaning().map(Err),
        },
        None => Ok(Ok(None)),
    };
    let (outcome, proposal) = match (proposal, hindered) {
        (Ok(Ok(proposal)), _) => (outcome, proposal),
        (Ok(Err(refused)), _) => (refused, None),
        (Err(NotTaken::Host(reason)), Hindered::IsTheEnd) => {
            let class = if app.shortage().is_some() { FailureClass::Host } else { FailureClass::Infrastructure };
            (hindered_for_good(outcome, class, reason), None)
        }
        (Err(error), _) => return Err(error),
    };
    Ok(Ended { left_out: kept.left_out, ..Ended::new(exit, (outcome, kept.artifacts, proposal)) })
}

/// The end of a run whose result the host kept from being taken in for too long. One that failed anyhow failed in its own way.
fn hindered_for_good(outcome: RunOutcome, class: FailureClass, reason: String) -> RunOutcome {
    match outcome {
        RunOutcome::Succeeded => {
            RunOutcome::Failed { class, reason: format!("its result could not be taken in: {reason}") }
        }
        failed => failed,
    }
}

impl ResultError {
    /// What is to follow: an outcome of the run, or that it is tried again.
    fn meaning(self) -> Result<RunOutcome, NotTaken> {
        let is_hosts = match &self {
            Self::Take(error) => error.is_hosts_fault(),
            Self::Repository(_) => true,
            Self::Read(error) => is_hosts_fault(error),
            Self::Gone(_) | Self::Base(_) => false,
        };
        let reason = chain(&self);
        if is_hosts {
            return Err(NotTaken::Host(reason));
        }
        let class = match self {
            Self::Take(_) | Self::Base(_) => FailureClass::Policy,
            Self::Gone(_) | Self::Repository(_) | Self::Read(_) => FailureClass::Infrastructure,
        };
        Ok(RunOutcome::Failed { class, reason })
    }
}

fn proposal(
    app: &App,
    run: &Run,
    task: Option<&Task>,
    project: Option<&Project>,
) -> Result<Option<ChangeProposal>, ResultError> {
    let task = task.ok_or(ResultError::Gone("its task"))?;
    let project = project.ok_or(ResultError::Gone("its project"))?;
    let repository = app.repository(project.id)?;
    let base = run.base.as_deref().map(CommitId::parse).transpose()?;
    let name = format!("R-{}", run.number);
    let taken = repository.take_result(&app.dirs.run_out(run.id), base.as_ref(), &name, &IngestLimits::RUN)?;
    let (commit, tree) = match taken {
        Taken::Unchanged { .. } => return Ok(None),
        Taken::Changed { commit, tree, .. } => (commit, tree),
    };
    let changed = repository.changed_paths(base.as_ref(), &commit)?;
    let stat = repository.diff_stat(base.as_ref(), &commit)?;
    // Binary files have no lines.
    let (added, removed) =
        stat.iter().filter_map(|file| file.lines).fold((0_u64, 0_u64), |sum, lines| (sum.0 + lines.0, sum.1 + lines.1));
    Ok(Some(ChangeProposal {
        base: run.base.clone(),
        head: commit.to_string(),
        tree: tree.to_string(),
        branch: branch_name(u64::from(task.number), &task.title).short().to_owned(),
        stat: DiffStat {
            files: u32::try_from(changed.len()).unwrap_or(u32::MAX),
            added: u32::try_from(added).unwrap_or(u32::MAX),
            removed: u32::try_from(removed).unwrap_or(u32::MAX),
        },
        protected: gates::protected(&project.protected_paths, changed.iter().map(|change| &change.path)),
        // Known when it is put on record: the run may have said them a moment ago.
        words: None,
    }))
}

/// What the exit record means to the task.
#[must_use]
pub fn outcome(outcome: &Outcome, run: &Run) -> RunOutcome {
    let reason = outcome.to_string();
    match outcome {
        Outcome::Succeeded => RunOutcome::Succeeded,
        Outcome::StepFailed { step, .. } => {
            // What an agent makes of its work is no failure of its own: gates judge it.
            let is_agents = run.agent.is_some() && step == AGENT;
            RunOutcome::Failed { class: if is_agents { FailureClass::Agent } else { FailureClass::Task }, reason }
        }
        Outcome::TimedOut { .. } | Outcome::NoOutput { .. } => RunOutcome::TimedOut { reason },
        Outcome::LimitExceeded { excess, .. } => {
            let class = match excess.limit {
                LimitKind::Memory | LimitKind::Disk => FailureClass::Task,
                // What all runs share was used up; alone it may well succeed.
                LimitKind::HostMemory | LimitKind::DiskFree | LimitKind::FilesFree => FailureClass::Host,
            };
            RunOutcome::Failed { class, reason }
        }
        Outcome::Cancelled => RunOutcome::Cancelled {
            reason: run.cancel_requested.clone().unwrap_or_else(|| "cancelled from outside".into()),
        },
        Outcome::SetupFailed { hint, .. } => {
            let reason = if hint.is_empty() { reason } else { format!("{reason}; {hint}") };
            RunOutcome::Failed { class: FailureClass::Infrastructure, reason }
        }
        Outcome::LevelRefused { fix, .. } => {
            RunOutcome::Failed { class: FailureClass::Isolation, reason: format!("{reason}; {fix}") }
        }
        _ => RunOutcome::Lost { reason },
    }
}

/// Removes what a settled run does not need any more: its workspace and the bundle, once its work is taken in. The log
/// stays.
async fn clean_up<S: Site>(app: &Arc<S>, run: RunId, is_collected: bool) {
    let site = Arc::clone(app);
    if let Err(error) = app.blocking(move || site.clean_up(run, is_collected)).await {
        tracing::warn!(%run, error = chain(&error), "not cleaned up after a run; the next look at it does");
    }
}

/// The same for the run whose session this one went on with, which may be needed no more.
async fn clean_up_before<S: Site>(app: &Arc<S>, from: Option<RunId>) {
    if let Some(from) = from {
        clean_up(app, from, false).await;
    }
}

/// The same for one run of this machine; `is_collected` says that all of it was taken in. Blocks.
pub(super) fn clean_up_one(app: &App, id: RunId, is_collected: bool) -> Result<(), orch_core::view::ReadError> {
    answers::forget_of(app, id);
    if is_collected {
        remove_leavings(app, id);
        return Ok(());
    }
    let (run, task) = app.store.read(|view| {
        let run = view.get::<Run>(id)?;
        let task = run.as_ref().map(|run| view.get::<Task>(run.task)).transpose()?;
        Ok((run, task.flatten()))
    })?;
    let goes_on = run.as_ref().zip(task.as_ref()).is_some_and(|(run, task)| sessions::is_needed(app, run, task));
    let is_kept = is_kept(app, id, run.as_ref(), task.as_ref());
    if !goes_on && run.as_ref().is_none_or(|run| run.agent.is_some()) {
        // It is of no use to anybody else, and has all that its agent was told.
        remove(app, &sessions::home(app, id));
    }
    if is_kept {
        let workspace = app.dirs.workspace(id);
        tracing::info!(run = %id, workspace = %workspace.display(), "kept: its work was not taken in");
    } else {
        if run.is_some_and(|run| is_uncollected(&run, task.as_ref())) && app.dirs.workspace(id).exists() {
            tracing::info!(run = %id, "removed by `workspaces.keep_hours`: work that was not taken in");
        }
        match goes_on {
            true => remove(app, &app.dirs.workspace(id)),
            false => remove_leavings(app, id),
        }
    }
    Ok(())
}

/// Whether a run that is over may have left work that nobody took in, and is not over for too long.
fn is_kept(app: &App, id: RunId, run: Option<&Run>, task: Option<&Task>) -> bool {
    let ended_at = match run {
        // The state was put back to an earlier one: nothing is known but what is on the disk.
        None => std::fs::metadata(app.dirs.workspace(id)).ok().and_then(|meta| unix_us(meta.modified().ok()?)),
        Some(run) if is_uncollected(run, task) => run.finished_at.map(orch_proto::Timestamp::unix_us),
        Some(_) => None,
    };
    let keep_us = i64::try_from(app.config.workspaces.keep.as_micros()).unwrap_or(i64::MAX);
    ended_at.is_some_and(|at| crate::clock::now().unix_us().saturating_sub(at) < keep_us)
}

/// Whether a run that is over began, and was to change something that was not taken in; or was to leave files, which the host may have
/// kept from being kept.
fn is_uncollected(run: &Run, task: Option<&Task>) -> bool {
    let keeps_changes = task.is_none_or(|task| task.spec.work.keeps_changes());
    let is_hosts = matches!(run.state, RunState::Failed { class: FailureClass::Infrastructure, .. });
    let leaves = keeps_changes || is_hosts;
    run.purpose == RunPurpose::Work && leaves && run.started_at.is_some() && run.state != RunState::Succeeded
}

fn unix_us(time: std::time::SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_micros()).ok()
}

fn remove_leavings(app: &App, run: RunId) {
    if let Err(error) = remove_file(&app.dirs.artifact_copy(run)) {
        tracing::warn!(%run, %error, "failed to remove the copy of an artifact");
    }
    remove(app, &app.dirs.workspace(run));
    remove(app, &app.dirs.run_out(run));
}

/// Removes a directory of a run, if it is there.
fn remove(app: &App, path: &Path) {
    // What is empty needs no detour.
    if std::fs::remove_dir(path).is_ok() {
        return;
    }
    if let Err(error) = app.workspaces.discard(path) {
        tracing::warn!(error = chain(&error), path = %path.display(), "failed to remove a directory of a run");
    }
}

/// Cleans up after runs that the last daemon settled and was killed before it came to that, and after those that were
/// kept for long enough. Nothing else ever looks at a run again that is over.
pub(super) async fn clean_up_all(app: &Arc<App>) -> Result<(), PassError> {
    let open = app.read(|view| view.list::<Run>(&Filter::default().open())).await?;
    let open: BTreeSet<RunId> = open.iter().map(|run| run.id).collect();
    let left = {
        let app = Arc::clone(app);
        blocking(move || {
            let mut left = app.dirs.runs_on_disk();
            left.retain(|run| !open.contains(run) && has_leavings(&app, *run));
            left
        })
        .await
    };
    for run in left {
        let app = Arc::clone(app);
        blocking(move || clean_up_one(&app, run, false)).await?;
    }
    Ok(())
}

fn has_leavings(app: &App, run: RunId) -> bool {
    [app.dirs.workspace(run), app.dirs.run_out(run), app.dirs.artifact_copy(run)].iter().any(|path| path.exists())
}

/// Looks after what was kept until the daemon stops.
pub(super) async fn tidy(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(TIDY_AFTER) => {}
        }
        if let Err(error) = clean_up_all(&app).await {
            tracing::warn!(error = chain(&error), "not cleaned up after runs that are over");
        }
    }
}

#[cfg(test)]
mod tests {
    use orch_adapters::git::{CallError, IngestError};

    use super::*;

    #[test]
    fn a_result_that_the_host_holds_back_is_tried_again_for_a_while() {
        let run: RunId = orch_core::ids::sample_id(1);
        let (mut hindrance, start) = (Hindrance::default(), Instant::now());
        assert_eq!(hindrance.next(start + HINDERED_MAX), Hindered::IsTriedAgain, "nothing was in its way");
        let waits: Vec<Duration> = (0..12).map(|_| hindrance.met(run, "no space left", start)).collect();
        assert!(waits.is_sorted() && waits[0] == HINDERED_AGAIN * 2 && waits[11] == HINDERED_AGAIN_MAX, "{waits:?}");
        assert_eq!(hindrance.next(start + HINDERED_MAX / 2), Hindered::IsTriedAgain);
        assert_eq!(hindrance.next(start + HINDERED_MAX), Hindered::IsTheEnd);
    }

    #[test]
    fn what_the_host_did_is_no_fault_of_the_work() {
        let meaning = |error: ResultError| match error.meaning() {
            Ok(RunOutcome::Failed { class, .. }) => Some(class),
            Ok(other) => panic!("{other:?}"),
            Err(NotTaken::Host(_)) => None,
            Err(other) => panic!("{other:?}"),
        };
        let full = || CallError::StorageFull { command: "git index-pack".into() };
        let io = std::io::Error::from_raw_os_error;
        assert_eq!(meaning(TakeError::Git(full()).into()), None);
        assert_eq!(meaning(TakeError::Ingest(IngestError::Git(full())).into()), None);
        assert_eq!(meaning(TakeError::Ingest(IngestError::Store(io(2))).into()), None);
        assert_eq!(meaning(TakeError::Ingest(IngestError::Read(io(5))).into()), None);
        assert_eq!(meaning(TakeError::Ingest(IngestError::Read(io(2))).into()), Some(FailureClass::Policy));
        assert_eq!(meaning(TakeError::TooManyFiles.into()), Some(FailureClass::Policy));
        assert_eq!(meaning(ResultError::Gone("its task")), Some(FailureClass::Infrastructure));
        let lasting = |outcome| hindered_for_good(outcome, FailureClass::Infrastructure, "no space left".into());
        let own = RunOutcome::TimedOut { reason: "x".into() };
        assert_eq!(lasting(own.clone()), own);
        assert!(matches!(
            lasting(RunOutcome::Succeeded),
            RunOutcome::Failed { class: FailureClass::Infrastructure, .. }
        ));
    }
}
