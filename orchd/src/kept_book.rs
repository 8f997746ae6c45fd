//! The scheduler's book, kept up to the log.
//!
//! Read from the tables once, and from then on told of what the log says has changed since. Whoever asks brings it up to
//! the state that they look at; it can be thrown away and read again at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orch_core::entity::{Approval, Change, Entity, Project, Run, Task};
use orch_core::schedule::{Book, Limits, Wait, counts_since, heeds_run};
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::{ChangeId, RunId, TaskId};
use orch_store::{Happened, ReadView};

/// Most news that are read one by one. With more it is less work to read the tables.
const NEWS_MAX: u32 = 10_000;

/// How far a clock may be put back without the book being read anew, in milliseconds.
const PUT_BACK_MS: u64 = 60 * 60_000;

/// The book and how far it has read.
#[derive(Debug, Default)]
pub struct KeptBook {
    kept: Mutex<Kept>,
    on_their_way: Arc<Mutex<BTreeSet<ChangeId>>>,
}

/// A check on its way, which has its place until this is dropped.
#[derive(Debug)]
pub struct OnItsWay {
    change: ChangeId,
    all: Arc<Mutex<BTreeSet<ChangeId>>>,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.change);
    }
}

/// What open tasks need of the host.
#[derive(Debug)]
pub struct Wanted {
    /// Programs and secrets, by name.
    pub tools: Vec<String>,
    pub secrets: Vec<String>,
    /// Runs that asked for a part of the disk, with how much, when a task waits for some.
    pub disk: BTreeMap<RunId, u64>,
}

/// A book that has read so far.
#[derive(Debug, Default)]
pub struct Kept {
    /// What is told to it beside its own reading is lost when it reads anew.
    pub book: Book,
    /// Number of the last event that it knows; none before it was read.
    seq: Option<u64>,
    /// It knows runs that are over from then on.
    runs_since: Timestamp,
}

impl KeptBook {
    /// The book as of `view` or later; `now` says what of the past still counts when it is read anew.
    ///
    /// # Errors
    /// When the state cannot be read. The book is read anew then.
    pub fn at(&self, view: &ReadView<'_>, now: Timestamp) -> Result<MutexGuard<'_, Kept>, ReadError> {
        let mut kept = self.lock();
        if let Err(error) = kept.catch_up(view, now) {
            // Half of the news were told.
            kept.seq = None;
            return Err(error);
        }
        let on_their_way = self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.book.set_on_their_way(on_their_way);
        Ok(kept)
    }

    /// A book of the same daemon that has read nothing yet: what is on its way is so for both.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { kept: Mutex::default(), on_their_way: Arc::clone(&self.on_their_way) }
    }

    /// The check of a change, which was chosen, is on its way.
    #[must_use]
    pub fn sets_out(&self, change: ChangeId) -> OnItsWay {
        let all = Arc::clone(&self.on_their_way);
        all.lock().unwrap_or_else(PoisonError::into_inner).insert(change);
        OnItsWay { change, all }
    }

    /// What open tasks need, as far as the book knows.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let Kept { book, .. } = &*self.lock();
        Wanted {
            tools: book.wanted_tools().map(str::to_owned).collect(),
            secrets: book.wanted_secrets().map(str::to_owned).collect(),
            disk: book.disk_in_demand(),
        }
    }

    /// What the host and the configuration allow from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().book.set_limits(limits);
    }

    /// Why a task waits, as far as the book has read. The clock is looked at once the book is there: it takes a time that is
    /// before another's for a clock that was put back, and that costs it much.
    #[must_use]
    pub fn waits(&self, task: TaskId, now: impl FnOnce() -> Timestamp) -> Vec<Wait> {
        let mut kept = self.lock();
        kept.book.waits(task, now())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Somebody panicked while it was told something: read it anew.
        self.kept.lock().unwrap_or_else(|poisoned| {
            self.kept.clear_poison();
            let mut kept = poisoned.into_inner();
            kept.seq = None;
            kept
        })
    }
}

