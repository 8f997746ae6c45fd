//! Sessions of agents that interrupted runs left: taking them in with their files, how long they lie there, and where the next attempt
//! finds one.
//!
//! **Invariant:** nothing that a run left is followed or read here but for its log and the kind of one directory: what is in its
//! workspace is looked at in a sandbox, and its session goes into the next one as it is. **Invariant:** what goes wrong here loses a
//! session and no run: the next attempt begins anew, and the reason is on record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::briefs::TaskRequirement;
use crate::error_chain::chain;
use crate::jail::{self, Jail};
use crate::{agents, checkpoints};

/// The step that makes the files an agent works on: those of its session are kept in its name.
const MADE_BY: u32 = 0;
/// Most interrupted attempts at a task of which something is kept.
const KEPT_MAX: u32 = 5;
/// How much may be written to keep the files of one: they are copied twice, as objects and as a bundle.
const DISK_BYTES_MAX: u64 = 4 << 30;
/// How long that may take, in milliseconds: others wait for their turn.
const KEEP_MS_MAX: u64 = 5 * 60 * 1_000;

/// Where the agent of a run keeps its sessions, on the host.
pub(crate) fn home(app: &App, run: RunId) -> PathBuf {
    app.dirs.run_out(run).join(HOME_KEPT)
}

/// All that decides whether a session goes on with the same work: the agent's program and what it is told, the requirements that the task
/// serves included; none when something of it is not known, or the agent has no sessions.
pub(crate) fn inputs(
    app: &App,
    (task, project): (&Task, &Project),
    base: Option<&str>,
    (agent, requirements): (&AgentUse, &[TaskRequirement]),
) -> Option<Inputs> {
    let (program, settings) = agents::fingerprints(app, agent)?;
    let Settings { arguments, environment, files } = settings;
    let role = agent.role.as_deref().and_then(|role| app.roles.named(&project.slug, role));
    let programs = [
        ("agent", program),
        ("settings", Digest::of_json(&(arguments, environment, files))),
        ("role", Digest::of_json(&role.map(|role| &role.instructions))),
        ("task", Digest::of_json(&(&task.title, &task.spec, &task.tools, requirements))),
    ];
    let programs = programs.into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect();
    Some(checkpoints::inputs_of(app, (&task.spec.work, base), programs))
}

/// What a run that is over with this outcome left of its agent's session: its name, or why nothing of it is kept; none when that is no
/// question. Blocks.
pub(crate) fn left(app: &App, run: &Run, outcome: &RunOutcome) -> Option<Result<String, String>> {
    let agent = run.agent.as_ref().filter(|_| is_left(run, outcome))?;
    Some(name_of(app, run, agent))
}

/// The turn of a run whose session has files to be kept; none where there is nothing to keep. It is waited for before there is a thread:
/// after the host was away all of its runs come at once, and threads that stood there would be everybody's.
pub(crate) async fn turn(keeps: &Arc<Semaphore>, left: &Result<String, String>) -> Option<OwnedSemaphorePermit> {
    match left {
        Ok(_) => Arc::clone(keeps).acquire_owned().await.ok(),
        Err(_) => None,
    }
}

/// Keeps the files of a session that was [`left`], in its [`turn`]. What is to be put on record of it. Blocks.
pub(crate) fn keep(app: &App, run: &Run, left: Result<String, String>) -> Command {
    let kept = left.and_then(|id| {
        let commit = files_of(app, run).map_err(|error| format!("its files are not kept: {error}"))?;
        Ok((id, commit))
    });
    let (left, commit) = match kept {
        Ok((id, commit)) => (LeftSession::Kept { id }, Some(commit.to_string())),
        Err(reason) => {
            tracing::info!(run = %run.id, reason, "the session of an interrupted agent is not kept");
            (LeftSession::NotKept { reason }, None)
        }
    };
    Command::KeepSession { run: run.id, fence: run.fence, left, commit }
}

