//! Models that plan: from a Vision to approved requirements and an approved plan, and what follows when they are of no use.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use orch_proto::request::{Bytes, Decision, Planner, RepoSource, Request};
use orch_proto::view::{EventView, PlanningState, PlanningView, ProjectView};
use orch_proto::{ErrorCode, Ref};
use orch_tests::command_line::{answer, orchctl, output};
use orch_tests::model_server::{Misbehave as _, ModelServer, Script, Turn};
use orch_tests::{Setup, Story, poll};
use serde_json::{Value, json};

use crate::story;

/// What no prompt may have.
pub(crate) const SECRET: &str = "hunter2-of-the-planner";
pub(crate) const KEY: &str = "sk-planner-0d1f5a7e9c";
const PROSE: &str = "Great question! I would begin with a clean architecture.";

pub(crate) fn vision() -> String {
    format!(
        "# Notes\n\nA place for notes of a team.\n\n## Requirements\n\n- FR-1: Notes can be written.\n- FR-2: Notes can be \
         found. The password is {SECRET}.\n"
    )
}

pub(crate) fn requirements() -> Value {
    let requirement = |id: &str, title: &str| {
        json!({"id": id, "kind": "functional", "title": title, "text": title, "acceptance": ["It is shown by a test."],
            "priority": null})
    };
    json!({
        "title": "Notes of a team", "summary": "Notes.", "goals": ["Nothing is lost."], "non_goals": [], "constraints": [],
        "success_criteria": [], "risks": [], "milestones": [], "open_questions": [],
        "requirements": [requirement("FR-1", "Write notes"), requirement("FR-2", "Find notes")],
        "questions": [{"topic": "budget", "question": "What may it cost?", "choices": []}],
    })
}

pub(crate) fn plan(needs_of_first: &[&str]) -> Value {
    let task = |key: &str, requirement: &str, needs: &[&str]| {
        json!({"key": key, "title": format!("Do {key}"), "capability": "developer", "needs": needs,
            "requirements": [requirement], "acceptance": ["It is shown by a test."], "minutes_low": 10, "minutes_high": 60,
            "risk": null})
    };
    json!({"epics": [{"title": "Notes", "stories": [{"title": "Notes", "tasks": [
        task("write-notes", "FR-1", needs_of_first), task("find-notes", "FR-2", &["write-notes"])]}]}]})
}

/// A script by what is asked for: requirements, and a plan.
pub(crate) fn script(of_requirements: Vec<Turn>, of_plan: Vec<Turn>) -> Script {
    Script::new([]).when_asked("Capabilities:", of_plan).when_asked("The vision stands", of_requirements)
}

pub(crate) fn say(answer: &Value) -> Turn {
    Turn::say(answer.to_string()).usage(500, 100)
}

/// A daemon whose planner asks a scripted model, and a project with a Vision.
async fn begin(story: &mut Story, api: &str, script: Script) -> anyhow::Result<ModelServer> {
    let server = ModelServer::start(script).await?;
    story.stop().await?;
    let url = format!("http://{}", server.address());
    let config = format!(
        "[models.scripted]\napi = \"{api}\"\nurl = \"{url}\"\nkey = \"model-key\"\n\
         [planner]\nmodels = \"scripted\"\nmodel = \"scripted\"\ntemperature = 0.4\n"
    );
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await?;
    for (name, value) in [("model-key", KEY), ("of-a-server", SECRET)] {
        let file = story.env().path(name);
        std::fs::write(&file, value)?;
        let file = file.to_str().context("a path in UTF-8")?;
        orchctl(story.env(), &["secret", "set", name, "--file", file]).await?.ok()?;
    }
    story.project_create("shop", RepoSource::Empty).await?;
    let text = Bytes(vision().into_bytes());
    story.submit(Request::VisionSubmit { project: Ref::from("shop"), file_name: "vision.md".into(), text }).await?;
    Ok(server)
}

pub(crate) async fn planning(story: &Story) -> anyhow::Result<PlanningView> {
    story.project("shop").await?.planning.context("a model was asked")
}

/// Waits until the planning that is under way is over.
pub(crate) async fn ended(story: &Story) -> anyhow::Result<PlanningView> {
    let ended = async || Ok(Some(planning(story).await?).filter(|planning| !planning.is_open()));
    poll::until("the end of a planning", ended).await
}

pub(crate) async fn ask_for_requirements(story: &Story) -> anyhow::Result<()> {
    let project = Ref::from("shop");
    story.submit(Request::RequirementsPropose { project, vision: None, planner: Planner::Configured }).await?;
    Ok(())
}

