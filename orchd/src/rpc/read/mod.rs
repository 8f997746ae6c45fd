//! Answers to reads, one file per family. Every answer is made from one snapshot of the state.

mod documents;
#[expect(
    clippy::too_many_arguments,
    reason = "application and caller come before the arguments of the contract's methods"
)]
mod exchanges;
mod info;
#[expect(
    clippy::too_many_arguments,
    reason = "application and caller come before the arguments of the contract's methods"
)]
mod logs;
mod secrets;
mod stats;
mod system;
mod tools;
mod undo;
mod upkeep;
mod work;

use std::ops::ControlFlow;
use std::sync::Arc;

use orch_core::entity::Entity;
use orch_core::view::{Filter, ReadError};
use orch_proto::{PAGE_ITEMS_MAX, RpcError};
use orch_store::ReadView;
use serde::Serialize;

use super::{answer_size, errors};
use crate::app::App;

pub(super) use documents::{
    blob_text, plan, plans, project, projects, requirements, requirements_diff, requirements_list, trace, version,
    vision, visions,
};
pub(super) use exchanges::{run_exchange, run_exchanges};
pub(super) use info::{info_request, info_requests};
pub(super) use logs::{artifact, change_diff, events_since, run_log};
pub(super) use secrets::{secret_remove, secret_set, secrets};
pub(super) use stats::stats;
pub(super) use system::{audit_verify, check, doctor, shutdown, status};
pub(super) use tools::{tool, tool_install, tool_remove, tools};
pub(super) use undo::undo_preview;
pub(super) use upkeep::{upkeep, upkeep_cancel, upkeep_start};
pub(super) use work::{approval, approvals, change, changes, run, runs, task, tasks};

/// Most bytes of JSON in a list. Half of the largest frame: the page is made before it is sent.
const PAGE_BYTES_MAX: usize = orch_proto::wire::FRAME_BYTES_MAX / 2;

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

/// What an answer has room for.
struct Page<V> {
    views: Vec<V>,
    room: usize,
}

impl<V: Serialize> Page<V> {
    const fn new() -> Self {
        Self { views: Vec::new(), room: PAGE_BYTES_MAX }
    }

    /// Adds a thing if it fits; says whether there may be room for another.
    fn add(&mut self, view: V) -> ControlFlow<()> {
        match answer_size::within(&view, self.room) {
            Some(bytes) => self.room -= bytes,
            // One alone is answered whatever its size, so that there is an error when even that is too much.
            None if self.views.is_empty() => self.room = 0,
            None => return ControlFlow::Break(()),
        }
        self.views.push(view);
        if self.views.len() == PAGE_ITEMS_MAX as usize { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Which things a list has: those that fit and are in one of the states, in any if none is named.
struct Wanted<'a> {
    filter: Filter,
    states: &'a [&'a str],
    /// Most of them that are looked at.
    looked_at_max: usize,
}

impl From<Filter> for Wanted<'_> {
    fn from(filter: Filter) -> Self {
        Self { filter, states: &[], looked_at_max: usize::MAX }
    }
}

/// The newest things that fit into one answer, the newest first. What does not fit is not read. `shown` answers nothing for
/// what is not asked for.
fn newest_first<'a, E: Entity, V: Serialize>(
    view: &ReadView<'_>,
    wanted: impl Into<Wanted<'a>>,
    mut shown: impl FnMut(&E) -> Result<Option<V>, RpcError>,
) -> Result<Vec<V>, RpcError> {
    let Wanted { filter, states, looked_at_max } = wanted.into();
    let (mut page, mut failed, mut looked_at) = (Page::new(), None, 0_usize);
    readable(view.each_newest(&filter, states, |thing: E| {
        looked_at += 1;
        let added = match shown(&thing) {
            Ok(Some(view)) => page.add(view),
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        if looked_at < looked_at_max { added } else { ControlFlow::Break(()) }
    }))?;
    failed.map_or(Ok(page.views), Err)
}

/// The same, the oldest first.
fn newest_last<'a, E: Entity, V: Serialize>(
    view: &ReadView<'_>,
    wanted: impl Into<Wanted<'a>>,
    shown: impl FnMut(&E) -> Result<Option<V>, RpcError>,
) -> Result<Vec<V>, RpcError> {
    let mut views = newest_first(view, wanted, shown)?;
    views.reverse();
    Ok(views)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_what_fits_by_number_and_by_size() {
        let filled = |all: &mut dyn Iterator<Item = String>| {
            let mut page = Page::new();
            for thing in all {
                if page.add(thing).is_break() {
                    break;
                }
            }
            page.views
        };
        let numbers = filled(&mut (0..2_000).map(|number| number.to_string()));
        assert_eq!((numbers.len(), numbers[999].as_str()), (1_000, "999"));
        let large = |bytes: usize| filled(&mut std::iter::repeat_with(|| "x".repeat(bytes))).len();
        assert_eq!(large(PAGE_BYTES_MAX / 4), 3);
        assert_eq!(large(PAGE_BYTES_MAX * 2), 1);
        assert_eq!(filled(&mut std::iter::empty()), Vec::<String>::new());
    }
}
