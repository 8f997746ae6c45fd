//! Sessions of agents that interrupted runs left: taking them in with their files, how long they lie there, and where the next attempt
//! finds one.
//!
//! **Invariant:** nothing that a run left is followed or read here but for its log and the kind of one directory: what is in its
//! workspace is looked at in a sandbox, and its session goes into the next one as it is. **Invariant:** what goes wrong here loses a
//! session and no run: the next attempt begins anew, and the reason is on record.

use std::path::{Path, PathBuf};

use orch_adapters::agent::{AgentKind, HOME_KEPT, Settings, session_of};
use orch_adapters::executor;
use orch_adapters::git::{self, CommitId};
use orch_adapters::job;
use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{AgentUse, InfoRequest, Inputs, LeftSession, Project, Run, RunPurpose, Task};
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::view::{Filter, View as _};
use orch_proto::EntityKind;
use orch_proto::id::RunId;
use orch_sandbox::Secrets;
use orch_sandbox::spec::{Limits, RunSpec};
use tokio::runtime::Handle;

use crate::app::App;
use crate::error_chain::chain;
use crate::jail::{self, Jail};
use crate::{agents, briefs, checkpoints};

/// The step that makes the files an agent works on: those of its session are kept in its name.
const MADE_BY: u32 = 0;
/// Most interrupted attempts at a task of which something is kept.
const KEPT_MAX: u32 = 5;
/// How much may be written to keep the files of one: they are copied twice, as objects and as a bundle.
const DISK_BYTES_MAX: u64 = 4 << 30;

/// Where the agent of a run keeps its sessions, on the host.
pub(crate) fn home(app: &App, run: RunId) -> PathBuf {
    app.dirs.run_out(run).join(HOME_KEPT)
}

/// All that decides whether a session goes on with the same work: the agent's program and what it is told; none when something of it is
/// not known, or the agent has no sessions.
pub(crate) fn inputs(
    app: &App,
    (task, project): (&Task, &Project),
    base: Option<&str>,
    agent: &AgentUse,
) -> Option<Inputs> {
    let (program, settings) = agents::fingerprints(app, agent)?;
    let Settings { arguments, environment, files } = settings;
    let role = agent.role.as_deref().and_then(|role| app.roles.named(&project.slug, role));
    let requirements = briefs::requirements(app, task, project).ok()?;
    let programs = [
        ("agent", program),
        ("settings", Digest::of_json(&(arguments, environment, files))),
        ("role", Digest::of_json(&role.map(|role| &role.instructions))),
        ("task", Digest::of_json(&(&task.title, &task.spec, &task.tools, requirements))),
    ];
    let programs = programs.into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect();
    Some(checkpoints::inputs_of(app, (&task.spec.work, base), programs))
}

/// Takes in the session that a run left which is over with this outcome, if it was interrupted. What is to be put on record of that.
/// Blocks.
pub(crate) fn take(app: &App, run: &Run, agent: &AgentUse, outcome: &RunOutcome) -> Option<Command> {
    let is_interrupted = match outcome {
        RunOutcome::Lost { .. } => true,
        RunOutcome::Failed { class, .. } => matches!(class, FailureClass::Infrastructure | FailureClass::Host),
        RunOutcome::TimedOut { .. } | RunOutcome::Cancelled { .. } | RunOutcome::Succeeded => false,
    };
    let has_worked = run.purpose == RunPurpose::Work && run.started_at.is_some();
    let is_known = run.session.left.is_some() || run.steps.first().is_none_or(|step| step.inputs.is_none());
    if !is_interrupted || !has_worked || is_known || run.cancel_requested.is_some() {
        return None;
    }
    let (left, commit) = match left_of(app, run, agent) {
        Ok((id, commit)) => (LeftSession::Kept { id }, Some(commit.to_string())),
        Err(reason) => {
            tracing::info!(run = %run.id, reason, "the session of an interrupted agent is not kept");
            (LeftSession::NotKept { reason }, None)
        }
    };
    Some(Command::KeepSession { run: run.id, fence: run.fence, left, commit })
}

