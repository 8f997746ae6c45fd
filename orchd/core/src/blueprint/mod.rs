//! Blueprints: whole pieces of software as scripted tasks with parameters.
//!
//! A blueprint is data: tasks with needs and steps, gates that the daemon runs again on the merged tree, parameters
//! with strict character sets, and a way to verify the result. `parse` checks all of it with line-exact errors.
//! Parameters reach steps only as environment `ORCH_PARAM_<NAME>`, never by substitution into shell text.

mod checked;
mod graph;
mod parameter;
mod parse;
mod parse_parameter;
mod parse_verify;

pub use checked::{Blueprint, Call, Epic, Story, TASKS_MAX, Task, Verify};
pub use parameter::{
    CharClass, PARAMETER_BYTES_MAX, Parameter, ParameterEnv, ParameterError, ParameterSource, Pattern,
};
pub use parse::parse;

#[cfg(test)]
mod tests;