pub(crate) async fn approve_requirements(story: &Story) -> anyhow::Result<()> {
    let found = story.requirements("shop").await?;
    story
        .submit(Request::RequirementsDecide {
            project: Ref::from("shop"),
            version: Some(found.version),
            decision: Decision::Approve,
            digest: Some(found.digest),
            reason: None,
        })
        .await?;
    Ok(())
}

pub(crate) fn asked(server: &ModelServer) -> Vec<String> {
    server.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect()
}

pub(crate) async fn events(story: &Story, kind: &str) -> anyhow::Result<Vec<EventView>> {
    Ok(story.events().await?.into_iter().filter(|event| event.kind == kind).collect())
}

#[test]
fn a_model_of_ollama_plans_to_an_approved_plan() -> anyhow::Result<()> {
    plans("ollama")
}

#[test]
fn a_model_of_openai_plans_to_an_approved_plan() -> anyhow::Result<()> {
    plans("openai")
}

#[test]
fn a_model_of_anthropic_plans_to_an_approved_plan() -> anyhow::Result<()> {
    plans("anthropic")
}

/// Requirements and a plan of a model go the same way as those of the rules; a plan with a cycle is mended at the second try.
fn plans(api: &str) -> anyhow::Result<()> {
    story(&format!("a model of {api} plans"), Setup::NoRuns, async |story| {
        let turns = vec![say(&plan(&["find-notes"])), say(&plan(&[]))];
        let server = begin(story, api, script(vec![say(&requirements())], turns).require_key(KEY)).await?;
        let shown = orchctl(story.env(), &["-p", "shop", "req", "propose", "--wait"]).await?.ok()?;
        ensure!(shown.contains("the planner is asked"), "{shown}");
        let found = story.requirements("shop").await?;
        ensure!(found.title == "Notes of a team" && found.requirements.len() == 2, "{found:#?}");
        ensure!(found.reason == "derived from Vision version 1 by `scripted`", "{}", found.reason);
        ensure!(found.requirements[1].lines == Some((8, 8)), "what the rules know of it stays: {found:#?}");
        approve_requirements(story).await?;
        orchctl(story.env(), &["-p", "shop", "plan", "propose", "--wait"]).await?.ok()?;
        let proposed = story.plan("shop").await?;
        let keys: Vec<&str> = proposed.nodes.iter().map(|node| node.key.as_str()).collect();
        ensure!(keys.contains(&"write-notes") && keys.contains(&"find-notes"), "{keys:?}");
        ensure!(proposed.reason.ends_with("by `scripted`, mended once"), "{}", proposed.reason);
        let over = planning(story).await?;
        ensure!(over.state == PlanningState::Proposed && over.refused.len() == 1, "{over:#?}");
        ensure!((over.exchanges, over.input_tokens, over.output_tokens) == (2, 1_000, 200), "{over:#?}");
        let bodies = asked(&server);
        ensure!(bodies.len() == 3 && bodies[2].contains("tasks need each other"), "{bodies:#?}");
        ensure!(!bodies.iter().any(|body| body.contains(SECRET)), "a secret left: {bodies:#?}");
        // Each is on record with both digests, and both texts are kept.
        let answers = events(story, "project.planning_model_answered").await?;
        ensure!(answers.len() == 3 && answers.iter().all(|event| event.text.contains("complete")), "{answers:#?}");
        story.plan_approve(&proposed).await?;
        let tasks = story.tasks("shop").await?;
        ensure!(tasks.iter().any(|task| task.title == "Do find-notes"), "{tasks:#?}");
        Ok(())
    })
}

#[test]
fn prose_three_times_and_the_rules_take_its_place() -> anyhow::Result<()> {
    story("a model answers prose", Setup::NoRuns, async |story| {
        let server = begin(story, "ollama", script(vec![Turn::say(PROSE); 3], Vec::new())).await?;
        ask_for_requirements(story).await?;
        let over = ended(story).await?;
        let PlanningState::Ruled { reason } = &over.state else { anyhow::bail!("{over:#?}") };
        ensure!(reason.contains("none of 3 answers of `scripted` can be used"), "{reason}");
        ensure!(reason.contains("is not JSON") && server.requests().len() == 3, "{reason}");
        let found = story.requirements("shop").await?;
        ensure!(found.requirements.len() == 2 && found.warnings[0].contains(reason), "{found:#?}");
        ensure!(found.reason.contains("by the rules") && found.state == orch_proto::view::DocumentState::Proposed);
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(
            shown.contains("the rules took its place") && shown.contains("refused     the answer is not JSON"),
            "{shown}"
        );
        // What nobody said is asked, and the answer counts the next time.
        let questions = orchctl(story.env(), &["-p", "shop", "question", "list", "-o", "name"]).await?.ok()?;
        let question = questions.lines().next().context("a question about the Vision")?;
        answer(story.env(), question, &[("timeline", "by May")]).await?.ok()?;
        orchctl(story.env(), &["-p", "shop", "req", "propose", "--rules"]).await?.ok()?;
        let found = story.requirements("shop").await?;
        let constraints: Vec<&str> = found.constraints.iter().map(|statement| statement.text.as_str()).collect();
        ensure!(constraints.contains(&"timeline, as answered: by May"), "{constraints:?}");
        ask_for_requirements(story).await?;
        ended(story).await?;
        ensure!(asked(&server)[3].contains("timeline: by May"), "{:#?}", asked(&server));
        Ok(())
    })
}

