//! What the log says of how long things take, and what follows for what is open.

use std::sync::Arc;

use orch_core::view::ReadError;
use orch_proto::view::{ReadingView, StatsView};
use orch_proto::{Ref, RpcError};
use orch_store::ReadView;

use super::super::identity::Caller;
use super::super::resolve;
use super::{readable, with_view};
use crate::app::App;
use crate::convert::{self, Outlook};

pub(crate) async fn stats(app: &Arc<App>, _: &Caller, project: Option<Ref>) -> Result<StatsView, RpcError> {
    let history = Arc::clone(app);
    with_view(app, move |view| {
        let project = project.map(|project| resolve::project(view, &project)).transpose()?;
        let kept = readable(history.history.at(view))?;
        let reading = (kept.seq < view.seq()).then_some(ReadingView { read: kept.seq, of: view.seq() });
        readable(convert::stats_view(view, &kept.history, project.as_ref(), (crate::clock::now(), reading)))
    })
    .await
}

/// Calls `look` with what estimates are made from. The history is held meanwhile.
pub(super) fn with_outlook<T>(
    app: &App,
    view: &ReadView<'_>,
    look: impl FnOnce(&mut Outlook<'_>) -> T,
) -> Result<T, ReadError> {
    let kept = app.history.at(view)?;
    let is_reading = kept.seq < view.seq();
    Ok(look(&mut Outlook::new(&kept.history, crate::clock::now(), is_reading)))
}
