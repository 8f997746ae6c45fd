//! Placeholder of the first skeleton commit.

pub mod planner;
