//! What should run next, and why the rest waits.
//!
//! A [`Book`] is told what things are and answers what to start. Order: gates before work (they free a change that is
//! nearly done), then priority with what was gained by waiting ([`AGING_MS`]), fairness by project, the longest chain of open work
//! behind the task, age, id. A choice costs O(log n): nothing is computed anew that did not change. Nothing here is
//! stored, and the same things give the same book. In reading order.

mod book;
mod choose;
mod explain;

mod budgets;
mod facts;
mod freeze;
mod grants;
mod kept;
mod ledger;
mod limits;
mod links;
mod needs;
mod opening;
mod overdue;
mod ready;
mod returning;
mod staff;
mod times;

mod chains;
mod classes;
mod fairness;
mod lanes;
mod merge_queue;
mod turns;

pub use book::{Book, Unknown};
pub use choose::{Action, Decision};
pub use classes::AGING_MS;
pub use explain::{AHEAD_MAX, Wait};
pub use facts::{ApprovalFacts, ChangeFacts, ProjectFacts, RunFacts, TaskFacts, heeds, heeds_run};
pub use fairness::{CHARGE_MS, HALF_LIFE_MS, HALF_LIVES, counts_since};
pub use freeze::{Freeze, WEEK_MINUTES, Window};
pub use ledger::{Resource, Totals};
pub use limits::{Limits, Shortage};
pub use staff::{Doer, STAFF_RUNS_MAX, Staff, own_role};