impl Kept {
    fn catch_up(&mut self, view: &ReadView<'_>, now: Timestamp) -> Result<(), ReadError> {
        if counts_since(now) < self.runs_since {
            // The clock was put back: what began earlier counts again.
            self.seq = None;
        }
        match self.seq {
            Some(seq) if seq >= view.seq() => return Ok(()),
            Some(seq) => {
                let news = view.happened_since(seq, NEWS_MAX)?;
                if news.len() < NEWS_MAX as usize {
                    self.tell(view, &news)?;
                } else {
                    self.read(view, now)?;
                }
            }
            None => self.read(view, now)?,
        }
        self.tell_unknown(view)?;
        self.seq = Some(view.seq());
        Ok(())
    }

    /// Reads everything that can still start or end, and what counts of what is over.
    fn read(&mut self, view: &ReadView<'_>, now: Timestamp) -> Result<(), ReadError> {
        let open = Filter::default().open();
        let mut book = Book::default();
        book.set_limits(self.book.limits().clone());
        view.each::<Project>(&Filter::default(), |project| book.put_project((&project).into()))?;
        view.each::<Task>(&open, |task| book.put_task((&task).into()))?;
        view.each::<Change>(&open, |change| book.put_change((&change).into()))?;
        view.each::<Run>(&open, |run| book.put_run(&(&run).into()))?;
        let runs_since = counts_since(now).minus_ms(PUT_BACK_MS);
        view.each_since::<Run>(runs_since, |run| {
            if !run.is_open() {
                book.put_run(&(&run).into());
            }
        })?;
        (self.book, self.runs_since) = (book, runs_since);
        Ok(())
    }

    /// Tells the book what things are now that something happened to.
    fn tell(&mut self, view: &ReadView<'_>, news: &[Happened]) -> Result<(), ReadError> {
        let news = news.iter().filter(|news| news.kind.strip_prefix("run.").is_none_or(heeds_run));
        let changed: BTreeSet<(&str, &str)> =
            news.map(|news| (news.kind.split('.').next().unwrap_or_default(), news.subject.as_str())).collect();
        let Self { book, .. } = self;
        for (kind, id) in changed {
            match kind {
                "project" => now::<Project>(view, id)?.iter().for_each(|project| book.put_project(project.into())),
                "task" => now::<Task>(view, id)?.iter().for_each(|task| book.put_task(task.into())),
                "change" => now::<Change>(view, id)?.iter().for_each(|change| book.put_change(change.into())),
                "approval" => now::<Approval>(view, id)?.iter().for_each(|asked| book.put_approval(asked.into())),
                "run" => now::<Run>(view, id)?.iter().for_each(|run| book.put_run(&run.into())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells the book of what others name and it does not know.
    fn tell_unknown(&mut self, view: &ReadView<'_>) -> Result<(), ReadError> {
        loop {
            let unknown = self.book.take_unknown();
            if unknown.is_empty() {
                return Ok(());
            }
            for id in unknown.tasks {
                view.get::<Task>(id)?.iter().for_each(|task| self.book.put_task(task.into()));
            }
            for id in unknown.approvals {
                view.get::<Approval>(id)?.iter().for_each(|asked| self.book.put_approval(asked.into()));
            }
        }
    }
}

/// The thing with this full id as it is now.
fn now<E: Entity>(view: &ReadView<'_>, id: &str) -> Result<Option<E>, ReadError> {
    id.parse().map_or(Ok(None), |id| view.get(id))
}

#[cfg(test)]
mod tests {
    use orch_core::ids::sample_id;

    use super::*;

    #[test]
    fn a_check_is_on_its_way_until_nobody_is_at_it() {
        let book = KeptBook::default();
        let all = || book.on_their_way.lock().unwrap().len();
        let (one, other) = (book.sets_out(sample_id(1)), book.sets_out(sample_id(2)));
        assert_eq!(all(), 2);
        drop(one);
        assert_eq!(all(), 1);
        drop(other);
        assert_eq!(all(), 0);
    }
}
