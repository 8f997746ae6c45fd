//! Models and agents that plan: who may ask for that, what is on record of it, and that its result is proposed like any other.

use std::collections::BTreeMap;

use orch_core::command::{Command, PlanningCommand, PlanningOutcome};
use orch_core::decide::{Standing, answered, standing_of};
use orch_core::digest::Digest;
use orch_core::entity::{
    AgentUse, Allowance, BudgetKey, FieldValue, InfoRequest, Meter, ModelAnswer, ModelRequest, OpenExchange, Period,
    PlannerUse, Planning, PlanningSubject, Project, Requirements, ServerUse, Spend, TokenUse, Told, TurnEnd, Vision,
};
use orch_core::planner::asked::{Question, Topic};
use orch_core::recipe::Profile;
use orch_core::rehearsal::{plan_content, requirements, vision};
use orch_core::state::document::DocumentState;
use orch_core::state::info_request::InfoRequestState;
use orch_core::state::planning::PlanningState;
use orch_proto::id::ProjectId;

use crate::support::{Scene, rule};

fn planner() -> PlannerUse {
    PlannerUse {
        server: ServerUse { name: "local".into(), api: "ollama".into(), url: "http://127.0.0.1:11434".into() },
        model: "qwen3:32b".into(),
        protocol: "chat".into(),
        temperature_percent: Some(40),
        prompt_tokens: 1_500,
        output_tokens: 1_000,
        fallback: Some("llama3.2:latest".into()),
        agent: None,
    }
}

fn of(project: ProjectId, command: PlanningCommand) -> Command {
    Command::Planning { project, command }
}

fn asks(project: ProjectId, number: u32, tokens: u64) -> Command {
    let request = ModelRequest { path: "/api/chat".into(), model: None, body: Digest::of(b"prompt"), body_bytes: 40 };
    let exchange = OpenExchange { number, request_bytes: 40, reserved: Spend { tokens, cost: 0 } };
    of(project, PlanningCommand::AskModel { planning: 1, exchange, request: Box::new(request) })
}

fn answers(project: ProjectId, exchange: u32, end: &str, tokens: u64) -> Command {
    let answer = ModelAnswer {
        status: Some(200),
        model: Some("qwen\u{1b}[2J".into()),
        tokens: TokenUse { input: tokens, ..TokenUse::default() },
        cost: None,
        is_estimate: false,
        end: end.into(),
        body: Some(Digest::of(b"answer")),
        body_bytes: 6,
        tries: 1,
    };
    of(project, PlanningCommand::AnswerModel { planning: 1, exchange, answer: Box::new(answer) })
}

/// A project with a Vision of which requirements are asked.
fn begun() -> (Scene, ProjectId) {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let subject = PlanningSubject::Requirements { vision: scene.view.newest::<Vision>().id };
    scene.does(&of(project, PlanningCommand::Ask { subject, planner: planner() }));
    (scene, project)
}

fn planning(scene: &Scene, project: ProjectId) -> Planning {
    scene.one::<Project>(project).planning.unwrap()
}

fn result(titles: &[&str], ruled: Option<&str>) -> PlanningOutcome {
    PlanningOutcome::Requirements {
        content: Box::new(requirements(titles)),
        said: "derived by a model".into(),
        ruled: ruled.map(ToOwned::to_owned),
        questions: Vec::new(),
    }
}

#[test]
fn what_a_model_answered_is_proposed_and_needs_the_same_approval() {
    let (mut scene, project) = begun();
    scene.does(&asks(project, 1, 0));
    assert_eq!(planning(&scene, project).models.open.len(), 1, "on record before it leaves");
    rule(scene.refuses(&asks(project, 2, 0)));
    scene.does(&answers(project, 1, "complete", 70));
    assert_eq!(planning(&scene, project).unread, Some((1, Digest::of(b"answer"))), "a daemon that comes back reads it");
    assert!(scene.does(&answers(project, 1, "complete", 70)).events.is_empty(), "it is counted once");
    scene.does(&of(project, PlanningCommand::Refuse { planning: 1, exchange: 1, problems: vec!["prose".into()] }));
    let refused = planning(&scene, project);
    assert_eq!((refused.unread, refused.refused[0].body), (None, Some(Digest::of(b"answer"))));
    scene.does(&asks(project, 2, 0));
    scene.does(&answers(project, 2, "complete", 30));
    scene.does(&of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["list"], None) }));
    let ended = planning(&scene, project);
    assert_eq!((ended.state, ended.models.tokens.input), (PlanningState::Proposed, 100));
    let proposed: Requirements = scene.view.newest();
    assert_eq!((proposed.state, proposed.reason.as_str()), (DocumentState::Proposed, "derived by a model"));
    rule(scene.refuses(&of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["pay"], None) })));
}

