//! What the log has said so far, each event judged by what was before it, and applied to it. Kept beside the daemon: what it
//! says is what must be there, and is there for ever.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::entity::{
    Approval, Change, ChangeEvent, Entity, Meta, Project, Run, RunEvent, RunPurpose, Task, TaskEvent,
};
use orch_core::event::{Event, Recorded};
use orch_core::state::change::ChangeState;
use orch_core::state::run::RunOutcome;
use orch_core::undo::undone_by;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};
use orch_store::ReadView;

use super::branches::Branches;
use super::host::Host;
use super::oracle;

/// Something is not as it has to be.
pub(super) type Held = Result<(), String>;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) seq: u64,
    pub(super) projects: BTreeMap<ProjectId, Project>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) runs: BTreeMap<RunId, Run>,
    open_runs: BTreeSet<RunId>,
    pub(super) changes: BTreeMap<ChangeId, Change>,
    pub(super) approvals: BTreeMap<ApprovalId, Approval>,
    /// Attempts of projects by the day on which they were queued, as the log says.
    pub(super) attempts: BTreeMap<(ProjectId, i64), u32>,
    fences: BTreeMap<TaskId, u64>,
    pub(super) late_results: u64,
    /// Events with which something is as it was before.
    pub(super) undone: u64,
}

/// What is true while events happen.
pub(super) struct Circumstances<'a> {
    /// What the clock showed when the commands were decided, if that is known.
    pub(super) now: Option<Timestamp>,
    /// Most runs that were allowed at once in this life of the daemon.
    pub(super) runs_max: u32,
    pub(super) branches: &'a Branches,
    pub(super) host: &'a Host,
}

/// The day of a time.
pub(super) const fn day_of(at: Timestamp) -> i64 {
    at.unix_us().div_euclid(DAY_US)
}

impl Mirror {
    /// Reads what has happened since.
    pub(super) fn follow(&mut self, view: &ReadView<'_>, at: &Circumstances<'_>) -> Result<Held, ReadError> {
        if view.seq() < self.seq {
            return Ok(Err(format!("{} events of {} are gone", self.seq - view.seq(), self.seq)));
        }
        while self.seq < view.seq() {
            for stored in view.events(self.seq, 1_000)? {
                self.seq = stored.recorded.seq;
                if let Err(wrong) = self.happened(&stored.recorded, at) {
                    return Ok(Err(format!("event {}, {}: {wrong}", self.seq, stored.recorded.event.kind())));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Open runs.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Run> {
        self.open_runs.iter().filter_map(|id| self.runs.get(id))
    }

    pub(super) fn is_under_way(&self, run: RunId) -> bool {
        self.open_runs.contains(&run)
    }

    fn happened(&mut self, recorded: &Recorded, at: &Circumstances<'_>) -> Held {
        self.judge(&recorded.event, recorded.at, at)?;
        self.undone += u64::from(undone_by(&recorded.event).is_some());
        let meta = Meta { at: recorded.at, actor: &recorded.actor };
        match &recorded.event {
            Event::Project { id, event } => apply(&mut self.projects, *id, event, meta),
            Event::Task { id, event } => apply(&mut self.tasks, *id, event, meta),
            Event::Change { id, event } => apply(&mut self.changes, *id, event, meta),
            Event::Approval { id, event } => apply(&mut self.approvals, *id, event, meta),
            Event::Run { id, event } => {
                apply(&mut self.runs, *id, event, meta)?;
                if self.runs[id].is_open() {
                    self.open_runs.insert(*id)
                } else {
                    self.open_runs.remove(id)
                };
                Ok(())
            }
            Event::Vision { .. } | Event::Requirements { .. } | Event::Plan { .. } | Event::InfoRequest { .. } => {
                Ok(())
            }
        }
    }

    /// Judges an event by what was before it.
    fn judge(&mut self, event: &Event, stamped: Timestamp, at: &Circumstances<'_>) -> Held {
        match event {
            Event::Run { id, event: RunEvent::Queued { project, task, purpose, fence, .. } } => {
                let before = self.fences.insert(*task, *fence);
                if before.is_some_and(|before| before >= *fence) {
                    return Err(format!("{id} has fence {fence} after {before:?}"));
                }
                if self.open_runs.len() >= at.runs_max as usize {
                    return Err(format!("{id} begins and {} runs are under way", self.open_runs.len()));
                }
                if *purpose == RunPurpose::Work {
                    *self.attempts.entry((*project, day_of(stamped))).or_insert(0) += 1;
                    return at.now.map_or(Ok(()), |now| self.may_begin(*task, now));
                }
                Ok(())
            }
            Event::Run { id, event: RunEvent::Ended { outcome, .. } } => self.has_ended(*id, outcome, at.host),
            Event::Run { event: RunEvent::LateResult { .. }, .. } => {
                self.late_results += 1;
                Ok(())
            }
            Event::Task { id, event: TaskEvent::Started { run, .. } } => {
                match self.under_way().find(|open| open.id != *run && open.task == *id) {
                    Some(other) => Err(format!("{id} is started as {run} while {} is under way", other.id)),
                    None => Ok(()),
                }
            }
            Event::Change { id, event: ChangeEvent::Merged } => self.is_merged(*id, at.branches),
            _ => Ok(()),
        }
    }

    /// Whether an end that is on record is a true one, with all that the run said before it.
    fn has_ended(&self, id: RunId, outcome: &RunOutcome, host: &Host) -> Held {
        let Some(run) = self.runs.get(&id).filter(|run| run.is_open()) else {
            return Err(format!("{id} has ended twice"));
        };
        if *outcome == RunOutcome::Succeeded && !host.has_succeeded(id) {
            return Err(format!("{id} is said to have succeeded, and has not"));
        }
        match host.log_end(id) {
            Some(end) if run.log_cursor != end => {
                Err(format!("{id} is over and was read to {} of {end}", run.log_cursor))
            }
            _ => Ok(()),
        }
    }

    fn may_begin(&self, task: TaskId, now: Timestamp) -> Held {
        let Some(task) = self.tasks.get(&task) else { return Err(format!("{task} is not there")) };
        match oracle::obstacle(self, now, task) {
            Some(why) => Err(format!("T-{} of {} begins although {why}", task.number, task.project)),
            None => Ok(()),
        }
    }

    fn is_merged(&self, id: ChangeId, branches: &Branches) -> Held {
        let Some(change) = self.changes.get(&id) else { return Err(format!("{id} is not there")) };
        let slug = self.projects.get(&change.project).map_or("", |project| project.slug.as_str());
        match &change.state {
            ChangeState::Queued { commit, .. } if branches.has(slug, commit) => Ok(()),
            state => Err(format!("{id} is called merged, and is not on the branch: {state:?}")),
        }
    }
}

fn apply<E: Entity>(all: &mut BTreeMap<E::Id, E>, id: E::Id, event: &E::Event, meta: Meta<'_>) -> Held {
    let now = E::apply(all.remove(&id), id, event, meta).map_err(|error| error.to_string())?;
    all.insert(id, now);
    Ok(())
}
