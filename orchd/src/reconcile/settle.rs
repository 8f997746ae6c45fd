//! Takes in the result of a run: its outcome, its artifacts, and what it wants to merge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orch_adapters::git::{CommitId, IngestLimits, NameError, ReadError, TakeError, Taken, branch_name};
use orch_core::command::{Command, Said};
use orch_core::entity::{Artifact, ChangeProposal, DiffStat, Project, Run, RunPurpose, Task};
use orch_core::recipe::Glob;
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::view::{Filter, View as _};
use orch_proto::id::{ProjectId, RunId};
use orch_sandbox::artifacts;
use orch_sandbox::exit_record::{ExitRecord, Outcome};
use orch_sandbox::limit::LimitKind;

use super::{PassError, gates, log};
use crate::answers;
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::site::Site;

/// Most artifacts of one run, and the largest of them in bytes.
const ARTIFACTS_MAX: usize = 1_000;
const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of all artifacts of one run: links and holes make many large files out of nothing.
const ARTIFACTS_BYTES_MAX: u64 = 4 << 30;
/// Longest path of an artifact as it is shown, in bytes. All of them are part of every view of the run.
const ARTIFACT_PATH_BYTES_MAX: usize = 1 << 10;

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
    if let Some(found) = found {
        take_kept(app, found, outcome.clone()).await?;
    }
    let (said, artifacts, proposal) = (None, Vec::new(), None);
    let command = Command::SettleRun { run, fence, said, outcome, artifacts, log_dropped_bytes: 0, proposal };
    app.execute("runner", command).await?;
    if let Some(project) = project {
        forget(app, project).await;
    }
    clean_up(app, run, false).await;
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
    Ok(())
}

/// Takes in what an interrupted run kept, before it is over on record: the next attempt begins with that.
async fn take_kept<S: Site>(app: &Arc<S>, run: Run, outcome: RunOutcome) -> Result<(), PassError> {
    let taken = {
        let site = Arc::clone(app);
        app.blocking(move || site.take_kept(&run, &outcome)).await
    };
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
        let proposal = proposal.map(Box::new);
        Self { outcome, artifacts, proposal, log_dropped_bytes: exit.dropped_bytes, said: None }
    }

    /// Whether nothing that the run left is needed once this is on record.
    fn is_collected(&self) -> bool {
        self.outcome == RunOutcome::Succeeded
    }

    fn settle(self, run: &Run) -> Command {
        let Self { outcome, artifacts, proposal, log_dropped_bytes, said } = self;
        Command::SettleRun { run: run.id, fence: run.fence, said, outcome, artifacts, log_dropped_bytes, proposal }
    }
}

/// Takes in what a run left that has ended. Blocks.
///
/// # Errors
/// When the state cannot be read.
pub(super) fn take_in(app: &App, run: &Run, exit: &ExitRecord) -> Result<Ended, orch_core::view::ReadError> {
    let (task, project) =
        app.store.read(|view| Ok((view.get::<Task>(run.task)?, view.get::<Project>(run.project)?)))?;
    Ok(Ended::new(exit, result(app, run, exit, task.as_ref(), project.as_ref())))
}

fn result(
    app: &App,
    run: &Run,
    exit: &ExitRecord,
    task: Option<&Task>,
    project: Option<&Project>,
) -> (RunOutcome, Vec<Artifact>, Option<ChangeProposal>) {
    let outcome = match outcome(&exit.outcome, run) {
        // What could not be made on a full disk is nothing that the run did.
        RunOutcome::Failed { class: FailureClass::Infrastructure, reason } if app.shortage().is_some() => {
            RunOutcome::Failed { class: FailureClass::Host, reason }
        }
        other => other,
    };
    let artifacts = task.map(|task| kept(app, run, task)).unwrap_or_default();
    let wanted = outcome == RunOutcome::Succeeded
        && run.purpose == RunPurpose::Work
        && task.is_some_and(|task| task.spec.work.keeps_changes());
    if !wanted {
        return (outcome, artifacts, None);
    }
    match proposal(app, run, task, project) {
        Ok(proposal) => (outcome, artifacts, proposal),
        Err(error) => {
            let class = match &error {
                _ if app.shortage().is_some() => FailureClass::Host,
                ResultError::Take(_) | ResultError::Base(_) => FailureClass::Policy,
                ResultError::Gone(_) | ResultError::Repository(_) | ResultError::Read(_) => {
                    FailureClass::Infrastructure
                }
            };
            (RunOutcome::Failed { class, reason: chain(&error) }, artifacts, None)
        }
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
    }))
}

