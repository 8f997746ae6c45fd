//! Developer commands: `cargo xtask demo|tidy|ci|bench|escape|plants`.
//!
//! Knows the repository, not the product: it depends on no crate of the workspace, so that it builds in seconds and
//! `cargo demo` on a fresh clone soon says what it does. In reading order: `cli` chooses the command, `bench`, `demo`
//! and `ci` start programs, `tidy` checks the rules that compiler and clippy cannot check, `escape`
//! compares sandboxes, `plants` puts faults into a copy to see the tests find them.

mod bench;
mod ci;
mod cli;
mod demo;
mod escape;
mod plants;
pub mod tidy;
mod workspace;

pub use cli::main_impl;
