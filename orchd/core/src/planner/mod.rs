//! Planner types; replaced by the planner's own map.
mod model;
pub use model::*;
