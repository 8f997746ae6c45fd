//! Looking at everything, and the end of a simulation, at which all that can finish must have.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use orch_core::rehearsal::violations;
use orch_core::schedule::{Action, Decision, Limits};
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::TaskId;
use orch_store::ReadView;
use orchd::kept_book::KeptBook;
use orchd::site::Site as _;

use super::life::LEVEL;
use super::mirror::Held;
use super::world::World;
use super::{oracle, users};
use crate::dice::Dice;
use crate::disk::Stop;
use crate::store::chain;

/// Steps after which a daemon that was let alone must have come to rest, for each task and beside that.
const STEPS_PER_TASK_MAX: u64 = 1_000;
const STEPS_MAX: u64 = 100_000;
/// Time after which it must have, in milliseconds, for each task and beside that: chains of long runs with waits between
/// attempts.
const REST_MS_PER_TASK_MAX: u64 = 10 * 60_000;
const REST_MS_MAX: u64 = 20 * 3_600_000;

/// Things that a book reads at once which is filled while things go on, and steps that it makes in a row: what happens between
/// two rows is more than one page, and a row is not enough for all.
pub(super) const FILLING_PAGE: u32 = 7;
const FILLING_STEPS: usize = 25;

/// What a book chooses, and when it wants to be asked again.
type Choice = (Vec<Decision>, Option<Timestamp>);

impl World {
    /// Looks at everything, as somebody who has mended the disk before.
    pub(super) fn check(&mut self) -> Held {
        self.heal();
        self.settle_people()?;
        if self.disk.stopped().is_some() {
            return Ok(());
        }
        self.tally.checks += 1;
        let Some(life) = self.life() else { return Ok(()) };
        let rebuilt = life.store().check_rebuild();
        let rebuilt = rebuilt.map_err(|wrong| format!("the store cannot be read: {}", chain(&wrong)))?;
        if !rebuilt.differences.is_empty() {
            return Err(format!("the tables are not what the log says: {}", rebuilt.differences.join("; ")));
        }
        let wrong = self.read(|view| violations(view))?.unwrap_or_default();
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        self.check_book()?;
        self.check_waits()
    }

    /// A book that followed chooses as one that is read anew does, and as one that was filled while things went on; all choose
    /// well.
    pub(super) fn check_book(&mut self) -> Held {
        let (Some(life), now) = (self.life(), self.now()) else { return Ok(()) };
        life.renew_limits();
        let fresh = life.book().anew();
        let choices = self.read(|view| {
            let limits = life.book().at(view, now)?.book.limits().clone();
            fresh.set_limits(limits.clone());
            let filled = fill(life.late(), life.book(), view, now)?;
            let filled = filled.map(|late| {
                late.set_limits(limits);
                choose(&late, view, now)
            });
            Ok((choose(life.book(), view, now)?, choose(&fresh, view, now)?, filled.transpose()?))
        });
        let Some((followed, new, filled)) = choices? else { return Ok(()) };
        if !is_as_good(&followed, &new, now) {
            return Err(format!("a book that followed chooses {followed:?}, and a new one {new:?}"));
        }
        if let Some(filled) = filled.filter(|filled| !is_as_good(filled, &new, now)) {
            return Err(format!("a book that was filled little by little chooses {filled:?}, and a new one {new:?}"));
        }
        let limits = self.around().limits.clone();
        if life.store().outage().borrow().is_some() {
            return Ok(());
        }
        let (mut starts, mut checks) = (Vec::new(), 0);
        for decision in &new.0 {
            match decision.action {
                Action::Run(task) => starts.push(task),
                Action::Check(_) => checks += 1,
                Action::Recall(_) | Action::Skip(_) | Action::Expire(_) | Action::Overdue { .. } | Action::Judge(_) => {
                }
            }
        }
        let on_their_way = u32::try_from(life.book().checks_on_their_way()).unwrap_or(u32::MAX);
        oracle::judge(&self.mirror, &limits, now, &starts, (checks, on_their_way))
    }

    /// Both say the same of why things wait.
    fn check_waits(&self) -> Held {
        let (Some(life), now) = (self.life(), self.now()) else { return Ok(()) };
        let fresh = life.book().anew();
        let read = self.read(|view| {
            let mut kept = life.book().at(view, now)?;
            // What is chosen and not under way holds something that a book which has chosen nothing knows nothing of.
            kept.book.give_back();
            fresh.set_limits(kept.book.limits().clone());
            fresh.at(view, now).map(drop)
        });
        if read?.is_none() {
            return Ok(());
        }
        let waits = |id: &TaskId| (life.book().waits(*id, || now), fresh.waits(*id, || now));
        match self.mirror.tasks.keys().find(|id| waits(id).0 != waits(id).1) {
            Some(id) => Err(format!("{id} waits for {:?}", waits(id))),
            None => Ok(()),
        }
    }

