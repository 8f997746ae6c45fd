//! What the daemon says of time follows from the log: a restart, which reads it anew, says the same.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{EtaBasis, StatsView, TaskState};
use orch_tests::Setup;
use orch_tests::command_line::orchctl;
use serde_json::Value;

use crate::steering::needing;
use crate::story;

#[test]
fn statistics_and_estimates_follow_from_the_log() -> anyhow::Result<()> {
    story("metrics", Setup::Runs, async |story| {
        let empty = orchctl(story.env(), &["stats"]).await?.ok()?;
        ensure!(empty.contains("no history yet"), "{empty}");
        story.project_create("shop", RepoSource::Empty).await?;
        let recipe = "steps: [echo same]";
        for title in ["One", "Two", "Three"] {
            let task = story.task_create("shop", title, recipe).await?;
            story.task_in(&task, TaskState::Done).await?;
        }
        let failing = story.task_create("shop", "Fails", "steps: ['false']\nretries: {max_retries: 1}").await?;
        story.task_in(&failing, TaskState::Failed).await?;
        // Waits for what failed, so nothing more happens.
        let held = needing(story, &failing).await?;

        let stats = numbers(story.env()).await?;
        ensure!(stats.reading.is_none() && stats.since.is_some(), "{stats:#?}");
        ensure!((stats.succeeded, stats.attempts) >= (3, 4), "{stats:#?}");
        let day = stats.by_hour.iter().fold((0, 0), |sum, count| (sum.0 + count.done, sum.1 + count.failed));
        ensure!(day == (3, 1), "{stats:#?}");
        let failed = stats.failures.iter().find(|failure| failure.class == "task").context("a failure")?;
        ensure!(failed.given_up == 1 && failed.failures == failed.retried + 1, "{stats:#?}");
        let queued = stats.queued.context("waits")?;
        ensure!(queued.count >= 4 && queued.p50_ms <= queued.p90_ms, "{queued:?}");
        // Three like it were done, so the fourth is known.
        let eta = story.task(&held).await?.eta.context("an estimate")?;
        ensure!(eta.basis == EtaBasis::LikeInProject && eta.samples == 3 && eta.elapsed_ms.is_none(), "{eta:?}");
        ensure!(eta.p50_ms > 0 && eta.p50_ms <= eta.p90_ms, "{eta:?}");
        let said = orchctl(story.env(), &["task", "eta", &held]).await?.ok()?;
        ensure!(said.contains("p50-p90 of 3 like tasks of the project"), "{said}");

        story.kill9().await?;
        story.start().await?;
        // What is open may have moved on with the restart, nothing has here.
        let again = numbers(story.env()).await?;
        ensure!(StatsView { now: again.now, ..stats.clone() } == again, "{stats:#?}\n{again:#?}");
        ensure!(story.task(&held).await?.eta == Some(eta));
        Ok(())
    })
}

/// What `orchctl` says to a program, once the history was read.
async fn numbers(env: &orch_tests::Env) -> anyhow::Result<StatsView> {
    orch_tests::poll::until("the whole history", async || {
        let mut said: Value = serde_json::from_str(&orchctl(env, &["stats", "-o", "json"]).await?.ok()?)?;
        if let Value::Object(fields) = &mut said {
            fields.retain(|name, _| name != "kind" && name != "apiVersion");
        }
        let stats: StatsView = serde_json::from_value(said)?;
        Ok(Some(stats).filter(|stats| stats.reading.is_none()))
    })
    .await
}
