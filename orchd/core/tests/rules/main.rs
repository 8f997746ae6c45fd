//! Tests of the rules on the domain alone, in one binary: commands against a view in memory, and the scheduler.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; only code marked as a test is exempt by itself"
)]

mod sessions;
mod spending;
mod support;

mod asked;
mod budgets;
mod channel;

mod checkpoints;

mod decide_archive;
mod decide_ends;
mod decide_flow;
mod decide_losses;
mod decide_plans;
mod decide_random;
mod decide_refusals;
mod decide_replans;
mod decide_retention;
mod decide_runs;

mod equipment;
mod exchanges;

mod history;

mod once;

mod orders;

mod patience;

mod plannings;

mod proposed;

mod schedule_checks;
mod schedule_choice;
mod schedule_clock;
mod schedule_grants;
mod schedule_limits;
mod schedule_pauses;
mod schedule_shares;
mod schedule_terms;
mod schedule_waits;

mod thread;

mod tool_requests;

mod undo;
mod undo_refusals;
