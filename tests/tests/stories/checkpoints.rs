//! Checkpoints: what an interrupted attempt did and kept is not done again, unless what decides it has changed.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, RunView, StepState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story, processes};

use crate::kills::{release, shim_pid};
use crate::story;

/// The first step counts how often it runs; the second waits to be let go, and looks whether all is there.
fn recipe(command: &str) -> String {
    format!(
        "steps:\n- name: fetch\n  run: |\n    {command}\n    mkdir -p build/empty; echo built-by-$ORCH_RUN >build/object; echo build/ >.gitignore\n    \
         ln -s build/object link\n  checkpoint: true\n- name: test\n  run: |\n    cat build/object; test -d build/empty && test -L link\n    \
         echo ready; while ! [ -e go-$ORCH_TASK ]; do sleep 0.05; done; rm go-$ORCH_TASK\n"
    )
}

async fn attempt(story: &Story, number: u32) -> anyhow::Result<RunView> {
    let found = story.wait_until("an attempt that waits", async |client| {
        let run = client.runs("shop").await?.into_iter().find(|run| run.attempt == number);
        Ok(run
            .filter(|run| run.state == RunState::Running && run.steps.iter().any(|it| it.state == StepState::Running)))
    });
    let run = found.await?;
    story.log_line(&run.name, "ready").await?;
    story
        .wait_until("its state", async |client| Ok(client.runs("shop").await?.into_iter().find(|it| it.id == run.id)))
        .await
}

fn step<'r>(run: &'r RunView, name: &str) -> anyhow::Result<(usize, &'r orch_proto::view::StepView)> {
    run.steps.iter().enumerate().find(|(_, step)| step.name == name).with_context(|| format!("{name} of {run:#?}"))
}

#[test]
fn what_an_interrupted_attempt_kept_is_not_done_again() -> anyhow::Result<()> {
    story("a checkpoint", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.hand_in("Build", &recipe("echo fetched"), &[]).await?;
        let first = attempt(story, 1).await?;
        processes::kill9(shim_pid(&first)?)?;
        let second = attempt(story, 2).await?;
        ensure!(step(&second, "fetch")?.1.state == StepState::Kept, "{second:#?}");
        ensure!(second.resumed.as_deref().is_some_and(|from| from.starts_with("R-1, checkpoint 1")), "{second:#?}");
        let (index, _) = step(&second, "test")?;
        let said = story.stdout(&second.name, u32::try_from(index)?).await?;
        ensure!(String::from_utf8_lossy(&said).contains("built-by-R-1"), "{}", String::from_utf8_lossy(&said));
        // The daemon goes, and with it the run: the one after it still goes on from the first.
        story.kill9().await?;
        processes::kill9(shim_pid(&second)?)?;
        story.start().await?;
        let third = attempt(story, 3).await?;
        ensure!(third.resumed == second.resumed, "{third:#?}");
        release(&third, story).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 3, "{done:#?}");
        let shown = orchctl(story.env(), &["run", "get", "R-3"]).await?.ok()?;
        ensure!(shown.contains("from R-1, checkpoint 1") && shown.contains("kept"), "{shown}");
        let said = orchctl(story.env(), &["audit", "list", "--project", "shop"]).await?.ok()?;
        ensure!(
            said.contains("goes on from step 3 of R-1") && said.contains("its workspace after step 3 is kept as"),
            "{said}"
        );
        let fetched = story.events().await?.iter().filter(|event| event.kind == "run.kept").count();
        ensure!(fetched == 1, "kept {fetched} times");
        Ok(())
    })
}

#[test]
fn with_another_recipe_or_base_an_attempt_begins_anew() -> anyhow::Result<()> {
    story("other inputs", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.hand_in("Build", &recipe("echo fetched"), &[]).await?;
        let first = attempt(story, 1).await?;
        // Another task moves the branch before the next attempt.
        let other = story.hand_in("Other", "steps: ['echo other >other']", &[]).await?;
        story.task_in(&other, TaskState::Done).await?;
        processes::kill9(shim_pid(&first)?)?;
        let second = story
            .wait_until("another attempt", async |client| {
                let runs = client.runs("shop").await?;
                Ok(runs
                    .into_iter()
                    .find(|run| run.task_title == "Build" && run.attempt == 2 && run.state == RunState::Running))
            })
            .await?;
        story.log_line(&second.name, "ready").await?;
        let second = story.wait_until("it", async |client| {
            Ok(client.runs("shop").await?.into_iter().find(|run| run.id == second.id))
        });
        let second = second.await?;
        ensure!(second.resumed.is_none() && step(&second, "fetch")?.1.state == StepState::Succeeded, "{second:#?}");
        release(&second, story).await?;
        story.task_in(&task, TaskState::Done).await?;
        let bad = "steps: [{run: a, checkpoint: true}]\ncheckout: false\n";
        let refused = story.hand_in("Bad", bad, &[]).await.err().context("it is refused")?;
        ensure!(refused.to_string().contains("without a checkout there is no git"), "{refused}");
        Ok(())
    })
}
