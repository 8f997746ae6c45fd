//! What the tests of the store share: a store in a directory of its own, commands that need nothing, and checks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orch_core::actor::Actor;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::entity::RepositorySource;
use orch_core::ids::sample_id;
use orch_proto::Timestamp;
use orch_store::{Clock, Faults, OpenOptions, Store};

/// The time at which every test starts.
pub(crate) const START_US: i64 = 1_795_165_557_000_000;

/// A store in a directory that goes with it, and the clock in the test's hand.
pub(crate) struct Bed {
    pub(crate) store: Option<Store>,
    pub(crate) dir: tempfile::TempDir,
    /// The time that the store sees, in microseconds since 1970.
    pub(crate) now_us: Arc<AtomicI64>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with_faults(Faults::default())
    }

    pub(crate) fn with_seed(seed: u8) -> Self {
        Self::with(seed, Faults::default())
    }

    pub(crate) fn with_faults(faults: Faults) -> Self {
        Self::with(1, faults)
    }

    fn with(seed: u8, faults: Faults) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_us = Arc::new(AtomicI64::new(START_US));
        let options = OpenOptions { seed: [seed; 32], clock: clock(&now_us), vfs: None };
        let store = Store::open_with_faults(&dir.path().join("orch.db"), options, faults).unwrap();
        Self { store: Some(store), dir, now_us }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("orch.db")
    }

    /// Closes the store and opens its file again.
    pub(crate) fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.path(), 2));
    }
}

/// Opens a store with a clock that stands. No two starts on one file may have the same seed.
pub(crate) fn open(path: &Path, seed: u8) -> Store {
    Store::open(path, options(seed)).unwrap()
}

/// Opens a store in a process of its own.
pub(crate) fn open_in_child(path: &Path) -> Store {
    let seed = *Digest::of(&std::process::id().to_be_bytes()).as_bytes();
    Store::open(path, OpenOptions { seed, ..options(0) }).unwrap()
}

pub(crate) fn options(seed: u8) -> OpenOptions {
    OpenOptions { seed: [seed; 32], clock: clock(&Arc::new(AtomicI64::new(START_US))), vfs: None }
}

fn clock(now_us: &Arc<AtomicI64>) -> Clock {
    let now_us = Arc::clone(now_us);
    Arc::new(move || Timestamp::from_unix_us(now_us.load(Ordering::SeqCst)))
}

pub(crate) fn person() -> Actor {
    Actor::User { uid: 1_000, name: "ada".into() }
}

/// A command of a person, with the given id number.
pub(crate) fn envelope(id: u128, command: Command) -> Envelope {
    let request = Digest::of(format!("{command:?}").as_bytes());
    Envelope { id: sample_id(id), actor: person(), request, command }
}

/// The command that creates a project.
pub(crate) fn create(slug: &str) -> Command {
    Command::CreateProject { slug: slug.into(), source: RepositorySource::Empty, protected_paths: Vec::new() }
}

/// All that must hold at the end of every test: the chain, the tables, the file.
pub(crate) fn assert_sound(store: &Store) {
    let chain = store.verify_chain().unwrap();
    assert_eq!(chain.broken_at, None);
    let rebuild = store.check_rebuild().unwrap();
    assert_eq!(rebuild.differences, Vec::<String>::new());
    assert_eq!(rebuild.events, chain.events);
    assert_eq!(store.integrity().unwrap(), "ok");
}

/// Waits for a future on this thread.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
