//! The socket: who connects, what they may do, and the answers.

mod answer_size;
pub(crate) mod errors;
mod identity;
mod read;
mod resolve;
mod server;
mod service;
mod submit;
mod undo;

pub(crate) use server::Listener;
