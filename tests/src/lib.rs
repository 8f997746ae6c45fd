//! The end-to-end harness: real programs, a real socket, real sandboxes, in a directory that is gone afterwards.
//!
//! In reading order: `story` is what a test calls; it makes an `env`, starts a `daemon` and gives the test a `client`.
//! `trace` ends a daemon at a moment that is named, which `effects` finds.
//! `command_line` runs `orchctl`, `terminal` holds a program in a terminal,
//! `agents` are the real agent programs, `asker` is one that only measures, `model_server` plays their models. `repository` makes git repositories, `processes` looks at what runs, `requirement`
//! decides between skipping and failing.
//! **Invariants:** nothing is left behind, whatever happens; the environment of the test process is never changed; every
//! wait is for a state and has a bound.

pub mod agents;
pub mod asker;
pub mod client;
pub mod command_line;
pub mod daemon;
mod effects;
pub mod env;
pub mod model_server;
pub mod poll;
pub mod processes;
pub mod repository;
pub mod requirement;
pub mod story;
pub mod terminal;
pub mod trace;

pub use client::Client;
pub use command_line::Output;
pub use daemon::Daemon;
pub use env::{Env, Programs, tell};
pub use requirement::Requirement;
pub use story::{Setup, Story};
