//! Events in words.

use orch_core::entity::{
    Approval, ApprovalEvent, Asked, Change, ChangeEvent, ChannelEvent, Condition, InfoRequest, InfoRequestEvent,
    InstalledTool, LeftSession, Meter, ModelAnswer, ModelRequest, Moved, NetworkUse, NetworkVerdict, Observation, Plan,
    PlanEvent, Project, ProjectEvent, Removal, Requirements, RequirementsEvent, Run, RunEvent, SessionEvent, Task,
    TaskEvent, TaskPart, Timeout, Vision, VisionEvent,
};
use orch_core::event::{Event, Recorded};
use orch_core::state::run::RunOutcome;
use orch_core::state::step::{StepEnd, StepEvent};
use orch_core::view::{ReadError, View};
use orch_proto::view::EventView;

use super::{budget, name_by_id, patience};

/// An event; with its data as stored when that was asked for.
pub(crate) fn event_view(view: &impl View, recorded: &Recorded, with_data: bool) -> Result<EventView, ReadError> {
    let subject = subject(view, &recorded.event)?;
    let project = subject.split('/').next().map(str::to_owned);
    Ok(EventView {
        seq: recorded.seq,
        at: recorded.at,
        actor: recorded.actor.to_string(),
        kind: recorded.event.kind(),
        project,
        subject,
        text: text(&recorded.event),
        hash: recorded.hash.to_string(),
        data: if with_data { serde_json::to_value(&recorded.event).ok() } else { None },
    })
}

/// What happened to what, in a line: `task.cancelled shop/T-3: cancelled: not now`.
pub(crate) fn event_text(view: &impl View, event: &Event) -> Result<String, ReadError> {
    Ok(format!("{} {}: {}", event.kind(), subject(view, event)?, text(event)))
}

fn subject(view: &impl View, event: &Event) -> Result<String, ReadError> {
    match event {
        Event::Project { id, .. } => name_by_id::<Project>(view, *id),
        Event::Vision { id, .. } => name_by_id::<Vision>(view, *id),
        Event::Requirements { id, .. } => name_by_id::<Requirements>(view, *id),
        Event::Plan { id, .. } => name_by_id::<Plan>(view, *id),
        Event::Task { id, .. } => name_by_id::<Task>(view, *id),
        Event::Run { id, .. } => name_by_id::<Run>(view, *id),
        Event::Approval { id, .. } => name_by_id::<Approval>(view, *id),
        Event::Change { id, .. } => name_by_id::<Change>(view, *id),
        Event::InfoRequest { id, .. } => name_by_id::<InfoRequest>(view, *id),
    }
}

/// What happened, in a line.
fn text(event: &Event) -> String {
    match event {
        Event::Project { event, .. } => project(event),
        Event::Vision { event: VisionEvent::Submitted { version, title, size_bytes, .. }, .. } => {
            format!("Vision version {version}, {size_bytes} bytes: {title}")
        }
        Event::Requirements { event, .. } => requirements(event),
        Event::Plan { event, .. } => plan(event),
        Event::Task { event, .. } => task(event),
        Event::Run { event, .. } => run(event),
        Event::Approval { event, .. } => approval(event),
        Event::Change { event, .. } => change(event),
        Event::InfoRequest { event, .. } => info(event),
    }
}

fn project(event: &ProjectEvent) -> String {
    match event {
        ProjectEvent::Created { slug, .. } => format!("project {slug} created"),
        ProjectEvent::Prepared { toolchains, .. } if toolchains.is_empty() => "repository ready".into(),
        ProjectEvent::Prepared { toolchains, .. } => {
            let names: Vec<&str> = toolchains.iter().map(|found| found.name.as_str()).collect();
            format!("repository ready; found {}", names.join(", "))
        }
        ProjectEvent::Retried { .. } => "prepared anew".into(),
        ProjectEvent::PreparationFailed { reason } => format!("no repository: {reason}"),
        ProjectEvent::Inspected { head, .. } => format!("branch is now at {}", short(head)),
        ProjectEvent::BlueprintSet { name, gates, .. } => format!("blueprint {name} with {} gates", gates.len()),
        ProjectEvent::Archived => "archived".into(),
        ProjectEvent::Paused { pause } => {
            let until = pause.until.map_or_else(String::new, |until| format!(" until {until}"));
            let all = if pause.is_of_all { " with all others" } else { "" };
            format!("paused{all}{until}: {}", pause.reason)
        }
        ProjectEvent::Resumed | ProjectEvent::WentOn => "goes on".into(),
        ProjectEvent::PatienceSet { patience } => {
            let said = |timeout: Option<Timeout>| timeout.map_or_else(|| "as usual".into(), patience::words);
            format!("tasks may wait {}, runs be silent {}", said(patience.queue), said(patience.silence))
        }
        ProjectEvent::Budget { key, event } => budget::event_text(*key, event),
        ProjectEvent::BudgetUsed { uses, .. } => budget::uses_text(uses),
        ProjectEvent::Planning { number, event } => super::planning::event_text(*number, event),
        ProjectEvent::Undone { operation, .. } => undone(*operation),
        ProjectEvent::ShareSet { share } => {
            let bound =
                |bound: Option<u32>| bound.map_or_else(|| "any number of".to_owned(), |bound| bound.to_string());
            let (at_once, in_a_day) = (bound(share.runs_max), bound(share.runs_per_day));
            format!("has weight {}, {at_once} runs at once and {in_a_day} a day", share.weight)
        }
    }
}

