//! Who is told when something is committed that concerns them, so that nobody reads the state because of what does not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use orch_core::event::Event;
use tokio::sync::watch;

/// Whether an event concerns somebody.
pub(crate) type Wants = Box<dyn Fn(&Event) -> bool + Send>;

/// All who want to be told.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Listener>>);

struct Listener {
    wants: Wants,
    /// Number of the newest event when it was told the last time.
    told: watch::Sender<u64>,
    /// Something that concerns it was written since.
    is_concerned: bool,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("is_concerned", &self.is_concerned).finish_non_exhaustive()
    }
}

impl Listeners {
    /// One more, who knows everything up to the event with this number.
    pub(crate) fn add(&self, wants: Wants, newest: u64) -> watch::Receiver<u64> {
        let told = watch::Sender::new(newest);
        let receiver = told.subscribe();
        self.lock().push(Listener { wants, told, is_concerned: false });
        receiver
    }

    /// An event was written and is not committed yet. Whether it ever is does not matter: who is told for nothing finds nothing.
    pub(crate) fn written(&self, event: &Event) {
        for listener in self.lock().iter_mut().filter(|listener| !listener.is_concerned) {
            listener.is_concerned = (listener.wants)(event);
        }
    }

    /// A commit failed: what it wrote may turn out to be there all the same, and then nobody writes it again.
    pub(crate) fn in_doubt(&self) {
        self.lock().iter_mut().for_each(|listener| listener.is_concerned = true);
    }

    /// What was written is committed, up to the event with this number. Those who listen no more are forgotten.
    pub(crate) fn committed(&self, newest: u64) {
        self.lock().retain_mut(|listener| {
            if std::mem::take(&mut listener.is_concerned) {
                listener.told.send_replace(newest);
            }
            !listener.told.is_closed()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        // A panic of `wants` leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
