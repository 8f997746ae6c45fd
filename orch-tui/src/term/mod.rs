//! The terminal: taken over and given back, read, written once per frame, and watched for its end.
//!
//! The only place that knows crossterm, which is written with and not read by: it would wait in a read for the rest of a key, and
//! spin on a terminal that is gone. Knows no model.

mod frame;
mod guard;
mod input;
mod keys;
mod size;
mod tty;
mod watchdog;

pub(crate) use frame::Frames;
pub(crate) use guard::{TerminalGuard, can_suspend};
pub(crate) use input::{Inputs, spawn_reader};
pub(crate) use size::size;
pub(crate) use tty::Tty;
pub(crate) use watchdog::{EXIT_HANGUP, Watchdog, spawn_watchdog};
