//! Tools of the fake daemon: what is under way is over at the next look.

use orch_proto::view::{ToolState, ToolView};
use orch_proto::{ErrorCode, RpcError};

use super::State;

/// One tool as it is seen now. One that comes from somewhere gets there.
pub(super) fn look(state: &mut State, name: &str) -> Result<ToolView, RpcError> {
    let tool = state.tools.iter_mut().find(|tool| tool.name == name);
    let absent = || RpcError::new(ErrorCode::NotFound, format!("there is no recipe of a tool `{name}`"));
    let tool = tool.ok_or_else(absent)?;
    let seen = tool.clone();
    if tool.is_under_way {
        tool.is_under_way = false;
        tool.state = if tool.url.is_some() { ToolState::Ready } else { ToolState::Failed };
    }
    Ok(seen)
}

/// Has a tool be under way.
pub(super) fn install(state: &mut State, name: &str) -> Result<ToolView, RpcError> {
    for tool in state.tools.iter_mut().filter(|tool| tool.name == name) {
        (tool.state, tool.is_under_way) = (ToolState::Downloading, true);
        tool.detail.get_or_insert_with(|| "50 % of 10 bytes".into());
    }
    look(state, name)
}
