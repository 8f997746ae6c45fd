//! What must hold when a scenario is over, however often the daemon was killed: nothing is lost, nothing was done twice,
//! nothing is left.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::view::{ChangeState, RunState, RunView, TaskState};
use orch_tests::command_line::output;
use orch_tests::repository::git;
use orch_tests::{Client, Daemon, Story, poll};

use crate::scenario::{LAST, PIECES, PROJECT, Piece};
use crate::site::{Dies, Site};

/// Judges a scenario that is over, with its daemon up.
pub(crate) async fn of(site: &Site<'_>) -> anyhow::Result<()> {
    let story = site.story();
    ensure!(story.status().await?.seq >= site.answered, "an answered event is gone");
    let tasks = story.tasks(PROJECT).await?;
    let pieces: Vec<&Piece> = PIECES.iter().chain([&LAST]).collect();
    ensure!(tasks.len() == pieces.len(), "one task of each piece: {tasks:#?}");
    let runs = story.runs(PROJECT).await?;
    let mut changed = Vec::new();
    for piece in &pieces {
        let task = tasks.iter().find(|task| task.title == piece.title).context("every piece is there")?;
        let end = if piece.file.is_some() { TaskState::Done } else { TaskState::Cancelled };
        ensure!(task.state == end, "{task:#?}");
        let of_task: Vec<&RunView> = runs.iter().filter(|run| run.task == task.id).collect();
        attempts(piece, &of_task, site.dies())?;
        for run in of_task.iter().filter(|run| run.state == RunState::Succeeded) {
            let said = story.stdout(&run.id.to_string(), 1).await?;
            ensure!(said == b"did\n", "{} did not do it once: {:?}", run.name, String::from_utf8_lossy(&said));
        }
        changed.extend(piece.file);
    }
    ended_once(story, &runs).await?;
    merged_once(story, &changed).await?;
    removed_once(site, &runs).await?;
    workspaces_gone(site, &runs).await
}

/// The attempts of a piece: as many failures as it has, then its end; between them only what was lost with its processes.
fn attempts(piece: &Piece, runs: &[&RunView], dies: Dies) -> anyhow::Result<()> {
    let mut states: Vec<&RunState> = runs.iter().map(|run| &run.state).collect();
    let lost = states.iter().filter(|state| ***state == RunState::Lost).count();
    ensure!(dies == Dies::WithAll || lost == 0, "a run was lost that nobody killed: {runs:#?}");
    states.retain(|state| **state != RunState::Lost);
    let end = if piece.file.is_some() { RunState::Succeeded } else { RunState::Cancelled };
    ensure!(states.pop() == Some(&end) || piece.file.is_none() && states.is_empty(), "{runs:#?}");
    let failed = |state: &&RunState| matches!(state, RunState::Failed { class, .. } if class == "task");
    // The first attempt is the one that fails, and it may be one of those that were lost.
    let fails = states.len() == piece.failures || lost > 0 && states.is_empty();
    ensure!(fails && states.iter().all(failed), "{runs:#?}");
    Ok(())
}

/// Every run has one end in the record, and at no time had a task two that were under way.
async fn ended_once(client: &Client, runs: &[RunView]) -> anyhow::Result<()> {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for event in client.events().await?.into_iter().filter(|event| event.kind == "run.ended") {
        *ends.entry(event.subject).or_default() += 1;
    }
    ensure!(ends.len() == runs.len() && ends.values().all(|count| *count == 1), "{ends:#?}");
    for (index, run) in runs.iter().enumerate() {
        let of_same = runs[index + 1..].iter().find(|later| later.task == run.task && later.purpose == run.purpose);
        let (ended, begun) = (run.finished_at, of_same.map(|later| later.queued_at));
        ensure!(begun.is_none_or(|begun| ended.is_some_and(|ended| ended <= begun)), "two at once: {runs:#?}");
    }
    Ok(())
}