fn requirements(event: &RequirementsEvent) -> String {
    match event {
        RequirementsEvent::Drafted { version, content, reason, .. } => {
            format!("version {version} with {} requirements: {reason}", content.requirements.len())
        }
        RequirementsEvent::Proposed { .. } => "proposed for approval".into(),
        RequirementsEvent::Commented { key: Some(key), text } => format!("on {key}: {text}"),
        RequirementsEvent::Commented { key: None, text } => format!("comment: {text}"),
        RequirementsEvent::Approved => "approved".into(),
        RequirementsEvent::Rejected => "rejected".into(),
        RequirementsEvent::Superseded => "superseded by a newer version".into(),
        RequirementsEvent::Undone { operation, state } => format!("{}; now {}", undone(*operation), state.label()),
    }
}

fn plan(event: &PlanEvent) -> String {
    match event {
        PlanEvent::Drafted { version, content, reason, .. } => {
            format!("version {version} with {} tasks: {reason}", content.tasks.len())
        }
        PlanEvent::Proposed { .. } => "proposed for approval".into(),
        PlanEvent::Approved => "approved".into(),
        PlanEvent::Rejected => "rejected".into(),
        PlanEvent::Superseded => "superseded by a newer version".into(),
        PlanEvent::Undone { operation, state } => format!("{}; now {}", undone(*operation), state.label()),
    }
}

fn task(event: &TaskEvent) -> String {
    match event {
        TaskEvent::Created { title, .. } => format!("created: {title}"),
        TaskEvent::Queued => "queued".into(),
        TaskEvent::Respecified { spec } => format!("now does: {}", spec.work.label()),
        TaskEvent::Linked { depends_on, condition: Condition::Done } => format!("now waits for {depends_on}"),
        TaskEvent::Linked { depends_on, condition: Condition::Ended } => format!("now waits for {depends_on} to end"),
        TaskEvent::Linked { depends_on, condition: Condition::Failed } => format!("now waits for {depends_on} to fail"),
        TaskEvent::TermsSet { terms } => format!("is scheduled on other terms: {}", super::terms::line(terms)),
        TaskEvent::Unlinked { depends_on } => format!("no longer waits for {depends_on}"),
        TaskEvent::Prioritized { priority } => format!("priority {priority}"),
        TaskEvent::Moved { to: Moved::First } => "put before all others of its priority".into(),
        TaskEvent::Moved { to: Moved::Last } => "put behind all others of its priority".into(),
        TaskEvent::Moved { to: Moved::Before { task, .. } } => format!("put before {task}"),
        TaskEvent::Moved { to: Moved::Behind { task, .. } } => format!("put behind {task}"),
        TaskEvent::Started { attempt, .. } => format!("attempt {attempt} started"),
        TaskEvent::RetryScheduled { reason, not_before, class, .. } => {
            format!("{} failure, retry not before {not_before}: {reason}", class.label())
        }
        TaskEvent::ReviewStarted { .. } => "in review".into(),
        TaskEvent::Completed { change: Some(_) } => "done, merged".into(),
        TaskEvent::Completed { change: None } => "done, nothing to merge".into(),
        TaskEvent::Failed { reason } => format!("failed: {reason}"),
        TaskEvent::Expired { deadline } => format!("failed: its deadline, {deadline}, was over"),
        TaskEvent::Cancelled { reason } => format!("cancelled: {reason}"),
        TaskEvent::Held { reason } => format!("held: {reason}"),
        TaskEvent::Released => "released".into(),
        TaskEvent::Reopened => "to be tried again".into(),
        TaskEvent::Requeued => "to be tried anew; its run is ended".into(),
        TaskEvent::ApprovalAsked { .. } => "asks again for approval".into(),
        TaskEvent::Overdue { overdue, question } => {
            let asked = if question.is_some() { "; a person is asked" } else { "" };
            format!("could begin for {} and has not{asked}", patience::span(overdue.timeout.after_ms))
        }
        TaskEvent::ToolGiven { name, source } => format!("its next attempts have the tool {name}, from {source}"),
        TaskEvent::Said { message } => format!("{} says: {}", message.name, message.text),
        TaskEvent::Told { number } => format!("its agent was told message {number}"),
        TaskEvent::Replied { number, text } => format!("its agent answers to message {number}: {text}"),
        TaskEvent::SpendingRaised => "its attempts may spend as much again on models".into(),
        TaskEvent::Escalated { .. } => "a person is asked what is to become of it".into(),
        TaskEvent::Undone { operation, parts } => {
            let state = parts.iter().find_map(|part| match part {
                TaskPart::State { state, .. } => Some(format!("; now {}", state.label())),
                _ => None,
            });
            format!("{}{}", undone(*operation), state.unwrap_or_default())
        }
    }
}