    /// The last word: nothing goes wrong any more, people let everything go on, and so it does, to its end.
    pub(super) fn ends(&mut self) -> Held {
        self.check()?;
        self.after_a_stop()?;
        self.heal();
        self.slow_ms = 0;
        self.around().host.calm();
        let limits = self.around().limits.clone();
        let (freezes, shortage, paused) = (Vec::new(), None, None);
        let calm = Limits { freezes, shortage, paused, level: LEVEL, level_required: LEVEL, ..limits };
        self.set_limits(Limits { runs_max: calm.runs_max.max(2), ..calm });
        self.rest()?;
        self.disk.stop(Stop::PowerCut);
        let chance = self.around().dice.number();
        self.start_again(chance)?;
        self.check()?;
        self.rest()
    }

    /// Lets everything go on until nothing does any more.
    fn rest(&mut self) -> Held {
        let chance = self.around().dice.number();
        let mut dice = Dice::new(chance);
        let (began_us, began) = (self.clock.load(Ordering::SeqCst), self.tally.steps);
        let mut quiet = 0;
        while quiet < 3 {
            let commands = users::let_go(&self.mirror);
            let is_idle = commands.is_empty() && self.around().host.living().next().is_none() && !self.is_at_work();
            quiet = if is_idle { quiet + 1 } else { 0 };
            self.commands(commands)?;
            for _ in 0..40 {
                self.step(&mut dice)?;
                self.after_a_stop()?;
            }
            let most = STEPS_MAX + STEPS_PER_TASK_MAX * self.mirror.tasks.len() as u64;
            let took_us = self.clock.load(Ordering::SeqCst) - began_us;
            let most_ms = REST_MS_MAX + REST_MS_PER_TASK_MAX * self.mirror.tasks.len() as u64;
            let is_late = took_us > i64::try_from(most_ms * 1_000).unwrap_or(i64::MAX);
            if self.tally.steps - began > most || is_late {
                let open = self.left().join("; ");
                return Err(format!("after {} steps and {} s: {open}", self.tally.steps - began, took_us / 1_000_000));
            }
        }
        match self.left().as_slice() {
            [] => Ok(()),
            left => Err(format!("at rest and not over: {}", left.join("; "))),
        }
    }

    /// Tasks that are not over and have no excuse.
    fn unexcused(&self) -> Vec<TaskId> {
        let (limits, now) = (self.around().limits.clone(), self.now());
        let tasks = self.mirror.tasks.values().filter(|task| !task.state.is_final());
        let tasks = tasks.filter(|task| oracle::excuse(&self.mirror, &limits, now, task).is_none());
        tasks.map(|task| task.id).collect()
    }

    /// Whether something is under way or due.
    fn is_at_work(&self) -> bool {
        let changes = self.mirror.changes.values().any(|change| change.state.is_open());
        changes || self.mirror.under_way().next().is_some() || !self.unexcused().is_empty()
    }

    /// What is not over and has no excuse.
    fn left(&self) -> Vec<String> {
        let mirror = &self.mirror;
        let now = self.now();
        let waits = |id: TaskId| self.life().map(|life| life.book().waits(id, || now));
        let tasks = self.unexcused().into_iter().filter_map(|id| mirror.tasks.get(&id));
        let tasks = tasks
            .map(|task| format!("T-{} of {} is {:?}: {:?}", task.number, task.project, task.state, waits(task.id)));
        let runs = mirror.under_way().map(|run| format!("R-{} of {} is {:?}", run.number, run.project, run.state));
        let changes = mirror.changes.values().filter(|change| change.state.is_open());
        let changes = changes.map(|change| format!("C-{} is {:?}", change.number, change.state));
        tasks.chain(runs).chain(changes).take(8).collect()
    }
}

/// Fills a book by a few steps more; the book, once it is filled, and then another one is begun.
fn fill(
    late: &Mutex<Arc<KeptBook>>,
    book: &KeptBook,
    view: &ReadView<'_>,
    now: Timestamp,
) -> Result<Option<Arc<KeptBook>>, ReadError> {
    let mut late = late.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..FILLING_STEPS {
        if late.read_on(view, now)? {
            return Ok(Some(std::mem::replace(&mut *late, Arc::new(book.anew().in_pages_of(FILLING_PAGE)))));
        }
    }
    Ok(None)
}

/// Whether a book chooses what a new one does, and is to be asked again in time. It may be asked earlier, but not at once: how long tasks
/// may wait is kept by lower bounds, which are looked at when they are due, and in a new book all are of now.
fn is_as_good((chosen, due): &Choice, (chosen_new, due_new): &Choice, now: Timestamp) -> bool {
    let is_early = due.is_some_and(|due| due > now && due_new.is_none_or(|due_new| due < due_new));
    chosen == chosen_new && (due == due_new || is_early)
}

fn choose(book: &KeptBook, view: &ReadView<'_>, now: Timestamp) -> Result<Choice, ReadError> {
    let mut kept = book.at(view, now)?;
    kept.book.give_back();
    let chosen = kept.book.choose(now, &BTreeSet::new());
    Ok((chosen, kept.book.next_due(now)))
}
