//! Mutations: from a request to one command, and from what was committed to the answer.
//!
//! What has to be read outside of the transaction (texts, recipes, a proposal of the planner) is read here; the rules
//! are in the core, which judges the command on the state as it is when it is its turn.

mod documents;
mod info;
mod task;

use std::sync::Arc;

use orch_core::command::{Answer, Command, Envelope as CoreEnvelope, PlanningCommand, Subject};
use orch_core::digest::Digest;
use orch_core::entity::{Approval, Change, InfoRequest, Plan, Requirements, Run};
use orch_proto::id::CommandId;
use orch_proto::request::{Accepted, Decision, Envelope, Request, Touched};
use orch_proto::{ErrorCode, Ref, RpcError};
use orch_store::{Committed, ExecuteError, ReadView};

use super::identity::Caller;
use super::{errors, resolve, undo};
use crate::app::{App, blocking, in_place};
use crate::convert;

pub(super) use info::info_answer;

/// Does what a request says, once per key.
pub(super) async fn submit(app: &Arc<App>, caller: &Caller, envelope: Envelope) -> Result<Accepted, RpcError> {
    let request = Digest::of_json(&envelope.request);
    // Once it is done, the last decision is another.
    if matches!(envelope.request, Request::Undo { .. })
        && let Some(first) = answered(app, envelope.key, request).await?
    {
        return first.map(answer).map_err(|error| errors::execute(&error));
    }
    let key = envelope.key;
    let planned = plans(&envelope.request).then(|| (Arc::clone(app), caller.clone()));
    let command = match planned {
        // A long text takes seconds, in which this thread would be missing.
        Some((app, caller)) => blocking(move || command(&app, &caller, envelope.request)).await,
        None => in_place(|| command(app, caller, envelope.request)),
    };
    let committed = match command {
        Ok(command) => {
            let sent = CoreEnvelope { id: key, actor: caller.actor(), request, command };
            app.store.execute(sent).await
        }
        // The state moved on since the request was done: it still gets its first answer.
        Err(refused) => answered(app, key, request).await?.ok_or(refused)?,
    };
    let committed = committed.map_err(|error| errors::execute(&error))?;
    tracing::info!(user = caller.name, key = %key, seq = committed.last_seq, "request committed");
    Ok(answer(committed))
}

/// Whether the planner reads a text for it, or all that is open is looked at.
const fn plans(request: &Request) -> bool {
    matches!(
        request,
        Request::VisionSubmit { .. }
            | Request::RequirementsPropose { .. }
            | Request::PlanPropose { .. }
            | Request::ProjectCancel { .. }
    )
}

/// What the request was answered with when it was sent before.
async fn answered(
    app: &Arc<App>,
    key: CommandId,
    request: Digest,
) -> Result<Option<Result<Committed, ExecuteError>>, RpcError> {
    app.read(move |view| view.answered(key, request)).await.map_err(|error| errors::read(&error))
}

fn command(app: &App, caller: &Caller, request: Request) -> Result<Command, RpcError> {
    match request {
        Request::ProjectCreate { name, repo } => documents::create_project(app, name, repo),
        Request::VisionSubmit { project, file_name, text } => {
            documents::submit_vision(app, &project, file_name, &text.0)
        }
        Request::RequirementsPropose { project, vision, planner } => {
            documents::propose_requirements(app, &project, vision.as_ref(), &planner)
        }
        Request::RequirementsEdit { project, base_version, upsert, remove, reason } => {
            documents::edit_requirements(app, &project, base_version, (upsert, remove), reason)
        }
        Request::RequirementsComment { project, version, key, text } => {
            documents::comment_requirements(app, &project, version, key, text)
        }
        Request::PlanPropose { project, planner } => documents::propose_plan(app, &project, &planner),
        Request::TaskCreate { .. } => task::create(app, request),
        Request::TaskEdit { .. } => task::edit(app, request),
        Request::TaskQueue { tasks } => task::queue(app, &tasks),
        Request::ProjectCancel { projects, reason } => task::cancel_all(app, &projects, reason),
        Request::Undo { event } => with_view(app, |view| undo::command(view, caller, event)),
        other => with_view(app, |view| steering(view, other)),
    }
}

