//! Budgets: what projects use of them, runs under way included, and when that will be too much.
//!
//! Time that runs under way use is a sum that grows with them: it is kept as their number and the sum of their beginnings, so that
//! a look costs the same however many there are. A project is looked at when something of it changed, and when a mark is
//! reached.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};

use super::book::Book;
use super::choose::Action;
use super::explain::Wait;
use super::facts::RunFacts;
use crate::entity::{Budget, BudgetState, Level, Meter};

/// What runs under way use of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Growing {
    /// What was before does not count.
    from: Option<Timestamp>,
    runs: u64,
    /// Sum of when each began, or when it began to count, in milliseconds.
    began_ms: i128,
}

impl Growing {
    fn over(from: Timestamp, began: impl Iterator<Item = Timestamp>) -> Self {
        let mut growing = Self { from: Some(from), ..Self::default() };
        began.for_each(|began| growing.add(began));
        growing
    }

    fn add(&mut self, began: Timestamp) {
        self.runs += 1;
        self.began_ms += ms(self.clamped(began));
    }

    fn remove(&mut self, began: Timestamp) {
        self.runs = self.runs.saturating_sub(1);
        self.began_ms -= ms(self.clamped(began));
    }

    fn clamped(&self, began: Timestamp) -> Timestamp {
        self.from.map_or(began, |from| from.max(began))
    }

    fn at(&self, now: Timestamp) -> u64 {
        let used = i128::from(self.runs) * ms(now) - self.began_ms;
        // A clock that was put back to before they began.
        u64::try_from(used.max(0)).unwrap_or(u64::MAX)
    }

    /// When it will have grown by so much, if nothing else happens.
    fn grown_by(&self, more: u64, now: Timestamp) -> Option<Timestamp> {
        let now = Timestamp::from_unix_us(now.unix_us().div_euclid(1_000).saturating_mul(1_000));
        (self.runs > 0).then(|| now.plus_ms(more.div_ceil(self.runs)))
    }
}

/// To the millisecond that has begun: never more than really passed.
fn ms(at: Timestamp) -> i128 {
    i128::from(at.unix_us().div_euclid(1_000))
}

/// The budgets of a project.
#[derive(Debug, Default)]
struct Purse {
    budgets: Vec<(Budget, Growing)>,
    /// When it is to be looked at again.
    due: Option<Timestamp>,
    /// What is on record of one of them is not what is.
    is_otherwise: bool,
}

/// The budgets of all projects.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    purses: BTreeMap<ProjectId, Purse>,
    /// When each run under way began, by project.
    open: BTreeMap<ProjectId, BTreeMap<RunId, Timestamp>>,
    due: BTreeSet<(Timestamp, ProjectId)>,
    changed: BTreeSet<ProjectId>,
    /// Projects of which something is not on record.
    otherwise: BTreeSet<ProjectId>,
    counted_at: Option<Timestamp>,
}

impl Budgets {
    /// The budgets of a project as they are now.
    pub(super) fn put(&mut self, project: ProjectId, budgets: &[Budget]) {
        if budgets.is_empty() && !self.purses.contains_key(&project) {
            return;
        }
        let purse = self.purses.entry(project).or_default();
        let growing = |budget: &Budget| {
            let known = purse.budgets.iter().find(|(known, _)| known.key == budget.key);
            known.map_or_else(Growing::default, |(_, growing)| *growing)
        };
        let budgets: Vec<_> = budgets.iter().map(|budget| (*budget, growing(budget))).collect();
        purse.budgets = budgets;
        self.changed.insert(project);
    }

    /// A run as it is now.
    pub(super) fn run(&mut self, facts: &RunFacts) {
        let (id, project) = (facts.id, facts.project);
        let began = facts.started_at.filter(|_| facts.is_open);
        let before = match began {
            Some(began) => self.open.entry(project).or_default().insert(id, began),
            None => {
                let Some(open) = self.open.get_mut(&project) else { return };
                let before = open.remove(&id);
                if open.is_empty() {
                    self.open.remove(&project);
                }
                before
            }
        };
        if before == began {
            return;
        }
        if let Some(purse) = self.purses.get_mut(&project) {
            for (_, growing) in &mut purse.budgets {
                before.iter().for_each(|began| growing.remove(*began));
                began.iter().for_each(|began| growing.add(*began));
            }
            self.changed.insert(project);
        }
    }

