//! Checkpoints of runs: what decides what they are, taking in what an interrupted run kept, forgetting what nobody needs.
//!
//! Costs nothing for work that has none. **Invariant:** what goes wrong here loses a checkpoint and no run: the next attempt begins
//! anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use orch_adapters::git;
use orch_adapters::{executor, job, run_log};
use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{AgentUse, Inputs, Project, Run, RunPurpose, Task, Work};
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::state::step::{StepEnd, StepState};
use orch_core::view::View as _;
use orch_proto::EntityKind;
use orch_proto::view::LogStream;

use crate::app::App;
use crate::briefs::TaskRequirement;
use crate::error_chain::chain;
use crate::sessions;
use crate::tools::Answer;

/// How much of a log is read at once.
const LOG_PIECE_BYTES: usize = 1 << 20;

/// The name of a shell, with which all steps are run.
const SHELL: &str = "sh";

/// All that decides what the steps of an attempt at the task leave, or what the session of the agent that does it is about, when
/// something of that is to be kept and all of it is known. An agent comes with the requirements that it is told of.
pub(crate) fn inputs(
    app: &App,
    (task, project): (&Task, &Project),
    base: Option<&str>,
    agent: Option<(&AgentUse, &[TaskRequirement])>,
) -> Option<Inputs> {
    let work = &task.spec.work;
    let Work::Steps { tools, blueprint, .. } = work else {
        return sessions::inputs(app, (task, project), base, agent?);
    };
    if !job::keeps_checkpoints(work) {
        return None;
    }
    let mut programs = BTreeMap::new();
    let named = tools.iter().chain(task.tools.keys()).cloned().chain(project.gate_tools()).chain([SHELL.to_owned()]);
    for name in named {
        let digest = match app.recipe_tools.answer(&name, &app.tools, &app.config.network) {
            Answer::Tool(tool) => Ok(tool.record.content),
            Answer::Host { name } => {
                app.tools.program(&name).map_or(Ok(Digest::ZERO), |path| app.fingerprints.of(&path))
            }
            // One that the repository builds with and that is not there is not there in the run either.
            Answer::Missing { .. } => Ok(Digest::ZERO),
        };
        match digest {
            Ok(digest) => programs.insert(name, digest),
            Err(error) => {
                tracing::warn!(program = name, %error, "a program cannot be read, and no checkpoint is kept");
                return None;
            }
        };
    }
    if let Some(name) = blueprint {
        let files = app.recipes.blueprint(name).ok().and_then(|(_, files)| app.fingerprints.of(&files).ok())?;
        programs.insert(format!("blueprint {name}"), files);
    }
    Some(inputs_of(app, (work, base), programs))
}

/// All that decides what comes of work on a base with these programs.
pub(crate) fn inputs_of(app: &App, (work, base): (&Work, Option<&str>), programs: BTreeMap<String, Digest>) -> Inputs {
    let host = app.host.read().unwrap_or_else(PoisonError::into_inner);
    Inputs {
        base: base.map(str::to_owned),
        env: job::work_env(work),
        programs,
        access: work.access(),
        level: host.level,
        level_required: app.config.required_level,
    }
}

/// Takes in the newest checkpoint of a run without an agent that is over with this outcome, if it was interrupted. What is to be put on
/// record of that. Blocks.
pub(crate) fn take(app: &App, run: &Run, outcome: &RunOutcome) -> Option<Command> {
    let is_interrupted = match outcome {
        RunOutcome::Lost { .. } | RunOutcome::TimedOut { .. } => true,
        RunOutcome::Failed { class, .. } => {
            matches!(class, FailureClass::Infrastructure | FailureClass::Host | FailureClass::Budget)
        }
        RunOutcome::Cancelled { .. } => run.is_over_budget || run.silence.is_some(),
        RunOutcome::Succeeded => false,
    };
    if !is_interrupted || run.purpose != RunPurpose::Work {
        return None;
    }
    let ended_well = |state: &StepState| matches!(state, StepState::Ended { end: StepEnd::Succeeded, .. });
    let newest = run.steps.iter().rposition(|step| step.inputs.is_some() && ended_well(&step.state))?;
    let step = u32::try_from(newest).ok()?;
    if run.kept.iter().any(|kept| kept.step == step) {
        return None;
    }
    // What the step said it kept, by the log, which no step can change.
    let of_step = |of: Option<u32>| of.is_some_and(|of| run.step_at(of) == step);
    let commit = git::said(&stdout(&executor::log_path(&app.dirs.run(run.id)), of_step))?;
    let name = EntityKind::Run.short(run.number);
    let taken = app.repository(run.project).map_err(|error| chain(&error)).and_then(|repository| {
        let base = job::base(run).map_err(|error| chain(&error))?;
        let out = app.dirs.run_out(run.id);
        repository.take_checkpoint((&out, step), base.as_ref(), &name, &commit).map_err(|error| chain(&error))
    });
    if let Err(error) = taken {
        tracing::warn!(run = %run.id, step, error, "a checkpoint is not taken; the next attempt begins anew");
        return None;
    }
    Some(Command::KeepCheckpoint { run: run.id, fence: run.fence, step, commit: commit.to_string() })
}

/// What steps of ours wrote to a log, line by line: those that `is_of` names, as the sandbox counts them. What cannot be read is
/// not there.
pub(crate) fn stdout(log: &Path, is_of: impl Fn(Option<u32>) -> bool) -> String {
    let (mut offset, mut text) = (executor::LOG_START, Vec::new());
    loop {
        let Ok(piece) = run_log::chunks(log, offset, LOG_PIECE_BYTES) else { return String::new() };
        for chunk in piece.items.into_iter().filter(|it| it.stream == LogStream::Stdout && is_of(it.step)) {
            text.extend(chunk.bytes.0);
            text.push(b'\n');
        }
        if piece.next_offset == offset {
            return String::from_utf8_lossy(&text).into_owned();
        }
        offset = piece.next_offset;
    }
}

/// Forgets what runs of a project kept that no attempt will go on from any more. Blocks.
pub(crate) fn forget(app: &App, project: orch_proto::id::ProjectId) {
    let done = app.repository(project).map_err(|error| chain(&error)).and_then(|repository| {
        if !repository.has_checkpoints() {
            return Ok(());
        }
        repository.forget_checkpoints(|run| is_needed(app, project, run)).map_err(|error| chain(&error))
    });
    if let Err(error) = done {
        tracing::warn!(%project, error, "checkpoints that nobody needs are not forgotten");
    }
}

/// Whether the next attempt at its task may go on from what the run with this name kept. One that nobody knows is kept.
fn is_needed(app: &App, project: orch_proto::id::ProjectId, run: &str) -> bool {
    let Some(number) = run.strip_prefix("R-").and_then(|number| number.parse().ok()) else { return true };
    let needed = app.store.read(|view| {
        let Some(run) = view.numbered::<Run>(project, number)? else { return Ok(true) };
        let Some(task) = view.get::<Task>(run.task)? else { return Ok(true) };
        let last = task.last_run.map(|last| view.get::<Run>(last)).transpose()?.flatten();
        let goes_on = |last: Run| last.id == run.id || last.resumed.is_some_and(|resumed| resumed.run == run.id);
        Ok(!task.state.is_final() && last.is_some_and(goes_on))
    });
    needed.unwrap_or(true)
}
