//! The scheduler's book, kept up to the log.
//!
//! Filled from the tables page by page, each in a read of its own, so that a large state holds no snapshot and needs no longer than
//! it takes; from then on told of what the log says has changed since. Whoever asks brings it up to the state that they look
//! at; it can be thrown away and filled again at any time.
//!
//! **What is in it is as of one event, `Kept::seq`.** A step first hears all news up to the state that it reads, then adds one page
//! of that state. Most things can be told twice, and are told as they are; a run that is over is counted with each time that it
//! is told, so of runs the book hears news only up to where it has read, and that one is over only with the news of its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orch_core::entity::{Approval, Change, Entity, Project, Run, Task};
use orch_core::ids::first_of;
use orch_core::schedule::{
    ApprovalFacts, Book, ChangeFacts, Limits, ProjectFacts, RunFacts, TaskFacts, Unknown, Wait, counts_since, heeds_run,
};
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::{ChangeId, ProjectId, RunId, TaskId};
use orch_store::{Happened, ReadView};

/// Most things that are read in one step: some tens of milliseconds.
const PAGE_MAX: u32 = 1_000;

/// Steps that are taken for somebody who waits: what a small state needs, and more.
const SOON_STEPS_MAX: usize = 16;

/// How far a clock may be put back without the book being filled anew, in milliseconds.
const PUT_BACK_MS: u64 = 60 * 60_000;

/// Things from which on it is worth a word that they are being read: with fewer it is over before anybody has read that.
const TOLD_MIN: u64 = 20_000;

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
#[derive(Debug)]
pub struct Kept {
    /// What is told to it beside its own reading is lost when it is filled anew.
    pub book: Book,
    /// How much of the tables it knows.
    filled: Filled,
    /// Number of the last event that it knows.
    seq: u64,
    /// It knows runs that are over from then on.
    runs_since: Timestamp,
    /// Named by others and not read yet, once the rest is.
    unknown: Unknown,
    /// Things that were read since it is being filled.
    read: u64,
    /// Most things that are read in one step.
    page: u32,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            book: Book::default(),
            filled: Filled::Nothing,
            seq: 0,
            runs_since: Timestamp::default(),
            unknown: Unknown::default(),
            read: 0,
            page: PAGE_MAX,
        }
    }
}

/// How far a book was filled: each from the first one on.
#[derive(Clone, Copy, Debug, Default)]
enum Filled {
    /// Nothing was read yet.
    #[default]
    Nothing,
    /// Projects up to this one.
    Projects(Option<ProjectId>),
    /// All projects. Runs under way that began before those count that are over come next, all at once: there are as many as the
    /// host has places.
    BeforeRuns,
    /// Open tasks up to this project and number.
    Tasks(Option<(ProjectId, u32)>),
    /// Open changes up to this project and number.
    Changes(Option<(ProjectId, u32)>),
    /// Runs up to this id, whatever became of them.
    Runs(RunId),
    /// Everything that can still start or end, and what counts of what is over.
    All,
}

/// Tells the book of the things on a page, one at a time: a thousand runs with all that is known of them are megabytes, of which the
/// allocator keeps most. `put` tells it of one and answers how far it has read with it; where there is none, `next` comes.
fn read_through<E>(
    page: impl FnOnce(&mut dyn FnMut(E)) -> Result<(), ReadError>,
    (filled, read): (&mut Filled, &mut u64),
    mut put: impl FnMut(E) -> Filled,
    next: Filled,
) -> Result<(), ReadError> {
    let before = *read;
    page(&mut |thing| {
        // With each of them: none is told again when a later one cannot be read.
        *filled = put(thing);
        *read += 1;
    })?;
    if *read == before {
        *filled = next;
    }
    Ok(())
}

/// What things are now.
#[derive(Debug, Default)]
struct News {
    projects: Vec<ProjectFacts>,
    tasks: Vec<TaskFacts>,
    changes: Vec<ChangeFacts>,
    approvals: Vec<ApprovalFacts>,
    runs: Vec<RunFacts>,
}

