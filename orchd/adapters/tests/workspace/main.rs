//! Prepared checkouts with a real git and a real sandbox: what runs see on them, what becomes of their work, what stays.
//!
//! `views`: a run on a prepared checkout sees and delivers what one with its own checkout does. `cache`: who keeps an
//! entry, what goes, and what a crash leaves. Runs as root and as an ordinary user; without the kernel features for
//! level 3 every test says so and passes, unless `CI=true`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "everything here is a test, helpers included")]

mod cache;
mod views;
mod yard;
