//! Approvals: asked once, answered once, bound to what was shown.

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, RepoSource, Request};
use orch_proto::view::{ApprovalView, ChangeState, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::client::retry;
use orch_tests::{Setup, Story};

use crate::story;

/// Changes a path that the shipped policy protects.
pub(crate) const PROTECTED: &str = "
steps:
  - run: mkdir -p .github/workflows && echo 'on push' > .github/workflows/ci.yml
";

#[test]
fn a_second_approval_is_harmless_and_a_stale_one_is_refused() -> anyhow::Result<()> {
    story("approved twice", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Workflow", PROTECTED).await?;
        let approval = asked(story).await?;
        let stale = Request::ApprovalDecide {
            approval: Ref(approval.name.clone()),
            decision: Decision::Approve,
            digest: Some("0".repeat(64)),
            reason: None,
        };
        story.refused(ErrorCode::StaleDigest, stale).await?;
        ensure!(story.task(&task).await?.state == TaskState::InReview, "a refusal changes nothing");
        story.decide(&approval, Decision::Approve).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        let (before, commit) = (story.status().await?.seq, done.commit);
        let second = story.decide(&approval, Decision::Approve).await?;
        ensure!(second.notes.iter().any(|note| note.contains("nothing changes")), "{second:?}");
        ensure!(story.status().await?.seq == before, "the second approval made events");
        ensure!(story.task(&task).await?.commit == commit, "the second approval changed the result");
        story.refused(ErrorCode::Conflict, deny(&approval)).await?;
        Ok(())
    })
}

#[test]
fn a_denied_change_is_closed_and_a_retry_asks_again() -> anyhow::Result<()> {
    story("denied, then retried", Setup::Runs, async |story| {
        let begun = story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Workflow", PROTECTED).await?;
        let first = asked(story).await?;
        story.decide(&first, Decision::Deny).await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let why = failed.last_failure.unwrap_or_default();
        ensure!(why.contains("denied: because the story says so"), "{why}");
        let changes = story.changes("shop").await?;
        ensure!(changes.len() == 1 && changes[0].state == ChangeState::Closed, "{changes:#?}");
        ensure!(story.project("shop").await?.head == begun.head, "nothing was merged");
        story.submit(retry(Ref(task.clone()))).await?;
        let second = asked(story).await?;
        ensure!(second.id != first.id, "a new change is a new question");
        // What was denied stays denied.
        let late = Request::ApprovalDecide {
            approval: Ref(first.name.clone()),
            decision: Decision::Approve,
            digest: None,
            reason: None,
        };
        story.refused(ErrorCode::Conflict, late).await?;
        story.decide(&second, Decision::Approve).await?;
        story.task_in(&task, TaskState::Done).await?;
        Ok(())
    })
}

/// Waits for the one question that is open.
pub(crate) async fn asked(story: &Story) -> anyhow::Result<ApprovalView> {
    let mut waiting = story
        .wait_until("an approval", async |client| {
            let waiting = client.approvals_pending("shop").await?;
            Ok((!waiting.is_empty()).then_some(waiting))
        })
        .await?;
    ensure!(waiting.len() == 1, "{waiting:#?}");
    waiting.pop().context("one")
}

fn deny(approval: &ApprovalView) -> Request {
    Request::ApprovalDecide {
        approval: Ref(approval.name.clone()),
        decision: Decision::Deny,
        digest: None,
        reason: Some("too late".to_owned()),
    }
}