/// Commands that need nothing but names.
fn steering(view: &ReadView<'_>, request: Request) -> Result<Command, RpcError> {
    match request {
        Request::RequirementsDecide { .. } | Request::PlanDecide { .. } | Request::ApprovalDecide { .. } => {
            decided(view, request)
        }
        Request::PlanChange { project, base_version, edits, reason } => {
            let project = resolve::project(view, &project)?.id;
            Ok(Command::EditPlan {
                project,
                base_version,
                edits: edits.into_iter().map(documents::plan_edit).collect(),
                reason,
            })
        }
        Request::QuestionAnswer { approval, choice, digest, not_before, priority } => {
            let found = resolve::entity::<Approval>(view, &approval)?;
            let digest = digest.as_deref().map(parsed).transpose()?;
            let answer = Answer::Choose { choice: convert::patience::chosen(choice), not_before, priority };
            Ok(Command::Decide { subject: Subject::Approval(found.id), answer, digest })
        }
        Request::RunPause { .. }
        | Request::RunResume { .. }
        | Request::RunCancel { .. }
        | Request::RunRetry { .. }
        | Request::RunSay { .. } => of_run(view, request),
        Request::InfoCancel { info, reason: why } => Ok(Command::CancelInfo {
            info: resolve::entity::<InfoRequest>(view, &info)?.id,
            reason: why.unwrap_or_else(|| "declined by a person".into()),
        }),
        Request::ChangeClose { change, reason: why } => Ok(Command::CloseChange {
            change: resolve::entity::<Change>(view, &change)?.id,
            reason: why.unwrap_or_else(|| "closed by a person".into()),
        }),
        Request::PlanningCancel { .. }
        | Request::ProjectArchive { .. }
        | Request::ProjectSet { .. }
        | Request::ProjectPatience { .. }
        | Request::ProjectBudget { .. }
        | Request::ProjectBudgetReset { .. }
        | Request::ProjectPause { .. }
        | Request::ProjectResume { .. } => of_projects(view, request),
        Request::TaskLink { .. }
        | Request::TaskUnlink { .. }
        | Request::TaskSet { .. }
        | Request::TaskPrioritize { .. }
        | Request::TaskMove { .. }
        | Request::TaskHold { .. }
        | Request::TaskRelease { .. }
        | Request::TaskCancel { .. }
        | Request::TaskSay { .. }
        | Request::TaskRetry { .. } => task::steer(view, request),
        Request::ProjectCreate { .. }
        | Request::ProjectCancel { .. }
        | Request::VisionSubmit { .. }
        | Request::RequirementsPropose { .. }
        | Request::RequirementsEdit { .. }
        | Request::RequirementsComment { .. }
        | Request::PlanPropose { .. }
        | Request::TaskCreate { .. }
        | Request::TaskEdit { .. }
        | Request::TaskQueue { .. }
        | Request::Undo { .. } => Err(RpcError::new(ErrorCode::Internal, "the request was sent the wrong way")),
    }
}

/// Commands about one run that need nothing but its name.
fn of_run(view: &ReadView<'_>, request: Request) -> Result<Command, RpcError> {
    let run = |name: &Ref| resolve::entity::<Run>(view, name).map(|run| run.id);
    match request {
        Request::RunPause { run: name, reason } => {
            Ok(Command::PauseRun { run: run(&name)?, reason: reason.unwrap_or_default() })
        }
        Request::RunResume { run: name } => Ok(Command::ResumeRun { run: run(&name)? }),
        Request::RunCancel { run: name, reason: why } => {
            let reason = why.unwrap_or_else(|| "cancelled by a person".into());
            Ok(Command::CancelRun { run: run(&name)?, reason })
        }
        Request::RunRetry { run: name, anew, not_before, priority } => {
            Ok(Command::RetryRun { run: run(&name)?, anew, not_before, priority })
        }
        Request::RunSay { run: name, text } => Ok(Command::SayToRun { run: run(&name)?, text }),
        _ => Err(RpcError::new(ErrorCode::Internal, "not a request about a run")),
    }
}

