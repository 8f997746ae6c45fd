//! Turns: which project goes next. The highest priority first, then who used least of the host lately for its weight.
//!
//! A project that has as many runs as it may, at once or in a day, or has used a budget up, has no turn until it may have more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};

use super::facts::RunFacts;
use super::fairness::{CHARGE_MS, Spent, day_of, half_life_of, start_of_day};
use super::lanes::{Head, Order};
use crate::entity;

/// How often runs under way are counted anew, in milliseconds.
const COUNT_MS: u64 = 60_000;
/// What use is multiplied by before it is divided by a weight.
const USE_SCALE: u64 = 1_000;

/// A run under way and what it counts for.
#[derive(Debug)]
struct Running {
    project: ProjectId,
    began: Timestamp,
    counts_ms: u64,
    /// It takes a place. One that waits for a person does not; with the answer it takes one, whether there is one or not.
    has_place: bool,
}

/// A project's part of the host.
#[derive(Debug, Default)]
struct Part {
    share: entity::Share,
    spent: Spent,
    running: u32,
    /// The newest day on which an attempt was started, and how many were.
    started: (i64, u32),
    /// Chosen tasks that are not under way yet.
    chosen: u32,
    /// Whether its tasks may start.
    is_open: bool,
    /// Nothing is left of a budget.
    is_spent: bool,
    /// Whether they may, and it is not full.
    has_turn: bool,
    /// Its task that goes first.
    best: Option<Head>,
    has_parked: bool,
    turn: Option<Turn>,
}

/// Why a project starts nothing more at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// It has that many runs, and may have no more.
    Runs { running: u32, max: u32 },
    /// That many attempts were started today, and no more may be. A clock that was put back has not given the day back: it ends
    /// with the newest on which one was started.
    Day { started: u32, max: u32, ends_at: Timestamp },
}

impl Part {
    /// Attempts that count for `day`: those of a day that the clock was put back from do, since the log's time goes on there.
    fn started_on(&self, day: i64) -> u32 {
        let started = if self.started.0 >= day { self.started.1 } else { 0 };
        started.saturating_add(self.chosen)
    }

    /// Why it has no turn on `day` though it has something to start.
    fn full(&self, day: i64) -> Option<Full> {
        let (running, started) = (self.running.saturating_add(self.chosen), self.started_on(day));
        let runs = self.share.runs_max.filter(|max| running >= *max).map(|max| Full::Runs { running, max });
        let today = self.share.runs_per_day.filter(|max| started >= *max);
        let ends_at = start_of_day(day.max(self.started.0).saturating_add(1));
        today.map(|max| Full::Day { started, max, ends_at }).or(runs)
    }
}

/// Level, use, and between projects that used the same the order of their tasks.
type Turn = (Reverse<u8>, u64, Order, ProjectId);

/// All projects by whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    parts: BTreeMap<ProjectId, Part>,
    order: BTreeSet<Turn>,
    /// Projects that could start something if it were another day.
    used_up: BTreeSet<ProjectId>,
    /// Projects whose tasks may start, or may start no more, since somebody asked.
    turned: BTreeSet<ProjectId>,
    runs: BTreeMap<RunId, Running>,
    /// How many of them take no place.
    parked: usize,
    /// The time that use was counted up to.
    counted: Option<Timestamp>,
}

impl Turns {
    /// Whether tasks of the project may start, and what it may have.
    pub(super) fn open(&mut self, project: ProjectId, is_open: bool, share: entity::Share) {
        self.change(project, |part| (part.is_open, part.share) = (is_open, share));
    }

    /// Whether nothing is left of a budget of the project.
    pub(super) fn spend(&mut self, project: ProjectId, is_spent: bool) {
        if self.parts.get(&project).is_some_and(|part| part.is_spent) != is_spent {
            self.change(project, |part| part.is_spent = is_spent);
        }
    }

    /// The project's task that goes first from now on, and whether others wait for what all runs share.
    pub(super) fn candidate(&mut self, project: ProjectId, best: Option<Head>, has_parked: bool) {
        self.change(project, |part| (part.best, part.has_parked) = (best, has_parked));
    }

    /// A task of the project was chosen, or was chosen and is under way or given back now.
    pub(super) fn chosen(&mut self, project: ProjectId, is_more: bool) {
        self.change(project, |part| {
            part.chosen = if is_more { part.chosen + 1 } else { part.chosen.saturating_sub(1) };
        });
    }