/// The name of the session, and its files as a commit in the repository.
fn left_of(app: &App, run: &Run, agent: &AgentUse) -> Result<(String, CommitId), String> {
    let found =
        app.store.read(|view| Ok((view.list::<InfoRequest>(&Filter::under(run.id))?, view.get::<Task>(run.task)?)));
    let (infos, task) = found.map_err(|error| chain(&error))?;
    // What is kept in the repository stays there.
    if task.is_none_or(|task| task.losses + task.host_losses >= KEPT_MAX) {
        return Err(format!("its task was interrupted {KEPT_MAX} times already"));
    }
    if infos.iter().any(|info| info.secrets().next().is_some()) {
        return Err("people answered it with secrets, which its session may hold".to_owned());
    }
    // A link would lead the next attempt's sandbox to where it points.
    if !home(app, run.id).symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Err("its agent left nothing in the place for sessions".to_owned());
    }
    let unnamed = || "its agent never said which session it has".to_owned();
    let kind = AgentKind::of(&agent.kind).ok_or_else(unnamed)?;
    let output = agents::output_of(app, run).ok_or_else(unnamed)?;
    let said = session_of(&executor::log_path(&app.dirs.run(run.id)), output, kind).map_err(|error| chain(&error))?;
    // Some programs do not say again what they were told.
    let taken_up = || run.session.from.as_ref().map(|from| from.id.clone());
    let id = said.or_else(taken_up).ok_or_else(unnamed)?;
    Ok((id, files_of(app, run).map_err(|error| format!("its files are not kept: {error}"))?))
}

/// Keeps the files of a run's workspace in the repository.
fn files_of(app: &App, run: &Run) -> Result<CommitId, String> {
    app.jails_hold().map_err(|error| chain(&error))?;
    // After the host was away all of its runs come at once.
    let _turn = Handle::current().block_on(app.keeps.acquire());
    if app.shortage().is_some() {
        return Err("the disk of the state is nearly full".to_owned());
    }
    let repository = app.repository(run.project).map_err(|error| chain(&error))?;
    let workspace = app.dirs.workspace(run.id);
    if !workspace.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Err("its workspace is gone".to_owned());
    }
    let roots = app.workspaces.roots(&workspace).map_err(|error| chain(&error))?;
    let place = app.dirs.jail(&format!("keep-{}", run.id));
    let (keep, mounts) = job::keep_left(run, &repository, MADE_BY).map_err(|error| chain(&error))?;
    let jail = Jail {
        directory: place.clone(),
        name: "keep-session",
        argv: keep,
        mounts,
        with_out: true,
        required_level: crate::host::level_of(app.config.required_level),
    };
    let kept = jail::spec(jail).map_err(|error| chain(&error)).and_then(|(_, spec)| {
        // As that run saw it: what it changed lies on a prepared checkout, where there was one.
        let layers = roots.get(1..).filter(|layers| !layers.is_empty());
        let limits = Limits { disk_bytes: Some(DISK_BYTES_MAX), ..spec.limits.clone() };
        let spec = RunSpec { workspace, workspace_base: layers.map(<[PathBuf]>::to_vec), limits, ..spec };
        let none = Secrets::new();
        let done = jail::execute(&*app.executor, &place, (&spec, &none), app.stopped());
        Handle::current().block_on(done).map_err(|error| chain(&error))?;
        let commit = said(&place)?;
        let base = job::base(run).map_err(|error| chain(&error))?;
        let name = EntityKind::Run.short(run.number);
        let taken = repository.take_checkpoint((&place.join("out"), MADE_BY), base.as_ref(), &name, &commit);
        taken.map(|()| commit).map_err(|error| chain(&error))
    });
    if let Err(error) = app.workspaces.discard(&place) {
        tracing::warn!(error = chain(&error), "what was needed to keep files of a run is removed at the next start");
    }
    kept
}

/// What the jail said it kept, or why nothing.
fn said(place: &Path) -> Result<CommitId, String> {
    let text = checkpoints::stdout(&executor::log_path(&jail::run_directory(place)), |_| true);
    let why = || git::escape(text.lines().last().unwrap_or("nothing was said of them").as_bytes());
    git::said(&text).ok_or_else(why)
}

/// Whether the next attempt at its task may take up what a run left that is over.
pub(crate) fn is_needed(app: &App, run: &Run, task: &Task) -> bool {
    if task.state.is_final() || !matches!(run.session.left, Some(LeftSession::Kept { .. })) {
        return false;
    }
    let Some(last) = task.last_run.filter(|last| *last != run.id) else { return true };
    let takes_it_up = |last: Run| {
        let may_yet = last.started_at.is_none() || !last.state.is_final();
        may_yet && last.session.from.is_some_and(|from| from.run == run.id)
    };
    // What cannot be looked up stays.
    app.store.read(|view| view.get::<Run>(last)).map_or(true, |last| last.is_some_and(takes_it_up))
}
