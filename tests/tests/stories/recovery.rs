//! What could not be done is done later: repositories that go away and come back, projects without one, lost answers.

use anyhow::{Context as _, ensure};
use orch_proto::id::CommandId;
use orch_proto::request::{Decision, Envelope, Planner, RepoSource, Request};
use orch_proto::view::{CheckResult, ProjectState, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::Setup;
use orch_tests::repository::{commit_all, git};

use crate::{approvals, story};

const OWNERS: &str = "steps: ['echo \"* @me\" > CODEOWNERS']\n";

#[test]
fn a_queue_without_its_repository_says_so_and_goes_on_when_it_is_back() -> anyhow::Result<()> {
    story("a repository goes away", Setup::Runs, async |story| {
        let project = story.project_create("shop", RepoSource::Empty).await?;
        story.project_create("other", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Owners", OWNERS).await?;
        let asked = approvals::asked(story).await?;
        let status = story.status().await?;
        let counts = (status.projects, status.tasks_queued, status.tasks_failed, status.approvals_pending);
        ensure!(counts == (2, 0, 0, 1), "{status:#?}");
        let away = story.env().path("away.git");
        std::fs::rename(&project.repository, &away)?;
        story.decide(&asked, Decision::Approve).await?;
        // Why not depends on what git was at when its repository went.
        let says = "C-1 of `shop` cannot go on: ";
        let warned = story.wait_until("a warning", async |client| {
            Ok(client.status().await?.warnings.into_iter().find(|warning| warning.contains(says)))
        });
        warned.await?;
        let report = story.wire().call(async |orch, context| orch.doctor(context).await).await?;
        let check = report.checks.iter().find(|check| check.detail.contains(says)).context("doctor says so")?;
        ensure!(check.result == CheckResult::Failed && check.fix.is_some(), "{check:#?}");
        // Nobody else is held up.
        let elsewhere = story.task_create("other", "Meanwhile", "steps: ['echo 1 > one']\n").await?;
        story.task_in(&elsewhere, TaskState::Done).await?;
        std::fs::rename(&away, &project.repository)?;
        story.task_in(&task, TaskState::Done).await?;
        let warnings = story.status().await?.warnings;
        ensure!(warnings.iter().all(|warning| !warning.contains(says)), "{warnings:?}");
        Ok(())
    })
}

#[test]
fn a_project_whose_import_failed_can_be_created_again() -> anyhow::Result<()> {
    story("a project without a repository", Setup::Runs, async |story| {
        let source = story.env().path("source");
        std::fs::create_dir_all(&source)?;
        std::fs::write(source.join("file"), "content\n")?;
        commit_all(story.env(), &source).await?;
        let blob = git(story.env(), &source, &["rev-parse", "HEAD:file"]).await?;
        let object = source.join(".git/objects").join(&blob[..2]).join(&blob[2..]);
        let lost = std::fs::read(&object)?;
        std::fs::remove_file(&object)?;
        let repo = || RepoSource::Import { path: source.display().to_string() };
        ensure!(story.project_create("shop", repo()).await.is_err(), "an object is missing");
        let failed = story.project("shop").await?;
        ensure!(matches!(failed.state, ProjectState::Failed { .. }), "{failed:#?}");
        std::fs::write(&object, lost)?;
        let again = story.project_create("shop", repo()).await?;
        ensure!(again.id == failed.id && again.head.is_some(), "{again:#?}");
        let third = Request::ProjectCreate { name: "shop".into(), repo: repo() };
        story.refused(ErrorCode::Exists, third).await?;
        Ok(())
    })
}

/// The answer was lost on its way; when the request comes again it could not even be made any more.
#[test]
fn a_request_that_comes_again_gets_its_first_answer_whatever_happened_since() -> anyhow::Result<()> {
    story("a repeated request", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        story.plan_from("shop", b"# Shop\n\n## Goals\n\n- FR-1: It sells things\n").await?;
        let propose = Envelope {
            key: CommandId::generate(),
            request: Request::PlanPropose { project: "shop".into(), planner: Planner::default() },
        };
        let first = story.wire().submit(propose.clone()).await?;
        ensure!(!first.duplicate, "{first:?}");
        story.submit(Request::ProjectArchive { project: "shop".into() }).await?;
        let new = Request::PlanPropose { project: Ref::from("shop"), planner: Planner::default() };
        story.refused(ErrorCode::Conflict, new).await?;
        let again = story.wire().submit(propose.clone()).await?;
        ensure!(again.duplicate && again.touched == first.touched && again.seq == first.seq, "{again:?} {first:?}");
        let other = Envelope { key: propose.key, request: Request::ProjectArchive { project: "shop".into() } };
        let refused = story.wire().submit(other).await.err().context("the key was used")?;
        ensure!(refused.code == ErrorCode::KeyReused, "{refused}");
        Ok(())
    })
}