    /// A run that is under way, or is over and counts for that long.
    pub(super) fn run(&mut self, facts: &RunFacts, counts_ms: u64) {
        let (id, project, began, is_open) = (facts.id, facts.project, facts.queued_at, facts.is_open);
        let known = self.runs.remove(&id);
        let was_open = known.is_some();
        let had_place = known.as_ref().is_some_and(|run| run.has_place);
        let before = known.map_or(0, |run| run.counts_ms);
        let has_place = is_open && !facts.is_parked;
        self.parked -= usize::from(was_open && !had_place);
        self.parked += usize::from(is_open && !has_place);
        let counts_ms = if is_open { counts_ms.max(before) } else { counts_ms };
        if is_open {
            self.runs.insert(id, Running { project, began, counts_ms, has_place });
        }
        self.change(project, |part| {
            part.spent.change(began, before, counts_ms);
            match (had_place, has_place) {
                (false, true) => part.running += 1,
                (true, false) => part.running = part.running.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
            let day = day_of(began);
            if !was_open && facts.is_work && day >= part.started.0 {
                part.started = (day, if day == part.started.0 { part.started.1 + 1 } else { 1 });
            }
        });
    }

    /// Counts runs that last, once a minute, lets what was used count for less, and begins days.
    pub(super) fn count_time(&mut self, now: Timestamp) {
        let minute = |at: Timestamp| at.unix_us().div_euclid(i64::try_from(COUNT_MS * 1_000).unwrap_or(i64::MAX));
        let before = self.counted.replace(now);
        if before.is_some_and(|before| minute(before) == minute(now)) {
            return;
        }
        let full_minute = Timestamp::from_unix_us(minute(now).saturating_mul(60_000_000));
        let mut projects: BTreeSet<ProjectId> = BTreeSet::new();
        for run in self.runs.values_mut() {
            let counts_ms = full_minute.ms_since(run.began).max(CHARGE_MS);
            // Less only when the clock was put back.
            if let Some(part) = self.parts.get_mut(&run.project).filter(|_| counts_ms != run.counts_ms) {
                part.spent.change(run.began, run.counts_ms, counts_ms);
                run.counts_ms = counts_ms;
                projects.insert(run.project);
            }
        }
        let same = |before: Timestamp| half_life_of(before) == half_life_of(now) && day_of(before) == day_of(now);
        if !before.is_some_and(same) {
            projects.extend(self.parts.keys());
        }
        projects.into_iter().for_each(|project| self.change(project, |_| {}));
    }

    /// When a project that has used its day up may start something again.
    pub(super) fn next_day(&self) -> Option<Timestamp> {
        let now = self.counted.filter(|_| !self.used_up.is_empty())?;
        Some(start_of_day(day_of(now).saturating_add(1)))
    }

    /// The project whose turn it is, and its task.
    pub(super) fn first(&self) -> Option<(ProjectId, Head)> {
        self.order.first().map(|(level, _, best, project)| (*project, (*level, *best)))
    }

    /// Whether something of the project may begin.
    pub(super) fn is_open(&self, project: ProjectId) -> bool {
        self.parts.get(&project).is_some_and(|part| part.is_open)
    }

    /// Whether tasks of the project may start.
    pub(super) fn has_turn(&self, project: ProjectId) -> bool {
        self.parts.get(&project).is_some_and(|part| part.has_turn)
    }

    /// Projects for which that has changed since this was asked.
    pub(super) fn take_turned(&mut self) -> BTreeSet<ProjectId> {
        std::mem::take(&mut self.turned)
    }

    /// Runs under way that take a place.
    pub(super) fn running(&self) -> usize {
        self.runs.len() - self.parked
    }

    /// Whether one more run of the project may be under way.
    pub(super) fn has_place(&self, project: ProjectId) -> bool {
        let part = self.parts.get(&project);
        part.is_none_or(|part| part.share.runs_max.is_none_or(|max| part.running.saturating_add(part.chosen) < max))
    }

    /// Runs of the project, with those that are about to start.
    pub(super) fn of_project(&self, project: ProjectId) -> u32 {
        self.parts.get(&project).map_or(0, |part| part.running + part.chosen)
    }

    /// Why the project starts nothing more at the moment, if so.
    pub(super) fn full(&self, project: ProjectId) -> Option<Full> {
        self.parts.get(&project)?.full(self.today())
    }

    /// What the project used lately, in milliseconds.
    pub(super) fn used_ms(&self, project: ProjectId) -> u64 {
        self.parts.get(&project).map_or(0, |part| self.used(part))
    }

    fn used(&self, part: &Part) -> u64 {
        // Before the first look nothing is chosen, so that any order will do.
        let spent = self.counted.map_or(0, |now| part.spent.at(now));
        spent.saturating_add(u64::from(part.chosen).saturating_mul(CHARGE_MS))
    }

    fn today(&self) -> i64 {
        self.counted.map_or(0, day_of)
    }

    fn change(&mut self, project: ProjectId, change: impl FnOnce(&mut Part)) {
        let mut part = self.parts.remove(&project).unwrap_or_default();
        change(&mut part);
        let best = part.best.filter(|_| part.is_open);
        let full = part.full(self.today());
        if part.is_open && (best.is_some() || part.has_parked) && matches!(full, Some(Full::Day { .. })) {
            self.used_up.insert(project);
        } else {
            self.used_up.remove(&project);
        }
        let has_turn = part.is_open && !part.is_spent && full.is_none();
        if has_turn != part.has_turn {
            part.has_turn = has_turn;
            self.turned.insert(project);
        }
        let of_weight = self.used(&part).saturating_mul(USE_SCALE) / u64::from(part.share.weight.max(1));
        let turn = best.filter(|_| has_turn).map(|(level, best)| (level, of_weight, best, project));
        if turn != part.turn {
            if let Some(turn) = part.turn {
                self.order.remove(&turn);
            }
            self.order.extend(turn);
            part.turn = turn;
        }
        self.parts.insert(project, part);
    }
}
