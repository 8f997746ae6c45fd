//! What was kept for long enough: that it goes is on record before it does, and that it is gone afterwards.

use std::collections::BTreeMap;

use orch_proto::EntityKind;
use orch_proto::id::RunId;

use super::bounds::NAMED_MAX;
use super::{Context, DecideError, text};
use crate::entity::{Removal, Run, RunEvent};
use crate::retention::{Hold, hold};
use crate::view::View;

/// Puts on record that parts of runs go. What something has begun to refer to since it was chosen stays, and so does what
/// has gone before: only the runs that the answer names may be touched.
pub(super) fn remove<V: View>(
    cx: &mut Context<'_, V>,
    removals: &BTreeMap<RunId, Vec<Removal>>,
) -> Result<(), DecideError> {
    bounded(removals.len())?;
    for (id, parts) in removals {
        let run: Run = cx.get(*id)?;
        let mut new: Vec<Removal> = Vec::new();
        for removal in parts {
            text("content", &removal.content)?;
            text("policy", &removal.policy)?;
            let is_new = run.removed(removal.part).is_none() && new.iter().all(|other| other.part != removal.part);
            new.extend(is_new.then(|| removal.clone()));
        }
        if new.is_empty() || hold(cx.view, &run)? == Some(Hold::InUse) {
            continue;
        }
        cx.emit((*id, RunEvent::Removing { removals: new }));
        cx.touch(EntityKind::Run, id);
    }
    Ok(())
}

/// Puts on record that what was to go of these runs is gone.
pub(super) fn finish<V: View>(cx: &mut Context<'_, V>, runs: &[RunId]) -> Result<(), DecideError> {
    bounded(runs.len())?;
    for id in runs {
        if cx.get::<Run>(*id)?.is_removing {
            cx.emit((*id, RunEvent::Removed));
            cx.touch(EntityKind::Run, id);
        }
    }
    Ok(())
}

fn bounded(count: usize) -> Result<(), DecideError> {
    if count <= NAMED_MAX {
        return Ok(());
    }
    Err(DecideError::TooLarge { field: "runs", problem: format!("are {count}, more than {NAMED_MAX}") })
}
