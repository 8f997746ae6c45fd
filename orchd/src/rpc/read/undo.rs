//! What it would be to take a decision back.

use std::sync::Arc;

use orch_proto::RpcError;
use orch_proto::view::UndoView;

use super::super::identity::Caller;
use super::super::undo;
use super::with_view;
use crate::app::App;

pub(crate) async fn undo_preview(app: &Arc<App>, caller: &Caller, event: Option<u64>) -> Result<UndoView, RpcError> {
    let caller = caller.clone();
    with_view(app, move |view| undo::preview(view, &caller, event)).await
}
