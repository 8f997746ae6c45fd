//! A person steers work that is under way: ends it, holds it, puts it first, mends it and has it tried again.

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, Dependency, RepoSource, Request};
use orch_proto::view::{ChangeState, Condition, RunState, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::client::{retry, task_request};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story, poll, processes};

use crate::kills::{COUNTS, counting, release, shim_pid};
use crate::{approvals, story};

/// Does not want to end, and leaves somebody in the background who does not want to either.
const STUBBORN: &str = "
steps:
  - name: stay
    run: |
      trap '' TERM INT HUP
      (setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 0.1; done' &)
      echo ready
      while :; do sleep 0.1; done
";

/// The day (UTC) that a project's runs are counted for.
pub(crate) fn day(at: orch_proto::Timestamp) -> i64 {
    at.unix_us().div_euclid(24 * 60 * 60 * 1_000_000)
}

/// A project that has used its day up waits and says so; a person can give it more.
#[test]
fn a_project_starts_no_more_runs_in_a_day_than_it_may() -> anyhow::Result<()> {
    story("a quota", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        orchctl(story.env(), &["project", "set", "shop", "--runs-per-day", "1", "--weight", "3"]).await?.ok()?;
        let first = story.task_create("shop", "First", "steps: [echo first]").await?;
        story.task_in(&first, TaskState::Done).await?;
        let second = story.task_create("shop", "Second", "steps: [echo second]").await?;
        let waits = story.task(&second).await?.waits;
        let run = story.runs("shop").await?.into_iter().next().context("the first has run")?;
        if day(run.queued_at) == day(story.status().await?.now) {
            ensure!(waits.iter().any(|wait| wait.code == "quota" && wait.text.contains("1 of the 1")), "{waits:#?}");
        }
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(shown.contains("weight 3, any number of runs at once, 1 a day"), "{shown}");
        // Also after a restart, which reads what was started today.
        story.kill9().await?;
        story.start().await?;
        orchctl(story.env(), &["project", "set", "shop", "--runs-per-day", "0"]).await?.ok()?;
        story.task_in(&second, TaskState::Done).await?;
        Ok(())
    })
}

#[test]
fn a_cancelled_task_leaves_nothing_and_who_needs_it_says_so() -> anyhow::Result<()> {
    story("cancel", Setup::Runs, async |story| {
        let begun = story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Stubborn", STUBBORN).await?;
        let next = needing(story, &task).await?;
        let run = counting(story, &task).await?;
        story.log_line(&run.name, "ready").await?;
        let tree = processes::tree(shim_pid(&run)?)?;
        ensure!(tree.len() >= 4, "a shim, an init, and two that stay: {tree:#?}");
        orchctl(story.env(), &["task", "cancel", &task, "--reason", "not needed"]).await?.ok()?;
        ensure!(story.task(&task).await?.state == TaskState::Cancelled, "at once");
        let over = story.wait_until("the end of the run", async |client| {
            Ok(client.runs("shop").await?.pop().filter(|run| run.state.is_final()))
        });
        let over = over.await?;
        ensure!(over.state == RunState::Cancelled && over.attempt == 1, "{over:#?}");
        for process in tree {
            poll::until("its end", async || Ok((!processes::lives(process.pid)).then_some(())))
                .await
                .with_context(|| format!("{process:?} lives"))?;
        }
        let workspace = story.env().state().join("workspaces").join(run.id.to_string());
        ensure!(workspace.exists(), "nobody took its work in, so it is kept");
        // Who needs it waits, and says for what and what can be done.
        let waiting = story.task(&next).await?;
        let wait = waiting.waits.first().context("a reason")?;
        ensure!((waiting.state, waiting.attempts) == (TaskState::Approved, 0), "{waiting:#?}");
        ensure!(wait.code == "dependency" && wait.text.contains("T-1, which is cancelled"), "{wait:?}");
        let why = orchctl(story.env(), &["task", "why", &next]).await?.ok()?;
        ensure!(why.contains(&wait.text) && why.contains("task retry"), "{why}");
        orchctl(story.env(), &["task", "unlink", &next, &task]).await?.ok()?;
        story.task_in(&next, TaskState::Done).await?;
        ensure!(story.project("shop").await?.head == begun.head, "nothing of it was merged");
        Ok(())
    })
}

