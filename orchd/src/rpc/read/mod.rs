//! Answers to reads, one file per family. Every answer is made from one snapshot of the state.

mod documents;
#[expect(
    clippy::too_many_arguments,
    reason = "application and caller come before the arguments of the contract's methods"
)]
mod logs;
mod secrets;
mod stats;
mod system;
mod upkeep;
mod work;

use std::sync::Arc;

use orch_core::view::ReadError;
use orch_proto::{PAGE_ITEMS_MAX, RpcError};
use orch_store::ReadView;
use serde::Serialize;

use super::{answer_size, errors};
use crate::app::App;

pub(super) use documents::{
    blob_text, plan, plans, project, projects, requirements, requirements_diff, requirements_list, trace, version,
    vision, visions,
};
pub(super) use logs::{artifact, change_diff, events_since, run_log};
pub(super) use secrets::{secret_remove, secret_set, secrets};
pub(super) use stats::stats;
pub(super) use system::{audit_verify, check, doctor, shutdown, status};
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

/// The newest things that fit into one answer, the newest first. `all` is by age; `shown` answers nothing for what is
/// not asked for.
fn newest_first<E, V: Serialize>(
    all: &[E],
    mut shown: impl FnMut(&E) -> Result<Option<V>, RpcError>,
) -> Result<Vec<V>, RpcError> {
    let mut views = Vec::new();
    let mut room = PAGE_BYTES_MAX;
    for thing in all.iter().rev() {
        let Some(view) = shown(thing)? else { continue };
        match answer_size::within(&view, room) {
            Some(bytes) => room -= bytes,
            // One alone is answered whatever its size, so that there is an error when even that is too much.
            None if views.is_empty() => room = 0,
            None => break,
        }
        views.push(view);
        if views.len() == PAGE_ITEMS_MAX as usize {
            break;
        }
    }
    Ok(views)
}

/// The same, the oldest first.
fn newest_last<E, V: Serialize>(
    all: &[E],
    shown: impl FnMut(&E) -> Result<Option<V>, RpcError>,
) -> Result<Vec<V>, RpcError> {
    let mut views = newest_first(all, shown)?;
    views.reverse();
    Ok(views)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_newest_that_fit_by_number_and_by_size() {
        let all: Vec<usize> = (0..2_000).collect();
        let odd = newest_first(&all, |number| Ok((number % 2 == 1).then_some(*number))).unwrap();
        assert_eq!((odd.len(), odd[0], odd[999]), (1_000, 1_999, 1));
        assert_eq!(newest_first(&all, |number| Ok(Some(*number))).unwrap().last(), Some(&1_000));
        let large = |bytes: usize| newest_first(&all, |_| Ok(Some("x".repeat(bytes)))).unwrap().len();
        assert_eq!(large(PAGE_BYTES_MAX / 4), 3);
        assert_eq!(large(PAGE_BYTES_MAX * 2), 1);
        assert_eq!(newest_first(&all[..0], |number| Ok(Some(*number))).unwrap(), Vec::<usize>::new());
    }
}