/// A model takes its time: what a person made in the meantime stays.
#[test]
fn what_a_person_made_meanwhile_is_not_replaced() {
    let (mut scene, project) = begun();
    scene.later_ms(1_000);
    let vision = scene.view.newest::<Vision>().id;
    scene.does(&Command::ProposeRequirements {
        project,
        vision,
        content: Box::new(requirements(&["a person's"])),
        reason: "by the rules".into(),
        questions: Vec::new(),
    });
    let late = of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["list"], None) });
    assert!(rule(scene.refuses(&late)).to_string().contains("was made since a model was asked"));
    let failed = PlanningOutcome::Failed { reason: "overtaken".into() };
    scene.does(&of(project, PlanningCommand::Finish { planning: 1, outcome: failed }));
    assert_eq!(scene.view.newest::<Requirements>().state, DocumentState::Proposed);
}

#[test]
fn one_at_a_time_and_what_a_person_ended_proposes_nothing() {
    let (mut scene, project) = begun();
    let subject = planning(&scene, project).subject;
    let same = of(project, PlanningCommand::Ask { subject, planner: planner() });
    assert!(scene.does(&same).events.is_empty(), "it is asked already");
    let other = PlannerUse { model: "gpt-oss:120b".into(), ..planner() };
    let other = of(project, PlanningCommand::Ask { subject, planner: other });
    assert!(rule(scene.refuses(&other)).to_string().contains("at work on `shop`"));
    scene.does(&asks(project, 1, 0));
    scene.does(&of(project, PlanningCommand::Cancel { reason: "too slow".into() }));
    rule(scene.refuses(&of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["list"], None) })));
    assert!(rule(scene.refuses(&other)).to_string().contains("brought to its end"));
    scene.does(&answers(project, 1, "unwanted", 12));
    assert_eq!(planning(&scene, project).models.tokens.input, 12, "it was paid for all the same");
    scene.does(&other);
    assert_eq!((planning(&scene, project).number, scene.view.all::<Requirements>().len()), (2, 0));
    scene.does(&Command::ArchiveProject { project });
    assert!(matches!(planning(&scene, project).state, PlanningState::Cancelled { .. }));
}

#[test]
fn a_lost_request_is_counted_and_the_rules_say_why_they_took_its_place() {
    let (mut scene, project) = begun();
    scene.does(&asks(project, 1, 900));
    scene.does(&answers(project, 1, "unknown", 10));
    let lost = planning(&scene, project);
    assert_eq!((lost.lost, lost.unread, lost.models.tokens.input), (1, None, 10));
    let outcome = result(&["list"], Some("three answers were prose"));
    scene.does(&of(project, PlanningCommand::Finish { planning: 1, outcome }));
    let reason = "three answers were prose".to_owned();
    assert_eq!(planning(&scene, project).state, PlanningState::Ruled { reason });
}

#[test]
fn another_model_takes_the_place_of_one_that_cannot_be_asked_once() {
    let (mut scene, project) = begun();
    let falls_back = of(project, PlanningCommand::FallBack { planning: 1, reason: "404".into() });
    scene.does(&falls_back);
    let known = planning(&scene, project);
    assert_eq!((known.planner.model.as_str(), known.planner.fallback.as_deref()), ("llama3.2:latest", None));
    assert_eq!(known.fell_back, Some(("qwen3:32b".to_owned(), "404".to_owned())));
    rule(scene.refuses(&falls_back));
}

#[test]
fn budgets_of_the_project_hold_for_its_planner() {
    let (mut scene, project) = begun();
    let key = BudgetKey { meter: Meter::Tokens, period: Period::Day };
    scene.does(&Command::SetBudget { project, key, limit: 100, is_hard: false });
    let standing = |scene: &Scene| standing_of(&scene.view, &scene.one::<Project>(project), scene.now).unwrap();
    assert_eq!(standing(&scene).0, Standing::Free);
    scene.does(&asks(project, 1, 100));
    assert_eq!(standing(&scene).0, Standing::Waits, "so much is kept for it");
    scene.does(&answers(project, 1, "complete", 120));
    let (held, words) = standing(&scene);
    assert!(held == Standing::Held && words.contains("120 of 100 tokens"), "{words}");
    assert!(scene.does(&asks(project, 2, 1)).events.is_empty(), "nothing leaves");
    assert_eq!(scene.one::<Project>(project).budgets[0].used, 120);
}

