//! The git adapter against a real git: round trips of workspaces, merges, imports of odd repositories, and attacks.
//!
//! Scripts that belong into the sandbox are run here with a plain `sh` on temporary folders. **Rule:** a marker file
//! that hostile content tries to make must be absent whenever only host-side code has run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation ends the test, also in the lab's own steps"
)]

mod attacks;
mod checkpoints;
mod copies;
mod import;
mod lab;
mod merge;
mod repository;
mod workspace;
