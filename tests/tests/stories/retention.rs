//! Retention: what was kept for long enough goes, is on record before and after it does, and what it is needed for stays;
//! whenever the daemon is killed meanwhile.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use orch_proto::ErrorCode;
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{GcReport, RunView, TaskState, UpkeepRequest};
use orch_tests::command_line::{orchctl, output};
use orch_tests::repository::git;
use orch_tests::{Daemon, Env, Setup, Story, poll};

use crate::kills::{COUNTS, counting, release};
use crate::{approvals, story};

/// As soon as nothing speaks for it.
const AT_ONCE: &str = "\n[retention]\nruns_days = 0\nlogs_days = 0\nblobs_days = 0\nrefs_days = 0\n";
const MERGED: &str = "
steps:
  - run: echo \"$ORCH_TASK\" > \"$ORCH_TASK.txt\"
  - run: echo kept of a merge > kept.log
    artifacts: ['kept.log']
";
const LOOKED: &str = "
changes: discard
steps:
  - run: echo looked around
  - run: echo kept of a look > kept.log
    artifacts: ['kept.log']
";

#[test]
fn what_nobody_needs_goes_and_the_record_says_what_it_was() -> anyhow::Result<()> {
    story("retention", Setup::Runs, async |story| {
        let project = story.project_create("shop", RepoSource::Empty).await?;
        let merged = run_of(story, "Merged", MERGED, TaskState::Done).await?;
        let looked = run_of(story, "Looked", LOOKED, TaskState::Done).await?;
        let closed = story.task_create("shop", "Closed", approvals::PROTECTED).await?;
        approvals::asked(story).await?;
        let change = story.changes("shop").await?.pop().context("a change")?;
        orchctl(story.env(), &["change", "close", &change.name, "--reason", "not this way"]).await?.ok()?;
        story.task_in(&closed, TaskState::Failed).await?;
        let closed_run = story.run_of(&closed).await?;
        let waiting = story.task_create("shop", "Waiting", approvals::PROTECTED).await?;
        let asked = approvals::asked(story).await?;
        let waiting_run = story.run_of(&waiting).await?;
        let open = story.task_create("shop", "Under way", COUNTS).await?;
        let running = counting(story, &open).await?;
        // Nothing is old enough by the usual times.
        ensure!(gc(story.env(), &["--dry-run"]).await?.kinds.is_empty(), "all of it is young");
        start_with(story, AT_ONCE).await?;
        let state = story.env().state();
        let stray =
            stray_blob(&state, "blobs/sha256/ab/cdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd")?;
        age_blobs(&state)?;
        let before = story.status().await?.seq;
        let log = |run: &RunView| state.join("runs").join(run.id.to_string()).join("log");

        let dry = gc(story.env(), &["--dry-run"]).await?;
        ensure!(dry.dry_run && count(&dry, "log") == 2 && count(&dry, "blob") == 2, "{dry:#?}");
        ensure!(story.status().await?.seq == before && log(&looked).exists() && stray.exists(), "it is only said");
        let done = gc(story.env(), &["--yes"]).await?;
        ensure!(GcReport { dry_run: true, ..done.clone() } == dry, "{done:#?} is not {dry:#?}");
        // The one waits for a person, the other is to be proved.
        ensure!(done.in_use == 1 && done.evidence == 1, "{done:#?}");
        ensure!(!looked_dir(&state, &looked).exists() && !log(&closed_run).exists() && !stray.exists(), "it is gone");
        ensure!(log(&merged).exists() && log(&waiting_run).exists() && log(&running).exists(), "they stay");
        let refs = git(story.env(), Path::new(&project.repository), &["for-each-ref", "refs/orch/runs"]).await?;
        let has = |run: &RunView| refs.lines().any(|line| line.ends_with(&format!("/R-{}", run.number)));
        ensure!(has(&merged) && has(&waiting_run) && !has(&closed_run), "{refs}");
        story.decide(&asked, Decision::Approve).await?;
        story.task_in(&waiting, TaskState::Done).await?;
        let more = gc(story.env(), &["--yes"]).await?;
        ensure!(more.kinds.is_empty() && more.evidence == 2 && more.in_use == 0, "{more:#?}");

        told_what_it_was(story, &looked).await?;
        orchctl(story.env(), &["run", "logs", &merged.name]).await?.ok()?;
        let kept =
            orchctl(story.env(), &["run", "artifacts", &merged.name, "--save", "kept.log", "--to", "-"]).await?.ok()?;
        ensure!(kept == "kept of a merge\n", "{kept}");
        let recorded = std::fs::read_to_string(state.join("removed-blobs.jsonl"))?;
        ensure!(recorded.lines().count() == 1 && recorded.contains("abcdefabcdef"), "{recorded}");
        release(&running, story).await?;
        story.task_in(&open, TaskState::Done).await?;
        elsewhere(story, &looked).await
    })
}

