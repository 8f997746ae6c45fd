//! Agents that plan: they look at the repository, change nothing of it, and what they answer is judged like a model's answer.
//!
//! Codex where it is installed, and scripts in its place for what it would not do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::{Bytes, Planner, RepoSource, Request};
use orch_proto::view::{PlanningState, PlanningView};
use orch_proto::{ErrorCode, Ref};
use orch_tests::command_line::orchctl;
use orch_tests::model_server::{Misbehave as _, ModelServer, Script, Turn};
use orch_tests::repository::commit_all;
use orch_tests::{Setup, Story, agents, poll};

use crate::planner::{
    KEY, SECRET, approve_requirements, ask_for_requirements, asked, ended, events, plan, planning, requirements, say,
    script, vision,
};
use crate::story;

/// Looks at the repository as an agent does, and does what it is told not to.
const LOOK: &str = "cat README.md; git log --format=%s; pwd; echo x >> README.md; touch new; mv .git gone; \
                    echo x > /scratch/x && echo \"it wrote $(cat /scratch/x) there\"";

/// In the place of Codex: what it is asked about says what it does.
const WRONG: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in -o) out=$2; shift 2 ;; --output-schema) schema=$2; shift 2 ;; *) shift ;; esac; done
prompt=$(cat)
grep -q '"acceptance"' "$schema" || exit 9
case "$prompt" in
*"Write prose"*"ends before"*) ;;
*"Write prose"*"is not JSON"*) printf '{"title": "half' > "$out" ;;
*"Write prose"*) echo 'Great question! I would begin with a clean architecture.' > "$out" ;;
*"Point elsewhere"*) ln -s /etc/passwd "$out" ;;
*"Fail"*) printf 'no such \033[2Jmodel\n' >&2; exit 3 ;;
*"Sleep"*) echo asleep; exec sleep 1000000 ;;
*"Spend"*) exec python3 -c 'import urllib.request
for _ in range(9):
    body = b"{\"model\": \"m\", \"store\": false, \"input\": \"x\"}"
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:4141/v1/responses", body, headers)).read()
' ;;
esac
"#;

/// A daemon whose planner is an agent, and a project with a repository and a Vision.
async fn begin(story: &mut Story, program: &Path, url: &str) -> anyhow::Result<()> {
    story.stop().await?;
    let program = program.display();
    let config = format!(
        "[models.scripted]\napi = \"openai\"\nurl = \"{url}\"\nkey = \"model-key\"\n\
         [agents.coder]\nkind = \"codex\"\nmodels = \"scripted\"\nmodel = \"some-model\"\nprogram = \"{program}\"\n\
         [planner]\nagent = \"coder\"\n"
    );
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await?;
    for (name, value) in [("model-key", KEY), ("of-a-server", SECRET)] {
        let file = story.env().path(name);
        std::fs::write(&file, value)?;
        let file = file.to_str().context("a path in UTF-8")?;
        orchctl(story.env(), &["secret", "set", name, "--file", file]).await?.ok()?;
    }
    let source = story.env().path("notes");
    std::fs::create_dir_all(&source)?;
    std::fs::write(source.join("README.md"), "A server of notes, in Rust since 2019.\n")?;
    commit_all(story.env(), &source).await?;
    let path = source.to_str().context("a path in UTF-8")?.to_owned();
    story.project_create("shop", RepoSource::Import { path }).await?;
    submit(story, &vision()).await
}

async fn submit(story: &Story, text: &str) -> anyhow::Result<()> {
    let text = Bytes(text.as_bytes().to_vec());
    story.submit(Request::VisionSubmit { project: Ref::from("shop"), file_name: "vision.md".into(), text }).await?;
    Ok(())
}

/// The same with Codex and a scripted server; none where that is not installed.
async fn begin_codex(story: &mut Story, script: Script) -> anyhow::Result<Option<ModelServer>> {
    let program = match agents::program("codex") {
        Ok(program) => program,
        Err(missing) => return missing.holds().map(|_| None),
    };
    let server = ModelServer::start(script).await?;
    begin(story, &program, &format!("http://{}", server.address())).await?;
    Ok(Some(server))
}

/// The same with a script in the place of Codex.
async fn begin_wrong(story: &mut Story, url: &str) -> anyhow::Result<()> {
    let program = story.env().path("wrong-planner");
    std::fs::write(&program, WRONG)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    begin(story, &program, url).await
}

