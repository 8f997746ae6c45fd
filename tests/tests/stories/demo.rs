//! The main job through the service: a Vision becomes merged, tested changes.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{ChangeState, DocumentState, RunPurpose, RunState, RunView, TaskState};
use orch_proto::{EntityKind, Timestamp};
use orch_tests::repository::git;
use orch_tests::{Setup, Story, tell};

use crate::story;

const VISION: &str = include_str!("../../../recipes/planner/demo-vision.md");

#[test]
fn a_vision_becomes_merged_and_tested_changes() -> anyhow::Result<()> {
    story("the main job", Setup::Runs, async |story| {
        let project = story.project_create("shop", RepoSource::Empty).await?;
        let (requirements, plan) = story.plan_from("shop", VISION.as_bytes()).await?;
        ensure!(requirements.requirements.len() >= 16, "{} requirements", requirements.requirements.len());
        ensure!(story.requirements("shop").await?.state == DocumentState::Approved, "approved as shown");
        ensure!(story.tasks("shop").await?.is_empty(), "nothing is made before the plan is approved");
        story.plan_approve(&plan).await?;
        let protected = answer_until_done(story).await?;
        ensure!(!protected.is_empty(), "no change of a protected path was asked about");
        let runs = story.runs("shop").await?;
        ensure!(most_at_once(&runs) >= 2, "no two tasks ran at the same time");
        failed_once_and_was_retried(story, &runs).await?;
        gated_and_merged(story, &runs).await?;
        let repository = std::path::Path::new(&project.repository);
        git(story.env(), repository, &["fsck", "--strict", "--no-dangling"]).await?;
        let log = git(story.env(), repository, &["log", "--format=%H %s", "main"]).await?;
        let commits: BTreeSet<&str> = log.lines().filter_map(|line| line.split(' ').next()).collect();
        // Each task is one commit, on top of the one with which the project began.
        ensure!(commits.len() == plan.nodes.len() + 1, "{} tasks, but main is\n{log}", plan.nodes.len());
        for requirement in &requirements.requirements {
            let trace = story.trace("shop", &requirement.key).await?;
            let merged = trace.tasks.iter().filter_map(|task| task.commit.as_deref());
            ensure!(merged.clone().count() > 0, "{} reaches no commit: {trace:#?}", requirement.key);
            ensure!(merged.clone().all(|commit| commits.contains(commit)), "{trace:#?}\n{log}");
        }
        Ok(())
    })
}

/// Approves what is asked until all tasks are done. Gives the protected paths that were asked about.
async fn answer_until_done(story: &Story) -> anyhow::Result<BTreeSet<String>> {
    let mut protected = BTreeSet::new();
    loop {
        let waiting = story
            .wait_until("the tasks, or an approval", async |client| {
                let waiting = client.approvals_pending("shop").await?;
                let tasks = client.tasks("shop").await?;
                if let Some(failed) = tasks.iter().find(|task| task.state == TaskState::Failed) {
                    anyhow::bail!("{failed:#?}");
                }
                let over = tasks.iter().all(|task| task.state == TaskState::Done);
                Ok((over || !waiting.is_empty()).then_some(waiting))
            })
            .await?;
        if waiting.is_empty() {
            return Ok(protected);
        }
        for approval in waiting {
            ensure!(approval.subject_kind == EntityKind::Change, "{approval:#?}");
            let changes = story.changes("shop").await?;
            let change = changes.iter().find(|change| change.approval == Some(approval.id));
            let change = change.context("the change that is asked about")?;
            ensure!(!matches!(change.state, ChangeState::Queued | ChangeState::Merged { .. }), "{change:#?}");
            protected.extend(change.protected.iter().cloned());
            story.decide(&approval, Decision::Approve).await?;
        }
    }
}

/// Most runs that were under way at the same time, gates not counted.
fn most_at_once(runs: &[RunView]) -> usize {
    let work = || runs.iter().filter(|run| run.purpose == RunPurpose::Work);
    let under_way = |at: Timestamp| {
        work().filter(move |run| {
            run.started_at.is_some_and(|from| from <= at) && run.finished_at.is_some_and(|to| to > at)
        })
    };
    work().filter_map(|run| run.started_at).map(|at| under_way(at).count()).max().unwrap_or(0)
}

/// The Vision says that one task fails on purpose the first time.
async fn failed_once_and_was_retried(story: &Story, runs: &[RunView]) -> anyhow::Result<()> {
    let failed: Vec<&RunView> = runs.iter().filter(|run| matches!(run.state, RunState::Failed { .. })).collect();
    if failed.len() != 1 {
        for run in &failed {
            let bytes: Vec<u8> = story
                .log(&run.name)
                .await?
                .into_iter()
                .flat_map(|chunk| [chunk.bytes.0, b"\n".to_vec()].concat())
                .collect();
            tell(&format!("{} of {}:\n{}", run.name, run.task_title, String::from_utf8_lossy(&bytes)));
        }
    }
    ensure!(failed.len() == 1, "{failed:#?}");
    let task = story.task(&failed[0].task_name).await?;
    ensure!((task.state, task.attempts, failed[0].attempt) == (TaskState::Done, 2, 1), "{task:#?}");
    Ok(())
}

/// Every change was checked on the merged tree, and the gates of each succeeded in the end.
async fn gated_and_merged(story: &Story, runs: &[RunView]) -> anyhow::Result<()> {
    for change in story.changes("shop").await? {
        ensure!(matches!(change.state, ChangeState::Merged { .. }), "{change:#?}");
        let mut newest_first = runs.iter().rev();
        let last = newest_first.find(|run| run.purpose == RunPurpose::Gate { change: change.id });
        let last = last.with_context(|| format!("{} was merged without gates", change.name))?;
        ensure!(last.state == RunState::Succeeded, "{last:#?}");
    }
    Ok(())
}
