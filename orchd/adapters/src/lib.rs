//! Effects behind narrow doors: what touches git, processes, the host's tools and files.
//!
//! **Invariant I5:** nothing here sees the store. What an effect learns goes back to the daemon, which makes a command
//! of it. **Invariant I12:** what a repository or an agent wrote is never executed here, and never parsed as
//! configuration, outside a sandbox.

pub mod accept;
pub mod agent;
pub mod blobs;
pub mod channel;
pub mod executor;
pub mod fingerprint;
pub mod gateway;
pub mod git;
pub mod host_tools;
pub mod job;
pub mod providers;
pub mod recipe_store;
pub mod roles;
pub mod run_log;
pub mod sealing;
pub mod secret_store;
pub mod tool_cache;
pub mod tool_recipes;
pub mod workspace;
