//! Models that plan in the place of the rules: who is to, waiting for what they answer, and how that goes.

use clap::Args;
use orch_proto::request::{Accepted, Planner, Request};
use orch_proto::view::{PlanningState, PlanningView};
use orch_proto::{EntityKind, ErrorCode, Ref};

use super::project;
use crate::clock;
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::session::Session;
use crate::fmt::duration::age;

/// Who plans.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlannerArgs {
    /// By the rules at once, also where a model or an agent is configured
    #[arg(long, conflicts_with_all = ["model", "agent"])]
    rules: bool,
    /// Another model of the configured server, this once
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// This agent, which looks at the repository first, this once
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    agent: Option<String>,
    /// Wait until the model or the agent is done
    #[arg(long)]
    wait: bool,
}

impl PlannerArgs {
    pub(crate) fn planner(&self) -> Planner {
        match (&self.model, &self.agent) {
            (Some(name), _) => Planner::Model { name: name.clone() },
            (None, Some(name)) => Planner::Agent { name: name.clone() },
            (None, None) if self.rules => Planner::Rules,
            (None, None) => Planner::Configured,
        }
    }
}

/// Whether a model or an agent was asked, and nothing is proposed yet.
pub(crate) fn is_asked(accepted: &Accepted) -> bool {
    let of = |kind: EntityKind| accepted.touched.iter().any(|touched| touched.kind == kind);
    of(EntityKind::Project) && !of(EntityKind::Requirements) && !of(EntityKind::Plan)
}

/// Says that somebody is asked; with `--wait` how that ended, when it has.
pub(crate) async fn follow(
    session: &Session,
    (project, args): (&Ref, &PlannerArgs),
    accepted: &Accepted,
) -> Result<Option<PlanningView>, Failure> {
    let who = match args.planner() {
        Planner::Model { .. } => "a model",
        Planner::Agent { .. } => "an agent",
        Planner::Configured | Planner::Rules => "the planner",
    };
    session.accepted(accepted, &format!("{who} is asked for a proposal of"))?;
    if !args.wait {
        session.next(&format!(
            "orchctl project get {project} shows how far it is; orchctl plan cancel -p {project} ends it"
        ));
        return Ok(None);
    }
    let what = format!("what is planned for `{project}`");
    let ended = until(session, &what, async || {
        let planning = project::get(session, project).await?.planning;
        Ok(planning.filter(|planning| !planning.is_open()))
    });
    let ended = ended.await?;
    match &ended.state {
        PlanningState::Asked | PlanningState::Proposed => {}
        PlanningState::Ruled { reason } => session.note(&format!("warning: the rules took its place: {reason}")),
        PlanningState::Failed { reason } => {
            let hint = format!("orchctl events -p {project}");
            return Err(Failure::new(ErrorCode::Conflict, format!("nothing is proposed: {reason}"), hint));
        }
        PlanningState::Cancelled { reason } => {
            return Err(Failure::Negative(format!("it was cancelled: {reason}")));
        }
    }
    Ok(Some(ended))
}

/// Ends what a model or an agent plans.
pub(crate) async fn cancel(session: &Session, project: Ref, reason: Option<String>) -> Result<(), Failure> {
    session.change(Request::PlanningCancel { project, reason }, "ended what is planned for").await.map(drop)
}

/// Lines about a planning: who is asked, since when, and how it goes.
pub(crate) fn lines(planning: &PlanningView) -> Vec<String> {
    let state = match &planning.state {
        PlanningState::Asked => "is asked".to_owned(),
        PlanningState::Proposed => "answered, and that was proposed".to_owned(),
        PlanningState::Ruled { reason } => format!("was asked; the rules took its place: {reason}"),
        PlanningState::Failed { reason } => format!("was asked, and nothing is proposed: {reason}"),
        PlanningState::Cancelled { reason } => format!("was asked; cancelled: {reason}"),
    };
    let PlanningView { server, wanted, since, .. } = planning;
    let who = match &planning.agent {
        Some(agent) if planning.model.is_empty() => format!("the agent {agent}"),
        Some(agent) => format!("the agent {agent} with {}", planning.model),
        None => planning.model.clone(),
    };
    let ago = age(*since, clock::now());
    let about = if planning.is_estimate { "about " } else { "" };
    let cost = planning.cost_text.as_ref().map_or_else(String::new, |cost| format!(", {cost}"));
    let lost = match planning.lost {
        0 => String::new(),
        lost if planning.agent.is_some() => format!(", lost {lost} times at its work"),
        lost => format!(", {lost} lost with a daemon that ended"),
    };
    let waiting = if planning.waiting > 0 { ", one waits for its answer" } else { "" };
    let (input, output) = (planning.input_tokens, planning.output_tokens);
    let mut lines = vec![
        format!("planner       {who} of {server} {state}"),
        format!("  {wanted:<11} asked {ago} ago, by {}", planning.asked_by),
        format!("  requests    {}{waiting}{lost}; {about}{input} tokens in, {output} out{cost}", planning.exchanges),
    ];
    if planning.turns > 0 {
        let at_work =
            planning.at_work_since.map_or_else(String::new, |at| format!(", at work for {}", age(at, clock::now())));
        lines.push(format!("  agent       started {} times{at_work}", planning.turns));
    }
    lines.extend(planning.fell_back.iter().map(|why| format!("  fallback    {why}")));
    lines.extend(planning.refused.iter().map(|problem| format!("  refused     {problem}")));
    lines
}
