//! Logs: what was read of each run, and how it is looked at.

mod buffer;
mod pane;
mod store;

pub(crate) use buffer::{LogBuffer, LogLine};
pub(crate) use pane::{LogPane, LogView, TimeColumn};
pub(crate) use store::{LogEntry, Logs};
