//! A model, or an agent, in the place of the planner's rules: asked for by a person, each exchange on record before it leaves,
//! an agent before it starts, and its result proposed like that of the rules.

use orch_proto::id::ProjectId;
use orch_proto::{EntityKind, Timestamp};

use super::bounds::{self, LINE_BYTES_MAX};
use super::spend::{self, Standing};
use super::{Context, DecideError, conflict, conflict_with_hint, document, info, plan, project, text};
use crate::command::{PlanningCommand, PlanningOutcome};
use crate::entity::{
    ANSWERS_REFUSED_MAX, EXCHANGES_LOST_MAX, Entity as _, InstalledTool, ModelAnswer, ModelRequest, OpenExchange, Plan,
    PlannerUse, Planning, PlanningEvent, PlanningSubject, Project, ProjectEvent, Requirements, Told, TurnEnd, Vision,
};
use crate::state::planning::PlanningStep;
use crate::view::{Filter, View};

/// Most exchanges of one planning, those that were lost or came to nothing included.
const EXCHANGES_MAX: u32 = 16;
/// The same of an agent, which asks its model after each look at the repository, and how many it may have under way at once.
const AGENT_EXCHANGES_MAX: u32 = 500;
const AGENT_AT_ONCE_MAX: usize = 8;
/// Most problems of an answer on record.
const PROBLEMS_MAX: usize = 20;

/// Does what is wanted of the planning of a project.
pub(super) fn steer<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    command: &PlanningCommand,
) -> Result<(), DecideError> {
    cx.touch(EntityKind::Project, id);
    match command {
        PlanningCommand::Ask { subject, planner } => ask(cx, id, *subject, planner),
        PlanningCommand::AskModel { planning, exchange, request } => ask_model(cx, id, (*planning, *exchange), request),
        PlanningCommand::AnswerModel { planning, exchange, answer } => {
            answer_model(cx, id, (*planning, *exchange), answer)
        }
        PlanningCommand::StartAgent { planning, turn, told, tools } => {
            start_agent(cx, id, (*planning, *turn), (*told, tools))
        }
        PlanningCommand::EndAgent { planning, turn, end } => end_agent(cx, id, (*planning, *turn), end),
        PlanningCommand::Refuse { planning, exchange, problems } => refuse(cx, id, (*planning, *exchange), problems),
        PlanningCommand::FallBack { planning, reason } => fall_back(cx, id, *planning, reason),
        PlanningCommand::Finish { planning, outcome } => finish(cx, id, *planning, outcome),
        PlanningCommand::Cancel { reason } => cancel(cx, id, reason),
    }
}

fn ask<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    subject: PlanningSubject,
    planner: &PlannerUse,
) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    project::in_use(&found)?;
    match subject {
        PlanningSubject::Requirements { vision } => {
            if cx.get::<Vision>(vision)?.project != id {
                return Err(conflict("the Vision is another project's"));
            }
        }
        PlanningSubject::Plan { requirements } => plan::approved_requirements(cx, requirements).map(drop)?,
    }
    match &planner.agent {
        Some(agent) => bounds::title("agent", &agent.name)?,
        None => bounds::title("model", &planner.model)?,
    };
    let slug = &found.slug;
    match &found.planning {
        Some(known) if known.is_open() && (known.subject, &known.planner) == (subject, planner) => {
            cx.note("it is asked already");
            return Ok(());
        }
        Some(known) if known.is_open() => {
            return Err(conflict_with_hint(
                format!("{} is at work on `{slug}` already", known.planner.who()),
                format!("wait for it, or end that with `orchctl plan cancel -p {slug}`"),
            ));
        }
        Some(known) if !known.models.open.is_empty() || known.turn.is_some() => {
            return Err(conflict_with_hint(
                "what was asked before is being brought to its end",
                "try again in a moment",
            ));
        }
        Some(_) | None => {}
    }
    let number = found.planning.map_or(0, |known| known.number).saturating_add(1);
    emit(cx, id, number, PlanningEvent::Asked { subject, planner: planner.clone() });
    Ok(())
}

