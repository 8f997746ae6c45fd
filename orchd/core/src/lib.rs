//! Placeholder of the first skeleton commit.

pub mod blueprint;
pub mod recipe;
pub mod toolchain;
