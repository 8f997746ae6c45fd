//! The history of how long things took, kept up to the log.
//!
//! Told of every event once, from the first one on. That takes a while when the log is long, so it is read in pages beside
//! everything else ([`crate::reconcile`]), and what is asked meanwhile is answered from what was read so far and says so.
//! Who asks later brings it up to the state that they look at. It can be thrown away and read again at any time.

use std::sync::{Mutex, MutexGuard};

use orch_core::history::{History, counts};
use orch_core::view::ReadError;
use orch_store::ReadView;

/// Events that are read at once: a few milliseconds.
const PAGE: u32 = 1_000;
/// Most events by which it is brought up to a state for somebody who waits.
pub(crate) const BEHIND_MAX: u64 = 5_000;

/// The history and how far it has read.
#[derive(Debug, Default)]
pub(crate) struct KeptHistory(Mutex<Kept>);

#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) history: History,
    /// Number of the last event that it knows; 0 before the first.
    pub(crate) seq: u64,
}

impl KeptHistory {
    /// The history as of `view` or later, unless it is far behind: then as far as it was read.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn at(&self, view: &ReadView<'_>) -> Result<MutexGuard<'_, Kept>, ReadError> {
        let mut kept = self.lock();
        if view.seq().saturating_sub(kept.seq) <= BEHIND_MAX {
            while kept.seq < view.seq() && kept.read_page(view)? {}
        }
        Ok(kept)
    }

    /// Reads on for one page; answers how far it has read, and whether there may be more.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn read_on(&self, view: &ReadView<'_>) -> Result<(u64, bool), ReadError> {
        let mut kept = self.lock();
        let more = kept.read_page(view)?;
        Ok((kept.seq, more))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Somebody panicked while it was told something: read it anew.
        self.0.lock().unwrap_or_else(|poisoned| {
            self.0.clear_poison();
            let mut kept = poisoned.into_inner();
            *kept = Kept::default();
            kept
        })
    }
}

impl Kept {
    fn read_page(&mut self, view: &ReadView<'_>) -> Result<bool, ReadError> {
        let from = self.seq;
        let Self { history, seq } = self;
        // Each is told once, also when a later one cannot be read.
        let last = view.each_event_since((from, PAGE), counts, |number, at, event| {
            history.tell(at, event);
            *seq = number;
        })?;
        if let Some(last) = last {
            self.seq = last;
        }
        Ok(last.is_some())
    }
}
