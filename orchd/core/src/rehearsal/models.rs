//! What runs ask of models, by chance: little may be spent, so that it is soon used up; also twice, in the wrong order, and beyond
//! all sense.

use crate::command::Command;
use crate::digest::Digest;
use crate::entity::{AgentUse, Allowance, ModelAnswer, ModelRequest, OpenExchange, Run, Spend, TokenUse};
use crate::ids::IdSource;
use crate::recipe::Profile;

/// The agent of a run, if one does its work.
pub(super) fn random_agent(dice: &mut IdSource) -> Option<AgentUse> {
    let mut allowance = || Allowance {
        tokens: (dice.jitter(2) == 0).then(|| 500 + dice.jitter(1_000)),
        cost: (dice.jitter(3) == 0).then(|| 500 + dice.jitter(1_000)),
    };
    let (of_run, of_task) = (allowance(), allowance());
    let is_driven = dice.jitter(3);
    (dice.jitter(2) == 0).then(|| AgentUse {
        name: "coder".into(),
        kind: "codex".into(),
        model: None,
        of_run,
        of_task,
        role: None,
        server: None,
        is_driven: is_driven > 0,
        answer_tokens: None,
        egress: Vec::new(),
        profile: Profile::default(),
    })
}

/// A request, or the answer to one, or what an agent is told.
pub(super) fn random_exchange(run: &Run, dice: &mut IdSource) -> Command {
    let roll = dice.jitter(3);
    if let Some(open) = run.models.open.first().filter(|_| roll > 0) {
        return Command::AnswerModel { run: run.id, number: open.number, answer: Box::new(random_answer(dice)) };
    }
    let ahead = if dice.jitter(6) == 0 { u32::try_from(dice.jitter(3)).unwrap_or(0) } else { 1 };
    let (number, request_bytes) = (run.models.exchanges.saturating_add(ahead), dice.jitter(4_000));
    if request_bytes.is_multiple_of(8) {
        let prompt = Digest::of(&(request_bytes % 64).to_le_bytes());
        return Command::TellAgent { run: run.id, fence: run.fence, prompt, bytes: request_bytes };
    }
    let reserved = Spend { tokens: dice.jitter(500), cost: dice.jitter(500) };
    let request = ModelRequest {
        path: "/v1/responses".into(),
        model: None,
        body: Digest::of(&number.to_le_bytes()),
        body_bytes: request_bytes,
    };
    Command::AskModel {
        run: run.id,
        fence: run.fence,
        exchange: OpenExchange { number, request_bytes, reserved },
        request: Box::new(request),
    }
}

pub(super) fn random_answer(dice: &mut IdSource) -> ModelAnswer {
    let most = if dice.jitter(20) == 0 { u64::MAX } else { 400 };
    let tokens = TokenUse { input: dice.jitter(400), output: dice.jitter(most), ..TokenUse::default() };
    ModelAnswer {
        status: Some(200),
        model: Some("some\u{7}-model".into()),
        tokens,
        cost: (dice.jitter(4) != 0).then(|| tokens.total()),
        is_estimate: dice.jitter(4) == 0,
        end: "complete".into(),
        body: None,
        body_bytes: 0,
        tries: 1,
    }
}
