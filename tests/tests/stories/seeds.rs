//! The five documents that the product comes from, handed in as Visions: nothing of them is lost on the way to a plan.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use orch_proto::request::RepoSource;
use orch_proto::view::{PlanView, RequirementsView, TaskState};
use orch_tests::{Setup, Story, tell};

use crate::story;

const DOCUMENTS: [&str; 5] = [
    "1-platform-requirements",
    "2-control-plane-readme",
    "3-sop-orchestrator-prd",
    "4-poor-mans-orchestrator-prd",
    "5-autonomous-delivery-design",
];

#[test]
fn the_seed_documents_become_requirements_and_plans() -> anyhow::Result<()> {
    story("the seed documents", Setup::NoRuns, async |story| {
        for name in DOCUMENTS {
            let file = format!("../orchd/core/tests/planner_fixtures/seeds/{name}.md");
            let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
            let project = format!("seed-{}", &name[..1]);
            story.project_create(&project, RepoSource::Empty).await?;
            let begun = Instant::now();
            let (requirements, plan) = story.plan_from(&project, &text).await?;
            tell(&format!(
                "{name}: {} bytes, {} requirements, {} statements not understood, {} tasks, {} ms",
                text.len(),
                requirements.requirements.len(),
                requirements.unclassified.len(),
                plan.nodes.len(),
                begun.elapsed().as_millis()
            ));
            nothing_lost(name, &requirements, &plan)?;
            story.plan_approve(&plan).await?;
            waits_for_agents(story, &project, &plan).await?;
        }
        Ok(())
    })
}

/// Every requirement is served by a task, and the numbered ones of the first document are all there.
fn nothing_lost(name: &str, requirements: &RequirementsView, plan: &PlanView) -> anyhow::Result<()> {
    let keys: BTreeSet<&str> = requirements.requirements.iter().map(|found| found.key.as_str()).collect();
    ensure!(keys.len() == requirements.requirements.len(), "{name}: a key twice");
    ensure!(keys.len() >= 10, "{name}: only {keys:?}");
    if name.starts_with('1') {
        let expected = (1..=46).map(|number| format!("FR-{number}"));
        let expected = expected.chain((1..=7).map(|number| format!("NFR-{number}")));
        let missing: Vec<String> = expected.filter(|key| !keys.contains(key.as_str())).collect();
        ensure!(missing.is_empty(), "{name}: {missing:?}");
    }
    let served: BTreeSet<&str> = plan.nodes.iter().flat_map(|node| &node.requirements).map(String::as_str).collect();
    ensure!(keys == served, "{name}: {:?}", keys.symmetric_difference(&served));
    Ok(())
}

/// No agent is configured: nothing runs, and each task says what it waits for.
async fn waits_for_agents(story: &Story, project: &str, plan: &PlanView) -> anyhow::Result<()> {
    let tasks = story.tasks(project).await?;
    ensure!(tasks.len() == plan.nodes.len(), "{project}: {} tasks of {}", tasks.len(), plan.nodes.len());
    for task in &tasks {
        ensure!(task.state == TaskState::Approved && task.attempts == 0, "{task:#?}");
        let reasons: Vec<&str> = task.waits.iter().map(|wait| wait.code.as_str()).collect();
        ensure!(reasons.contains(&"agent") && task.waits.iter().all(|wait| !wait.text.is_empty()), "{task:#?}");
    }
    let status = story.status().await?;
    ensure!(status.tasks_queued > 0 && status.tasks_without_agent == status.tasks_queued, "{status:#?}");
    ensure!(status.warnings.iter().any(|warning| warning.contains("orchctl task edit NAME --recipe")), "{status:#?}");
    Ok(())
}
