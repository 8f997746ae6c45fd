//! The eight stages, one after the other.

use orch_proto::request::{Bytes, Decision, Planner, RepoSource, Request};
use orch_proto::view::{ChangeState, ChangeView, CheckResult, DocumentState, PlanView, RequirementsView};
use orch_proto::{ErrorCode, Ref};

use super::watch::{self, Work};
use super::{Demo, PROJECT, VISION, agent, summary, verify};
use crate::clock;
use crate::ctl::cmd::{plan, project, req};
use crate::ctl::digest;
use crate::ctl::failure::Failure;
use crate::ctl::launch;
use crate::fmt::Resource as _;
use crate::fmt::count;
use crate::fmt::table::{self, Layout};
use crate::fmt::{document_state, graph};

/// Requirements as they were approved, and the plan made of them.
pub(super) struct Agreed {
    pub(super) requirements: RequirementsView,
    pub(super) plan: PlanView,
}

pub(super) async fn all(demo: &mut Demo<'_>) -> Result<(), Failure> {
    start(demo).await?;
    submit(demo).await?;
    let requirements = requirements(demo).await?;
    let plan = plan(demo).await?;
    let work = work(demo).await?;
    let changes = merged(demo).await?;
    verify::stage(demo, &changes).await?;
    summary::stage(demo, &Agreed { requirements, plan }, &work, &changes).await
}

async fn start(demo: &mut Demo<'_>) -> Result<(), Failure> {
    demo.narrator.stage("Start a daemon on a fresh state directory");
    let launch = demo.place.launch();
    let status = launch::start(demo.session, &launch).await?;
    demo.narrator.line(&format!(
        "orchd {} (pid {}), socket {}, isolation level {} of {} needed, {} runs at once",
        status.version,
        status.pid,
        demo.place.socket.display(),
        status.isolation_level,
        status.isolation_required,
        status.runs_max
    ));
    if let Some(agent) = &demo.agent {
        agent.hand_over(demo.session).await?;
    }
    let report = demo.session.read(async |orch, context| orch.doctor(context).await).await?;
    // A guarantee that this host lacks without falling below the level that runs need is worth a line, no more.
    let confined = report.isolation_level >= report.isolation_required;
    let (missing, lacking): (Vec<_>, Vec<_>) = report
        .checks
        .iter()
        .filter(|check| check.result == CheckResult::Failed)
        .partition(|check| check.fix.is_some() || !confined);
    for check in lacking {
        demo.narrator.line(&format!("not here, and not required: {}: {}", check.name, check.detail));
    }
    for check in &missing {
        let fix = check.fix.as_deref().unwrap_or("see `orchctl doctor`");
        demo.narrator.line(&format!("missing: {}: {}; fix: {fix}", check.name, check.detail));
    }
    if let Some(first) = missing.first() {
        let fix = first.fix.clone().unwrap_or_else(|| "see `orchctl doctor`".to_owned());
        return Err(Failure::new(ErrorCode::ToolMissing, format!("{}: {}", first.name, first.detail), fix));
    }
    let create = Request::ProjectCreate { name: PROJECT.to_owned(), repo: RepoSource::Empty };
    demo.session.submit(create).await?;
    let project = project::await_ready(demo.session, PROJECT).await?;
    demo.narrator.line(&format!("project {PROJECT} with an empty repository, {}", project.repository));
    Ok(())
}

async fn submit(demo: &mut Demo<'_>) -> Result<(), Failure> {
    demo.narrator.stage("Submit a Vision");
    let request = Request::VisionSubmit {
        project: demo.project.clone(),
        file_name: "demo-vision.md".to_owned(),
        text: Bytes(VISION.as_bytes().to_vec()),
    };
    demo.session.submit(request).await?;
    let project = demo.project.clone();
    let vision = demo.session.read(async |orch, context| orch.vision(context, project, None).await).await?;
    let blueprint = vision.blueprint.as_deref().unwrap_or("none");
    demo.narrator.line(&format!("\"{}\", {} lines, blueprint {blueprint}", vision.title, VISION.lines().count()));
    Ok(())
}

