//! Runs.

use orch_core::decide::spending;
use orch_core::entity::{
    AgentUse, InstalledTool, Meter, NetworkUse, NetworkVerdict, Removal, Removed, Run, RunPart, RunPurpose as Purpose,
    SessionEvent, SessionUse, StepRecord, Task,
};
use orch_core::state::run::RunState as State;
use orch_core::state::step::{StepEnd, StepState as Step};
use orch_core::view::{ReadError, View};
use orch_proto::view::{
    AgentUseView, ArtifactView, ChannelView, NetworkState, NetworkUseView, NoteView, ProgressView, RemovedView,
    RunPurpose, RunState, RunView, StepState, StepView, TextView,
};
use orch_proto::{EntityKind, Timestamp};

use super::{audit, isolation_view, patience, slug};
use crate::host::HostFacts;

/// Where a run is on the daemon's disk.
#[derive(Clone, Debug)]
pub(crate) struct RunPlace {
    pub(crate) directory: String,
    /// Size of its log.
    pub(crate) log_bytes: u64,
}

/// A run that lies at `place`; with what mends its isolation where the host is known.
pub(crate) fn run_view(
    view: &impl View,
    run: &Run,
    place: RunPlace,
    host: Option<&HostFacts>,
) -> Result<RunView, ReadError> {
    let now = crate::clock::now();
    let task = view.get::<Task>(run.task)?;
    let project = slug(view, run.project)?;
    Ok(RunView {
        id: run.id,
        number: run.number,
        name: format!("{project}/{}", EntityKind::Run.short(run.number)),
        task: run.task,
        task_name: task.as_ref().map_or_else(|| run.task.to_string(), |task| EntityKind::Task.short(task.number)),
        task_title: task.map(|task| task.title).unwrap_or_default(),
        project,
        purpose: match run.purpose {
            Purpose::Work => RunPurpose::Work,
            Purpose::Gate { change } => RunPurpose::Gate { change },
        },
        attempt: run.attempt,
        fence: run.fence,
        state: state(&run.state),
        steps: run.steps.iter().map(step).collect(),
        isolation: run.isolation.as_ref().map(|isolation| isolation_view(isolation, run.required_level, host)),
        artifacts: run
            .artifacts
            .iter()
            .map(|kept| ArtifactView {
                path: kept.path.clone(),
                size_bytes: kept.size_bytes,
                digest: kept.digest.to_string(),
            })
            .collect(),
        artifacts_left_out: run.left_out.lines().collect(),
        removed: run.removed.iter().map(removed).collect(),
        resumed: run.resumed.as_ref().map(|from| {
            let name = run.steps.get(from.step as usize).map_or("a checkpoint", |step| step.name.as_str());
            format!("{}, {name}, inputs {}", EntityKind::Run.short(from.number), from.inputs)
        }),
        session: session(&run.session),
        agent: run.agent.as_ref().map(|used| agent(view, (used, run), now)).transpose()?,
        channel: run.access.channel.then(|| channel(run)),
        given: run.access.lines().into_iter().chain(run.tools.iter().map(InstalledTool::line)).collect(),
        network: run.network.iter().map(network).collect(),
        network_left_out: run.network_left_out,
        log_bytes: place.log_bytes,
        log_dropped_bytes: run.log_dropped_bytes,
        pause: run.pause.as_ref().and_then(|pause| pause.why(now)),
        silence: patience::silence(view, run)?,
        queued_at: run.queued_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
        reason: run.reason.clone(),
        directory: place.directory,
    })
}

/// Which session of its agent's own program it went on with, or why not, and what it left of it.
fn session(session: &SessionUse) -> Vec<String> {
    let SessionUse { left, from, anew } = session.clone();
    let from = from.map(|from| SessionEvent::TakenUp { from });
    let anew = anew.map(|reason| SessionEvent::Anew { reason });
    let left = left.map(|left| SessionEvent::Left { left });
    [from, anew, left].iter().flatten().map(audit::session).collect()
}

