//! Simulations: real parts of the product on a disk that is not real, with chance from a seed, so that a failure can be
//! had again.
//!
//! `disk` is the disk; `store` is what the store promises on it, `daemon` what the whole daemon does on it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; only code marked as a test is exempt by itself")]

mod dice;
mod disk;

mod daemon;

mod seeds;
mod shrink;
mod store;
