//! What runs ask of models: who may ask, how often, and what is believed of an answer.

use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{
    EXCHANGES_MAX, ModelAnswer, ModelRequest, OpenExchange, Run, RunEvent, Spend, TOKENS_MAX, TokenUse, Told,
};
use orch_core::event::Event;
use orch_core::state::run::RunOutcome;
use orch_proto::id::RunId;

use crate::support::{Scene, rule, start};
use crate::thread::coder;

/// The next request of a run.
fn ask(scene: &Scene, run: RunId) -> Command {
    let found: Run = scene.one(run);
    numbered(&found, found.models.exchanges + 1)
}

fn numbered(run: &Run, number: u32) -> Command {
    let body = Digest::of(b"body");
    let request = ModelRequest { path: "/v1/responses".into(), model: None, body, body_bytes: 7 };
    let exchange = OpenExchange { number, request_bytes: 7, reserved: Spend::default() };
    Command::AskModel { run: run.id, fence: run.fence, exchange, request: Box::new(request) }
}

fn answered(run: RunId, number: u32, tokens: TokenUse) -> Command {
    let answer = ModelAnswer {
        status: Some(200),
        model: Some("m\u{1b}[2J".into()),
        tokens,
        cost: None,
        is_estimate: false,
        end: "complete".into(),
        body: None,
        body_bytes: 0,
        tries: 1,
    };
    Command::AnswerModel { run, number, answer: Box::new(answer) }
}

fn begun() -> (Scene, RunId) {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "work");
    let run = scene.start(task);
    (scene, run)
}

#[test]
fn a_run_that_is_to_end_or_is_over_asks_for_nothing_and_is_answered_all_the_same() {
    let (mut scene, run) = begun();
    scene.does(&ask(&scene, run));
    scene.does(&Command::CancelRun { run, reason: "enough".into() });
    let refused = rule(scene.refuses(&ask(&scene, run))).to_string();
    assert!(refused.contains("is to end") && refused.contains("enough"), "{refused}");
    scene.settle(run, RunOutcome::Cancelled { reason: "enough".into() });
    let refused = rule(scene.refuses(&ask(&scene, run))).to_string();
    assert!(refused.contains("is over"), "{refused}");
    scene.does(&answered(run, 1, TokenUse { input: 5, ..TokenUse::default() }));
    let found: Run = scene.one(run);
    assert_eq!((found.models.tokens.input, found.models.open.len()), (5, 0), "it was paid for");
    assert!(scene.does(&answered(run, 1, TokenUse::default())).events.is_empty(), "and is counted once");
}

#[test]
fn what_an_agent_is_told_is_on_record_once_and_for_no_run_that_is_over() {
    let (mut scene, steps) = begun();
    let told = |run: &Run, text: &[u8]| {
        let prompt = Digest::of(text);
        Command::TellAgent { run: run.id, fence: run.fence, prompt, bytes: text.len() as u64 }
    };
    let refused = rule(scene.refuses(&told(&scene.one(steps), b"do it"))).to_string();
    assert!(refused.contains("known steps"), "{refused}");
    let project = scene.one::<Run>(steps).project;
    let mut begin = start(scene.task(project, "other work"));
    if let Command::StartRun { agent, .. } = &mut begin {
        *agent = Some(coder(false));
    }
    let run: RunId = scene.does(&begin).touched[0].1.parse().unwrap();
    let found: Run = scene.one(run);
    let done = scene.does(&told(&found, b"do it"));
    assert!(
        matches!(done.events[..], [Event::Run { event: RunEvent::Told { bytes: 5, .. }, .. }]),
        "{:?}",
        done.events
    );
    // A start that is tried again tells the same; one that knows more is on record, too.
    assert!(scene.does(&told(&found, b"do it")).events.is_empty());
    scene.does(&told(&found, b"do it well"));
    assert_eq!(scene.one::<Run>(run).told, Some(Told { prompt: Digest::of(b"do it well"), bytes: 10 }));
    let stale = Run { fence: found.fence + 1, ..found.clone() };
    assert!(rule(scene.refuses(&told(&stale, b"do it"))).to_string().contains("is over"));
    scene.settle(run, RunOutcome::Cancelled { reason: "enough".into() });
    assert!(rule(scene.refuses(&told(&found, b"more"))).to_string().contains("is over"));
}

#[test]
fn no_run_asks_without_end() {
    let (mut scene, run) = begun();
    let found: Run = scene.one(run);
    scene.does(&numbered(&found, EXCHANGES_MAX));
    let refused = rule(scene.refuses(&numbered(&found, EXCHANGES_MAX + 1))).to_string();
    assert!(refused.contains(&EXCHANGES_MAX.to_string()), "{refused}");
}

#[test]
fn what_a_server_says_of_itself_has_bounds() {
    let (mut scene, run) = begun();
    let wild = TokenUse { input: u64::MAX, output: u64::MAX, ..TokenUse::default() };
    for number in 1..=2 {
        scene.does(&ask(&scene, run));
        let decided = format!("{:?}", scene.does(&answered(run, number, wild)).events);
        assert!(decided.contains("m[2J") && !decided.contains("\\u{1b}"), "{decided}");
    }
    let found: Run = scene.one(run);
    assert_eq!((found.models.tokens.input, found.models.tokens.total()), (2 * TOKENS_MAX, 4 * TOKENS_MAX));
}
