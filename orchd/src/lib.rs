//! `orchd`: wiring. Configuration, start and stop, the socket, and the reconcilers that turn decisions into effects.
//!
//! The domain is in `orch-core`, the state in `orch-store`, effects in `orch-adapters`. In reading order: `daemon`
//! starts everything, `app` is what its parts share, `reconcile` does the work, `rpc` answers clients.

mod agents;
mod answers;
mod app;
mod args;
mod briefs;
mod channel;
mod checkpoints;
mod clock;
mod config;
mod convert;
mod daemon;
mod error_chain;
mod exchanges;
mod gateway;
mod host;
mod instance_lock;
mod jail;
pub mod kept_book;
mod kept_history;
mod logging;
pub mod reconcile;
mod rpc;
mod sessions;
pub mod site;
mod state_dir;
mod tools;
pub mod troubles;
pub mod undo;
mod upkeep;
mod watches;
mod workspaces;

pub use args::main_impl;
