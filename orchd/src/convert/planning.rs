//! Plannings by models.

use orch_core::entity::{Meter, Planning, PlanningEvent, PlanningSubject};
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
            format!("`{}` of `{}` is asked for {}", planner.model, planner.server.name, wanted(*subject))
        }
        PlanningEvent::ModelAsked { exchange, request } => model_asked(exchange.number, request),
        PlanningEvent::ModelAnswered { exchange, answer, .. } => model_answered(*exchange, answer),
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
