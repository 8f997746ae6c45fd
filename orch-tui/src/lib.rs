//! Both clients of the daemon: the terminal UI `orch-tui` and the command line `orchctl`.
//!
//! Knows the contract of `orch-proto` and nothing else of the product. Read in this order.

pub mod connect;
pub mod text;

pub mod clock;
pub mod fmt;

mod agent;
mod channel;
pub mod ctl;

pub mod app;
mod term;
mod view;
