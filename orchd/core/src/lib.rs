//! The pure domain: what there is, what can happen to it, and what should happen next.
//!
//! No I/O, no clock, no randomness, no async (invariant I1): time and ids are given. In reading order.

pub mod actor;
pub mod command;
pub mod decide;
pub mod digest;
pub mod entity;
pub mod event;
pub mod graph;
pub mod history;
pub mod ids;
pub mod schedule;

pub mod names;
pub mod state;
pub mod view;

pub mod planning;
pub mod printable;
pub mod retention;
pub mod undo;

pub mod agent;

pub mod blueprint;
pub mod planner;
pub mod recipe;
pub mod toolchain;

#[cfg(feature = "test-util")]
pub mod rehearsal;