#[test]
fn held_tasks_stay_and_urgent_ones_go_first() -> anyhow::Result<()> {
    story("hold and prioritize", Setup::Runs, async |story| {
        story.stop().await?;
        std::fs::write(story.env().path("orchd.toml"), "[limits]\nruns_max = 1\n")?;
        story.start().await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let first = story.task_create("shop", "First", COUNTS).await?;
        let run = counting(story, &first).await?;
        let why = orchctl(story.env(), &["task", "why", &first]).await?.ok()?;
        ensure!(why.contains("R-1 was started by: priority 5; 0 of its project running"), "{why}");
        let mut rest = Vec::new();
        for title in ["Held", "Usual", "Urgent"] {
            rest.push(story.task_create("shop", title, "steps: ['true']").await?);
        }
        let [held, usual, urgent] = &rest[..] else { anyhow::bail!("three") };
        orchctl(story.env(), &["task", "hold", held, "--reason", "let it lie"]).await?.ok()?;
        orchctl(story.env(), &["task", "prioritize", urgent, "9"]).await?.ok()?;
        let waiting = story.task(usual).await?;
        ensure!(waiting.waits.iter().any(|wait| wait.code == "capacity"), "{waiting:#?}");
        release(&run, story).await?;
        for task in [usual, urgent] {
            story.task_in(task, TaskState::Done).await?;
        }
        let lying = story.task(held).await?;
        ensure!((lying.state, lying.attempts) == (TaskState::Paused, 0), "{lying:#?}");
        ensure!(lying.waits.iter().any(|wait| wait.code == "held" && wait.text.contains("let it lie")), "{lying:#?}");
        orchctl(story.env(), &["task", "release", held]).await?.ok()?;
        story.task_in(held, TaskState::Done).await?;
        let order: Vec<String> = story.runs("shop").await?.into_iter().map(|run| run.task_title).collect();
        ensure!(order == ["First", "Urgent", "Usual", "Held"], "{order:?}");
        Ok(())
    })
}

#[test]
fn a_failed_task_is_mended_and_tried_again() -> anyhow::Result<()> {
    story("retry", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let broken = "steps: ['echo no >&2; exit 3']\nretries: {max_retries: 0}\n";
        let task = story.task_create("shop", "Broken", broken).await?;
        let next = needing(story, &task).await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        ensure!(failed.last_failure.as_deref().is_some_and(|why| why.contains('3')), "{failed:#?}");
        // As it is, it fails again, and its retry says so to a script.
        let arguments = ["task", "retry", &task, "--wait"];
        orchctl(story.env(), &arguments).await?.failed(1)?;
        ensure!(story.task(&task).await?.attempts == 2, "one attempt each time");
        let waits = story.task(&next).await?.waits;
        ensure!(waits.iter().any(|wait| wait.text.contains("which is failed")), "{waits:?}");
        std::fs::write(story.env().path("mended.yaml"), COUNTS)?;
        orchctl(story.env(), &["task", "edit", &task, "--recipe", "mended.yaml"]).await?.ok()?;
        story.submit(retry(Ref(task.clone()))).await?;
        let run = counting(story, &task).await?;
        // What is under way is not changed under its hands, nor tried again.
        let said = orchctl(story.env(), &["task", "edit", &task, "--recipe", "mended.yaml", "--accept", "x"]).await?;
        let said = said.failed(i32::from(ErrorCode::Conflict.exit_code()))?;
        ensure!(said.contains("E_CONFLICT") && said.contains("hint"), "{said}");
        story.refused(ErrorCode::Conflict, retry(Ref(task.clone()))).await?;
        release(&run, story).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 3, "{done:#?}");
        story.task_in(&next, TaskState::Done).await?;
        let states: Vec<RunState> = story.runs("shop").await?.into_iter().map(|run| run.state).collect();
        let failed = |state: &RunState| matches!(state, RunState::Failed { class, .. } if class == "task");
        ensure!(states.len() == 4 && states[..2].iter().all(failed), "{states:?}");
        Ok(())
    })
}

#[test]
fn a_closed_change_is_not_merged_any_more() -> anyhow::Result<()> {
    story("close", Setup::Runs, async |story| {
        let begun = story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Workflow", approvals::PROTECTED).await?;
        let asked = approvals::asked(story).await?;
        let change = story.changes("shop").await?.pop().context("a change")?;
        orchctl(story.env(), &["change", "close", &change.name, "--reason", "not this way"]).await?.ok()?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        ensure!(failed.last_failure.as_deref().is_some_and(|why| why.contains("not this way")), "{failed:#?}");
        // What was asked is void: an answer that comes late changes nothing.
        ensure!(story.approvals_pending("shop").await?.is_empty(), "nobody is asked any more");
        let late = story.decide(&asked, Decision::Approve).await.err().context("a void question was answered")?;
        ensure!(late.code == ErrorCode::Conflict, "{late}");
        let closed = story.changes("shop").await?.pop().context("a change")?;
        ensure!(closed.state == ChangeState::Closed, "{closed:#?}");
        // What comes after it in the queue merges.
        let next = story.task_create("shop", "Next", "steps: ['echo next > next.txt']").await?;
        let done = story.task_in(&next, TaskState::Done).await?;
        let bare = story.project("shop").await?.repository;
        let log = orch_tests::repository::git(story.env(), bare.as_ref(), &["log", "--format=%H", "main"]).await?;
        ensure!(log.lines().eq([done.commit, begun.head].iter().flatten()), "{log}");
        Ok(())
    })
}

/// A task that waits for another one.
pub(crate) async fn needing(story: &Story, needed: &str) -> anyhow::Result<String> {
    let mut request = task_request("shop", "Next", "steps: ['true']");
    if let Request::TaskCreate { depends_on, .. } = &mut request {
        depends_on.push(Dependency { task: Ref::from(needed), condition: Condition::Done });
    }
    let accepted = story.submit(request).await?;
    Ok(accepted.touched.first().context("a name")?.name.clone())
}
