//! A project is taken out of use in the middle of its work: everything of it ends, nothing of it merges afterwards.

use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{ChangeState, ProjectState, RunPurpose, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::client::{retry, task_request};
use orch_tests::command_line::orchctl;
use orch_tests::repository::git;
use orch_tests::{Setup, Story, poll, processes};

use crate::crashes::nothing_left;
use crate::kills::{COUNTS, counting, release, shim_pid};
use crate::merge_queue::{gate_number, held, parts_project};
use crate::steering::needing;
use crate::{approvals, story};

#[test]
fn everything_of_an_archived_project_ends() -> anyhow::Result<()> {
    story("archive", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let asks = story.task_create("shop", "Asks", approvals::PROTECTED).await?;
        let asked = approvals::asked(story).await?;
        let checked = story.task_create("shop", "Is checked", &held("echo 1 > parts/slow")).await?;
        release(&counting(story, &checked).await?, story).await?;
        let gate = gate_number(story, 2).await?;
        let works = story.task_create("shop", "Works", COUNTS).await?;
        let waits = needing(story, &works).await?;
        let run = counting(story, &works).await?;
        story.log_line(&run.name, "line 3").await?;
        let mut alive = processes::tree(shim_pid(&run)?)?;
        alive.extend(processes::tree(shim_pid(&gate)?)?);
        orchctl(story.env(), &["project", "archive", "shop"]).await?.ok()?;
        for task in [&asks, &checked, &works, &waits] {
            let found = story.task(task).await?;
            ensure!(found.state == TaskState::Cancelled, "{found:#?}");
        }
        all_over(story).await?;
        for process in alive {
            let gone = poll::until("its end", async || Ok((!processes::lives(process.pid)).then_some(()))).await;
            gone.with_context(|| format!("{process:?} lives"))?;
        }
        nothing_left(story).await?;
        // Nor does anything begin again with the next daemon, or because somebody wants it to.
        story.kill9().await?;
        story.start().await?;
        all_over(story).await?;
        let runs = story.runs("shop").await?.len();
        let late = story.decide(&asked, Decision::Approve).await.err().context("a void question was answered")?;
        ensure!(late.code == ErrorCode::Conflict, "{late}");
        story.refused(ErrorCode::Conflict, task_request("shop", "New", COUNTS)).await?;
        story.refused(ErrorCode::Conflict, retry(Ref(works))).await?;
        story.project_create("other", RepoSource::Empty).await?;
        let elsewhere = story.task_create("other", "Elsewhere", "steps: ['echo 1 > one']").await?;
        story.task_in(&elsewhere, TaskState::Done).await?;
        ensure!(story.project("shop").await?.state == ProjectState::Archived, "it stays archived");
        ensure!(story.runs("shop").await?.len() == runs, "something was begun");
        let head = git(story.env(), Path::new(&project.repository), &["rev-parse", "main"]).await?;
        ensure!(Some(head) == project.head, "something was merged");
        Ok(())
    })
}

/// No run is under way, no change is open, nobody is asked.
async fn all_over(story: &Story) -> anyhow::Result<()> {
    let ended = story.wait_until("the end of all runs", async |client| {
        let runs = client.runs("shop").await?;
        Ok(runs.iter().all(|run| run.state.is_final()).then_some(runs))
    });
    let runs = ended.await?;
    ensure!(runs.iter().any(|run| run.purpose != RunPurpose::Work), "gates are runs, too");
    let changes = story.changes("shop").await?;
    ensure!(changes.len() == 2 && changes.iter().all(|change| change.state == ChangeState::Closed), "{changes:#?}");
    ensure!(story.approvals_pending("shop").await?.is_empty(), "somebody is still asked");
    Ok(())
}
