//! Runs that cannot be seen any more, or do not prove to be the one: another attempt begins when nothing of them lives, and
//! never before.

use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, RunView, TaskState};
use orch_tests::{Setup, Story, poll, processes};

use crate::kills::{COUNTS, counting, release, shim_pid};
use crate::story;

/// Leases that are over soon.
const SHORT: &str = "[leases]\nrun_seconds = 1\nlost_seconds = 16\n";

/// Works for longer than a lease lasts once it may.
const SLOW: &str = "
steps:
  - name: count
    run: |
      i=0
      while [ ! -e \"go-$ORCH_TASK\" ]; do i=$((i + 1)); echo \"line $i\"; sleep 0.05; done
      while [ $i -lt 10000 ]; do i=$((i + 250)); sleep 0.1; done
retries:
  max_retries: 0
";

/// A daemon with this configuration, and the first run of a task, under way.
async fn under_way(story: &mut Story, config: &str, recipe: &str) -> anyhow::Result<(String, RunView)> {
    story.stop().await?;
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await?;
    story.project_create("shop", RepoSource::Empty).await?;
    let task = story.task_create("shop", "Count", recipe).await?;
    let first = counting(story, &task).await?;
    story.log_line(&first.name, "line 3").await?;
    Ok((task, first))
}

/// Takes the directory of a run away; where it is now.
fn take_away(story: &Story, run: &RunView) -> anyhow::Result<()> {
    Ok(std::fs::rename(&run.directory, story.env().path("away"))?)
}

/// Another attempt does the work, and nothing of the first lived when it began. Why the first was lost.
async fn done_by_another(story: &Story, task: &str, first: &RunView, shim: i32) -> anyhow::Result<String> {
    let second = story.wait_until("another attempt", async |client| {
        let mut runs = client.runs("shop").await?.into_iter();
        Ok(runs.find(|run| run.id != first.id))
    });
    let second = second.await?;
    ensure!(processes::tree(shim)?.is_empty(), "the first attempt lives, and there is another");
    ensure!(second.fence > first.fence, "a later attempt has a later fence");
    let second = counting_again(story, &second).await?;
    let why = story.task(task).await?.last_failure.context("why")?;
    release(&second, story).await?;
    // No retry is allowed: a loss is none.
    let done = story.task_in(task, TaskState::Done).await?;
    ensure!(done.attempts == 2, "{done:#?}");
    let first = story.runs("shop").await?.into_iter().find(|run| run.id == first.id).context("it is known")?;
    ensure!(first.state == RunState::Lost, "{first:#?}");
    Ok(why)
}

async fn counting_again(story: &Story, run: &RunView) -> anyhow::Result<RunView> {
    let runs = story.wait_until("the run", async |client| {
        let mut runs = client.runs("shop").await?.into_iter();
        Ok(runs.find(|other| other.id == run.id && other.state == RunState::Running))
    });
    runs.await
}

#[test]
fn a_run_whose_directory_is_taken_away_is_not_begun_again_beside_itself() -> anyhow::Result<()> {
    story("a directory taken away", Setup::Runs, async |story| {
        let (task, first) = under_way(story, SHORT, COUNTS).await?;
        let shim = shim_pid(&first)?;
        take_away(story, &first)?;
        // Its process is known, so its end is seen at once.
        let why = done_by_another(story, &task, &first, shim).await?;
        ensure!(why.contains("its directory was taken away, and its processes are gone"), "{why}");
        Ok(())
    })
}

/// The next daemon knows nothing of the first attempt but that it began.
#[test]
fn a_daemon_that_finds_no_directory_waits_until_nothing_can_live() -> anyhow::Result<()> {
    story("a directory taken away meanwhile", Setup::Runs, async |story| {
        let (task, first) = under_way(story, SHORT, COUNTS).await?;
        let shim = shim_pid(&first)?;
        story.kill9().await?;
        take_away(story, &first)?;
        story.start().await?;
        let why = done_by_another(story, &task, &first, shim).await?;
        ensure!(why.contains("nothing was seen of it for 16 s"), "{why}");
        Ok(())
    })
}

/// Who is stopped cannot even end what it has started: it is ended itself, and then there is another attempt.
#[test]
fn a_shim_that_stands_still_is_ended_before_another_attempt_begins() -> anyhow::Result<()> {
    story("a shim that stands still", Setup::Runs, async |story| {
        let (task, first) = under_way(story, SHORT, COUNTS).await?;
        let shim = shim_pid(&first)?;
        processes::stop(shim)?;
        let why = done_by_another(story, &task, &first, shim).await?;
        ensure!(why.contains("left no result"), "{why}");
        Ok(())
    })
}

/// The zombie: it goes on after it stood still for longer than it may, and leaves nothing that counts.
#[test]
fn a_shim_that_goes_on_too_late_ends_its_run() -> anyhow::Result<()> {
    story("a zombie", Setup::Runs, async |story| {
        let (task, first) = under_way(story, SHORT, SLOW).await?;
        let shim = shim_pid(&first)?;
        story.kill9().await?;
        processes::stop(shim)?;
        release(&first, story).await?;
        poll::until("the end of its work", async || {
            let inside = processes::children(shim)?.into_iter().flat_map(|init| processes::children(init.pid));
            Ok(inside.flatten().next().is_none().then_some(()))
        })
        .await?;
        let record = Path::new(&first.directory).join("exit.json");
        processes::go_on(shim)?;
        poll::until("its end", async || Ok(processes::tree(shim)?.is_empty().then_some(()))).await?;
        ensure!(!record.exists(), "it has left a record");
        story.start().await?;
        let why = done_by_another(story, &task, &first, shim).await?;
        ensure!(why.contains("its lease could not be renewed for 1 s: its shim did not run"), "{why}");
        Ok(())
    })
}

#[test]
fn a_run_ends_without_a_daemon_only_when_somebody_wants_it_so() -> anyhow::Result<()> {
    story("no daemon for long", Setup::Runs, async |story| {
        let (task, first) = under_way(story, "[leases]\nrun_seconds = 1\norphan_seconds = 3\n", COUNTS).await?;
        let shim = shim_pid(&first)?;
        story.kill9().await?;
        poll::until("its end", async || Ok(processes::tree(shim)?.is_empty().then_some(()))).await?;
        story.start().await?;
        let why = done_by_another(story, &task, &first, shim).await?;
        ensure!(why.contains("nobody was there to take its result for 3 s"), "{why}");
        Ok(())
    })
}
