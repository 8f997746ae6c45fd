//! Turns: the pieces of work of a daemon, of which one makes a step at a time, whichever the world says; and its waiting for time.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// A piece of work.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All of them.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Shared>);

#[derive(Default)]
struct Shared {
    works: Mutex<Works>,
    woken: Mutex<BTreeSet<u64>>,
    timers: Mutex<Timers>,
}

#[derive(Default)]
struct Works {
    made: u64,
    /// None while it makes a step.
    all: BTreeMap<u64, Option<Work>>,
}

#[derive(Default)]
struct Timers {
    now_ms: u64,
    made: u64,
    all: BTreeMap<(u64, u64), Waker>,
}

struct Turn {
    id: u64,
    of: Weak<Shared>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.of.upgrade() {
            lock(&shared.woken).insert(self.id);
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    /// Those of a daemon that starts at that time of its host, in milliseconds.
    pub(super) fn at(now_ms: u64) -> Self {
        let turns = Self::default();
        lock(&turns.0.timers).now_ms = now_ms;
        turns
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut works = lock(&self.0.works);
        works.made += 1;
        let id = works.made;
        works.all.insert(id, Some(Box::pin(work)));
        lock(&self.0.woken).insert(id);
    }

    /// Those that can make a step.
    pub(super) fn ready(&self) -> Vec<u64> {
        lock(&self.0.woken).iter().copied().collect()
    }

    /// One makes a step.
    pub(super) fn step(&self, id: u64) {
        lock(&self.0.woken).remove(&id);
        let Some(mut work) = lock(&self.0.works).all.get_mut(&id).and_then(Option::take) else { return };
        let waker = Waker::from(Arc::new(Turn { id, of: Arc::downgrade(&self.0) }));
        let is_over = work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut works = lock(&self.0.works);
        if is_over {
            works.all.remove(&id);
        } else if let Some(place) = works.all.get_mut(&id) {
            *place = Some(work);
        }
    }

    /// Whether none is left.
    pub(super) fn are_over(&self) -> bool {
        lock(&self.0.works).all.is_empty()
    }

    /// Ends all of them where they stand.
    pub(super) fn end(&self) {
        let all = std::mem::take(&mut lock(&self.0.works).all);
        drop(all);
    }

    /// It is that time now, in milliseconds.
    pub(super) fn pass(&self, now_ms: u64) {
        let mut timers = lock(&self.0.timers);
        timers.now_ms = now_ms;
        let later = timers.all.split_off(&(now_ms + 1, 0));
        let due = std::mem::replace(&mut timers.all, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
    }

    /// When somebody waits for the next time, in milliseconds.
    pub(super) fn next_ms(&self) -> Option<u64> {
        lock(&self.0.timers).all.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Ends after so long, in milliseconds of the host's own time.
    pub(super) fn after(&self, ms: u64) -> Sleep {
        let until_ms = lock(&self.0.timers).now_ms.saturating_add(ms);
        Sleep { turns: self.clone(), until_ms, timer: None }
    }
}

/// Waits for a time.
pub(super) struct Sleep {
    turns: Turns,
    until_ms: u64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.timer.take();
        let (turns, until_ms) = (self.turns.clone(), self.until_ms);
        let mut timers = lock(&turns.0.timers);
        before.map(|timer| timers.all.remove(&timer));
        if timers.now_ms >= until_ms {
            return Poll::Ready(());
        }
        timers.made += 1;
        let timer = (until_ms, timers.made);
        timers.all.insert(timer, cx.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            lock(&self.turns.0.timers).all.remove(&timer);
        }
    }
}

/// Lets others make a step first, if it is their turn.
#[derive(Default)]
pub(super) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
