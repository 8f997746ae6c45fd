//! How far work on the state is, who watches it, and how it is asked to end.

use std::sync::atomic::{AtomicBool, Ordering};

use orch_proto::RpcError;
use tokio::sync::watch;

/// Where a work stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) phase: String,
    pub(crate) done: u64,
    /// 0 where that is not known.
    pub(crate) total: u64,
    /// Grows with every change.
    pub(crate) revision: u64,
}

/// Why work ended without a result.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was asked to.
    Cancelled,
    Failed(RpcError),
}

impl From<RpcError> for Ended {
    fn from(error: RpcError) -> Self {
        Self::Failed(error)
    }
}

/// The progress of one work. Written by it, read by who watches.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    step: watch::Sender<Step>,
    cancelled: AtomicBool,
}

impl Progress {
    /// Says what is done from now on, and how much of it there is.
    pub(crate) fn phase(&self, phase: &str, total: u64) {
        self.step.send_modify(|step| {
            *step = Step { phase: phase.to_owned(), done: 0, total, revision: step.revision + 1 };
        });
    }

    /// Says that more of it is done.
    ///
    /// # Errors
    /// When the work is to end.
    pub(crate) fn advance(&self, more: u64) -> Result<(), Ended> {
        self.step.send_modify(|step| {
            step.done = step.done.saturating_add(more);
            step.revision += 1;
        });
        self.go_on()
    }

    /// Says how much of it is done altogether. Whether to go on.
    pub(crate) fn reach(&self, done: u64) -> bool {
        self.step.send_if_modified(|step| {
            let moved = step.done != done;
            if moved {
                step.done = done;
                step.revision += 1;
            }
            moved
        });
        self.go_on().is_ok()
    }

    /// # Errors
    /// When the work is to end.
    pub(crate) fn go_on(&self) -> Result<(), Ended> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Ended::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn step(&self) -> Step {
        self.step.borrow().clone()
    }

    /// Waits until the step is newer than `after`.
    pub(crate) async fn changed(&self, after: u64) {
        // The sender lives as long as `self`, so waiting cannot fail while somebody waits.
        let _closed = self.step.subscribe().wait_for(|step| step.revision > after).await.is_err();
    }
}