/// Whether a session is to be taken in that the agent of a run left which is over with this outcome.
fn is_left(run: &Run, outcome: &RunOutcome) -> bool {
    let is_interrupted = match outcome {
        RunOutcome::Lost { .. } => true,
        RunOutcome::Failed { class, .. } => matches!(class, FailureClass::Infrastructure | FailureClass::Host),
        RunOutcome::TimedOut { .. } | RunOutcome::Cancelled { .. } | RunOutcome::Succeeded => false,
    };
    let has_worked = run.purpose == RunPurpose::Work && run.started_at.is_some();
    let is_known = run.session.left.is_some() || run.steps.first().is_none_or(|step| step.inputs.is_none());
    is_interrupted && has_worked && !is_known && run.cancel_requested.is_none()
}

/// The name of the session, where its files are to be kept.
fn name_of(app: &App, run: &Run, agent: &AgentUse) -> Result<String, String> {
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
    said.or_else(taken_up).ok_or_else(unnamed)
}

/// Keeps the files of a run's workspace in the repository.
fn files_of(app: &App, run: &Run) -> Result<CommitId, String> {
    app.jails_hold().map_err(|error| chain(&error))?;
    // Who waited for its turn until now has the next daemon look.
    if *app.stopping.borrow() {
        return Err("the daemon stops".to_owned());
    }
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
        let limits = Limits { disk_bytes: Some(DISK_BYTES_MAX), wall_ms: KEEP_MS_MAX, ..spec.limits.clone() };
        let mut spec = RunSpec { workspace, workspace_base: layers.map(<[PathBuf]>::to_vec), limits, ..spec };
        for step in &mut spec.steps {
            step.timeout_ms = KEEP_MS_MAX;
        }
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use orch_core::actor::Actor;
    use orch_core::entity::{Entity as _, Meta, PlannedStep, RunEvent};
    use orch_core::ids::sample_id;
    use orch_core::recipe::Access;
    use orch_proto::Timestamp;

    use super::*;

    /// One under way, of an agent or not.
    fn run(agent: Option<Box<AgentUse>>) -> Run {
        let actor = Actor::daemon("runner");
        let meta = Meta { at: Timestamp::default(), actor: &actor };
        let queued = RunEvent::Queued {
            project: sample_id(1),
            number: 7,
            task: sample_id(2),
            purpose: RunPurpose::Work,
            attempt: 1,
            fence: 1,
            steps: vec![PlannedStep { inputs: Some(Digest::ZERO), ..PlannedStep::new("checkout", "git") }],
            base: None,
            tree: None,
            required_level: 0,
            reason: String::new(),
            priority: 0,
            access: Access::default(),
            asks: Box::default(),
            agent,
        };
        let run = Run::apply(None, sample_id(3), &queued, meta).unwrap();
        Run { started_at: Some(Timestamp::default()), ..run }
    }

    /// Polled by hand, so that waiting in a thread would be waiting for ever.
    #[test]
    fn a_turn_is_waited_for_in_no_thread_and_where_there_is_something_to_keep() {
        let keeps = Arc::new(Semaphore::new(1));
        let (named, refused) = (Ok("session".to_owned()), Err("people answered it with secrets".to_owned()));
        let asked = |left: &Result<String, String>| turn(&keeps, left).now_or_never();
        let held = asked(&named).expect("there is one").expect("it has a session");
        assert!(asked(&named).is_none(), "it waits");
        assert!(asked(&refused).is_some_and(|turn| turn.is_none()), "nothing to wait for");
        drop(held);
        assert!(asked(&named).is_some_and(|turn| turn.is_some()), "the next one");
    }

    #[test]
    fn only_what_was_interrupted_leaves_a_session() {
        let of_agent = run(serde_json::from_str(r#"{"name":"coder","kind":"codex"}"#).unwrap());
        let lost = RunOutcome::Lost { reason: "the host went down".into() };
        assert!(is_left(&of_agent, &lost));
        assert!(!is_left(&of_agent, &RunOutcome::Succeeded));
        assert!(!is_left(&Run { started_at: None, ..of_agent }, &lost), "it has not worked");
    }
}