/// What the rules said who took the place of an agent that was to do this.
async fn ruled(story: &Story, what: &str) -> anyhow::Result<(PlanningView, String)> {
    submit(story, &format!("# Notes\n\n## Requirements\n\n- FR-1: {what}.\n")).await?;
    ask_for_requirements(story).await?;
    let over = ended(story).await?;
    let PlanningState::Ruled { reason } = over.state.clone() else { anyhow::bail!("{what}: {over:#?}") };
    let found = story.requirements("shop").await?;
    ensure!(found.warnings[0].contains(&reason), "{found:#?}");
    Ok((over, reason))
}

/// Nothing is left of plannings that are over.
async fn nothing_left(story: &Story) -> anyhow::Result<()> {
    let place = story.env().state().join("plannings");
    let empty = async || Ok(std::fs::read_dir(&place)?.next().is_none().then_some(()));
    poll::until("what plannings leave", empty).await
}

#[test]
fn codex_looks_at_the_repository_and_plans_to_an_approved_plan() -> anyhow::Result<()> {
    story("codex plans", Setup::Runs, async |story| {
        let of_requirements = vec![Turn::run(LOOK).usage(500, 100), say(&requirements())];
        // Each try is a new program, which is told what was wrong.
        let script = Script::new([])
            .when_asked("tasks need each other", vec![say(&plan(&[]))])
            .when_asked("Capabilities:", vec![say(&plan(&["find-notes"]))])
            .when_asked("The vision stands", of_requirements)
            .require_key(KEY);
        let Some(server) = begin_codex(story, script).await? else { return Ok(()) };
        let shown = orchctl(story.env(), &["-p", "shop", "req", "propose", "--wait"]).await?.ok()?;
        ensure!(shown.contains("the planner is asked"), "{shown}");
        let found = story.requirements("shop").await?;
        ensure!(found.reason == "derived from Vision version 1 by the agent `coder`", "{}", found.reason);
        ensure!(found.title == "Notes of a team" && found.requirements[1].lines == Some((8, 8)), "{found:#?}");
        let bodies = asked(&server);
        ensure!(bodies.len() == 2 && bodies[0].contains("You are in the repository"), "{bodies:#?}");
        // None of these words is in what it was told to run, which is sent along.
        for seen in ["in Rust since 2019", "as it was", "Read-only file system", "it wrote x there"] {
            ensure!(bodies[1].contains(seen), "`{seen}` is not what it saw: {}", bodies[1]);
        }
        ensure!(!bodies.iter().any(|body| body.contains(SECRET)), "a secret left");
        let over = planning(story).await?;
        ensure!(over.agent.as_deref() == Some("coder") && (over.turns, over.lost) == (1, 0), "{over:#?}");
        ensure!((over.exchanges, over.input_tokens, over.output_tokens) == (2, 1_000, 200), "{over:#?}");
        approve_requirements(story).await?;
        orchctl(story.env(), &["-p", "shop", "plan", "propose", "--agent", "coder", "--wait"]).await?.ok()?;
        let proposed = story.plan("shop").await?;
        ensure!(proposed.reason.ends_with("by the agent `coder`, mended once"), "{}", proposed.reason);
        let bodies = asked(&server);
        ensure!(bodies.len() == 4 && bodies[3].contains("tasks need each other"), "{bodies:#?}");
        story.plan_approve(&proposed).await?;
        let started = events(story, "project.planning_agent_started").await?;
        ensure!(started.len() == 3 && events(story, "project.planning_agent_ended").await?.len() == 3, "{started:#?}");
        nothing_left(story).await
    })
}

/// The agent is the same one, which has its answer by way of the next daemon.
#[test]
fn an_agent_that_plans_goes_on_when_the_daemon_is_killed() -> anyhow::Result<()> {
    story("a daemon is killed while an agent plans", Setup::Runs, async |story| {
        let turns = vec![Turn::run("ls").usage(500, 100), say(&requirements()).hold().times(1)];
        let Some(server) = begin_codex(story, script(turns, Vec::new())).await? else { return Ok(()) };
        ask_for_requirements(story).await?;
        server.until(|requests| requests.len() == 2).await;
        let open = planning(story).await?;
        ensure!(open.is_open() && open.at_work_since.is_some() && open.waiting == 1, "{open:#?}");
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(shown.contains("the agent coder with some-model of scripted is asked"), "{shown}");
        story.kill9().await?;
        story.start().await?;
        let over = ended(story).await?;
        ensure!(over.state == PlanningState::Proposed && (over.turns, over.lost) == (1, 0), "{over:#?}");
        ensure!(over.exchanges == 3 && over.is_estimate && over.waiting == 0, "{over:#?}");
        let answers = events(story, "project.planning_model_answered").await?;
        ensure!(answers.iter().filter(|event| event.text.contains("is unknown")).count() == 1, "{answers:#?}");
        ensure!(server.requests().len() == 3, "it asked once more");
        nothing_left(story).await
    })
}

