//! The scripted model, asked over its socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "everything here is a test, helpers included")]

mod agent;
mod client;
mod faults;
mod protocols;
mod stop;
mod turns;