/// Whoever asks for what is gone is told since when, by which setting, and what it was; so is the audit.
async fn told_what_it_was(story: &Story, run: &RunView) -> anyhow::Result<()> {
    let code = i32::from(ErrorCode::Removed.exit_code());
    for words in
        [vec!["run", "logs", &run.name], vec!["run", "artifacts", &run.name, "--save", "kept.log", "--to", "-"]]
    {
        let said = orchctl(story.env(), &words).await?.failed(code)?;
        ensure!(said.contains("E_REMOVED") && said.contains("was removed at") && said.contains("_days = 0"), "{said}");
    }
    let shown = orchctl(story.env(), &["run", "get", &run.name]).await?.ok()?;
    for part in ["removed     log at", "removed     files at", "removed     artifacts at"] {
        ensure!(shown.contains(part), "{shown}");
    }
    let events = story.events().await?;
    let of_run = |kind: &str| events.iter().find(|event| event.kind == kind && event.subject == run.name);
    let (intent, outcome) = (of_run("run.removing").context("an intent")?, of_run("run.removed").context("its end")?);
    ensure!(intent.seq < outcome.seq && intent.text.contains("`retention.logs_days = 0`"), "{intent:#?}");
    let checked = orchctl(story.env(), &["daemon", "check"]).await?.ok()?;
    ensure!(!checked.contains("orphan"), "what was removed is no damage, and nothing is left of it: {checked}");
    Ok(())
}

/// A backup has what there is, and is whole without what was removed; what is restored knows what that was.
async fn elsewhere(story: &mut Story, run: &RunView) -> anyhow::Result<()> {
    let backup = story.env().path("backup");
    let place = backup.to_str().context("paths of stories are text")?.to_owned();
    orchctl(story.env(), &["backup", &place]).await?.ok()?;
    let said = orchd(story.env(), &story.env().state(), &["verify-backup", &place]).await?;
    ensure!(said.contains("whole"), "{said}");
    story.stop().await?;
    let elsewhere = story.env().path("elsewhere");
    orchd(story.env(), &elsewhere, &["restore", &place]).await?;
    let checked = orchd(story.env(), &elsewhere, &["check"]).await?;
    ensure!(!checked.contains("WRONG") && !checked.contains("orphan"), "{checked}");
    let repair = orchd(story.env(), &elsewhere, &["repair"]).await?;
    ensure!(repair.contains("nothing to mend"), "a ref that was removed is not set again: {repair}");
    story.start_with(Daemon::command_on(story.env(), &elsewhere)).await?;
    let code = i32::from(ErrorCode::Removed.exit_code());
    orchctl(story.env(), &["run", "logs", &run.name]).await?.failed(code).map(drop)
}

