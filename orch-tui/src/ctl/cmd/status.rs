//! `orchctl` and `orchctl status`: what needs attention first, and the next command.

use clap::Args;
use orch_proto::Ref;
use orch_proto::view::{
    ApprovalFilter, ApprovalView, DocumentState, ProjectState, ProjectView, StatusView, TaskFilter, TaskState, TaskView,
};
use serde::Serialize;

use super::{approval, plan, req, task};
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::count;
use crate::fmt::duration::age;
use crate::text::SafeText;

/// Things of one kind that are listed.
const LISTED_MAX: usize = 5;

#[derive(Debug, Default, Args)]
pub(crate) struct StatusArgs {
    /// Exit with 1 when a task has failed, 8 when an approval waits
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Serialize)]
struct Overview {
    #[serde(flatten)]
    status: StatusView,
    approvals: Vec<ApprovalView>,
    failed: Vec<TaskView>,
    next: String,
}

pub(crate) async fn run(session: &Session, args: &StatusArgs) -> Result<(), Failure> {
    let status = session.read(async |orch, context| orch.status(context).await).await?;
    let project = session.given_project();
    let approvals = approval::list(session, ApprovalFilter { project: project.clone(), pending: true }).await?;
    let failed = task::list(session, TaskFilter { project, states: vec![TaskState::Failed], text: None }).await?;
    let next = next(session, &approvals, &failed).await?;
    let overview = Overview { status, approvals, failed, next };
    session.report("Status", &overview, || text(&overview, session.paint()))?;
    if args.exit_code && !overview.failed.is_empty() {
        return Err(Failure::Negative(format!("failed: {}", count(overview.failed.len(), "task"))));
    }
    if args.exit_code && !overview.approvals.is_empty() {
        return Err(Failure::Pending(format!("waiting: {}", count(overview.approvals.len(), "approval"))));
    }
    Ok(())
}

async fn next(session: &Session, approvals: &[ApprovalView], failed: &[TaskView]) -> Result<String, Failure> {
    if let Some(approval) = approvals.first() {
        return Ok(format!("orchctl approval get {}", approval.name));
    }
    if let Some(task) = failed.first() {
        return Ok(format!("orchctl task why {}", task.name));
    }
    let projects = session.read(async |orch, context| orch.projects(context).await).await?;
    let wanted = session.options.project.as_ref();
    let open = projects
        .iter()
        .filter(|project| project.state != ProjectState::Archived && wanted.is_none_or(|name| *name == project.name))
        .max_by_key(|project| project.created_at);
    match open {
        None => Ok("orchctl project create NAME [--repo PATH]".to_owned()),
        Some(project) => next_of_project(session, project).await,
    }
}

async fn next_of_project(session: &Session, project: &ProjectView) -> Result<String, Failure> {
    let name = &project.name;
    let reference = Ref::from(name.as_str());
    if project.vision_version.is_none() {
        return Ok(format!("orchctl vision submit FILE -p {name}"));
    }
    if project.requirements_version.is_none() {
        return Ok(format!("orchctl req propose -p {name}"));
    }
    let requirements = req::get(session, &reference, None).await?;
    if matches!(requirements.state, DocumentState::Draft | DocumentState::Proposed) {
        return Ok(format!("orchctl req show -p {name}"));
    }
    if project.plan_version.is_none() {
        return Ok(format!("orchctl plan propose -p {name}"));
    }
    let plan = plan::get(session, &reference, None).await?;
    if matches!(plan.state, DocumentState::Draft | DocumentState::Proposed) {
        return Ok(format!("orchctl plan show -p {name}"));
    }
    Ok(format!("orchctl task list -p {name}"))
}

fn text(overview: &Overview, paint: Paint) -> String {
    let status = &overview.status;
    let role = format!("{:?}", status.role).to_lowercase();
    let head = format!(
        "orchd {} up {}  pid {}  you are {} ({role})",
        status.version,
        age(status.started_at, status.now),
        status.pid,
        status.user
    );
    let mut out = format!("{}\n", SafeText::line(&head));
    out.push_str(&format!(
        "projects {}  queued {}  running {}/{}  approvals {}  failed {}  isolation {}/{}\n",
        status.projects,
        status.tasks_queued,
        status.runs_active,
        status.runs_max,
        status.approvals_pending,
        status.tasks_failed,
        status.isolation_level,
        status.isolation_required
    ));
    let mut attention = |role, line: String| {
        out.push_str(&paint.apply(role, &SafeText::line(&line)));
        out.push('\n');
    };
    for warning in &status.warnings {
        attention(Role::Warn, format!("! {warning}"));
    }
    for approval in overview.approvals.iter().take(LISTED_MAX) {
        attention(Role::Warn, format!("? {}  {}", approval.name, approval.action));
    }
    for task in overview.failed.iter().take(LISTED_MAX) {
        let why = task.last_failure.as_deref().unwrap_or("no reason recorded");
        attention(Role::Bad, format!("x {}  {}: {why}", task.name, task.title));
    }
    let hidden = overview.failed.len().saturating_sub(LISTED_MAX);
    if hidden > 0 {
        attention(Role::Bad, format!("x and {hidden} more: orchctl task list --state failed"));
    }
    let label = paint.apply(Role::Active, &SafeText::literal("next"));
    out.push_str(&format!("{label}: {}\n", SafeText::line(&overview.next)));
    out
}
