//! How far each tool is: wanted, being installed, there, or why not. Known as long as the daemon lives; what is installed is
//! found again on the disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use orch_adapters::tool_cache::Tool;
use orch_proto::Timestamp;
use tokio::sync::watch;

/// How often an installation is tried by itself that failed for something that passes.
const TRIES_MAX: u32 = 3;
/// How long it is left alone after the first of those; after each further one twice as long.
pub(super) const REST: Duration = Duration::from_secs(10);

/// How far a tool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody wanted it so far.
    Absent,
    /// A person removed it, and nobody has wanted it since.
    Removed,
    /// It is to be installed, on that word.
    Wanted {
        by: String,
    },
    Downloading {
        by: String,
        since: Timestamp,
        bytes: u64,
        total: Option<u64>,
    },
    /// Its steps run.
    Building {
        by: String,
        since: Timestamp,
    },
    /// It was tried so often. At `again` it is tried once more; none: when somebody wants it.
    Failed {
        by: String,
        reason: String,
        tries: u32,
        again: Option<Instant>,
    },
    /// It is there as far as is known, and the host could not read it: at `again` it is looked at once more, and nothing else is done
    /// about it.
    Unread {
        reason: String,
        looks: u32,
        again: Instant,
    },
    Ready(Box<Tool>),
}

impl State {
    /// Whether it comes to another one by itself.
    pub(crate) const fn is_under_way(&self) -> bool {
        match self {
            Self::Wanted { .. } | Self::Downloading { .. } | Self::Building { .. } => true,
            Self::Failed { again, .. } => again.is_some(),
            Self::Absent | Self::Removed | Self::Unread { .. } | Self::Ready(_) => false,
        }
    }
}

/// A tool that is to be installed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) by: String,
    /// How often it was tried before.
    tries: u32,
}

/// How far all tools are, by name.
#[derive(Debug)]
pub(super) struct Records {
    states: Mutex<BTreeMap<String, State>>,
    /// Changes with any of them.
    changed: watch::Sender<u64>,
}

impl Records {
    pub(super) fn new(ready: BTreeMap<String, State>) -> Self {
        Self { states: Mutex::new(ready), changed: watch::Sender::new(0) }
    }