/// At whatever moment it is killed, what is gone is on record, and what is on record goes.
#[test]
fn a_collection_that_is_killed_is_finished_by_the_next() -> anyhow::Result<()> {
    story("a killed collection", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let mut tasks = Vec::new();
        for number in 0..30 {
            let recipe = "checkout: false\nsteps: ['echo done > kept.log']";
            tasks.push(story.task_create("shop", &format!("Look {number}"), recipe).await?);
        }
        for task in &tasks {
            story.task_in(task, TaskState::Done).await?;
        }
        start_with(story, AT_ONCE).await?;
        let state = story.env().state();
        for kill in 0..6 {
            let seq = story.status().await?.seq;
            let request = UpkeepRequest::Gc { dry_run: false };
            story.wire().call(async |orch, context| orch.upkeep_start(context, request.clone()).await).await?;
            if kill % 2 == 1 {
                let begun = async || {
                    let work = story.wire().call(async |orch, context| orch.upkeep(context, 0, 0).await).await?;
                    let is_over = work.is_some_and(|work| work.outcome.is_some());
                    Ok((is_over || story.status().await?.seq > seq).then_some(()))
                };
                poll::until("the first step", begun).await?;
            }
            story.kill9().await?;
            story.start().await?;
            story.end_checks().await?;
            for run in story.runs("shop").await? {
                let directory = looked_dir(&state, &run);
                let is_removed = |part: &str| run.removed.iter().any(|removed| removed.part == part);
                ensure!(is_removed("log") || directory.join("log").exists(), "gone and not on record: {run:#?}");
                ensure!(is_removed("files") || directory.join("exit.json").exists(), "not on record: {run:#?}");
            }
        }
        gc(story.env(), &["--yes"]).await?;
        for run in story.runs("shop").await? {
            ensure!(!looked_dir(&state, &run).exists(), "on record and still there: {run:#?}");
            let parts: Vec<&str> = run.removed.iter().map(|removed| removed.part.as_str()).collect();
            ensure!(parts == ["log", "files"], "each once: {run:#?}");
        }
        let events = story.events().await?;
        for kind in ["run.removing", "run.removed"] {
            let told = events.iter().filter(|event| event.kind == kind).count();
            ensure!(told == tasks.len(), "{told} times {kind}");
        }
        let checked = orchctl(story.env(), &["daemon", "check"]).await?.ok()?;
        ensure!(!checked.contains("orphan"), "{checked}");
        Ok(())
    })
}

async fn run_of(story: &Story, title: &str, recipe: &str, state: TaskState) -> anyhow::Result<RunView> {
    let task = story.task_create("shop", title, recipe).await?;
    story.task_in(&task, state).await?;
    story.run_of(&task).await
}

/// Starts the daemon again with more in its configuration.
pub(crate) async fn start_with(story: &mut Story, more: &str) -> anyhow::Result<()> {
    story.stop().await?;
    let file = story.env().path("orchd.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text + more)?;
    story.start().await
}

async fn gc(env: &Env, options: &[&str]) -> anyhow::Result<GcReport> {
    let words = [&["daemon", "gc", "-o", "json"], options].concat();
    let said = orchctl(env, &words).await?.ok()?;
    let value: serde_json::Value = serde_json::from_str(&said)?;
    serde_json::from_value(value).context(said)
}

fn count(report: &GcReport, kind: &str) -> u64 {
    report.kinds.iter().find(|found| found.kind == kind).map_or(0, |found| found.count)
}

async fn orchd(env: &Env, state: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = env.command(env.programs().orchd);
    command.arg("--state-dir").arg(state).args(arguments);
    output(command).await?.ok()
}

fn looked_dir(state: &Path, run: &RunView) -> PathBuf {
    state.join("runs").join(run.id.to_string())
}

/// A blob that nothing ever named.
fn stray_blob(state: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = state.join(name);
    std::fs::create_dir_all(path.parent().context("it has a folder")?)?;
    std::fs::write(&path, "stray")?;
    Ok(path)
}

/// Has all blobs be stored two days ago.
pub(crate) fn age_blobs(state: &Path) -> anyhow::Result<()> {
    let two_days = Duration::from_secs(2 * 24 * 60 * 60);
    for folder in std::fs::read_dir(state.join("blobs/sha256"))? {
        for file in std::fs::read_dir(folder?.path())? {
            let file = std::fs::File::open(file?.path())?;
            let stored: SystemTime = file.metadata()?.modified()?;
            file.set_times(std::fs::FileTimes::new().set_modified(stored - two_days))?;
        }
    }
    Ok(())
}
