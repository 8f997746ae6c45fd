//! What the sandbox promises, tried on a real kernel with the real program.
//!
//! `escapes`: attacks from inside. `lifecycle`: who lives and dies with whom. `steps`: how runs go and end. `results`:
//! logs and artifacts. `layers`: workspaces that start as directories. Runs as root and as an ordinary user; without the kernel features for level 3 every test says so
//! and passes, unless `CI=true`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "everything here is a test, helpers included")]

mod bench;
mod escapes;
mod layers;
mod lifecycle;
mod results;
mod steps;