/// That a decision was taken back, by the number of its first event.
fn undone(operation: u64) -> String {
    format!("event {operation} taken back")
}

fn run(event: &RunEvent) -> String {
    match event {
        RunEvent::Queued { attempt, reason, access, .. } => {
            let given = access.lines();
            let given = if given.is_empty() { String::new() } else { format!("; given {}", given.join(", ")) };
            format!("attempt {attempt}: {reason}{given}")
        }
        RunEvent::Leased { .. } => "leased".into(),
        RunEvent::Starting => "starting".into(),
        RunEvent::Equipped { tools } if tools.is_empty() => "is started without installed tools".into(),
        RunEvent::Equipped { tools } => {
            format!("is started with {}", tools.iter().map(InstalledTool::line).collect::<Vec<_>>().join(", "))
        }
        RunEvent::Observed { observations, .. } => observations.iter().map(observation).collect::<Vec<_>>().join("; "),
        RunEvent::PauseRequested { pause } => format!("to stand still: {}", pause.reason),
        RunEvent::ResumeRequested => "to go on".into(),
        RunEvent::Undone { operation, pause: Some(_) } => format!("{}, to stand still", undone(*operation)),
        RunEvent::Undone { operation, pause: None } => format!("{}, to go on", undone(*operation)),
        RunEvent::Silent { silence } => {
            let asked = if silence.question.is_some() { "; a person is asked" } else { "" };
            format!("nothing was heard of it for {}{asked}", patience::span(silence.timeout.after_ms))
        }
        RunEvent::Channel { event } => channel(event),
        RunEvent::Heard => "is silent no more".into(),
        RunEvent::Resumed { checkpoint } => format!(
            "goes on from {} of R-{}, with the same inputs {}",
            checkpoint_name(checkpoint.step),
            checkpoint.number,
            short(&checkpoint.inputs.to_string())
        ),
        RunEvent::Kept { checkpoint } => format!(
            "its workspace after {} is kept as {}, of the inputs {}",
            checkpoint_name(checkpoint.step),
            short(&checkpoint.commit),
            short(&checkpoint.inputs.to_string())
        ),
        RunEvent::Session { event } => session(event),
        RunEvent::Told { prompt, bytes } => {
            format!("its agent is told {bytes} bytes, {}", short(&prompt.to_string()))
        }
        RunEvent::ModelAsked { exchange, request } => model_asked(exchange.number, request),
        RunEvent::ModelAnswered { number, answer } => model_answered(*number, answer),
        RunEvent::SpendingAsked { .. } => "a person is asked whether it may spend more on models".into(),
        RunEvent::SpendingRaised => "it may spend as much again on models".into(),
        RunEvent::OverBudget { reason } => format!("to be ended: {reason}"),
        RunEvent::CancelRequested { reason } => format!("to be cancelled: {reason}"),
        RunEvent::Removing { removals } => removals.iter().map(removal).collect::<Vec<_>>().join("; "),
        RunEvent::Removed => "what was to be removed of it is gone".into(),
        RunEvent::Ended { outcome, left_out, .. } => {
            let left_out = left_out.lines().map(|line| format!("not kept: {line}"));
            std::iter::once(outcome_text(outcome)).chain(left_out).collect::<Vec<_>>().join("; ")
        }
        RunEvent::LateResult { fence, outcome } => {
            format!("late result with fence {fence} not taken: {}", outcome_text(outcome))
        }
    }
}