/// A model that is not there is no reason to go without one, if another is named.
#[test]
fn another_model_takes_its_place() -> anyhow::Result<()> {
    story("a planner falls back", Setup::NoRuns, async |story| {
        let turn = say(&requirements()).status(404).times(1);
        let server = begin(story, "ollama", script(vec![turn], Vec::new())).await?;
        story.stop().await?;
        let file = story.env().path("orchd.toml");
        let config = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{config}fallback = \"small\"\n"))?;
        story.start().await?;
        ask_for_requirements(story).await?;
        let over = ended(story).await?;
        ensure!(over.state == PlanningState::Proposed && over.model == "small", "{over:#?}");
        let found = story.requirements("shop").await?;
        ensure!(found.reason.contains("by `small` in the place of `scripted`"), "{}", found.reason);
        ensure!(asked(&server)[1].contains("\"small\""), "{:#?}", asked(&server));
        Ok(())
    })
}

#[test]
fn a_server_that_fails_or_is_not_there_does_not_hold_up_planning() -> anyhow::Result<()> {
    story("a planner's server fails", Setup::NoRuns, async |story| {
        let turn = Turn::say(PROSE).status(400).times(1);
        let endless = say(&requirements()).huge(6 << 20);
        let server = begin(
            story,
            "openai",
            Script::new([]).when_asked("endless", vec![endless]).when_asked("The vision stands", vec![turn]),
        )
        .await?;
        ask_for_requirements(story).await?;
        let over = ended(story).await?;
        let PlanningState::Ruled { reason } = &over.state else { anyhow::bail!("{over:#?}") };
        ensure!(reason.contains("answered 400"), "{reason}");
        let text = Bytes(format!("{}\n- FR-3: Notes are endless.\n", vision().trim_end()).into_bytes());
        story.submit(Request::VisionSubmit { project: Ref::from("shop"), file_name: "vision.md".into(), text }).await?;
        ask_for_requirements(story).await?;
        let over = ended(story).await?;
        let PlanningState::Ruled { reason } = &over.state else { anyhow::bail!("{over:#?}") };
        ensure!(reason.contains("answer is too long"), "{reason}");
        drop(server);
        ask_for_requirements(story).await?;
        let over = ended(story).await?;
        let PlanningState::Ruled { reason } = &over.state else { anyhow::bail!("{over:#?}") };
        ensure!(reason.contains("gave no answer"), "{reason}");
        Ok(())
    })
}

/// What was under way is on record as unknown, and asked once more; nothing is paid for twice without that being seen.
#[test]
fn a_daemon_that_is_killed_while_a_model_thinks_goes_on() -> anyhow::Result<()> {
    story("a daemon is killed while a model thinks", Setup::NoRuns, async |story| {
        let turn = say(&requirements()).hold().times(1);
        let server = begin(story, "ollama", script(vec![turn], Vec::new())).await?;
        ask_for_requirements(story).await?;
        server.until(|requests| requests.len() == 1).await;
        let open = planning(story).await?;
        ensure!(open.is_open() && (open.exchanges, open.waiting) == (1, 1), "{open:#?}");
        story.kill9().await?;
        story.start().await?;
        let over = ended(story).await?;
        ensure!(over.state == PlanningState::Proposed && (over.exchanges, over.lost) == (2, 1), "{over:#?}");
        ensure!(over.is_estimate && server.requests().len() == 2, "{over:#?}");
        let found = story.requirements("shop").await?;
        ensure!(found.reason.contains("1 requests lost with a daemon"), "{}", found.reason);
        let answers = events(story, "project.planning_model_answered").await?;
        ensure!(answers[0].text.contains("is unknown"), "{answers:#?}");
        Ok(())
    })
}

