//! The domain without a store, for tests: a view in memory, samples, random commands, and what must always hold.
//!
//! Only with the feature `test-util`. Takes commands the way the store does, all or nothing, through the same `decide` and
//! `apply`; knows no log, no time and no idempotency.

mod channel;
mod command;
mod invariants;
mod memory;
mod models;
mod planning;
mod sample;
mod session;

pub use command::random_command;
pub use invariants::violations;
pub use memory::{MemoryView, Refused};
pub use sample::{new_task, plan_content, proposal, requirements, step_spec, vision};