#[test]
fn a_plan_that_does_not_hold_is_refused_whoever_made_it() {
    let (mut scene, project) = Scene::ready("shop");
    let approved = scene.approved_requirements(project);
    let subject = PlanningSubject::Plan { requirements: approved.id };
    scene.does(&of(project, PlanningCommand::Ask { subject, planner: planner() }));
    let finish = |tasks: &[(&str, &[&str])]| {
        let outcome =
            PlanningOutcome::Plan { content: Box::new(plan_content(tasks)), said: "planned".into(), ruled: None };
        of(project, PlanningCommand::Finish { planning: 1, outcome })
    };
    rule(scene.refuses(&finish(&[("a", &["b"]), ("b", &["a"])])));
    rule(scene.refuses(&finish(&[("a", &["nowhere"])])));
    rule(scene.refuses(&of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["list"], None) })));
    scene.does(&finish(&[("a", &[]), ("b", &["a"])]));
}

#[test]
fn what_the_planner_asks_is_answered_once_and_holds_up_nothing() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let of_vision = scene.view.newest::<Vision>().id;
    let question = |topic| Question { topic, text: "What of it?".into(), choices: vec!["this".into(), "that".into()] };
    let propose = |titles: &[&str], topics: &[Topic]| Command::ProposeRequirements {
        project,
        vision: of_vision,
        content: Box::new(requirements(titles)),
        reason: "derived".into(),
        questions: topics.iter().copied().map(question).collect(),
    };
    scene.does(&propose(&["list"], &[Topic::Budget, Topic::Timeline]));
    let asked: InfoRequest = scene.view.newest();
    assert_eq!(asked.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["budget", "timeline"]);
    assert_eq!(asked.fields[0].label, "What of it? (this / that)");
    scene.does(&propose(&["list", "pay"], &[Topic::Budget, Topic::Timeline]));
    assert_eq!(scene.view.all::<InfoRequest>().len(), 1, "the same is asked once");
    let said = FieldValue::Plain { text: "5,000 EUR".into() };
    scene.does(&Command::AnswerInfo { info: asked.id, answers: BTreeMap::from([("budget".to_owned(), said)]) });
    assert_eq!(answered(&scene.view, project).unwrap(), BTreeMap::from([(Topic::Budget, "5,000 EUR".to_owned())]));
    scene.does(&propose(&["list"], &[Topic::Budget, Topic::Timeline]));
    let next: InfoRequest = scene.view.newest();
    assert_eq!(
        (next.number, next.fields.len(), next.fields[0].name.as_str()),
        (2, 1, "timeline"),
        "what is known is not"
    );
    scene.does(&Command::ArchiveProject { project });
    assert!(matches!(scene.one::<InfoRequest>(next.id).state, InfoRequestState::Cancelled { .. }));
}

fn agent(of_run: Allowance) -> PlannerUse {
    let agent = AgentUse {
        name: "coder".into(),
        kind: "codex".into(),
        model: None,
        of_run,
        of_task: Allowance::default(),
        role: None,
        server: Some(planner().server),
        is_driven: false,
        answer_tokens: None,
        egress: Vec::new(),
        profile: Profile::default(),
    };
    PlannerUse { model: String::new(), fallback: None, agent: Some(Box::new(agent)), ..planner() }
}

/// A project of whose Vision requirements are asked of an agent.
fn begun_by_agent(of_run: Allowance) -> (Scene, ProjectId) {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let subject = PlanningSubject::Requirements { vision: scene.view.newest::<Vision>().id };
    scene.does(&of(project, PlanningCommand::Ask { subject, planner: agent(of_run) }));
    (scene, project)
}

fn starts(project: ProjectId, turn: u32) -> Command {
    let told = Told { prompt: Digest::of(b"told"), bytes: 4 };
    of(project, PlanningCommand::StartAgent { planning: 1, turn, told, tools: Vec::new() })
}

fn ends(project: ProjectId, turn: u32, end: TurnEnd) -> Command {
    of(project, PlanningCommand::EndAgent { planning: 1, turn, end })
}