/// The book knows more than a state which was to fill it.
#[derive(Debug, thiserror::Error)]
#[error("the state is older than what the scheduler knows of it already")]
struct Older;

impl KeptBook {
    /// This book, which reads at most so many things in one step from now on, for those who try how that goes with few things.
    #[must_use]
    pub fn in_pages_of(self, page: u32) -> Self {
        self.lock().page = page;
        self
    }

    /// The book as of `view` or later; `now` says what of the past still counts when it is filled anew. What is missing is read in
    /// this one state.
    ///
    /// # Errors
    /// When the state cannot be read in time. What the book was told until then it is not told again.
    pub fn at(&self, view: &ReadView<'_>, now: Timestamp) -> Result<MutexGuard<'_, Kept>, ReadError> {
        let mut kept = self.lock();
        while !kept.step(view, now)? {
            if view.seq() < kept.seq {
                return Err(ReadError(Box::new(Older)));
            }
        }
        self.tell_on_their_way(&mut kept);
        Ok(kept)
    }

    /// Brings the book one step nearer to `view`; whether it is there. Called with a new state each time, it is there in the end
    /// however much there is to be read.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn read_on(&self, view: &ReadView<'_>, now: Timestamp) -> Result<bool, ReadError> {
        self.lock().step(view, now)
    }

