//! The view as a whole: what each screen looks like, and that no input at any size breaks it.
//!
//! A harness plays the daemon: it answers every question of the model from the samples.

mod guidance;
mod harness;
mod messages;
mod properties;
mod questions;
mod snapshots;
mod stories;
