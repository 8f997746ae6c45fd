//! One question to the daemon, one answer.

use orch_proto::view::{ApprovalFilter, InfoRequestFilter, RunFilter, TaskFilter};
use orch_proto::wire::Client;
use orch_proto::{ErrorCode, Ref, RpcError};

use crate::view::{Answer, Query};

/// Asks one thing.
///
/// # Errors
/// What the daemon or the connection says.
pub(super) async fn fetch(client: &Client, query: &Query, project: Option<Ref>) -> Result<Answer, RpcError> {
    let needed = || project.clone().ok_or_else(|| RpcError::new(ErrorCode::Usage, "no project is chosen"));
    match query {
        Query::Status => {
            let view = client.call(async |orch, context| orch.status(context).await).await?;
            Ok(Answer::Status(Box::new(view)))
        }
        Query::Projects => client.call(async |orch, context| orch.projects(context).await).await.map(Answer::Projects),
        Query::Tasks => {
            let filter = TaskFilter { project, ..TaskFilter::default() };
            client.call(async |orch, context| orch.tasks(context, filter).await).await.map(Answer::Tasks)
        }
        Query::Task(task) => {
            let task = Ref(task.to_string());
            let view = client.call(async |orch, context| orch.task(context, task).await).await?;
            Ok(Answer::Task(Box::new(view)))
        }
        Query::Runs => {
            let filter = RunFilter { project, ..RunFilter::default() };
            client.call(async |orch, context| orch.runs(context, filter).await).await.map(Answer::Runs)
        }
        Query::Run(run) => {
            let run = Ref(run.to_string());
            let view = client.call(async |orch, context| orch.run(context, run).await).await?;
            Ok(Answer::Run(Box::new(view)))
        }
        // Of all projects: what waits for a person waits wherever that person looks.
        Query::Approvals => {
            let filter = ApprovalFilter { project: None, pending: true };
            client.call(async |orch, context| orch.approvals(context, filter).await).await.map(Answer::Approvals)
        }
        Query::Questions => {
            let filter = InfoRequestFilter { project: None, pending: true };
            client.call(async |orch, context| orch.info_requests(context, filter).await).await.map(Answer::Questions)
        }
        Query::Plans => {
            let project = needed()?;
            client.call(async |orch, context| orch.plans(context, project).await).await.map(Answer::Plans)
        }
        Query::Requirements => {
            let project = needed()?;
            match client.call(async |orch, context| orch.requirements(context, project, None).await).await {
                Ok(view) => Ok(Answer::Requirements(Some(Box::new(view)))),
                Err(error) if error.code == ErrorCode::NotFound => Ok(Answer::Requirements(None)),
                Err(error) => Err(error),
            }
        }
        Query::Doctor => client.call(async |orch, context| orch.doctor(context).await).await.map(Answer::Doctor),
        Query::Verify => client.call(async |orch, context| orch.audit_verify(context).await).await.map(Answer::Verify),
        Query::Diff(change) => {
            let change = Ref(change.clone());
            client.call(async |orch, context| orch.change_diff(context, change).await).await.map(Answer::Diff)
        }
    }
}
