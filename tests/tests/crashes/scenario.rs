//! A small piece of a project's life with a bit of everything in it: work that needs other work, work that fails once, work
//! that is called off, a change that a person has to approve, a run that is paused, a daemon that is drained, and files of runs
//! that are not kept.
//!
//! Each piece of work leaves a trace in two places that nothing else writes: a line in the log of its run, and a line in a
//! file of the branch.

use anyhow::Context as _;
use orch_proto::request::{Decision, Dependency, RepoSource, Request};
use orch_proto::view::{Condition, ProjectState, RunState, RunView, TaskState, UpkeepOutcome, UpkeepRequest};
use orch_proto::{ErrorCode, Ref, RpcError};
use orch_tests::Client;
use orch_tests::client::task_request;

use crate::site::Site;

pub(crate) const PROJECT: &str = "shop";

/// A piece of work and how it is to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) title: &'static str,
    /// What it does after it has said that it does something.
    work: &'static str,
    /// The one before it in the list has to be done first.
    follows: bool,
    /// The file of the branch in which it leaves one line; none is called off.
    pub(crate) file: Option<&'static str>,
    /// Attempts that fail before one succeeds.
    pub(crate) failures: usize,
}

pub(crate) const PIECES: [Piece; 6] = [
    Piece { title: "First", work: "echo 1 >> first", follows: false, file: Some("first"), failures: 0 },
    Piece { title: "Second", work: "cat first && echo 1 >> second", follows: true, file: Some("second"), failures: 0 },
    Piece {
        title: "Flaky",
        work: "test \"$ORCH_ATTEMPT\" != 1 && echo 1 >> flaky",
        follows: false,
        file: Some("flaky"),
        failures: 1,
    },
    Piece { title: "Endless", work: "while :; do sleep 0.1; done", follows: false, file: None, failures: 0 },
    Piece {
        title: "Guarded",
        work: "mkdir -p .github/workflows && echo 1 >> .github/workflows/ci.yml",
        follows: false,
        file: Some(".github/workflows/ci.yml"),
        failures: 0,
    },
    Piece {
        title: "Paced",
        work: "for i in 1 2 3 4 5 6 7 8; do sleep 0.05; done; echo 1 >> paced",
        follows: false,
        file: Some("paced"),
        failures: 0,
    },
];

/// Asked for while the daemon is drained.
pub(crate) const LAST: Piece =
    Piece { title: "Last", work: "echo 1 >> last", follows: false, file: Some("last"), failures: 0 };

/// Plays it to its end.
pub(crate) async fn play(site: &mut Site<'_>) -> anyhow::Result<()> {
    site.must(Request::ProjectCreate { name: PROJECT.into(), repo: RepoSource::Empty }).await?;
    site.wait("a repository", async |client| {
        Ok((client.project(PROJECT).await?.state == ProjectState::Ready).then_some(()))
    })
    .await?;
    let mut before = None;
    for piece in &PIECES {
        before = Some(create(site, piece, before.as_deref()).await?);
    }
    call_off(site, "Endless").await?;
    pause(site, "Paced").await?;
    approve(site).await?;
    drain(site).await?;
    site.wait("the end of all", async |client| {
        let tasks = client.tasks(PROJECT).await?;
        Ok(tasks.iter().all(|task| matches!(task.state, TaskState::Done | TaskState::Cancelled)).then_some(()))
    })
    .await?;
    collect(site).await
}

/// Has what is not to be kept removed. A daemon that was killed meanwhile knows of no such work, and begins another.
async fn collect(site: &mut Site<'_>) -> anyhow::Result<()> {
    let report = site.wait("the end of a collection", async |client| {
        let work = client.wire().call(async |orch, context| orch.upkeep(context, 0, 0).await).await?;
        let Some(work) = work else {
            let request = UpkeepRequest::Gc { dry_run: false };
            client.wire().call(async |orch, context| orch.upkeep_start(context, request.clone()).await).await?;
            return Ok(None);
        };
        match work.outcome {
            None => Ok(None),
            Some(UpkeepOutcome::Gc(report)) => Ok(Some(report)),
            Some(other) => anyhow::bail!("{other:#?}"),
        }
    });
    let report = report.await?;
    anyhow::ensure!(report.failed.is_empty(), "{report:#?}");
    Ok(())
}

async fn create(site: &mut Site<'_>, piece: &Piece, before: Option<&str>) -> anyhow::Result<String> {
    let recipe = format!(
        "steps:\n  - run: echo did\n  - run: |\n      {}\nretries: {{max_retries: {}, backoff_base_seconds: 0}}\n",
        piece.work, piece.failures
    );
    let mut request = task_request(PROJECT, piece.title, &recipe);
    if let (Request::TaskCreate { depends_on, .. }, Some(task), true) = (&mut request, before, piece.follows) {
        depends_on.push(Dependency { task: Ref::from(task), condition: Condition::Done });
    }
    Ok(site.must(request).await?.touched.first().context("a task has a name")?.name.clone())
}

/// The newest run of a piece.
async fn run_of(client: &Client, title: &str) -> anyhow::Result<Option<RunView>> {
    Ok(client.runs(PROJECT).await?.into_iter().rfind(|run| run.task_title == title))
}

async fn call_off(site: &mut Site<'_>, title: &str) -> anyhow::Result<()> {
    let run = site.wait("a run without an end", async |client| {
        Ok(run_of(client, title).await?.filter(|run| run.state == RunState::Running))
    });
    let task = Ref(run.await?.task.to_string());
    site.must(Request::TaskCancel { task, reason: Some("not needed".into()) }).await?;
    Ok(())
}

/// Has a run stand still for a moment, if it is not over before.
async fn pause(site: &mut Site<'_>, title: &str) -> anyhow::Result<()> {
    let run = site.wait("a run to pause", async |client| {
        Ok(run_of(client, title).await?.filter(|run| run.state == RunState::Running || run.state.is_final()))
    });
    let run = Ref(run.await?.id.to_string());
    unless_over(site.submit(Request::RunPause { run: run.clone(), reason: None }).await?)?;
    site.wait("the run to stand still", async |client| {
        Ok(run_of(client, title).await?.filter(|run| run.state == RunState::Paused || run.state.is_final()))
    })
    .await?;
    unless_over(site.submit(Request::RunResume { run }).await?)
}

/// What came too late for a run changes nothing.
fn unless_over<T>(answer: Result<T, RpcError>) -> anyhow::Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.code == ErrorCode::Conflict => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn approve(site: &mut Site<'_>) -> anyhow::Result<()> {
    let asked = site.wait("a question", async |client| Ok(client.approvals_pending(PROJECT).await?.pop())).await?;
    site.must(Request::ApprovalDecide {
        approval: Ref(asked.id.to_string()),
        decision: Decision::Approve,
        digest: Some(asked.digest),
        reason: None,
    })
    .await?;
    Ok(())
}

/// Nothing begins, what is under way ends, one more is asked for, and all goes on.
async fn drain(site: &mut Site<'_>) -> anyhow::Result<()> {
    site.must(Request::ProjectPause { projects: Vec::new(), reason: None, until: None, with_runs: false }).await?;
    site.wait("nothing to be under way", async |client| Ok((client.status().await?.runs_active == 0).then_some(())))
        .await?;
    create(site, &LAST, None).await?;
    let begun = site.look(async |client| run_of(client, LAST.title).await).await?;
    anyhow::ensure!(begun.is_none(), "it began while everything was paused: {begun:#?}");
    site.must(Request::ProjectResume { projects: Vec::new() }).await?;
    Ok(())
}
