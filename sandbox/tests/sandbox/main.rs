//! What the sandbox promises, tried on a real kernel with the real program.
//!
//! `cases`: the list of all attacks, and that none of them is forgotten. `escapes`: attacks from inside. `floods`: attacks
//! on what others need. `races`: attacks on those who look at the same moment. `faults`: what is left when somebody dies.
//! `egress`: what runs reach on the network; `proxies`: the process between. `limits`: what a whole run may use, watched;
//! `groups`: the same by control groups. `secrets`: where their values are and where not; `conceal`: those that a
//! living run is given. `syscalls`: the strict profile.
//! `listeners`: what runs find listening. `refusals`: bad input. `lifecycle`: who lives and dies with whom. `steps`: how runs go and end. `results`: logs and artifacts. `layers`:
//! workspaces that start as directories. `leases`: runs that cannot prove any more to be the one. `plain`: runs without
//! isolation. Runs as root and as an ordinary user; without the kernel features for level 3 every test says so and passes, unless
//! `CI=true`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "everything here is a test, helpers included")]

mod bench;
mod canaries;
mod cases;
mod conceal;
mod egress;
mod escapes;
mod faults;
mod floods;
mod groups;
mod layers;
mod leases;
mod lifecycle;
mod limits;
mod listeners;
mod plain;
mod proxies;
mod races;
mod refusals;
mod results;
mod secrets;
mod steps;
mod syscalls;
