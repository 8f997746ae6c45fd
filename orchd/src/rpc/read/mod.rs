//! Answers to reads, one file per family. Every answer is made from one snapshot of the state.

mod documents;
#[expect(
    clippy::too_many_arguments,
    reason = "application and caller come before the arguments of the contract's methods"
)]
mod logs;
mod system;
mod work;

use std::sync::Arc;

use orch_core::view::ReadError;
use orch_proto::RpcError;
use orch_store::ReadView;

use super::errors;
use crate::app::App;

pub(super) use documents::{
    blob_text, plan, plans, project, projects, requirements, requirements_diff, requirements_list, trace, version,
    vision, visions,
};
pub(super) use logs::{artifact, change_diff, events_since, run_log};
pub(super) use system::{audit_verify, check, doctor, shutdown, status};
pub(super) use work::{approval, approvals, change, changes, run, runs, task, tasks};

/// Reads the state; what the reading itself refuses comes back as it is.
async fn with_view<T: Send + 'static>(
    app: &Arc<App>,
    read: impl FnOnce(&ReadView<'_>) -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    app.read(move |view| Ok(read(view))).await.map_err(|error| errors::read(&error))?
}

/// Turns a failure to read into an error for the client.
fn readable<T>(result: Result<T, ReadError>) -> Result<T, RpcError> {
    result.map_err(|error| errors::read(&error))
}
