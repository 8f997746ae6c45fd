//! Reads the part of the state that scheduling looks at.

use std::collections::BTreeMap;

use orch_core::entity::{Approval, Change, Entity as _, Project, Run, Task};
use orch_core::schedule::Snapshot;
use orch_core::view::{Filter, ReadError, View};

/// Reads a snapshot of everything that is under way.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn snapshot(view: &impl View) -> Result<Snapshot, ReadError> {
    let open = Filter::default().open();
    let mut tasks: BTreeMap<_, _> = view.list::<Task>(&open)?.into_iter().map(|task| (task.id, task)).collect();
    let needed: Vec<_> = tasks.values().flat_map(|task| task.depends_on.iter().copied()).collect();
    for id in needed {
        if !tasks.contains_key(&id)
            && let Some(task) = view.get::<Task>(id)?
        {
            tasks.insert(id, task);
        }
    }
    let changes: BTreeMap<_, _> = view.list::<Change>(&open)?.into_iter().map(|change| (change.id, change)).collect();
    let asked = tasks.values().filter(|task| task.is_open()).filter_map(|task| task.approval);
    let asked: Vec<_> = asked.chain(changes.values().filter_map(|change| change.approval)).collect();
    let mut approvals = BTreeMap::new();
    for id in asked {
        if let Some(approval) = view.get::<Approval>(id)? {
            approvals.insert(id, approval);
        }
    }
    Ok(Snapshot {
        projects: view.list::<Project>(&Filter::default())?.into_iter().map(|project| (project.id, project)).collect(),
        tasks,
        approvals,
        changes,
        runs: view.list::<Run>(&open)?,
    })
}