    /// Brings the book up to `view` for somebody who waits, if that takes a moment; none where there is more to read than that, which
    /// is left to whoever fills it.
    ///
    /// # Errors
    /// When the state cannot be read in time.
    pub fn soon(&self, view: &ReadView<'_>, now: Timestamp) -> Result<Option<MutexGuard<'_, Kept>>, ReadError> {
        let mut kept = self.lock();
        for _ in 0..SOON_STEPS_MAX {
            if kept.step(view, now)? {
                self.tell_on_their_way(&mut kept);
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// What a person is told while the book is being filled and that takes longer than a moment.
    #[must_use]
    pub fn filling(&self) -> Option<String> {
        let kept = self.lock();
        (!kept.is_filled() && kept.read >= TOLD_MIN).then(|| format!("nothing begins yet: {}", kept.filling_line()))
    }

    fn tell_on_their_way(&self, kept: &mut Kept) {
        let on_their_way = self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.book.set_on_their_way(on_their_way);
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

    /// Checks that are on their way: each has a place, whether or not its run is on record already.
    #[must_use]
    pub fn checks_on_their_way(&self) -> usize {
        self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner).len()
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

    /// Why a task waits that can begin or come to begin, as far as the book has read; while it is being filled, for that. The clock is
    /// looked at once the book is there: it takes a time that is before another's for a clock that was put back, and that costs it
    /// much.
    #[must_use]
    pub fn waits(&self, task: TaskId, now: impl FnOnce() -> Timestamp) -> Vec<Wait> {
        let mut kept = self.lock();
        // Half a book would give reasons that are none.
        if kept.is_filled() { kept.book.waits(task, now()) } else { vec![Wait::Paused { reason: kept.filling_line() }] }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Somebody panicked while it was told something: fill it anew.
        self.kept.lock().unwrap_or_else(|poisoned| {
            self.kept.clear_poison();
            let mut kept = poisoned.into_inner();
            kept.filled = Filled::Nothing;
            kept
        })
    }
}

impl Kept {
    const fn is_filled(&self) -> bool {
        matches!(self.filled, Filled::All)
    }

    fn filling_line(&self) -> String {
        format!("the scheduler reads what there is to do ({} tasks, changes and runs so far)", self.read)
    }

    /// Hears news, or reads one page more. Whether it knows all of `view`. What cannot be read is left for the
    /// next step, and the book is told of nothing again for it.
    fn step(&mut self, view: &ReadView<'_>, now: Timestamp) -> Result<bool, ReadError> {
        if counts_since(now) < self.runs_since {
            // The clock was put back: what began earlier counts again.
            self.filled = Filled::Nothing;
        }
        if matches!(self.filled, Filled::Nothing) {
            self.begin(view, now);
        }
        if view.seq() < self.seq {
            // What is read there may have changed by what is known here.
            return Ok(self.is_filled() && self.unknown.is_empty());
        }
        if view.seq() > self.seq {
            self.hear(view)?;
        }
        if view.seq() > self.seq {
            return Ok(false);
        }
        // In the same state: the next one has news again where much is written.
        if self.is_filled() {
            return self.meet_unknown(view);
        }
        self.fill(view)?;
        Ok(false)
    }

    /// An empty book, which is to be filled.
    fn begin(&mut self, view: &ReadView<'_>, now: Timestamp) {
        let mut book = Book::default();
        book.set_limits(self.book.limits().clone());
        *self = Self {
            book,
            filled: Filled::Projects(None),
            seq: view.seq(),
            runs_since: counts_since(now).minus_ms(PUT_BACK_MS),
            page: self.page,
            ..Self::default()
        };
    }

    /// Reads one page more of a state that it has heard all news of; where one thing cannot be read, it knows those before.
    fn fill(&mut self, view: &ReadView<'_>) -> Result<(), ReadError> {
        let Self { book, filled, runs_since, read, page: most, .. } = self;
        let (since, most): (RunId, u32) = (first_of(*runs_since), *most);
        let at = *filled;
        let counted = (filled, read);
        match at {
            Filled::Nothing | Filled::All => Ok(()),
            Filled::Projects(after) => {
                let put = |project: Project| {
                    book.put_project((&project).into());
                    Filled::Projects(Some(project.id))
                };
                read_through(|take| view.each_on_page((after, most), take), counted, put, Filled::BeforeRuns)
            }
            Filled::BeforeRuns => {
                // Not in the order of their ids, so all are read before the first is told.
                let mut open = view.list::<Run>(&Filter::default().open())?;
                open.retain(|run| run.id <= since);
                open.iter().for_each(|run| book.put_run(&run.into()));
                let (filled, read) = counted;
                *filled = Filled::Tasks(None);
                *read += open.len() as u64;
                Ok(())
            }
            Filled::Tasks(after) => {
                let put = |task: Task| {
                    book.put_task((&task).into());
                    Filled::Tasks(Some((task.project, task.number)))
                };
                read_through(|take| view.each_open_on_page((after, most), take), counted, put, Filled::Changes(None))
            }
            Filled::Changes(after) => {
                let put = |change: Change| {
                    book.put_change((&change).into());
                    Filled::Changes(Some((change.project, change.number)))
                };
                read_through(|take| view.each_open_on_page((after, most), take), counted, put, Filled::Runs(since))
            }
            Filled::Runs(after) => {
                let put = |run: Run| {
                    book.put_run(&(&run).into());
                    Filled::Runs(run.id)
                };
                read_through(|take| view.each_on_page((Some(after), most), take), counted, put, Filled::All)
            }
        }
    }

    /// Hears some of the news up to `view`, or all if there are few: what things are there to which something happened.
    fn hear(&mut self, view: &ReadView<'_>) -> Result<(), ReadError> {
        let news = view.happened_since(self.seq, self.page)?;
        // All is read before anything is told: half of the news told are told again the next time.
        let told = self.read_news(view, &news)?;
        self.tell(told);
        // The log has no gaps.
        let heard = self.seq + news.len() as u64;
        self.seq = if news.len() < self.page as usize { view.seq() } else { heard };
        Ok(())
    }

    fn read_news(&self, view: &ReadView<'_>, news: &[Happened]) -> Result<News, ReadError> {
        let mut changed: BTreeMap<(&str, &str), bool> = BTreeMap::new();
        for Happened { kind, subject } in news {
            let of_run = kind.strip_prefix("run.");
            if of_run.is_none_or(heeds_run) {
                let kind = kind.split('.').next().unwrap_or_default();
                *changed.entry((kind, subject.as_str())).or_default() |= of_run == Some("ended");
            }
        }
        let mut told = News::default();
        for ((kind, id), has_ended) in changed {
            match kind {
                "project" => told.projects.extend(now::<Project>(view, id)?.map(|project| (&project).into())),
                "task" => told.tasks.extend(now::<Task>(view, id)?.map(|task| (&task).into())),
                "change" => told.changes.extend(now::<Change>(view, id)?.map(|change| (&change).into())),
                "approval" => told.approvals.extend(now::<Approval>(view, id)?.map(|asked| (&asked).into())),
                "run" if id.parse().is_ok_and(|id| self.has_read(id)) => {
                    let run = now::<Run>(view, id)?.filter(|run| run.is_open() || has_ended);
                    told.runs.extend(run.map(|run| (&run).into()));
                }
                _ => {}
            }
        }
        Ok(told)
    }

    /// Whether it has come by this run, so that it lives on news of it.
    fn has_read(&self, run: RunId) -> bool {
        match self.filled {
            Filled::Nothing | Filled::Projects(_) | Filled::BeforeRuns => false,
            Filled::Tasks(_) | Filled::Changes(_) => run <= first_of(self.runs_since),
            Filled::Runs(last) => run <= last,
            Filled::All => true,
        }
    }

    fn tell(&mut self, news: News) {
        let book = &mut self.book;
        news.projects.into_iter().for_each(|project| book.put_project(project));
        news.tasks.into_iter().for_each(|task| book.put_task(task));
        news.changes.into_iter().for_each(|change| book.put_change(change));
        news.approvals.into_iter().for_each(|asked| book.put_approval(asked));
        news.runs.iter().for_each(|run| book.put_run(run));
    }

    /// Tells the book of what others name and it does not know, some of it; whether that was all.
    fn meet_unknown(&mut self, view: &ReadView<'_>) -> Result<bool, ReadError> {
        loop {
            let Unknown { tasks, approvals } = self.book.take_unknown();
            self.unknown.tasks.extend(tasks);
            self.unknown.approvals.extend(approvals);
            if self.unknown.is_empty() {
                return Ok(true);
            }
            let tasks: Vec<TaskId> = self.unknown.tasks.iter().take(self.page as usize).copied().collect();
            let approvals: Vec<_> = self.unknown.approvals.iter().take(self.page as usize).copied().collect();
            let mut told = News::default();
            for id in &tasks {
                told.tasks.extend(view.get::<Task>(*id)?.map(|task| (&task).into()));
            }
            for id in &approvals {
                told.approvals.extend(view.get::<Approval>(*id)?.map(|asked| (&asked).into()));
            }
            self.tell(told);
            tasks.iter().for_each(|id| _ = self.unknown.tasks.remove(id));
            approvals.iter().for_each(|id| _ = self.unknown.approvals.remove(id));
            if !self.unknown.is_empty() {
                return Ok(false);
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
        let (one, other) = (book.sets_out(sample_id(1)), book.sets_out(sample_id(2)));
        assert_eq!(book.checks_on_their_way(), 2);
        drop(one);
        assert_eq!(book.anew().checks_on_their_way(), 1);
        drop(other);
        assert_eq!(book.checks_on_their_way(), 0);
    }

    /// Half a book would give reasons that are none.
    #[test]
    fn a_book_that_is_being_filled_says_so_instead_of_reasons() {
        let book = KeptBook::default();
        let waits = book.waits(sample_id(1), Timestamp::default);
        assert!(matches!(&*waits, [Wait::Paused { reason }] if reason.contains("0 tasks")), "{waits:?}");
        assert_eq!(book.filling(), None, "for so few it is over in a moment");
        book.lock().read = TOLD_MIN;
        assert!(book.filling().is_some_and(|line| line.contains("20000 tasks")));
        book.lock().filled = Filled::All;
        assert_eq!((book.filling(), book.waits(sample_id(1), Timestamp::default)), (None, Vec::new()));
    }
}