/// What happened to the session of a run's agent.
pub(super) fn session(event: &SessionEvent) -> String {
    match event {
        SessionEvent::TakenUp { from } => {
            format!("its agent goes on with its session {} of R-{}, and the files of that", from.id, from.number)
        }
        SessionEvent::Anew { reason } => format!("its agent begins anew: {reason}"),
        SessionEvent::Left { left: LeftSession::Kept { id } } => {
            format!("the session {id} of its agent is kept, with its files")
        }
        SessionEvent::Left { left: LeftSession::NotKept { reason } } => {
            format!("no session of its agent is kept: {reason}")
        }
    }
}

fn channel(event: &ChannelEvent) -> String {
    match event {
        ChannelEvent::Progressed { percent, text } => {
            let percent = percent.map_or_else(String::new, |percent| format!("{percent} % "));
            format!("says: {percent}{text}")
        }
        ChannelEvent::Noted { text } => format!("notes: {text}"),
        ChannelEvent::HandedIn { artifact } => {
            format!(
                "hands in {}: {} bytes, {}",
                artifact.path,
                artifact.size_bytes,
                short(&artifact.digest.to_string())
            )
        }
        ChannelEvent::Asked { asked } => match asked {
            Asked::Info { key, .. } => format!("asks by the name {key}"),
            Asked::Action { .. } => "asks for a permission".into(),
            Asked::Tool { name, .. } => format!("asks for the tool {name}"),
        },
        ChannelEvent::Proposed { proposed } => format!("proposes its change as: {}", proposed.title),
        ChannelEvent::InputRequested { question } => format!("waits for an answer to {question}"),
        ChannelEvent::ApprovalRequested { action } => format!("waits to be allowed: {action}"),
        ChannelEvent::Parked => "waits for long; its processes are to stand still".into(),
        ChannelEvent::Answered => "waits no more".into(),
    }
}

fn info(event: &InfoRequestEvent) -> String {
    match event {
        InfoRequestEvent::Asked { text, fields, .. } | InfoRequestEvent::AskedAbout { text, fields, .. } => {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            format!("asks for {}: {text}", names.join(", "))
        }
        InfoRequestEvent::Answered { name, answers, .. } => {
            let names: Vec<&str> = answers.keys().map(String::as_str).collect();
            format!("answered by {name}: {}", names.join(", "))
        }
        InfoRequestEvent::Expired => "expired".into(),
        InfoRequestEvent::Cancelled { reason } => format!("cancelled: {reason}"),
        InfoRequestEvent::Taken => "its run has the answer".into(),
    }
}

pub(super) fn model_asked(number: u32, request: &ModelRequest) -> String {
    let model = request.model.as_deref().unwrap_or("a model");
    let (path, bytes, digest) = (&request.path, request.body_bytes, short(&request.body.to_string()).to_owned());
    format!("request {number} to {model}: {path}, {bytes} bytes, {digest}")
}

pub(super) fn model_answered(number: u32, answer: &ModelAnswer) -> String {
    let status = answer.status.map_or_else(String::new, |status| format!(" {status}"));
    let about = if answer.is_estimate { "about " } else { "" };
    let digest = answer.body.as_ref().map_or_else(String::new, |body| format!(", {}", short(&body.to_string())));
    let tries = if answer.tries > 1 { format!(", sent {} times", answer.tries) } else { String::new() };
    let (input, output) = (answer.tokens.input, answer.tokens.output);
    let cost = answer.cost.map_or_else(String::new, |cost| format!(", {}", Meter::Cost.amount(cost)));
    format!("answer {number}{status} is {}: {about}{input} tokens in, {output} out{cost}{digest}{tries}", answer.end)
}

fn removal(removal: &Removal) -> String {
    let Removal { part, size_bytes, content, policy } = removal;
    let what = part.label();
    format!("{what} to be removed by `{policy}`: {size_bytes} bytes, {content}")
}