/// Files of runs are gone where the record says so, and nowhere else; it says once that they go, and once that they are gone.
async fn removed_once(site: &Site<'_>, runs: &[RunView]) -> anyhow::Result<()> {
    let events = site.story().events().await?;
    for run in runs.iter().filter(|run| run.state == RunState::Succeeded) {
        let directory = site.state().join("runs").join(run.id.to_string());
        let told = |kind: &str| events.iter().filter(|event| event.kind == kind && event.subject == run.name).count();
        let is_removed = run.removed.iter().any(|removed| removed.part == "files");
        ensure!(is_removed != directory.join("exit.json").exists(), "{run:#?}");
        let times = usize::from(is_removed);
        ensure!((told("run.removing"), told("run.removed")) == (times, times), "{run:#?}");
        ensure!(directory.join("log").exists(), "its log is to be kept: {run:#?}");
    }
    Ok(())
}

/// Each change is one commit of the branch with one line in its file, and no commit is of anything else.
async fn merged_once(story: &Story, files: &[&str]) -> anyhow::Result<()> {
    let project = story.project(PROJECT).await?;
    let bare = Path::new(&project.repository);
    let log = git(story.env(), bare, &["log", "--format=%H", "main"]).await?;
    let changes = story.changes(PROJECT).await?;
    let merged = changes.iter().filter_map(|change| match &change.state {
        ChangeState::Merged { commit } => Some(commit.as_str()),
        _ => None,
    });
    let merged: Vec<&str> = merged.collect();
    ensure!(merged.len() == files.len() && changes.len() == files.len(), "one change of each: {changes:#?}");
    ensure!(log.lines().count() == files.len() + 1, "one commit of each beside the first:\n{log}");
    ensure!(merged.iter().all(|commit| log.lines().filter(|line| line == commit).count() == 1), "{log}\n{merged:?}");
    for file in files {
        let lines = git(story.env(), bare, &["show", &format!("main:{file}")]).await?;
        ensure!(lines == "1", "`{file}` was not written once: {lines}");
    }
    Ok(())
}

/// Of runs that are over there is a workspace only where nobody took the work in.
async fn workspaces_gone(site: &Site<'_>, runs: &[RunView]) -> anyhow::Result<()> {
    let (workspaces, runs_on_disk) = (site.state().join("workspaces"), site.state().join("runs"));
    let left = || -> Vec<String> {
        let is_kept = |run: &&RunView| run.state == RunState::Succeeded;
        let of =
            |run: &RunView| [workspaces.join(run.id.to_string()), runs_on_disk.join(run.id.to_string()).join("out")];
        let paths = runs.iter().filter(is_kept).flat_map(of);
        let own = ["drafts", "trash"].map(|name| std::fs::read_dir(workspaces.join(name)));
        let own = own.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
        paths.filter(|path| path.exists()).chain(own).map(|path| path.display().to_string()).collect()
    };
    let gone = poll::until("the end of all workspaces", async || Ok(left().is_empty().then_some(())));
    gone.await.with_context(|| format!("left: {:#?}", left()))
}

/// Judges a state that no daemon uses any more: it is whole, and has nothing that nobody needs but blobs that were
/// written before the event that would have named them.
pub(crate) async fn of_state(story: &Story, state: &Path) -> anyhow::Result<()> {
    let mut check = Daemon::command_on(story.env(), state);
    check.arg("check");
    let said = output(check).await?.ok()?;
    let orphans: Vec<&str> = said.lines().filter(|line| line.starts_with("orphan: ")).collect();
    let unexplained: Vec<&&str> = orphans.iter().filter(|line| !line.contains("orphan: blobs/sha256")).collect();
    ensure!(unexplained.is_empty() && !said.contains("WRONG"), "{said}");
    nothing_outside(story)
}

/// No mount of this host leads into the story.
fn nothing_outside(story: &Story) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let root = story.env().root().to_string_lossy();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(root.as_ref())).collect();
    ensure!(left.is_empty(), "mounts are left: {left:#?}");
    Ok(())
}