fn answered_with(text: &[u8]) -> TurnEnd {
    TurnEnd::Answered { body: Digest::of(text), bytes: text.len() as u64 }
}

/// It asks its model as often as it likes; what it says at its end is what counts, and is on record once.
#[test]
fn an_agent_is_on_record_before_it_starts_and_its_last_word_is_what_is_judged() {
    let (mut scene, project) = begun_by_agent(Allowance::default());
    rule(scene.refuses(&asks(project, 1, 0)));
    rule(scene.refuses(&starts(project, 2)));
    scene.does(&starts(project, 1));
    rule(scene.refuses(&starts(project, 2)));
    for number in 1..=8 {
        scene.does(&asks(project, number, 0));
    }
    assert!(scene.does(&asks(project, 9, 0)).events.is_empty(), "as many at once as may be; it waits");
    scene.does(&answers(project, 1, "complete", 70));
    scene.does(&answers(project, 2, "unknown", 5));
    let at_work = planning(&scene, project);
    assert_eq!((at_work.unread, at_work.lost, at_work.models.tokens.input), (None, 0, 75), "only its end says more");
    (3..=8).for_each(|number| drop(scene.does(&answers(project, number, "complete", 0))));
    scene.does(&ends(project, 1, answered_with(b"prose")));
    assert!(scene.does(&ends(project, 1, TurnEnd::Lost)).events.is_empty(), "it is on record once");
    let read = planning(&scene, project);
    assert_eq!((read.unread, read.turn.is_none(), read.turns), (Some((1, Digest::of(b"prose"))), true, 1));
    rule(scene.refuses(&starts(project, 2)));
    let refuse =
        |exchange| of(project, PlanningCommand::Refuse { planning: 1, exchange, problems: vec!["prose".into()] });
    rule(scene.refuses(&refuse(2)));
    scene.does(&refuse(1));
    assert_eq!(planning(&scene, project).refused[0].body, Some(Digest::of(b"prose")));
    scene.does(&starts(project, 2));
    scene.does(&ends(project, 2, answered_with(b"{}")));
    scene.does(&of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["list"], None) }));
    assert_eq!(planning(&scene, project).state, PlanningState::Proposed);
}

#[test]
fn an_agent_that_is_lost_is_started_again_and_one_that_failed_is_not() {
    let (mut scene, project) = begun_by_agent(Allowance::default());
    for turn in 1..=2 {
        scene.does(&starts(project, turn));
        scene.does(&ends(project, turn, TurnEnd::Lost));
    }
    assert_eq!(planning(&scene, project).lost, 2);
    scene.does(&starts(project, 3));
    scene.does(&ends(project, 3, TurnEnd::Failed { reason: "no such file".into() }));
    assert_eq!(planning(&scene, project).given_up.as_deref(), Some("no such file"));
    rule(scene.refuses(&starts(project, 4)));
    scene.does(&of(project, PlanningCommand::Finish { planning: 1, outcome: result(&["list"], Some("no such file")) }));
}

/// Its end comes after that of the planning, and nothing is asked anew before it.
#[test]
fn an_agent_that_a_person_ended_is_brought_to_its_end_first() {
    let (mut scene, project) = begun_by_agent(Allowance::default());
    scene.does(&starts(project, 1));
    scene.does(&of(project, PlanningCommand::Cancel { reason: "too slow".into() }));
    rule(scene.refuses(&asks(project, 1, 0)));
    let subject = planning(&scene, project).subject;
    let anew = of(project, PlanningCommand::Ask { subject, planner: planner() });
    assert!(rule(scene.refuses(&anew)).to_string().contains("brought to its end"));
    scene.does(&ends(project, 1, TurnEnd::Stopped));
    scene.does(&anew);
    assert_eq!((planning(&scene, project).number, planning(&scene, project).turns), (2, 0));
}

#[test]
fn an_agent_that_plans_spends_no_more_than_it_may_at_once() {
    let (mut scene, project) = begun_by_agent(Allowance { tokens: Some(100), cost: None });
    scene.does(&starts(project, 1));
    scene.does(&asks(project, 1, 60));
    scene.does(&answers(project, 1, "complete", 100));
    let (standing, words) = standing_of(&scene.view, &scene.one::<Project>(project), scene.now).unwrap();
    assert!(standing == Standing::Held && words.contains("100 of 100 tokens for this attempt"), "{words}");
    assert!(scene.does(&asks(project, 2, 1)).events.is_empty(), "nothing leaves");
}
