//! What the sandbox promises, tried on a real kernel with the real program.
//!
//! `escapes`: attacks from inside. `egress`: what runs reach on the network. `lifecycle`: who lives and dies with whom. `steps`: how runs go and end. `limits`: what a
//! whole run may use, watched; `groups`: the same by control groups. `results`: logs and artifacts. `secrets`: where their
//! values are and where not. `syscalls`: the strict profile. Runs as root and as an ordinary user; without the kernel
//! features for level 3 every test says so
//! and passes, unless `CI=true`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "everything here is a test, helpers included")]

mod bench;
mod egress;
mod escapes;
mod groups;
mod lifecycle;
mod limits;
mod results;
mod secrets;
mod steps;
mod syscalls;
