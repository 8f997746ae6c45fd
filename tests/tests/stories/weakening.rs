//! Merges that would weaken what guards a project: whatever way they take, a person is asked first.

use anyhow::ensure;
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{ApprovalView, TaskState};
use orch_tests::repository::commit_all;
use orch_tests::{Setup, Story};

use crate::story;

/// The only gate is that of `sub/Makefile`. Make knows it as a part of a Makefile above as soon as there is one.
const HIDES_THE_GATE: &str = "
steps:
  - run: printf 'all:\\n\\ttrue\\n' > Makefile
";

const MOVES_INTO_A_PROTECTED_FOLDER: &str = "
steps:
  - run: mkdir .github && mv ci.yml .github/ci.yml
";

/// Touches a protected path, so that it waits; and a file that is not protected yet.
const CHANGES_WHAT_MOVES: &str = "
steps:
  - run: echo '* @me' > CODEOWNERS && sed -i s/on-push/on-anything/ ci.yml
";

#[test]
fn a_change_that_hides_a_gate_waits_for_a_person() -> anyhow::Result<()> {
    story("a gate is hidden", Setup::Runs, async |story| {
        project(story).await?;
        ensure!(story.project("shop").await?.gates == ["make test"], "the gate is known");
        let task = story.task_create("shop", "Add a Makefile", HIDES_THE_GATE).await?;
        let asked = asked_about(story, "gate: `make test` in `sub` is gone").await?;
        ensure!(story.task(&task).await?.state == TaskState::InReview, "it waits");
        story.decide(&asked, Decision::Approve).await?;
        story.task_in(&task, TaskState::Done).await?;
        Ok(())
    })
}

#[test]
fn a_merge_that_carries_a_change_to_a_protected_path_asks_again() -> anyhow::Result<()> {
    story("protected by the merge", Setup::Runs, async |story| {
        project(story).await?;
        let changes = story.task_create("shop", "Owners", CHANGES_WHAT_MOVES).await?;
        let first = asked_about(story, "protected: CODEOWNERS").await?;
        let moves = story.task_create("shop", "Move the workflow", MOVES_INTO_A_PROTECTED_FOLDER).await?;
        let asked = asked_about(story, "protected: .github/ci.yml").await?;
        story.decide(&asked, Decision::Approve).await?;
        story.task_in(&moves, TaskState::Done).await?;
        story.decide(&first, Decision::Approve).await?;
        let second = asked_about(story, "protected, by the merge: .github/ci.yml").await?;
        ensure!(story.task(&changes).await?.state == TaskState::InReview, "the first answer is not enough");
        story.decide(&second, Decision::Approve).await?;
        story.task_in(&changes, TaskState::Done).await?;
        Ok(())
    })
}

async fn project(story: &Story) -> anyhow::Result<()> {
    let source = story.env().path("source");
    std::fs::create_dir_all(source.join("sub"))?;
    std::fs::write(source.join("sub/Makefile"), "test:\n\ttrue\n")?;
    std::fs::write(source.join("ci.yml"), "on-push\n".to_owned() + &"a step\n".repeat(40))?;
    commit_all(story.env(), &source).await?;
    let repo = RepoSource::Import { path: source.display().to_string() };
    story.project_create("shop", repo).await?;
    Ok(())
}

/// Waits for a question that names this.
async fn asked_about(story: &Story, detail: &str) -> anyhow::Result<ApprovalView> {
    let look = async |client: &orch_tests::Client| {
        let waiting = client.approvals_pending("shop").await?;
        Ok(waiting.into_iter().find(|asked| asked.details.iter().any(|line| line == detail)))
    };
    story.wait_until(&format!("the question about {detail}"), look).await
}
