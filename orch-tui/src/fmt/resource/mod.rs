//! What each view is called in the machine formats, and which columns its table has.
//!
//! Column names are part of the command line's contract: they are added, never renamed.

mod document;
mod exchange;
mod system;
mod work;

#[cfg(test)]
pub(crate) mod samples;

pub use document::{document_state, project_state};
use serde::Serialize;
pub use system::check_word;
pub use work::{network_state, run_detail, step_state, task_detail};

use super::color::Role;
use super::table::Column;

/// A kind of thing that is listed and shown.
pub trait Resource: Serialize + Sized + 'static {
    /// `Task`.
    const KIND: &'static str;
    /// `TaskList`.
    const LIST_KIND: &'static str;

    /// What people call it: what `-o name` prints.
    fn name(&self) -> String;

    /// All columns of its table.
    fn columns() -> &'static [Column<Self>];
}

/// Colour of a state, by its word.
#[must_use]
pub fn state_role(state: &str) -> Role {
    match state {
        "done" | "succeeded" | "merged" | "granted" | "ready" | "ok" | "allowed" => Role::Good,
        "failed" | "timed_out" | "lost" | "conflicted" | "denied" => Role::Bad,
        "pending" | "awaiting_input" | "awaiting_approval" | "changes_requested" | "paused" | "warning" => Role::Warn,
        "running" | "starting" | "leased" | "checking" | "queued" | "in_review" | "preparing" => Role::Active,
        "cancelled" | "closed" | "void" | "expired" | "superseded" | "archived" | "skipped" => Role::Dim,
        _ => Role::Plain,
    }
}