/// A request is about to leave. When it may not yet, that is noted and it is not on record.
fn ask_model<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    (planning, exchange): (u32, OpenExchange),
    request: &ModelRequest,
) -> Result<(), DecideError> {
    let (found, known) = open(cx, id, planning)?;
    project::in_use(&found)?;
    let (most, at_once) =
        if known.planner.agent.is_some() { (AGENT_EXCHANGES_MAX, AGENT_AT_ONCE_MAX) } else { (EXCHANGES_MAX, 1) };
    if known.models.exchanges >= most {
        return Err(conflict(format!("the model was asked {most} times, which is all that a planning may")));
    }
    if known.planner.agent.is_some() && known.turn.is_none() {
        return Err(conflict("no agent is at work for the planning"));
    }
    let is_full = known.models.open.len() >= at_once;
    if is_full && known.planner.agent.is_some() {
        cx.note("as much is asked at once as may be");
        return Ok(());
    }
    if exchange.number != known.models.exchanges.saturating_add(1) || is_full {
        return Err(conflict(format!("exchange {} of the planning is not the next", exchange.number)));
    }
    request.model.as_deref().map(|model| bounds::title("model", model)).transpose()?;
    if spend::standing_of(cx.view, &found, cx.now)?.0 != Standing::Free {
        cx.note("nothing may be asked of a model at the moment");
        return Ok(());
    }
    emit(cx, id, planning, PlanningEvent::ModelAsked { exchange, request: Box::new(request.clone()) });
    Ok(())
}

/// An answer has come, or none will. Counted also when the planning is over: it was paid for.
fn answer_model<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    (planning, exchange): (u32, u32),
    answer: &ModelAnswer,
) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    let known = found.planning.as_ref().filter(|known| known.number == planning);
    if !known.is_some_and(|known| known.models.open.iter().any(|open| open.number == exchange)) {
        cx.note("the answer is on record; nothing changes");
        return Ok(());
    }
    let (answer, spent) = (answer.bounded(), answer.spent());
    let uses = spend::uses(cx, &found, spent)?;
    emit(cx, id, planning, PlanningEvent::ModelAnswered { exchange, answer: Box::new(answer), uses });
    Ok(())
}

/// An agent is about to start.
fn start_agent<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    (planning, turn): (u32, u32),
    (told, tools): (Told, &[InstalledTool]),
) -> Result<(), DecideError> {
    let (found, known) = open(cx, id, planning)?;
    project::in_use(&found)?;
    if known.planner.agent.is_none() {
        return Err(conflict("no agent is asked"));
    }
    let refused_max = u32::try_from(ANSWERS_REFUSED_MAX).unwrap_or(u32::MAX);
    let most = refused_max.saturating_add(EXCHANGES_LOST_MAX);
    if known.turn.is_some() || turn != known.turns.saturating_add(1) || turn > most {
        return Err(conflict(format!("turn {turn} of the agent is not the next")));
    }
    if !known.models.open.is_empty() || known.unread.is_some() || known.given_up.is_some() {
        return Err(conflict("what the agent did before is not looked at yet"));
    }
    emit(cx, id, planning, PlanningEvent::AgentStarted { turn, told, tools: tools.to_vec() });
    Ok(())
}

/// An agent has ended. Also when the planning is over: then nothing follows.
fn end_agent<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    (planning, turn): (u32, u32),
    end: &TurnEnd,
) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    let known = found.planning.as_ref().filter(|known| known.number == planning);
    if known.and_then(|known| known.turn.as_ref()).is_none_or(|open| open.number != turn) {
        cx.note("its end is on record; nothing changes");
        return Ok(());
    }
    let end = match end {
        TurnEnd::Failed { reason } => TurnEnd::Failed { reason: text("reason", reason)?.to_owned() },
        end => end.clone(),
    };
    emit(cx, id, planning, PlanningEvent::AgentEnded { turn, end });
    Ok(())
}

/// The answer cannot be used.
fn refuse<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    (planning, exchange): (u32, u32),
    problems: &[String],
) -> Result<(), DecideError> {
    let (_, known) = open(cx, id, planning)?;
    if known.refused.iter().any(|refused| refused.number == exchange) {
        cx.note("it is refused already");
        return Ok(());
    }
    if known.refused.len() >= ANSWERS_REFUSED_MAX || exchange > known.answers_max() {
        return Err(conflict("there is no such answer to be refused"));
    }
    bounds::count("problems", problems.len(), PROBLEMS_MAX)?;
    problems.iter().try_for_each(|problem| bounds::bytes("problem", problem.len(), LINE_BYTES_MAX))?;
    emit(cx, id, planning, PlanningEvent::Refused { exchange, problems: problems.to_vec() });
    Ok(())
}