fn kept(app: &App, run: &Run, task: &Task) -> Vec<Artifact> {
    let orch_core::entity::Work::Steps { steps, artifacts, .. } = &task.spec.work else { return Vec::new() };
    if run.purpose != RunPurpose::Work {
        return Vec::new();
    }
    let roots = match app.workspaces.roots(&app.dirs.workspace(run.id)) {
        Ok(roots) => roots,
        Err(error) => {
            tracing::warn!(run = %run.id, error = chain(&error), "artifacts were not looked for");
            return Vec::new();
        }
    };
    let mut paths = BTreeSet::new();
    for glob in artifacts.iter().chain(steps.iter().flat_map(|step| &step.artifacts)) {
        match find(&roots, glob) {
            Ok(found) => paths.extend(found),
            Err(reason) => tracing::warn!(run = %run.id, glob = glob.as_str(), reason, "artifacts were not looked for"),
        }
    }
    let (mut kept, mut left) = (Vec::new(), ARTIFACTS_BYTES_MAX);
    for (path, root) in paths.into_iter().take(ARTIFACTS_MAX) {
        let Some(root) = roots.get(root) else { continue };
        match keep(app, run.id, (root, &path), left.min(ARTIFACT_BYTES_MAX)) {
            Ok(artifact) => {
                left = left.saturating_sub(artifact.size_bytes);
                kept.push(artifact);
            }
            Err(reason) => {
                let path = escaped(&path);
                tracing::warn!(run = %run.id, path, reason, "an artifact was not kept");
            }
        }
    }
    kept
}

fn find(roots: &[PathBuf], glob: &Glob) -> Result<Vec<(PathBuf, usize)>, String> {
    let pattern = glob.as_str().parse::<artifacts::Pattern>().map_err(|error| chain(&error))?;
    let bounds = artifacts::Bounds { files_max: ARTIFACTS_MAX, ..artifacts::Bounds::default() };
    let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
    artifacts::find_in_layers(&roots, &pattern, bounds).map(|found| found.paths).map_err(|error| chain(&error))
}

/// Copies the file out of the workspace by descriptor, then into the blobs.
fn keep(app: &App, run: RunId, (workspace, path): (&Path, &Path), max_bytes: u64) -> Result<Artifact, String> {
    let shown = escaped(path);
    if shown.len() > ARTIFACT_PATH_BYTES_MAX {
        return Err(format!("its path is longer than {ARTIFACT_PATH_BYTES_MAX} bytes"));
    }
    let copy = app.dirs.artifact_copy(run);
    let remove = || remove_file(&copy).map_err(|error| error.to_string());
    remove()?;
    match artifacts::collect(workspace, path, &copy, max_bytes).map_err(|error| chain(&error))? {
        artifacts::Artifact::Collected { .. } => {}
        artifacts::Artifact::Skipped { reason } => return Err(reason.to_string()),
    }
    let file = std::fs::File::open(&copy).map_err(|error| error.to_string())?;
    let blob = app.blobs.put_reader(file, max_bytes).map_err(|error| chain(&error))?;
    remove()?;
    Ok(Artifact { path: shown, size_bytes: blob.size_bytes, digest: blob.hash })
}

/// A path that a run made, for people.
fn escaped(path: &Path) -> String {
    orch_adapters::git::escape(path.as_os_str().as_encoded_bytes())
}

/// What the exit record means to the task.
#[must_use]
pub fn outcome(outcome: &Outcome, run: &Run) -> RunOutcome {
    let reason = outcome.to_string();
    match outcome {
        Outcome::Succeeded => RunOutcome::Succeeded,
        Outcome::StepFailed { .. } => RunOutcome::Failed { class: FailureClass::Task, reason },
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
    if is_kept(app, id, run.as_ref(), task.as_ref()) {
        let workspace = app.dirs.workspace(id);
        tracing::info!(run = %id, workspace = %workspace.display(), "kept: its work was not taken in");
    } else {
        if run.is_some_and(|run| is_uncollected(&run, task.as_ref())) && app.dirs.workspace(id).exists() {
            tracing::info!(run = %id, "removed by `workspaces.keep_hours`: work that was not taken in");
        }
        remove_leavings(app, id);
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

/// Whether a run that is over was to change something, began, and its result was not taken in.
fn is_uncollected(run: &Run, task: Option<&Task>) -> bool {
    let keeps_changes = task.is_none_or(|task| task.spec.work.keeps_changes());
    run.purpose == RunPurpose::Work && keeps_changes && run.started_at.is_some() && run.state != RunState::Succeeded
}

fn unix_us(time: std::time::SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_micros()).ok()
}

fn remove_leavings(app: &App, run: RunId) {
    if let Err(error) = remove_file(&app.dirs.artifact_copy(run)) {
        tracing::warn!(%run, %error, "failed to remove the copy of an artifact");
    }
    for path in [app.dirs.workspace(run), app.dirs.run_out(run)] {
        // What is empty needs no detour.
        if std::fs::remove_dir(&path).is_ok() {
            continue;
        }
        if let Err(error) = app.workspaces.discard(&path) {
            tracing::warn!(error = chain(&error), path = %path.display(), "failed to remove a directory of a run");
        }
    }
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
