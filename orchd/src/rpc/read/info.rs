//! Questions of runs.

use std::sync::Arc;

use orch_core::entity::InfoRequest;
use orch_proto::view::{InfoRequestFilter, InfoRequestView};
use orch_proto::{Ref, RpcError};

use super::super::identity::Caller;
use super::super::resolve;
use super::work::project_filter;
use super::{newest_last, readable, with_view};
use crate::app::App;
use crate::convert;

pub(crate) async fn info_requests(
    app: &Arc<App>,
    _: &Caller,
    filter: InfoRequestFilter,
) -> Result<Vec<InfoRequestView>, RpcError> {
    with_view(app, move |view| {
        let mut of = project_filter(view, filter.project.as_ref())?;
        of.open = filter.pending;
        newest_last(view, of, |asked: &InfoRequest| readable(convert::info_request_view(view, asked)).map(Some))
    })
    .await
}

pub(crate) async fn info_request(app: &Arc<App>, _: &Caller, info: Ref) -> Result<InfoRequestView, RpcError> {
    with_view(app, move |view| {
        readable(convert::info_request_view(view, &resolve::entity::<InfoRequest>(view, &info)?))
    })
    .await
}
