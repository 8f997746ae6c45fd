//! The terminal: taken over and given back, read, written once per frame, and watched for its end.
//!
//! The only place that knows crossterm. Knows no model.

mod frame;
mod guard;
mod input;
mod size;
mod tty;
mod watchdog;

pub(crate) use frame::Frames;
pub(crate) use guard::TerminalGuard;
pub(crate) use input::{drop_pending, spawn_reader};
pub(crate) use size::size;
pub(crate) use tty::Tty;
pub(crate) use watchdog::{EXIT_HANGUP, Watchdog, spawn_watchdog};
