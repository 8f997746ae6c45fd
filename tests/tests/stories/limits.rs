//! What a run may use, and what people see of one that wants more.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, TaskState};
use orch_tests::Setup;
use orch_tests::command_line::orchctl;

use crate::story;

const CONFIG: &str = "[limits]\nruns_max = 2\n\n\
                      [run]\ntotal_memory_mb = 160\ntmp_mb = 512\ndisk_mb = 64\nidle_seconds = 8\n";

#[test]
fn who_wants_too_much_is_killed_and_told_why() -> anyhow::Result<()> {
    story("limits of a run", Setup::Runs, async |story| {
        story.stop().await?;
        std::fs::write(story.env().path("orchd.toml"), CONFIG)?;
        story.start().await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let cases = [
            (
                "Memory",
                "head -c 400000000 /dev/zero > /tmp/full; mkfifo never; cat never",
                "memory limit of 160 MiB exceeded",
            ),
            ("Disk", "head -c 200000000 /dev/zero > full; mkfifo never; cat never", "disk limit of 64 MiB exceeded"),
            ("Silence", "mkfifo never; cat never", "no output for 8 s"),
        ];
        for (title, script, reason) in cases {
            let spec = format!("steps: ['{script}']\nretries: {{max_retries: 0}}\n");
            let task = story.task_create("shop", title, &spec).await?;
            let failed = story.task_in(&task, TaskState::Failed).await?;
            ensure!(failed.last_failure.as_deref().is_some_and(|why| why.contains(reason)), "{failed:#?}");
            let runs = story.runs("shop").await?;
            let run = runs.iter().find(|run| run.task_title == title).context("it ran")?;
            let timed_out = run.state == RunState::TimedOut;
            ensure!(timed_out == (title == "Silence"), "{run:#?}");
            for command in if timed_out { &["logs"][..] } else { &["show", "logs"] } {
                let shown = orchctl(story.env(), &["run", command, &run.name]).await?.ok()?;
                ensure!(shown.contains(reason), "{shown}");
            }
        }
        Ok(())
    })
}
