//! Cancelling all that is not over: of projects, or of everything.
//!
//! The daemon ends so many with one request that it can be taken back whole; this asks until nothing is left. Each of those
//! requests is one decision.

use orch_proto::request::Request;
use orch_proto::view::{TaskFilter, TaskState, TaskView};
use orch_proto::{PAGE_ITEMS_MAX, Ref};

use super::task;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;

/// Tasks in these states are not over.
const OPEN: [TaskState; 5] =
    [TaskState::Proposed, TaskState::Approved, TaskState::Running, TaskState::InReview, TaskState::Paused];

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct HowArgs {
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Say which tasks are not over, and cancel none
    #[arg(long)]
    dry_run: bool,
}

impl HowArgs {
    /// For a command that says the same in its own words.
    pub(crate) const fn new(reason: Option<String>, dry_run: bool) -> Self {
        Self { reason, dry_run }
    }
}

/// Cancels all tasks of the projects that are not over; of all projects when none is named.
pub(crate) async fn all(session: &Session, projects: Vec<Ref>, how: HowArgs) -> Result<(), Failure> {
    let tasks = open(session, &projects).await?;
    let whose = match projects.as_slice() {
        [] => "all projects".to_owned(),
        named => named.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    if how.dry_run {
        session.list(&tasks)?;
        session.note(&format!("{} of {whose} are not over; none is cancelled", count(&tasks)));
        return Ok(());
    }
    if tasks.is_empty() {
        session.note(&format!("no task of {whose} is not over"));
        return Ok(());
    }
    session.confirm(&format!("cancel {} of {whose}, and kill their runs?", count(&tasks))).await?;
    loop {
        let request = Request::ProjectCancel { projects: projects.clone(), reason: how.reason.clone() };
        let accepted = session.submit(request).await?;
        if accepted.touched.is_empty() {
            accepted.notes.iter().for_each(|note| session.note(note));
            return Ok(());
        }
        session.accepted(&accepted, "cancelled")?;
    }
}

/// Tasks that are not over, a page of each project at most.
async fn open(session: &Session, projects: &[Ref]) -> Result<Vec<TaskView>, Failure> {
    let of = |project| TaskFilter { project, states: OPEN.to_vec(), text: None };
    if projects.is_empty() {
        return task::list(session, of(None)).await;
    }
    let mut tasks = Vec::new();
    for project in projects {
        tasks.extend(task::list(session, of(Some(project.clone()))).await?);
    }
    Ok(tasks)
}

fn count(tasks: &[TaskView]) -> String {
    match tasks.len() {
        1 => "1 task".to_owned(),
        many if many >= PAGE_ITEMS_MAX as usize => format!("{many} tasks or more"),
        many => format!("{many} tasks"),
    }
}