fn agent(view: &impl View, (agent, run): (&AgentUse, &Run), now: Timestamp) -> Result<AgentUseView, ReadError> {
    let models = &run.models;
    Ok(AgentUseView {
        name: agent.name.clone(),
        kind: agent.kind.clone(),
        model: agent.model.clone(),
        role: agent.role.clone(),
        exchanges: models.exchanges,
        waiting: u32::try_from(models.open.len()).unwrap_or(u32::MAX),
        input_tokens: models.tokens.input,
        cached_tokens: models.tokens.cached,
        output_tokens: models.tokens.output,
        is_estimate: models.is_estimate,
        cost_micros: models.cost,
        cost_text: (models.cost > 0).then(|| Meter::Cost.amount(models.cost)),
        is_unpriced: models.is_unpriced,
        spending: spending(view, run, now)?,
        prompt: run.told.map(|told| TextView {
            digest: told.prompt.to_string(),
            bytes: told.bytes,
            is_kept: run.removed(RunPart::Texts).is_none(),
        }),
    })
}

fn channel(run: &Run) -> ChannelView {
    let said = &run.channel;
    ChannelView {
        progress: said.progress.as_ref().map(|progress| ProgressView {
            percent: progress.percent,
            text: progress.text.clone(),
            at: progress.at,
        }),
        notes: said.notes.iter().map(|note| NoteView { text: note.text.clone(), at: note.at }).collect(),
        proposed: said.proposed.as_ref().map(super::change::proposed),
        waits_for: match &run.state {
            State::AwaitingInput { question } => Some(question.clone()),
            State::AwaitingApproval { action } => Some(action.clone()),
            _ => None,
        },
    }
}

fn removed(removed: &Removed) -> RemovedView {
    let Removal { part, size_bytes, content, policy } = &removed.removal;
    RemovedView {
        part: part.label().to_owned(),
        at: removed.at,
        size_bytes: *size_bytes,
        content: content.clone(),
        policy: policy.clone(),
    }
}

fn network(used: &NetworkUse) -> NetworkUseView {
    let (verdict, detail) = match &used.verdict {
        NetworkVerdict::Allowed { address } => (NetworkState::Allowed, format!("connected to {address}")),
        NetworkVerdict::Denied { reason } => (NetworkState::Denied, reason.clone()),
        NetworkVerdict::Failed { reason } => (NetworkState::Failed, reason.clone()),
        NetworkVerdict::Closed { sent_bytes, received_bytes } => {
            (NetworkState::Closed, format!("{sent_bytes} bytes sent, {received_bytes} received"))
        }
    };
    NetworkUseView {
        way: used.way.clone(),
        host: used.host.clone(),
        port: used.port,
        state: verdict,
        detail,
        count: used.count,
    }
}

fn state(state: &State) -> RunState {
    match state {
        State::Queued => RunState::Queued,
        State::Leased { .. } => RunState::Leased,
        State::Starting => RunState::Starting,
        State::Running => RunState::Running,
        State::AwaitingInput { .. } => RunState::AwaitingInput,
        State::AwaitingApproval { .. } => RunState::AwaitingApproval,
        State::Paused => RunState::Paused,
        State::Succeeded => RunState::Succeeded,
        State::Failed { class, reason } => RunState::Failed { class: class.label().into(), reason: reason.clone() },
        State::TimedOut { .. } => RunState::TimedOut,
        State::Cancelled { .. } => RunState::Cancelled,
        State::Lost { .. } => RunState::Lost,
    }
}

fn step(record: &StepRecord) -> StepView {
    let (state, exit_code, started_at, finished_at) = match &record.state {
        Step::Pending => (StepState::Pending, None, None, None),
        Step::Skipped => (StepState::Skipped, None, None, None),
        Step::Kept => (StepState::Kept, None, None, None),
        Step::Running { started_at } => (StepState::Running, None, Some(*started_at), None),
        Step::Ended { started_at, finished_at, end } => {
            let (state, code) = match end {
                StepEnd::Succeeded => (StepState::Succeeded, Some(0)),
                StepEnd::Failed { code } => (StepState::Failed, Some(*code)),
                StepEnd::Killed { signal } => (StepState::Failed, Some(128 + signal)),
                StepEnd::TimedOut => (StepState::TimedOut, None),
                StepEnd::Cancelled => (StepState::Cancelled, None),
            };
            (state, code, Some(*started_at), Some(*finished_at))
        }
    };
    StepView { name: record.name.clone(), command: record.command.clone(), state, exit_code, started_at, finished_at }
}