    /// Looks at what may be otherwise by now. Calls `tell` with each project that was looked at and whether nothing is left.
    fn count(&mut self, now: Timestamp, mut tell: impl FnMut(ProjectId, bool)) {
        let mut projects = std::mem::take(&mut self.changed);
        if self.counted_at.replace(now).is_some_and(|before| now < before) {
            projects.extend(self.purses.keys());
        }
        while let Some((at, project)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, project));
            projects.insert(project);
        }
        for project in projects {
            let Some(purse) = self.purses.get_mut(&project) else { continue };
            let open = self.open.get(&project);
            let is_spent = purse.count(now, || open.into_iter().flat_map(|open| open.values().copied()));
            let due = purse.next_due(now);
            if let Some(before) = std::mem::replace(&mut purse.due, due) {
                self.due.remove(&(before, project));
            }
            self.due.extend(due.map(|due| (due, project)));
            if purse.is_otherwise {
                self.otherwise.insert(project);
            } else {
                self.otherwise.remove(&project);
            }
            if purse.budgets.is_empty() {
                self.purses.remove(&project);
            }
            tell(project, is_spent);
        }
    }

    /// When something of a budget will be otherwise.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Purse {
    /// Counts at `now`; whether nothing is left of one of them.
    fn count<I: Iterator<Item = Timestamp>>(&mut self, now: Timestamp, open: impl Fn() -> I) -> bool {
        self.is_otherwise = false;
        let mut is_spent = false;
        for (budget, growing) in &mut self.budgets {
            let current = budget.at(now);
            if growing.from != Some(current.counts_from()) {
                *growing = Growing::over(current.counts_from(), open());
            }
            let (recorded, level) = (current.state.level(), current.level(used(&current, growing, now)));
            let is_over = current.span != budget.span && budget.state != BudgetState::Enough;
            self.is_otherwise |= is_over || level > recorded;
            is_spent |= level.max(recorded) == Level::Spent;
        }
        is_spent
    }

    /// When the next mark is reached, or a day or week ends.
    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let of_budget = |(budget, growing): &(Budget, Growing)| {
            let current = budget.at(now);
            let used = used(&current, growing, now);
            // What is used of models grows with events, and not with time.
            let marks = [current.low_mark(), current.allowed()].into_iter().filter(|mark| *mark > used).min();
            let marks = marks.filter(|_| !current.key.meter.is_of_models());
            let mark = marks.and_then(|mark| growing.grown_by(mark - used, now));
            mark.into_iter().chain(current.renews_at()).min()
        };
        self.budgets.iter().filter_map(of_budget).min()
    }
}

fn used(current: &Budget, growing: &Growing, now: Timestamp) -> u64 {
    match current.key.meter {
        Meter::RunTime => current.used.saturating_add(growing.at(now)),
        Meter::Tokens | Meter::Cost => current.used,
    }
}

impl Book {
    /// Opens and closes projects by their budgets.
    pub(super) fn count_budgets(&mut self, now: Timestamp) {
        let turns = &mut self.turns;
        self.budgets.count(now, |project, is_spent| turns.spend(project, is_spent));
    }

    /// Projects of whose budgets something is to be put on record.
    pub(super) fn otherwise_budgets(&self) -> impl Iterator<Item = Action> {
        self.budgets.otherwise.iter().map(|project| Action::Judge(*project))
    }

    /// The budgets of a project of which nothing is left.
    pub(super) fn spent_budgets(&self, project: ProjectId, now: Timestamp) -> Vec<Wait> {
        let name = self.projects.get(&project).map_or("", |project| project.slug.as_str());
        let purse = self.budgets.purses.get(&project).into_iter().flat_map(|purse| &purse.budgets);
        let spent = purse.filter_map(|(budget, growing)| {
            let current = budget.at(now);
            let used = used(&current, growing, now);
            let is_spent = current.level(used).max(current.state.level()) == Level::Spent;
            is_spent.then(|| Wait::Budget {
                name: name.to_owned(),
                period: current.key.period,
                amounts: current.amounts(used),
                renews_ms: current.renews_at().map(|at| at.ms_since(now).max(1)),
            })
        });
        spent.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_beginnings_is_the_time_of_all_runs() {
        let at = |ms| Timestamp::from_unix_us(1_795_163_100_000_000).plus_ms(ms);
        let mut growing = Growing::over(at(10), [at(0), at(30)].into_iter());
        assert_eq!((growing.at(at(40)), growing.at(at(10))), (40, 0));
        growing.add(at(40));
        assert_eq!(growing.at(at(50)), 40 + 20 + 10);
        assert_eq!(growing.grown_by(7, at(50)), Some(at(53)));
        growing.remove(at(30));
        growing.remove(at(0));
        growing.remove(at(40));
        assert_eq!((growing.at(at(90)), growing.grown_by(1, at(90))), (0, None));
    }
}