#[test]
fn a_person_ends_what_a_model_thinks_about() -> anyhow::Result<()> {
    story("a planning is cancelled", Setup::NoRuns, async |story| {
        let server = begin(story, "ollama", script(vec![say(&requirements()).hold()], Vec::new())).await?;
        ask_for_requirements(story).await?;
        server.until(|requests| requests.len() == 1).await;
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(
            shown.contains("scripted of scripted is asked") && shown.contains("one waits for its answer"),
            "{shown}"
        );
        let status = orchctl(story.env(), &["status"]).await?;
        ensure!(format!("{status:?}").contains("`scripted` plans since"), "{status:?}");
        orchctl(story.env(), &["-p", "shop", "plan", "cancel", "--reason", "too slow"]).await?.ok()?;
        let over = ended(story).await?;
        ensure!(over.state == PlanningState::Cancelled { reason: "too slow".into() }, "{over:#?}");
        let closed = async || Ok(Some(planning(story).await?).filter(|planning| planning.waiting == 0));
        let closed = poll::until("the end of its request", closed).await?;
        ensure!(closed.is_estimate && closed.input_tokens > 0, "it may have been paid for: {closed:#?}");
        let versions = story.project("shop").await?.requirements_version;
        ensure!(versions.is_none(), "nothing is proposed: {versions:?}");
        Ok(())
    })
}

#[test]
fn budgets_hold_for_the_planner_and_without_one_the_rules_plan_at_once() -> anyhow::Result<()> {
    story("a planner has spent its budget", Setup::NoRuns, async |story| {
        let server = begin(story, "ollama", script(vec![say(&requirements())], vec![say(&plan(&[]))])).await?;
        orchctl(story.env(), &["project", "budget", "shop", "--tokens", "500", "--per", "day"]).await?.ok()?;
        ask_for_requirements(story).await?;
        ended(story).await?;
        approve_requirements(story).await?;
        let project = Ref::from("shop");
        story.submit(Request::PlanPropose { project: project.clone(), planner: Planner::Configured }).await?;
        let over = ended(story).await?;
        let PlanningState::Ruled { reason } = &over.state else { anyhow::bail!("{over:#?}") };
        ensure!(reason.contains("600 of 500 tokens") && server.requests().len() == 1, "{reason}");
        let view: ProjectView = story.project("shop").await?;
        ensure!(view.budgets.iter().any(|budget| budget.question.is_some()), "a person is asked: {view:#?}");
        // Without the section nothing is asked of anybody.
        story.stop().await?;
        std::fs::write(story.env().path("orchd.toml"), "")?;
        story.start().await?;
        let accepted = story.submit(Request::PlanPropose { project, planner: Planner::Configured }).await?;
        ensure!(accepted.touched.iter().any(|touched| touched.kind == orch_proto::EntityKind::Plan), "{accepted:#?}");
        let by_hand = Planner::Model { name: "big".into() };
        let request = Request::PlanPropose { project: Ref::from("shop"), planner: by_hand };
        story.refused(ErrorCode::Conflict, request).await?;
        Ok(())
    })
}

/// Only the log names them: a backup has what passed between the planner and its model, a check reads it and takes it for no orphan,
/// and misses nothing when it was kept for long enough.
#[test]
fn what_passed_between_the_planner_and_its_model_is_backed_up_and_checked() -> anyhow::Result<()> {
    story("texts of a planner in a backup", Setup::NoRuns, async |story| {
        let _server = begin(story, "ollama", script(vec![say(&requirements())], vec![say(&plan(&[]))])).await?;
        let before = blobs(story)?;
        ask_for_requirements(story).await?;
        ended(story).await?;
        let texts: Vec<PathBuf> = blobs(story)?.difference(&before).cloned().collect();
        ensure!(texts.len() == 2, "a request and an answer are kept: {texts:?}");
        let backup = story.env().path("backup");
        orchctl(story.env(), &["backup", backup.to_str().context("a path in UTF-8")?]).await?.ok()?;
        for text in &texts {
            ensure!(backup.join(text).is_file(), "{} is not in the backup", text.display());
        }
        let text = story.env().state().join(&texts[0]);
        std::fs::write(&text, "something else")?;
        let said = orchctl(story.env(), &["daemon", "check"]).await?.failed(1)?;
        ensure!(said.contains("not as it should be"), "{said}");
        std::fs::remove_file(&text)?;
        let checked = orchctl(story.env(), &["daemon", "check"]).await?.ok()?;
        ensure!(!checked.contains("orphan") && !checked.contains("missing"), "{checked}");
        // Without a daemon nothing is too young to be an orphan.
        story.stop().await?;
        let mut offline = story.env().command(story.env().programs().orchd);
        offline.arg("--state-dir").arg(story.env().state()).arg("check");
        let checked = output(offline).await?.ok()?;
        ensure!(!checked.contains("orphan: blobs") && !checked.contains("WRONG"), "{checked}");
        story.start().await
    })
}

/// Where all blobs lie in the state directory.
fn blobs(story: &Story) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut places = BTreeSet::new();
    for folder in std::fs::read_dir(story.env().state().join("blobs/sha256"))? {
        for entry in std::fs::read_dir(folder?.path())? {
            places.insert(entry?.path().strip_prefix(story.env().state())?.to_owned());
        }
    }
    Ok(places)
}
