//! What the log says of how long things took: durations, throughput, recoveries, and estimates from them.
//!
//! A [`History`] is told every event once, in order, and holds little whatever it was told: the newest durations of each
//! thing, and what is open. The same events give the same history. Nothing in it is stored, and nothing is decided by it.
//! Definitions, with the events at which each number begins and ends: `orchd/docs/metrics.md`. In reading order.

mod story;
mod told;
mod undone;

mod figures;
mod kinds;
mod open;

mod estimate;
mod forecast;

mod bounded;
mod rates;
mod samples;

pub use estimate::{Basis, Estimate, Estimator, Left, SAMPLES_MIN, Subject};
pub use figures::{Failures, Figures};
pub use forecast::{Forecast, Node, ROUNDS_MAX, forecast};
pub use kinds::{Kind, Scope};
pub use open::{Now, Stage};
pub use rates::{Count, Rates};
pub use samples::{KEPT_MAX, Samples, Spread};
pub use story::{History, KINDS_MAX, PROJECTS_MAX, RESTING_MAX};
pub use told::counts;
