//! Runs: the table, and one run's log, steps, sandbox and artifacts.

mod draw;
mod state;

pub(crate) use draw::draw;
pub(crate) use state::{Runs, act, open, settle};
