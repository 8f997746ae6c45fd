//! Values of secrets where they lie: encrypted whatever was there before, worth nothing without the key, and in a backup that
//! takes them along as good as here.

use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::ErrorCode;
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::TaskState;
use orch_tests::command_line::{orchctl, output};
use orch_tests::{Daemon, Setup, Story};

use crate::channel::nowhere;
use crate::story;

const TOKEN: &str = "hunter2-of-an-earlier-version";
/// Prints a value so that it is seen to be the one.
const STEPS: &str =
    "steps:\n  - run: printf %s \"$TOKEN\" | rev\nsecrets: [{ name: token, env: TOKEN }]\ncheckout: false\n";

#[test]
fn values_of_an_earlier_version_are_encrypted_and_need_their_key() -> anyhow::Result<()> {
    story("secrets where they lie", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        story.stop().await?;
        let state = story.env().state();
        std::fs::write(state.join("secrets/token"), TOKEN)?;
        story.start().await?;
        nowhere(&state, &[TOKEN])?;
        is_given(story, "Here").await?;

        // Another key opens nothing, and nobody begins without having said so.
        story.stop().await?;
        let (key, away) = (state.join("keys/secrets.key"), story.env().path("away"));
        std::fs::rename(&key, &away)?;
        let said = output(Daemon::command(story.env())).await?;
        let said = said.failed(i32::from(ErrorCode::StateAccess.exit_code()))?;
        ensure!(said.contains("`token`") && said.contains("another key") && said.contains("hint"), "{said}");
        std::fs::write(&key, "no key\n")?;
        let said = output(Daemon::command(story.env())).await?;
        let said = said.failed(i32::from(ErrorCode::StateAccess.exit_code()))?;
        ensure!(said.contains("keys/secrets.key") && said.contains("hexadecimal"), "{said}");
        std::fs::rename(&away, &key)?;
        story.start().await?;

        let (backup, elsewhere) = (story.env().path("backup"), story.env().path("elsewhere"));
        orchctl(story.env(), &["backup", path(&backup)?, "--with-secrets"]).await?.ok()?;
        nowhere(&backup, &[TOKEN])?;
        story.stop().await?;
        let mut restore = story.env().command(story.env().programs().orchd);
        restore.arg("--state-dir").arg(&elsewhere).arg("restore").arg(&backup);
        let said = output(restore).await?.ok()?;
        ensure!(said.contains("secrets, with the key to them: 1"), "{said}");
        story.start_with(Daemon::command_on(story.env(), &elsewhere)).await?;
        is_given(story, "Elsewhere").await
    })
}

/// A run is given the value as it was.
async fn is_given(story: &Story, title: &str) -> anyhow::Result<()> {
    let task = story.task_create("shop", title, STEPS).await?;
    let approval = story.approvals_pending("shop").await?.pop().context("somebody is asked")?;
    story.decide(&approval, Decision::Approve).await?;
    story.task_in(&task, TaskState::Done).await?;
    let run = story.run_of(&task).await?;
    let said = String::from_utf8(story.stdout(&run.name, 0).await?)?;
    ensure!(said.trim() == TOKEN.chars().rev().collect::<String>(), "{said}");
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("paths of stories are text")
}