async fn requirements(demo: &mut Demo<'_>) -> Result<RequirementsView, Failure> {
    demo.narrator.stage("Derive requirements, and approve them");
    let derive = Request::RequirementsPropose { project: demo.project.clone(), vision: None, planner: Planner::Rules };
    let accepted = demo.session.submit(derive).await?;
    let proposed = req::proposed(demo.session, &demo.project, &accepted).await?;
    let layout = Layout { width: Some(demo.narrator.width() - 6), headers: true, paint: demo.narrator.paint() };
    let columns = table::pick(orch_proto::view::RequirementView::columns(), &[])
        .map_err(|error| Failure::usage(error.to_string()))?;
    demo.narrator.block(&table::render(&proposed.requirements, &columns, clock::now(), layout));
    demo.narrator.line(&format!(
        "{}, {}, {}, {} not understood",
        count(proposed.requirements.len(), "requirement"),
        count(proposed.goals.len(), "goal"),
        count(proposed.open_questions.len(), "open question"),
        count(proposed.unclassified.len(), "statement")
    ));
    demo.narrator
        .confirm(&format!("approve requirements v{} (digest {})?", proposed.version, digest::short(&proposed.digest)))
        .await?;
    let request = Request::RequirementsDecide {
        project: demo.project.clone(),
        version: Some(proposed.version),
        decision: Decision::Approve,
        digest: Some(proposed.digest.clone()),
        reason: None,
    };
    demo.session.submit(request).await?;
    let approved = req::get(demo.session, &demo.project, Some(proposed.version)).await?;
    let same = approved.state == DocumentState::Approved && approved.digest == proposed.digest;
    demo.checks.note(
        "the requirements that were shown are those that are approved",
        same,
        format!(
            "v{} is {}, digest {}",
            approved.version,
            document_state(approved.state),
            digest::short(&approved.digest)
        ),
    );
    Ok(approved)
}

async fn plan(demo: &mut Demo<'_>) -> Result<PlanView, Failure> {
    demo.narrator.stage("Plan tasks and their order, and approve the plan");
    let accepted =
        demo.session.submit(Request::PlanPropose { project: demo.project.clone(), planner: Planner::Rules }).await?;
    let plan = plan::proposed(demo.session, &demo.project, &accepted).await?;
    let stories: usize = plan.epics.iter().map(|epic| epic.stories.len()).sum();
    demo.narrator.line(&format!(
        "{}, {}, {}",
        count(plan.epics.len(), "epic"),
        count(stories, "story"),
        count(plan.nodes.len(), "task")
    ));
    let width = (demo.narrator.width() - 6).min(100);
    demo.narrator.block(&graph::ascii(&plan, width, demo.narrator.paint()));
    for warning in &plan.warnings {
        demo.narrator.line(&format!("warning: {warning}"));
    }
    demo.narrator.confirm(&format!("approve plan v{} (digest {})?", plan.version, digest::short(&plan.digest))).await?;
    let request = Request::PlanDecide {
        project: demo.project.clone(),
        version: Some(plan.version),
        decision: Decision::Approve,
        digest: Some(plan.digest.clone()),
        reason: None,
    };
    demo.session.submit(request).await?;
    Ok(plan)
}

async fn work(demo: &mut Demo<'_>) -> Result<Work, Failure> {
    demo.narrator.stage("Run the tasks, each in a sandbox of its own");
    agent::hand_in(demo).await?;
    let work = watch::until_done(demo).await?;
    let failed: Vec<_> = work
        .tasks
        .iter()
        .filter(|task| task.state != orch_proto::view::TaskState::Done)
        .map(|task| format!("{} {}", task.name, task.state.label()))
        .collect();
    if !failed.is_empty() {
        return Err(Failure::Negative(format!("the work did not end well: {}", failed.join(", "))));
    }
    Ok(work)
}

/// The changes that became the default branch, in the order of their merges.
async fn merged(demo: &mut Demo<'_>) -> Result<Vec<ChangeView>, Failure> {
    demo.narrator.stage("Changes, checked on the merged tree and merged");
    let project: Ref = demo.project.clone();
    let mut changes = demo.session.read(async |orch, context| orch.changes(context, Some(project)).await).await?;
    changes.retain(|change| matches!(change.state, ChangeState::Merged { .. }));
    changes.sort_by_key(|change| change.since);
    let rows = changes.iter().map(summary::change_row).collect();
    let titles = ["CHANGE", "TASK", "COMMIT", "SIZE", "GATES", "APPROVAL", "TITLE"];
    let layout = Layout { width: Some(demo.narrator.width() - 6), headers: true, paint: demo.narrator.paint() };
    let flexible = [false, false, false, false, false, false, true];
    demo.narrator.block(&table::lay_out(&titles, &flexible, rows, layout));
    Ok(changes)
}
