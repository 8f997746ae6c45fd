//! Work on the state: begun, watched, cancelled.

use std::sync::Arc;
use std::time::Duration;

use orch_proto::view::{UpkeepRequest, UpkeepView};
use orch_proto::{ErrorCode, RpcError, WAIT_MS_MAX};

use super::super::identity::Caller;
use crate::app::{App, blocking};
use crate::upkeep as work;

pub(crate) async fn upkeep_start(
    app: &Arc<App>,
    caller: &Caller,
    request: UpkeepRequest,
) -> Result<UpkeepView, RpcError> {
    caller.require(request.role())?;
    let runtime = tokio::runtime::Handle::current();
    let (app, user) = (Arc::clone(app), caller.name.clone());
    // Looking at the place of a backup asks the file system.
    blocking(move || {
        let _entered = runtime.enter();
        work::start(&app, request, &user)
    })
    .await
}

pub(crate) async fn upkeep(
    app: &Arc<App>,
    _: &Caller,
    after: u64,
    wait_ms: u32,
) -> Result<Option<UpkeepView>, RpcError> {
    let Some(work) = app.upkeep.work() else { return Ok(None) };
    tokio::select! {
        () = work.changed(after) => {}
        () = app.stopped() => {}
        () = tokio::time::sleep(Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)))) => {}
    }
    Ok(Some(work.view()))
}

pub(crate) async fn upkeep_cancel(app: &Arc<App>, caller: &Caller) -> Result<UpkeepView, RpcError> {
    let work = app.upkeep.work().filter(|work| work.view().outcome.is_none()).ok_or_else(|| {
        RpcError::new(ErrorCode::NotFound, "no work on the state is under way").hint("there is nothing to cancel")
    })?;
    caller.require(work.role())?;
    tracing::info!(user = caller.name, "work on the state is to end");
    work.cancel();
    Ok(work.view())
}
