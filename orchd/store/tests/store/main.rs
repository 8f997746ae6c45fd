//! Tests of the store, in one binary: what it promises about idempotency, crashes, full disks, time and its audit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; only code marked as a test is exempt by itself")]

mod support;

mod commands;

mod batches;
mod copies;
mod crashes;
mod full_disks;

mod audit;
mod files;
mod reads;
mod wal;

mod migrations;
mod samples;
