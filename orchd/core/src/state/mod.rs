//! State machines, one per file. Each has one `next`, the only function that maps a state and an event to a state.
//!
//! A state carries just the data that is valid in it. There are no setters. The matrix of every machine is a test
//! snapshot, and `orchd/docs/states.md` is made from it.

pub mod approval;
pub mod change;
pub mod document;
pub mod info_request;
pub mod planning;
pub mod project;
pub mod run;
pub mod step;
pub mod task;

#[cfg(test)]
mod matrix;

/// An event that cannot happen in a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{machine} is {state} and cannot be {event}")]
pub struct IllegalTransition {
    /// Name of the machine, as `task`.
    pub machine: &'static str,
    /// Label of the state, as `in_review`; `absent` before the first event.
    pub state: &'static str,
    /// Label of the event, as `started`.
    pub event: &'static str,
}