#[test]
fn an_agent_that_plans_badly_has_the_rules_in_its_place() -> anyhow::Result<()> {
    story("agents that plan badly", Setup::Runs, async |story| {
        begin_wrong(story, "http://127.0.0.1:9").await?;
        let (over, reason) = ruled(story, "Write prose").await?;
        ensure!(reason.contains("none of 3 answers of the agent `coder` can be used"), "{reason}");
        ensure!(over.turns == 3 && over.refused.len() == 3 && over.exchanges == 0, "{over:#?}");
        ensure!(over.refused[1].contains("ends before"), "each is told what was wrong: {over:#?}");
        let (over, reason) = ruled(story, "Point elsewhere").await?;
        ensure!(reason.contains("its answer cannot be read") && over.turns == 1, "{reason}");
        let (_, reason) = ruled(story, "Fail").await?;
        ensure!(reason.contains("no such") && reason.contains("model") && !reason.contains('\u{1b}'), "{reason}");
        nothing_left(story).await?;
        // One that cannot plan is not asked.
        for name in ["nobody", "big"] {
            let planner = Planner::Agent { name: name.into() };
            let request = Request::RequirementsPropose { project: Ref::from("shop"), vision: None, planner };
            story.refused(ErrorCode::Conflict, request).await?;
        }
        let by_model = Planner::Model { name: "big".into() };
        let request = Request::RequirementsPropose { project: Ref::from("shop"), vision: None, planner: by_model };
        story.refused(ErrorCode::Conflict, request).await?;
        // What is not there any more is not waited for.
        std::fs::remove_file(story.env().path("wrong-planner"))?;
        let (over, reason) = ruled(story, "Nothing").await?;
        ensure!(reason.contains("was not asked") && reason.contains("cannot be started"), "{reason}");
        ensure!(over.turns == 0, "{over:#?}");
        let checked = orchctl(story.env(), &["doctor"]).await?;
        ensure!(format!("{checked:?}").contains("until then the rules plan"), "{checked:?}");
        Ok(())
    })
}

#[test]
fn an_agent_that_plans_is_ended_by_a_person_and_by_a_budget() -> anyhow::Result<()> {
    story("an agent that plans is ended", Setup::Runs, async |story| {
        let server = ModelServer::start(Script::new([Turn::say("x").usage(200, 100)]).endless()).await?;
        begin_wrong(story, &format!("http://{}", server.address())).await?;
        submit(story, "# Notes\n\n## Requirements\n\n- FR-1: Sleep.\n").await?;
        ask_for_requirements(story).await?;
        let at_work = async || Ok(planning(story).await?.at_work_since);
        poll::until("an agent at work", at_work).await?;
        // Stopped, the daemon leaves it at work, and the next one ends it.
        story.stop().await?;
        story.start().await?;
        ensure!(planning(story).await?.turns == 1, "it goes on");
        orchctl(story.env(), &["-p", "shop", "plan", "cancel", "--reason", "too slow"]).await?.ok()?;
        let over = async || Ok(Some(planning(story).await?).filter(|planning| planning.at_work_since.is_none()));
        let over = poll::until("its end", over).await?;
        ensure!(over.state == PlanningState::Cancelled { reason: "too slow".into() }, "{over:#?}");
        let ends = events(story, "project.planning_agent_ended").await?;
        ensure!(ends.iter().any(|event| event.text.contains("was stopped")), "{ends:#?}");
        nothing_left(story).await?;
        orchctl(story.env(), &["project", "budget", "shop", "--tokens", "500", "--per", "day"]).await?.ok()?;
        let (over, reason) = ruled(story, "Spend").await?;
        ensure!(reason.contains("600 of 500 tokens") && over.exchanges == 2, "{reason}");
        ensure!(server.requests().len() == 2 && over.waiting == 0, "{over:#?}");
        let project = story.project("shop").await?;
        ensure!(project.budgets.iter().any(|budget| budget.question.is_some()), "a person is asked: {project:#?}");
        Ok(())
    })
}
