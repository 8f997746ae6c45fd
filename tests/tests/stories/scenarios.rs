//! The scenarios of the control plane's first description, as scripts of `orchctl`, and what became of them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::view::{TaskState, TaskView};
use orch_proto::{ErrorCode, Timestamp};
use orch_tests::client::{short, task_request};
use orch_tests::command_line::{orchctl, script};
use orch_tests::repository::git;
use orch_tests::{Setup, Story};

use crate::story;

/// The recipe of scenario B as it was written: tools, but nothing to do with them.
const TOOLS_ONLY: &str = "
tools:
  - name: awscli
    version: 2.15.0
    env: { AWS_DEFAULT_REGION: us-east-1 }
    network: true
  - name: opentofu
    version: 1.7.0
    network: false
";

#[test]
fn scenario_a_builds_tests_and_deploys_two_services() -> anyhow::Result<()> {
    story("scenario A", Setup::Runs, async |story| {
        let said = script(story.env(), &path("scenario_a.sh")).await?.ok()?;
        let last = said.lines().last().context("it has said something")?;
        ensure!(last == "Starting deploy:prod", "not only the lines that were asked for:\n{said}");
        let tasks = story.tasks("shop-platform").await?;
        ensure!(tasks.len() == 7 && tasks.iter().all(|task| task.state == TaskState::Done), "{tasks:#?}");
        let integration = named(&tasks, "integration:test")?;
        ensure!(integration.depends_on.len() == 2, "one task with two edges: {integration:#?}");
        let runs = story.runs("shop-platform").await?;
        ensure!(runs.len() == 7, "{runs:#?}");
        for task in &tasks {
            let run = runs.iter().find(|run| run.task == task.id).context("a run")?;
            for needed in &task.depends_on {
                let needed = tasks.iter().find(|task| task.name.ends_with(&format!("/{}", short(needed))));
                let needed = needed.context("what it waits for")?;
                ensure!(run.started_at > Some(needed.since), "{} began before {} was done", task.title, needed.title);
            }
        }
        let approvals = story.events().await?.into_iter().filter(|event| event.kind == "approval.granted").count();
        ensure!(approvals == 2, "{approvals} approvals");
        let bare = PathBuf::from(story.project("shop-platform").await?.repository);
        let files = git(story.env(), &bare, &["ls-tree", "--name-only", "main", "done/"]).await?;
        ensure!(files.lines().count() == 7, "{files}");
        Ok(())
    })
}

#[test]
fn scenario_b_plans_infrastructure_and_applies_it_when_approved() -> anyhow::Result<()> {
    story("scenario B", Setup::Runs, async |story| {
        let said = script(story.env(), &path("scenario_b.sh")).await?.ok()?;
        ensure!(said.contains("planned: 1 to add in prod") && said.contains("applying: 1 to add in prod"), "{said}");
        let tasks = story.tasks("infra").await?;
        let (plan, apply) = (named(&tasks, "tofu:plan")?, named(&tasks, "tofu:apply")?);
        let granted = granted_at(story).await?;
        let began = story.runs("infra").await?.iter().find(|run| run.task == apply.id).and_then(|run| run.started_at);
        ensure!(plan.since < granted && Some(granted) < began, "{:?} {granted:?} {began:?}", plan.since);
        // The recipe of the description has tools and no steps. An agent would have to find them; nothing is guessed
        // from the title.
        let refusal = story.refused(ErrorCode::Recipe, task_request("infra", "tofu:plan", TOOLS_ONLY)).await?;
        ensure!(refusal.message.contains("no steps") && refusal.hint.is_some(), "{refusal:?}");
        std::fs::write(story.env().path("tools.yaml"), TOOLS_ONLY)?;
        let create = ["task", "create", "tofu:plan", "--recipe", "tools.yaml", "--capability", "infra", "--queue"];
        orchctl(story.env(), &create).await?.ok()?;
        let tasks = story.tasks("infra").await?;
        let waits = &tasks.last().context("the task")?.waits;
        ensure!(waits.iter().any(|wait| wait.code == "agent" && wait.text.contains("infra")), "{waits:?}");
        Ok(())
    })
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn named<'t>(tasks: &'t [TaskView], title: &str) -> anyhow::Result<&'t TaskView> {
    tasks.iter().find(|task| task.title == title).with_context(|| format!("there is no {title}"))
}

async fn granted_at(story: &Story) -> anyhow::Result<Timestamp> {
    let events = story.events().await?;
    Ok(events.iter().find(|event| event.kind == "approval.granted").context("an approval")?.at)
}
