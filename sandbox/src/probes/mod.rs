//! Finding out what holds: on the host before anything runs, and inside a run before its steps do.

pub(crate) mod host;
pub(crate) mod inside;