    pub(super) fn state(&self, name: &str) -> State {
        self.with(|states| states.get(name).cloned().unwrap_or(State::Absent))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A person wants it. One that failed is tried as if for the first time.
    pub(super) fn ask(&self, name: &str, by: &str) {
        let is_asked = self.with(|states| {
            let state = states.entry(name.to_owned()).or_insert(State::Absent);
            let begins = matches!(state, State::Absent | State::Removed | State::Failed { .. } | State::Unread { .. });
            if begins {
                *state = State::Wanted { by: by.to_owned() };
            }
            begins
        });
        self.tell(is_asked);
    }

    /// Something needs it, and it may be installed by itself. What failed or was removed is left to a person.
    pub(super) fn need(&self, name: &str, by: &str) {
        let is_new = self.with(|states| {
            let state = states.entry(name.to_owned()).or_insert(State::Absent);
            let is_absent = *state == State::Absent;
            if is_absent {
                *state = State::Wanted { by: by.to_owned() };
            }
            is_absent
        });
        self.tell(is_new);
    }

    /// One whose time has come.
    pub(super) fn next(&self, now: Instant) -> Option<Job> {
        let job = |(name, state): (&String, &State)| match state {
            State::Wanted { by } => Some(Job { name: name.clone(), by: by.clone(), tries: 0 }),
            State::Failed { by, tries, again: Some(again), .. } if *again <= now => {
                Some(Job { name: name.clone(), by: by.clone(), tries: *tries })
            }
            _ => None,
        };
        self.with(|states| states.iter().find_map(job))
    }

    /// One that is to be looked at once more, and how often it was.
    pub(super) fn unread(&self, now: Instant) -> Option<(String, u32)> {
        let is_due = |(name, state): (&String, &State)| match state {
            State::Unread { looks, again, .. } if *again <= now => Some((name.clone(), *looks)),
            _ => None,
        };
        self.with(|states| states.iter().find_map(is_due))
    }

    /// What came of a look at one that could not be read, unless somebody wants something else of it by now.
    pub(super) fn looked_at(&self, name: &str, found: State) {
        self.with(|states| {
            if let Some(state) = states.get_mut(name).filter(|state| matches!(state, State::Unread { .. })) {
                *state = found;
            }
        });
        self.tell(true);
    }

    /// When one is to be tried or looked at again, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        let again = |state: &State| match state {
            State::Failed { again, .. } => *again,
            State::Unread { again, .. } => Some(*again),
            _ => None,
        };
        self.with(|states| states.values().filter_map(again).min())
    }

    pub(super) fn downloading(&self, job: &Job, since: Timestamp, (bytes, total): (u64, Option<u64>)) {
        self.set(&job.name, State::Downloading { by: job.by.clone(), since, bytes, total });
    }

    pub(super) fn building(&self, job: &Job, since: Timestamp) {
        self.set(&job.name, State::Building { by: job.by.clone(), since });
    }

    pub(super) fn failed(&self, job: &Job, reason: String, is_passing: bool, now: Instant) {
        let tries = job.tries.saturating_add(1);
        let rest = REST.saturating_mul(1 << job.tries.min(10));
        let again = (is_passing && tries < TRIES_MAX).then(|| now + rest);
        self.set(&job.name, State::Failed { by: job.by.clone(), reason, tries, again });
    }

    /// Not done, and to be done again: the daemon stops.
    pub(super) fn put_back(&self, job: &Job) {
        self.set(&job.name, State::Wanted { by: job.by.clone() });
    }

    pub(super) fn set(&self, name: &str, state: State) {
        self.with(|states| states.insert(name.to_owned(), state));
        self.tell(true);
    }

    fn tell(&self, is_news: bool) {
        if is_news {
            self.changed.send_modify(|times| *times = times.wrapping_add(1));
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, State>) -> T) -> T {
        work(&mut self.states.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_something_that_passes_is_tried_a_few_times() {
        let (records, mut now) = (Records::new(BTreeMap::new()), Instant::now());
        records.need("tofu", "a task");
        let mut tried = 0;
        while let Some(job) = records.next(now) {
            tried += 1;
            records.failed(&job, "no answer".into(), true, now);
            assert!(records.next(now).is_none(), "it rests first");
            now = records.due().unwrap_or(now);
        }
        assert_eq!(tried, TRIES_MAX);
        assert!(!records.state("tofu").is_under_way());
        // Tasks need it all the time; a person decides.
        records.need("tofu", "a task");
        assert!(records.next(now).is_none());
        records.ask("tofu", "alice");
        assert_eq!(records.next(now), Some(Job { name: "tofu".into(), by: "alice".into(), tries: 0 }));
    }

    #[test]
    fn what_can_never_be_is_tried_once() {
        let (records, now) = (Records::new(BTreeMap::new()), Instant::now());
        records.ask("tofu", "alice");
        let job = records.next(now).unwrap();
        records.failed(&job, "another checksum".into(), false, now);
        assert_eq!((records.next(now), records.due()), (None, None));
    }

    #[test]
    fn what_a_person_removed_is_not_needed_again_by_itself() {
        let (records, now) = (Records::new(BTreeMap::new()), Instant::now());
        records.set("tofu", State::Removed);
        records.need("tofu", "the configuration");
        assert_eq!(records.next(now), None);
        let mut changed = records.subscribe();
        changed.mark_unchanged();
        records.ask("tofu", "alice");
        assert!(changed.has_changed().unwrap() && records.next(now).is_some());
        records.ask("tofu", "bob");
        assert_eq!(records.next(now).map(|job| job.by), Some("alice".to_owned()), "it is wanted already");
    }
}
