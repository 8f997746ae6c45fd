//! The program around the view: command line, event loop, connection. Decides nothing that the view can decide.

mod args;
mod daemon;
mod fetch;
mod follow;
mod link;
mod program;
mod runtime;
mod ticker;

pub use program::main_impl;
