//! Tool recipes: what a run does and with which tools, as data.
//!
//! Two forms: a *tool* (how one tool is installed) and a *run* (tools and steps). `parse` turns the text of a file into
//! checked types or says line, column and next step. Pure: no file is read, nothing is started. The same step type is
//! used by blueprints and by toolchain detection.

mod access;
mod checked;
mod checksum;
mod glob;
mod parse;
mod policy;
mod prices;
mod problem;
mod provider;
pub(crate) mod reader;
mod role;
pub(crate) mod step;
pub(crate) mod text;
mod tool_request;
pub(crate) mod yaml;

pub use access::{Access, HOSTS_MAX, PORTS_MAX, Reach, SECRETS_MAX, SecretUse};
pub use checked::{
    ENV_MAX, ENV_VALUE_BYTES_MAX, Isolation, Permissions, RECIPE_BYTES_MAX, RUN_BYTES_MAX, Recipe, Requires, Retries,
    RunRecipe, STEP_TIMEOUT_DEFAULT_MS, STEP_TIMEOUT_MAX_MS, STEPS_MAX, Source, Step, TOOLS_MAX, ToolRecipe, ToolUse,
};
pub use checksum::{Checksum, ChecksumMismatch, Hasher};
pub use glob::{GLOB_BYTES_MAX, Glob};
pub use parse::parse;
pub(crate) use parse::version;
pub use policy::{Policy, parse_policy};
pub use prices::{Prices, parse_prices};
pub use problem::{Place, Problem, RecipeError};
pub use provider::parse_provider;
pub use role::{ANSWER_TOKENS_MAX, PROMPT_TOKENS_MAX, Profile, Role, parse_role};
pub use text::{
    DOMAIN_BYTES_MAX, Domain, ENV_NAME_BYTES_MAX, EnvName, KEY_BYTES_MAX, Key, Network, REL_PATH_BYTES_MAX, RelPath,
    SECRET_NAME_BYTES_MAX, SecretName, TextError,
};
pub use tool_request::{ToolRequest, misfit};

#[cfg(test)]
mod tests;