fn observation(observation: &Observation) -> String {
    match observation {
        Observation::Isolated { isolation } => format!("running at isolation level {}", isolation.level),
        Observation::Paused => "its processes stand still".into(),
        Observation::Resumed => "its processes go on".into(),
        Observation::Network { used } => network_text(used),
        Observation::NetworkLeftOut { count } => format!("{count} more things of the network were not written"),
        Observation::Step { index, event } => {
            let what = match event {
                StepEvent::Started { .. } => "started".to_owned(),
                StepEvent::Skipped => "skipped".to_owned(),
                StepEvent::Kept => "kept from an earlier attempt".to_owned(),
                StepEvent::Ended { end, .. } => match end {
                    StepEnd::Succeeded => "succeeded".to_owned(),
                    StepEnd::Failed { code } => format!("failed with exit code {code}"),
                    StepEnd::Killed { signal } => format!("was killed by signal {signal}"),
                    StepEnd::TimedOut => "timed out".to_owned(),
                    StepEnd::Cancelled => "was cancelled".to_owned(),
                },
            };
            format!("step {} {what}", index + 1)
        }
    }
}

fn network_text(used: &NetworkUse) -> String {
    let host = used.host.as_deref().unwrap_or("?");
    let port = used.port.map_or(String::new(), |port| format!(":{port}"));
    let what = match &used.verdict {
        NetworkVerdict::Allowed { address } => format!("connected to {address}"),
        NetworkVerdict::Denied { reason } => format!("denied, {reason}"),
        NetworkVerdict::Failed { reason } => format!("failed, {reason}"),
        NetworkVerdict::Closed { sent_bytes, received_bytes } => {
            format!("closed, {sent_bytes} bytes sent, {received_bytes} received")
        }
    };
    let times = if used.count == 1 { String::new() } else { format!(" ({} times)", used.count) };
    format!("network: {} {host}{port}: {what}{times}", used.way)
}

fn outcome_text(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Succeeded => "succeeded".into(),
        RunOutcome::Failed { class, reason } => format!("failed ({}): {reason}", class.label()),
        RunOutcome::TimedOut { reason } => reason.clone(),
        RunOutcome::Cancelled { reason } => format!("cancelled: {reason}"),
        RunOutcome::Lost { reason } => format!("lost: {reason}"),
    }
}

fn approval(event: &ApprovalEvent) -> String {
    match event {
        ApprovalEvent::Requested { action, .. } => format!("asked: {action}"),
        ApprovalEvent::Granted { name, .. } => format!("granted by {name}"),
        ApprovalEvent::Denied { name, reason, .. } => format!("denied by {name}: {reason}"),
        ApprovalEvent::Expired => "expired".into(),
        ApprovalEvent::Voided { reason } => format!("void: {reason}"),
        ApprovalEvent::Answered { name, choice, .. } => format!("{name} chose {}", choice.label()),
        ApprovalEvent::Undone { operation, state, .. } => format!("{}; now {}", undone(*operation), state.label()),
    }
}

fn change(event: &ChangeEvent) -> String {
    match event {
        ChangeEvent::Opened { title, proposal, .. } => {
            let stat = proposal.stat;
            format!("opened: {title}, {} files, +{} -{}", stat.files, stat.added, stat.removed)
        }
        ChangeEvent::ApprovalAsked { concerns, .. } => format!("needs an approval: {}", concerns.join(", ")),
        ChangeEvent::CheckStarted { tree, .. } => format!("gates run on tree {}", short(tree)),
        ChangeEvent::CheckPassed => "gates passed".into(),
        ChangeEvent::CheckSkipped { .. } => "there are no gates for it".into(),
        ChangeEvent::CheckFailed { reason } => format!("gates failed: {reason}"),
        ChangeEvent::CheckLost { .. } => "gates gave no answer and run again".into(),
        ChangeEvent::BaseMoved => "the branch moved; to be checked again".into(),
        ChangeEvent::Conflicted { paths } => format!("conflicts in {}", paths.join(", ")),
        ChangeEvent::MergeStarted { commit } => format!("merging as {}", short(commit)),
        ChangeEvent::Merged => "merged".into(),
        ChangeEvent::MergeRefused => "the branch was moved by somebody else".into(),
        ChangeEvent::Closed { reason } => format!("closed: {reason}"),
        ChangeEvent::Undone { operation, state, .. } => format!("{}; now {}", undone(*operation), state.label()),
    }
}

/// The step that kept it, as steps are counted for people.
fn checkpoint_name(step: u32) -> String {
    format!("step {}", step.saturating_add(1))
}

fn short(object: &str) -> &str {
    object.get(..10).unwrap_or(object)
}
