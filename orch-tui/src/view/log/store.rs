//! The logs that are kept: the few that were looked at last, so that going back to one shows it at once.

use orch_proto::id::RunId;
use orch_proto::view::LogPage;

use super::{LogBuffer, LogPane, LogView};
use crate::view::toast::Fault;

/// Most logs that are kept. The one looked at the longest time ago goes first.
const LOGS_MAX: usize = 4;

/// One run's log and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) run: RunId,
    pub(crate) buffer: LogBuffer,
    pub(crate) pane: LogPane,
    /// Why it could not be read, and when to try again.
    pub(crate) fault: Option<(Fault, u64)>,
}

/// All logs that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    pub(crate) view: LogView,
    /// The newest use last.
    entries: Vec<LogEntry>,
    /// The run that the daemon is asked about.
    pub(crate) following: Option<RunId>,
}

impl Logs {
    /// The log of a run, if any of it was read.
    pub(crate) fn get(&self, run: RunId) -> Option<&LogEntry> {
        self.entries.iter().find(|entry| entry.run == run)
    }

    /// The log of a run, made if it is not there.
    pub(crate) fn open(&mut self, run: RunId) -> &mut LogEntry {
        let entry = match self.entries.iter().position(|entry| entry.run == run) {
            Some(index) => self.entries.remove(index),
            None => LogEntry { run, buffer: LogBuffer::default(), pane: LogPane::default(), fault: None },
        };
        if self.entries.len() == LOGS_MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry);
        let last = self.entries.len() - 1;
        &mut self.entries[last]
    }

    /// Takes a page in. False: nothing came of it.
    pub(crate) fn push(&mut self, run: RunId, offset: u64, page: &LogPage) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.run == run) else { return false };
        entry.fault = None;
        let is_next = entry.buffer.push(offset, page);
        if page.end && self.following == Some(run) {
            self.following = None;
        }
        is_next && (page.end || !page.chunks.is_empty())
    }

    /// Notes that a log could not be read.
    pub(crate) fn fail(&mut self, run: RunId, fault: Fault, again_ms: u64) {
        if self.following == Some(run) {
            self.following = None;
        }
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.run == run) {
            entry.fault = Some((fault, again_ms));
        }
    }

    /// Forgets everything: another installation has other runs.
    pub(crate) fn clear(&mut self) {
        *self = Self { view: self.view, ..Self::default() };
    }
}