/// What a person decides about a version, or about an approval.
fn decided(view: &ReadView<'_>, request: Request) -> Result<Command, RpcError> {
    match request {
        Request::RequirementsDecide { project, version, decision, digest, reason } => {
            let found = super::read::version::<Requirements>(view, &project, version)?;
            decide(Subject::Requirements(found.id), decision, digest.as_deref(), reason)
        }
        Request::PlanDecide { project, version, decision, digest, reason } => {
            let found = super::read::version::<Plan>(view, &project, version)?;
            decide(Subject::Plan(found.id), decision, digest.as_deref(), reason)
        }
        Request::ApprovalDecide { approval, decision, digest, reason } => {
            let found = resolve::entity::<Approval>(view, &approval)?;
            decide(Subject::Approval(found.id), decision, digest.as_deref(), reason)
        }
        _ => Err(RpcError::new(ErrorCode::Internal, "not a decision")),
    }
}

/// Commands about projects that need nothing but names.
fn of_projects(view: &ReadView<'_>, request: Request) -> Result<Command, RpcError> {
    match request {
        Request::ProjectArchive { project } => {
            Ok(Command::ArchiveProject { project: resolve::project(view, &project)?.id })
        }
        Request::PlanningCancel { project, reason } => Ok(Command::Planning {
            project: resolve::project(view, &project)?.id,
            command: PlanningCommand::Cancel { reason: reason.unwrap_or_else(|| "cancelled by a person".into()) },
        }),
        Request::ProjectSet { project, weight, runs_max, runs_per_day } => {
            Ok(Command::SetShare { project: resolve::project(view, &project)?.id, weight, runs_max, runs_per_day })
        }
        Request::ProjectPatience { project, queue, silence } => Ok(Command::SetPatience {
            project: resolve::project(view, &project)?.id,
            change: convert::patience::change(queue, silence),
        }),
        Request::ProjectBudget { project, meter, period, limit, is_hard } => Ok(Command::SetBudget {
            project: resolve::project(view, &project)?.id,
            key: convert::budget::key(meter, period),
            limit,
            is_hard,
        }),
        Request::ProjectBudgetReset { project, period } => Ok(Command::ResetBudgets {
            project: resolve::project(view, &project)?.id,
            period: period.map(convert::budget::period),
        }),
        Request::ProjectPause { projects, reason, until, with_runs } => {
            let projects = projects.iter().map(|name| Ok(resolve::project(view, name)?.id));
            let projects = projects.collect::<Result<_, RpcError>>()?;
            Ok(Command::PauseProjects { projects, reason: reason.unwrap_or_default(), until, with_runs })
        }
        Request::ProjectResume { projects } => {
            let projects = projects.iter().map(|name| Ok(resolve::project(view, name)?.id));
            Ok(Command::ResumeProjects { projects: projects.collect::<Result<_, RpcError>>()? })
        }
        _ => Err(RpcError::new(ErrorCode::Internal, "not a request about projects")),
    }
}

fn decide(
    subject: Subject,
    decision: Decision,
    digest: Option<&str>,
    reason: Option<String>,
) -> Result<Command, RpcError> {
    let digest = digest.map(parsed).transpose()?;
    let answer = match decision {
        Decision::Approve => Answer::Approve,
        Decision::Deny => Answer::Deny { reason: reason.unwrap_or_default() },
    };
    Ok(Command::Decide { subject, answer, digest })
}

fn parsed(digest: &str) -> Result<Digest, RpcError> {
    digest.parse().map_err(|_| {
        RpcError::new(ErrorCode::Invalid, "the digest is not a SHA-256 in hex").hint("take it from what was shown")
    })
}

/// Reads one snapshot of the state, on the calling thread.
fn with_view<T>(app: &App, read: impl FnOnce(&ReadView<'_>) -> Result<T, RpcError>) -> Result<T, RpcError> {
    app.store.read(|view| Ok(read(view))).map_err(|error| errors::read(&error))?
}

fn answer(committed: Committed) -> Accepted {
    let Committed { first_seq: _, last_seq: seq, at, duplicate, touched, names, notes } = committed;
    let touched = touched.into_iter().zip(names).map(|((kind, id), name)| Touched { kind, id, name });
    Accepted { seq, at, duplicate, touched: touched.collect(), notes }
}
