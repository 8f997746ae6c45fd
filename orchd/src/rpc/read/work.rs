//! Tasks, runs, changes and approvals.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use orch_core::entity::{Approval, Change, Run, Task};
use orch_core::schedule::Wait;
use orch_core::state::task::TaskState;
use orch_core::view::{Filter, ReadError};
use orch_proto::view::{ApprovalFilter, ApprovalView, ChangeView, RunFilter, RunView, TaskFilter, TaskView};
use orch_proto::{Ref, RpcError};
use orch_store::ReadView;

use super::super::identity::Caller;
use super::super::resolve;
use super::stats::with_outlook;
use super::{Wanted, newest_last, readable, with_view};
use crate::app::{App, blocking};
use crate::convert::{self, RunPlace};
use crate::host::HostFacts;
use crate::state_dir::StateDir;

/// Most titles that a text is looked for in: there can be very many that do not have it.
const TITLES_MAX: usize = 20_000;

pub(crate) async fn tasks(app: &Arc<App>, _: &Caller, filter: TaskFilter) -> Result<Vec<TaskView>, RpcError> {
    let book = scheduling(app).await;
    with_view(app, move |view| {
        readable(book.catch_up(view))?;
        let of = project_filter(view, filter.project.as_ref())?;
        let text = filter.text.as_ref().map(|text| text.to_lowercase());
        let states: BTreeSet<&str> = filter.states.iter().map(|state| convert::task_state_label(*state)).collect();
        let states: Vec<&str> = states.into_iter().collect();
        let looked_at_max = if text.is_some() { TITLES_MAX } else { usize::MAX };
        let wanted = Wanted { filter: of, states: &states, looked_at_max };
        readable(with_outlook(&book.app, view, |outlook| {
            newest_last(view, wanted, |task: &Task| {
                if text.as_ref().is_some_and(|text| !task.title.to_lowercase().contains(text)) {
                    return Ok(None);
                }
                let shown = readable(convert::task_view(view, task, &book.waits(task)))?;
                Ok(Some(TaskView { eta: outlook.task(task), ..shown }))
            })
        }))?
    })
    .await
}

pub(crate) async fn task(app: &Arc<App>, _: &Caller, task: Ref) -> Result<TaskView, RpcError> {
    let book = scheduling(app).await;
    with_view(app, move |view| {
        readable(book.catch_up(view))?;
        let task = resolve::entity::<Task>(view, &task)?;
        let shown = readable(convert::task_view(view, &task, &book.waits(&task)))?;
        let eta = readable(with_outlook(&book.app, view, |outlook| outlook.task(&task)))?;
        let messages = readable(convert::messages(view, &task))?;
        Ok(TaskView { eta, messages, ..shown })
    })
    .await
}

pub(crate) async fn runs(app: &Arc<App>, _: &Caller, filter: RunFilter) -> Result<Vec<RunView>, RpcError> {
    let dirs = app.dirs.clone();
    with_view(app, move |view| {
        let mut of = project_filter(view, filter.project.as_ref())?;
        if let Some(task) = &filter.task {
            of.parent = Some(resolve::entity::<Task>(view, task)?.id.to_string());
        }
        of.open = filter.active;
        // What mends its isolation is for who looks at one run.
        newest_last(view, of, |run: &Run| shown(view, &dirs, run, None).map(Some))
    })
    .await
}

pub(crate) async fn run(app: &Arc<App>, _: &Caller, run: Ref) -> Result<RunView, RpcError> {
    let dirs = app.dirs.clone();
    let host = app.host.read().unwrap_or_else(PoisonError::into_inner).clone();
    with_view(app, move |view| shown(view, &dirs, &resolve::entity::<Run>(view, &run)?, Some(&host))).await
}

pub(crate) async fn approvals(
    app: &Arc<App>,
    _: &Caller,
    filter: ApprovalFilter,
) -> Result<Vec<ApprovalView>, RpcError> {
    with_view(app, move |view| {
        let mut of = project_filter(view, filter.project.as_ref())?;
        of.open = filter.pending;
        newest_last(view, of, |approval: &Approval| readable(convert::approval_view(view, approval)).map(Some))
    })
    .await
}

pub(crate) async fn approval(app: &Arc<App>, _: &Caller, approval: Ref) -> Result<ApprovalView, RpcError> {
    with_view(app, move |view| readable(convert::approval_view(view, &resolve::entity::<Approval>(view, &approval)?)))
        .await
}

pub(crate) async fn changes(app: &Arc<App>, _: &Caller, project: Option<Ref>) -> Result<Vec<ChangeView>, RpcError> {
    with_view(app, move |view| {
        newest_last(view, project_filter(view, project.as_ref())?, |change: &Change| {
            readable(convert::change_view(view, change)).map(Some)
        })
    })
    .await
}

pub(crate) async fn change(app: &Arc<App>, _: &Caller, change: Ref) -> Result<ChangeView, RpcError> {
    with_view(app, move |view| readable(convert::change_view(view, &resolve::entity::<Change>(view, &change)?))).await
}

/// Says why tasks wait.
struct Waits {
    app: Arc<App>,
}

/// What the scheduler knows of the host now.
async fn scheduling(app: &Arc<App>) -> Waits {
    let renewed = Arc::clone(app);
    blocking(move || renewed.renew_limits()).await;
    Waits { app: Arc::clone(app) }
}

impl Waits {
    /// Has the scheduler know at least what `view` shows, unless it has much to read first.
    fn catch_up(&self, view: &ReadView<'_>) -> Result<(), ReadError> {
        self.app.book.soon(view, crate::clock::now()).map(drop)
    }

    fn waits(&self, task: &Task) -> Vec<Wait> {
        match task.state {
            TaskState::Proposed | TaskState::Approved { .. } | TaskState::Paused { .. } => {
                self.app.book.waits(task.id, crate::clock::now)
            }
            TaskState::Running { .. }
            | TaskState::InReview { .. }
            | TaskState::Done { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. } => Vec::new(),
        }
    }
}

pub(super) fn project_filter(view: &ReadView<'_>, project: Option<&Ref>) -> Result<Filter, RpcError> {
    Ok(match project {
        Some(project) => Filter::of(resolve::project(view, project)?.id),
        None => Filter::default(),
    })
}

fn shown(view: &ReadView<'_>, dirs: &StateDir, run: &Run, host: Option<&HostFacts>) -> Result<RunView, RpcError> {
    let directory = dirs.run(run.id);
    let log = orch_adapters::executor::log_path(&directory);
    let log_bytes = std::fs::metadata(log).map_or(0, |found| found.len());
    let place = RunPlace { directory: directory.display().to_string(), log_bytes };
    readable(convert::run_view(view, run, place, host))
}