/// The model cannot be asked: the other takes its place.
fn fall_back<V: View>(cx: &mut Context<'_, V>, id: ProjectId, planning: u32, reason: &str) -> Result<(), DecideError> {
    let (_, known) = open(cx, id, planning)?;
    if known.planner.fallback.is_none() {
        return Err(conflict("no other model takes its place"));
    }
    emit(cx, id, planning, PlanningEvent::FellBack { reason: text("reason", reason)?.to_owned() });
    Ok(())
}

/// It is over, and what came of it is proposed.
fn finish<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    planning: u32,
    outcome: &PlanningOutcome,
) -> Result<(), DecideError> {
    let (_, known) = open(cx, id, planning)?;
    let step = match (outcome, known.subject) {
        (PlanningOutcome::Failed { reason }, _) => PlanningStep::Failed { reason: text("reason", reason)?.to_owned() },
        (
            PlanningOutcome::Requirements { content, said, ruled, questions },
            PlanningSubject::Requirements { vision },
        ) => {
            bounds::requirements(content)?;
            let versions = cx.view.list::<Requirements>(&Filter::of(id))?;
            not_overtaken(&known, versions.iter().map(|made| (made.version, made.created_at)))?;
            document::propose(cx, id, vision, content, text("reason", said)?)?;
            info::ask_about(cx, id, vision, questions)?;
            step(ruled.as_deref())?
        }
        (PlanningOutcome::Plan { content, said, ruled }, PlanningSubject::Plan { requirements }) => {
            let versions = cx.view.list::<Plan>(&Filter::of(id))?;
            not_overtaken(&known, versions.iter().map(|made| (made.version, made.created_at)))?;
            plan::propose(cx, id, requirements, content, text("reason", said)?)?;
            step(ruled.as_deref())?
        }
        (PlanningOutcome::Requirements { .. } | PlanningOutcome::Plan { .. }, _) => {
            return Err(conflict("something else was asked for"));
        }
    };
    emit(cx, id, planning, PlanningEvent::Ended { step });
    Ok(())
}

/// Refuses to put the result in the place of what somebody made while the model was at work: it would be withdrawn.
fn not_overtaken(known: &Planning, versions: impl Iterator<Item = (u32, Timestamp)>) -> Result<(), DecideError> {
    match versions.max() {
        Some((version, at)) if at > known.since => Err(conflict_with_hint(
            format!("version {version} was made since a model was asked, and would be replaced"),
            "ask again if that is what you want",
        )),
        _ => Ok(()),
    }
}

fn step(ruled: Option<&str>) -> Result<PlanningStep, DecideError> {
    Ok(match ruled {
        Some(reason) => PlanningStep::Ruled { reason: text("reason", reason)?.to_owned() },
        None => PlanningStep::Proposed,
    })
}

/// A person wants no more of it.
fn cancel<V: View>(cx: &mut Context<'_, V>, id: ProjectId, reason: &str) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    let reason = text("reason", reason)?.to_owned();
    match found.planning.filter(Planning::is_open) {
        Some(known) => {
            let step = PlanningStep::Cancelled { reason };
            emit(cx, id, known.number, PlanningEvent::Ended { step });
            Ok(())
        }
        None => Err(conflict(format!("no model is at work on `{}`", found.slug))),
    }
}

/// The project goes out of use: nothing is asked for it any more.
pub(super) fn end<V: View>(cx: &mut Context<'_, V>, id: ProjectId, reason: &str) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    if let Some(known) = found.planning.filter(Planning::is_open) {
        let step = PlanningStep::Cancelled { reason: reason.to_owned() };
        emit(cx, found.id, known.number, PlanningEvent::Ended { step });
    }
    Ok(())
}

/// The planning of this number, if it is not over.
fn open<V: View>(cx: &Context<'_, V>, id: ProjectId, number: u32) -> Result<(Project, Planning), DecideError> {
    let found: Project = cx.get(id)?;
    match found.planning.clone().filter(|known| known.number == number && known.is_open()) {
        Some(known) => Ok((found, known)),
        None => Err(conflict(format!("planning {number} of {} `{}` is over", Project::KIND, found.slug))),
    }
}

fn emit<V: View>(cx: &mut Context<'_, V>, id: ProjectId, number: u32, event: PlanningEvent) {
    cx.emit((id, ProjectEvent::Planning { number, event: Box::new(event) }));
}
