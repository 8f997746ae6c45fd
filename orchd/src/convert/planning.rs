//! Plannings by models and agents.

use orch_core::entity::{Meter, PlannerUse, Planning, PlanningEvent, PlanningSubject, TurnEnd};
use orch_core::state::planning::{PlanningState as State, PlanningStep};
use orch_proto::view::{PlanningState, PlanningView};

use super::audit::{model_answered, model_asked};

/// A planning.
pub(crate) fn planning_view(planning: &Planning) -> PlanningView {
    let (planner, models) = (&planning.planner, &planning.models);
    let first = |problems: &Vec<String>| problems.first().cloned().unwrap_or_default();
    PlanningView {
        number: planning.number,
        wanted: wanted(planning.subject).to_owned(),
        state: match &planning.state {
            State::Asked => PlanningState::Asked,
            State::Proposed => PlanningState::Proposed,
            State::Ruled { reason } => PlanningState::Ruled { reason: reason.clone() },
            State::Failed { reason } => PlanningState::Failed { reason: reason.clone() },
            State::Cancelled { reason } => PlanningState::Cancelled { reason: reason.clone() },
        },
        model: planner.model.clone(),
        server: planner.server.name.clone(),
        agent: planner.agent.as_ref().map(|agent| agent.name.clone()),
        turns: planning.turns,
        at_work_since: planning.turn.as_ref().map(|turn| turn.since),
        asked_by: planning.asked_by.to_string(),
        since: planning.since,
        ended_at: planning.ended_at,
        exchanges: models.exchanges,
        waiting: u32::try_from(models.open.len()).unwrap_or(u32::MAX),
        input_tokens: models.tokens.input,
        output_tokens: models.tokens.output,
        is_estimate: models.is_estimate,
        cost_text: (models.cost > 0).then(|| Meter::Cost.amount(models.cost)),
        refused: planning.refused.iter().map(|refused| first(&refused.problems)).collect(),
        fell_back: planning.fell_back.as_ref().map(|(model, reason)| format!("in the place of {model}: {reason}")),
        lost: planning.lost,
    }
}

/// Who is asked, and where.
fn asked(planner: &PlannerUse) -> String {
    match &planner.agent {
        Some(agent) => {
            let model = agent.model.as_deref().map_or_else(String::new, |model| format!(" with `{model}`"));
            format!("the agent `{}`{model} of `{}`", agent.name, planner.server.name)
        }
        None => format!("`{}` of `{}`", planner.model, planner.server.name),
    }
}

const fn wanted(subject: PlanningSubject) -> &'static str {
    match subject {
        PlanningSubject::Requirements { .. } => "requirements",
        PlanningSubject::Plan { .. } => "plan",
    }
}

/// What happened to a planning, in a line.
pub(super) fn event_text(number: u32, event: &PlanningEvent) -> String {
    let what = match event {
        PlanningEvent::Asked { subject, planner } => {
            format!("{} is asked for {}", asked(planner), wanted(*subject))
        }
        PlanningEvent::ModelAsked { exchange, request } => model_asked(exchange.number, request),
        PlanningEvent::ModelAnswered { exchange, answer, .. } => model_answered(*exchange, answer),
        PlanningEvent::AgentStarted { turn, told, tools } => {
            let tools: String = tools.iter().map(|tool| format!(", {}", tool.line())).collect();
            format!("its agent is started, turn {turn}: told {} bytes, {}{tools}", told.bytes, told.prompt)
        }
        PlanningEvent::AgentEnded { turn, end } => match end {
            TurnEnd::Answered { body, bytes } => {
                format!("its agent has answered in turn {turn}: {bytes} bytes, {body}")
            }
            TurnEnd::Failed { reason } => format!("its agent came to nothing in turn {turn}: {reason}"),
            TurnEnd::Lost => format!("its agent is gone in turn {turn}, and nobody knows what became of it"),
            TurnEnd::Stopped => format!("its agent was stopped in turn {turn}"),
        },
        PlanningEvent::Refused { exchange, problems } => {
            format!("answer {exchange} cannot be used: {}", problems.join("; "))
        }
        PlanningEvent::FellBack { reason } => format!("another model takes its place: {reason}"),
        PlanningEvent::Ended { step } => match step {
            PlanningStep::Asked => "asked".to_owned(),
            PlanningStep::Proposed => "what the model answered is proposed".to_owned(),
            PlanningStep::Ruled { reason } => format!("what the rules made is proposed: {reason}"),
            PlanningStep::Failed { reason } => format!("nothing is proposed: {reason}"),
            PlanningStep::Cancelled { reason } => format!("cancelled: {reason}"),
        },
    };
    format!("planning {number}: {what}")
}
