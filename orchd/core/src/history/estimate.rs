//! How long a task will still take, from like tasks that were done.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::kinds::{Scope, label_of};
use super::samples::quantile;
use super::story::History;

/// Fewest like tasks that an estimate is made from.
pub const SAMPLES_MIN: usize = 3;
/// Fewest tasks of any kind that an estimate is made from: they say little of this one.
const UNLIKE_MIN: usize = 10;

const MINUTE_MS: u64 = 60_000;

/// What an estimate is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// None for one that is only planned.
    pub task: Option<TaskId>,
    pub project: ProjectId,
    /// What does the work: [`crate::entity::Work::label`].
    pub work: &'a str,
    /// What its plan says, low and high, in minutes.
    pub given_minutes: Option<(u32, u32)>,
}

/// What an estimate rests on, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Like tasks of its project.
    LikeInProject,
    /// Like tasks of any project.
    LikeAnywhere,
    /// All tasks of its project.
    Project,
    /// All tasks.
    Everything,
    /// What its plan says.
    Given,
}

/// How long a task will still take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub basis: Basis,
    /// Tasks that it was computed from; 0 when it was given.
    pub samples: usize,
    /// When the task was begun; none when it was not.
    pub begun_at: Option<Timestamp>,
    pub left: Left,
}

/// The time that is left, as what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    elapsed_ms: u64,
    whole: Whole,
}

/// The time that the whole task takes, as what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whole {
    /// What others took, sorted.
    Seen(Arc<[u32]>),
    /// A likely and a long time.
    Given { low_ms: u64, high_ms: u64 },
}

impl Left {
    /// No time: for a task of which nothing is known.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { elapsed_ms: 0, whole: Whole::Given { low_ms: 0, high_ms: 0 } }
    }

    /// As long as others took.
    #[cfg(test)]
    pub(super) fn like(others_ms: &[u32]) -> Self {
        Self { elapsed_ms: 0, whole: Whole::Seen(others_ms.into()) }
    }

    /// The time that is left with a chance of `permille` of 1,000, in milliseconds.
    ///
    /// Of what others took only those count that took longer than this one has already. Has it taken longer than all of
    /// them, nothing is known, and it is taken to need up to as long again.
    #[must_use]
    pub fn quantile(&self, permille: u32) -> u64 {
        let permille = permille.min(1_000);
        let whole = match &self.whole {
            _ if self.is_overdue() => return self.elapsed_ms.saturating_mul(u64::from(permille)) / 1_000,
            Whole::Seen(sorted) => quantile(&sorted[self.shorter(sorted)..], permille as usize).unwrap_or(0),
            Whole::Given { low_ms, high_ms } => given(*low_ms, *high_ms, permille),
        };
        whole.saturating_sub(self.elapsed_ms)
    }

    /// Whether it has taken longer than everything that the estimate rests on.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        match &self.whole {
            Whole::Seen(sorted) => self.shorter(sorted) == sorted.len(),
            Whole::Given { high_ms, .. } => self.elapsed_ms > 0 && self.elapsed_ms >= *high_ms,
        }
    }

    /// Others that did not take longer than this one has already.
    fn shorter(&self, sorted: &[u32]) -> usize {
        if self.elapsed_ms == 0 { 0 } else { sorted.partition_point(|ms| u64::from(*ms) <= self.elapsed_ms) }
    }
}

/// A given band read as median and 90th percentile, with straight lines between half the low end, both, and the high end.
fn given(low_ms: u64, high_ms: u64, permille: u32) -> u64 {
    let permille = u64::from(permille);
    match permille {
        0..500 => low_ms / 2 + (low_ms - low_ms / 2) * permille / 500,
        500..900 => low_ms + high_ms.saturating_sub(low_ms) * (permille - 500) / 400,
        _ => high_ms.max(low_ms),
    }
}

/// Makes estimates as of one moment. Sorts what it needs once.
#[derive(Debug)]
pub struct Estimator<'a> {
    history: &'a History,
    now: Timestamp,
    sorted: BTreeMap<Scope, Arc<[u32]>>,
}

impl<'a> Estimator<'a> {
    /// Estimates from `history` as of `now`.
    #[must_use]
    pub const fn new(history: &'a History, now: Timestamp) -> Self {
        Self { history, now, sorted: BTreeMap::new() }
    }

    /// How long the task will still take once it is started, or takes since it was; none when nothing is known.
    pub fn estimate(&mut self, subject: &Subject<'_>) -> Option<Estimate> {
        let begun_at = subject.task.and_then(|task| self.history.begun_at(task));
        let elapsed_ms = begun_at.map_or(0, |begun| self.now.ms_since(begun));
        let label = label_of(subject.work);
        let scopes = [
            (Basis::LikeInProject, Scope::LikeInProject(subject.project, Arc::clone(&label)), SAMPLES_MIN),
            (Basis::LikeAnywhere, Scope::LikeAnywhere(label), SAMPLES_MIN),
            (Basis::Project, Scope::Project(subject.project), UNLIKE_MIN),
            (Basis::Everything, Scope::Everything, UNLIKE_MIN),
        ];
        for (basis, scope, min) in scopes {
            if self.history.kind(&scope).is_some_and(|kind| kind.tasks.len() >= min) {
                let sorted = self.sorted(scope);
                let left = Left { elapsed_ms, whole: Whole::Seen(Arc::clone(&sorted)) };
                return Some(Estimate { basis, samples: sorted.len(), begun_at, left });
            }
        }
        let (low, high) = subject.given_minutes.filter(|(_, high)| *high > 0)?;
        let whole = Whole::Given { low_ms: u64::from(low) * MINUTE_MS, high_ms: u64::from(high) * MINUTE_MS };
        Some(Estimate { basis: Basis::Given, samples: 0, begun_at, left: Left { elapsed_ms, whole } })
    }

    fn sorted(&mut self, scope: Scope) -> Arc<[u32]> {
        let history = self.history;
        let sorted = self
            .sorted
            .entry(scope)
            .or_insert_with_key(|scope| history.kind(scope).map(|kind| kind.tasks.sorted()).unwrap_or_default().into());
        Arc::clone(sorted)
    }
}
