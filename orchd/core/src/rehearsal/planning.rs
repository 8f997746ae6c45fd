//! Models and agents that plan, by chance: asked for and ended by people, answering what is of use and what is not, also twice and
//! too late.

use orch_proto::id::ProjectId;

use super::models::random_answer;
use super::sample::{plan_content, requirements};
use crate::command::{Command, PlanningCommand, PlanningOutcome};
use crate::digest::Digest;
use crate::entity::{
    AgentUse, Allowance, ModelRequest, OpenExchange, PlannerUse, Planning, PlanningSubject, Requirements, ServerUse,
    Spend, Told, TurnEnd, Vision,
};
use crate::ids::IdSource;
use crate::planner::asked::{Question, Topic};
use crate::recipe::Profile;

/// What is wanted of the planning of a project next.
pub(super) fn random_planning(
    (project, planning): (ProjectId, Option<&Planning>),
    visions: &[Vision],
    documents: &[Requirements],
    dice: &mut IdSource,
) -> Option<Command> {
    let of = |command: PlanningCommand| Some(Command::Planning { project, command });
    let Some(known) = planning.filter(|known| known.is_open() || dice.jitter(3) == 0) else {
        let subject = match dice.jitter(2) {
            0 => PlanningSubject::Requirements { vision: visions.last()?.id },
            _ => PlanningSubject::Plan { requirements: documents.last()?.id },
        };
        return of(PlanningCommand::Ask {
            subject,
            planner: planner(planning.is_some_and(|last| last.number % 2 == 1)),
        });
    };
    let number = if dice.jitter(12) == 0 { known.number.saturating_sub(1) } else { known.number };
    let open = known.models.open.first();
    if known.planner.agent.is_some() && dice.jitter(2) == 0 {
        return of(random_turn(known, number, dice));
    }
    match dice.jitter(8) {
        0..=2 => match open {
            Some(open) => of(PlanningCommand::AnswerModel {
                planning: number,
                exchange: open.number,
                answer: Box::new(crate::entity::ModelAnswer { body: Some(Digest::ZERO), ..random_answer(dice) }),
            }),
            None => of(PlanningCommand::AskModel {
                planning: number,
                exchange: OpenExchange {
                    number: known.models.exchanges.saturating_add(1),
                    request_bytes: dice.jitter(4_000),
                    reserved: Spend { tokens: dice.jitter(500), cost: dice.jitter(500) },
                },
                request: Box::new(ModelRequest {
                    path: "/api/chat".into(),
                    model: Some("some-model".into()),
                    body: Digest::ZERO,
                    body_bytes: 9,
                }),
            }),
        },
        3..=4 => of(PlanningCommand::Refuse {
            planning: number,
            exchange: known.answers_max(),
            problems: vec!["it is prose".into()],
        }),
        5 if known.planner.fallback.is_some() => {
            of(PlanningCommand::FallBack { planning: number, reason: "chance".into() })
        }
        5 => of(PlanningCommand::Cancel { reason: "chance".into() }),
        _ => {
            let ruled = (dice.jitter(2) == 0).then(|| "chance".to_owned());
            let outcome = match known.subject {
                _ if dice.jitter(4) == 0 => PlanningOutcome::Failed { reason: "chance".into() },
                PlanningSubject::Requirements { .. } => PlanningOutcome::Requirements {
                    content: Box::new(requirements(&["list", "sing"])),
                    said: "chance".into(),
                    ruled,
                    questions: random_questions(dice),
                },
                PlanningSubject::Plan { .. } => PlanningOutcome::Plan {
                    content: Box::new(plan_content(&[("a", &[]), ("f", &["a"])])),
                    said: "chance".into(),
                    ruled,
                },
            };
            of(PlanningCommand::Finish { planning: number, outcome })
        }
    }
}

/// An agent begins, or ends in one of a few ways.
fn random_turn(known: &Planning, planning: u32, dice: &mut IdSource) -> PlanningCommand {
    let Some(turn) = &known.turn else {
        let told = Told { prompt: Digest::ZERO, bytes: 9 };
        return PlanningCommand::StartAgent { planning, turn: known.turns.saturating_add(1), told, tools: Vec::new() };
    };
    let end = match dice.jitter(4) {
        0 => TurnEnd::Lost,
        1 => TurnEnd::Failed { reason: "chance".into() },
        2 => TurnEnd::Stopped,
        _ => TurnEnd::Answered { body: Digest::ZERO, bytes: 9 },
    };
    PlanningCommand::EndAgent { planning, turn: turn.number, end }
}

/// What is asked about a Vision, often nothing.
pub(super) fn random_questions(dice: &mut IdSource) -> Vec<Question> {
    let count = usize::try_from(dice.jitter(4)).unwrap_or(0);
    let question = |topic: &Topic| Question { topic: *topic, text: "What of it?".into(), choices: Vec::new() };
    Topic::ALL.iter().take(count).map(question).collect()
}

/// Every other one is an agent.
fn planner(is_agent: bool) -> PlannerUse {
    let server = ServerUse { name: "local".into(), api: "ollama".into(), url: "http://127.0.0.1:11434".into() };
    let agent = AgentUse {
        name: "coder".into(),
        kind: "codex".into(),
        model: None,
        of_run: Allowance::default(),
        of_task: Allowance::default(),
        role: None,
        server: Some(server.clone()),
        is_driven: false,
        answer_tokens: None,
        egress: Vec::new(),
        profile: Profile::default(),
    };
    let agent = is_agent.then(|| Box::new(agent));
    PlannerUse {
        server,
        model: "some-model".into(),
        protocol: "chat".into(),
        temperature_percent: Some(40),
        prompt_tokens: 1_500,
        output_tokens: 1_000,
        fallback: agent.is_none().then(|| "small-model".into()),
        agent,
    }
}
