//! Recipes as the rest of the product sees them: checked, complete, storable.
//!
//! Built only by `parse` (or read back from a stored event, through the same checked texts). No field here still needs
//! validation, every default is filled in. Knows nothing of YAML, of agents and of how a step is confined.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::checksum::Checksum;
use super::glob::Glob;
use super::text::{Domain, EnvName, Network, RelPath};
use super::tool_request::ToolRequest;

/// Largest recipe file, bytes.
pub const RECIPE_BYTES_MAX: usize = 256 * 1024;
/// Most steps in one recipe or one blueprint task.
pub const STEPS_MAX: usize = 200;
/// Most tools in one run recipe.
pub const TOOLS_MAX: usize = 50;
/// Most variables in one `env`.
pub const ENV_MAX: usize = 200;
/// Longest value of one variable, bytes.
pub const ENV_VALUE_BYTES_MAX: usize = 32 * 1024;
/// Longest command text of one step, bytes.
pub const RUN_BYTES_MAX: usize = 64 * 1024;
/// Time limit of a step that names none, milliseconds.
pub const STEP_TIMEOUT_DEFAULT_MS: u64 = 10 * 60 * 1000;
/// Longest time limit a step may ask for, milliseconds.
pub const STEP_TIMEOUT_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// A recipe in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", content = "recipe", rename_all = "snake_case")]
pub enum Recipe {
    /// How one tool is installed.
    Tool(ToolRecipe),
    /// What one run does, and with which tools.
    Run(RunRecipe),
}

/// One tool: where it comes from, how it is installed, what it may touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRecipe {
    /// Name by which run recipes ask for it.
    pub name: String,
    /// Exact version, any of `2.17.x`, or this and newer: `3.9+`.
    pub version: String,
    /// One line for people.
    pub description: Option<String>,
    /// Its program, which the steps leave as `bin/PROGRAM`.
    pub program: String,
    /// What is downloaded: one thing for all processors, or one for each. None at all: the host provides the tool, and the
    /// steps only check it.
    pub sources: Vec<Source>,
    /// Commands that install or check the tool, in order. Never empty.
    pub steps: Vec<Step>,
    /// Variables for all steps.
    pub env: BTreeMap<EnvName, String>,
    /// What the installation may touch.
    pub permissions: Permissions,
}

impl ToolRecipe {
    /// Whether it is installed for runs; otherwise the host has it or not.
    #[must_use]
    pub const fn is_installed(&self) -> bool {
        !self.sources.is_empty()
    }

    /// What is downloaded on such processors, as the kernel calls them: `x86_64`, `aarch64`.
    #[must_use]
    pub fn source_for(&self, processor: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.processor.as_deref().is_none_or(|of| of == processor))
    }
}

/// A pinned download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The processors that it is for; none: all.
    pub processor: Option<String>,
    /// An `https://` address.
    pub url: String,
    /// What the bytes must hash to.
    pub checksum: Checksum,
}

/// What a tool's installation may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Hosts it may reach.
    pub network: Vec<Domain>,
    /// Absolute paths, as seen inside the sandbox, that it may write.
    pub filesystem: Vec<String>,
    /// Named capabilities that policy decides on. Not Linux capabilities: a sandbox has none of those.
    pub capabilities: Vec<String>,
}

/// One run: tools, steps and how failure is handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecipe {
    /// Tools that must be there, in the order written.
    pub tools: Vec<ToolUse>,
    /// Commands, in order. Empty only when the recipe names tools and leaves the steps to the task.
    pub steps: Vec<Step>,
    /// Variables for all steps; a step's own win.
    pub env: BTreeMap<EnvName, String>,
    /// How often and how fast a failed run is tried again.
    pub retries: Retries,
    /// How long the run may take, milliseconds, in place of what the daemon gives every run.
    pub timeout_ms: Option<u64>,
    /// What must be true before the run may start.
    pub requires: Requires,
    /// What the run is given beyond its workspace, with what its tools ask for.
    pub access: Access,
    /// Whether the workspace starts without the project's files: the steps need none of them.
    pub starts_empty: bool,
    /// Whether what the steps change is proposed for a merge. Otherwise it goes with the workspace.
    pub keeps_changes: bool,
    /// What holds the steps.
    pub isolation: Isolation,
}

/// What holds the steps of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The sandbox, at the level that the configuration requires.
    #[default]
    Sandbox,
    /// Nothing: they are processes of the daemon's user on the host. Only where the configuration allows it.
    None,
}

impl Isolation {
    /// For what is not written down because it is usual.
    #[must_use]
    pub const fn is_sandbox(&self) -> bool {
        matches!(self, Self::Sandbox)
    }
}

/// A tool that a run asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// Name of a tool recipe or of a program of the host.
    pub name: String,
    /// Version wanted; `None` takes what the catalog has.
    pub version: Option<String>,
    /// Pins the download beyond what the catalog pins.
    pub checksum: Option<Checksum>,
    /// Variables that the tool wants in every step.
    pub env: BTreeMap<EnvName, String>,
    /// How far the tool may reach.
    pub network: Network,
}

impl ToolUse {
    /// What a run asks for by it.
    #[must_use]
    pub fn request(&self) -> ToolRequest {
        ToolRequest { name: self.name.clone(), version: self.version.clone(), checksum: self.checksum.clone() }
    }
}

/// One command of a recipe, a blueprint or a detected toolchain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Name shown to people; `step 3` when the recipe gives none.
    pub name: String,
    /// Command text for `sh -c`. Hostile like all of a repository: it only ever runs in a sandbox.
    pub run: String,
    /// Variables of this step.
    pub env: BTreeMap<EnvName, String>,
    /// Time limit, milliseconds, 1 to `STEP_TIMEOUT_MAX_MS`.
    pub timeout_ms: u64,
    /// Working directory, relative to the workspace.
    pub cwd: RelPath,
    /// Files to keep when the step has ended.
    pub artifacts: Vec<Glob>,
    /// Whether the step may be done again without harm. Otherwise, once it has begun, only a person has the work tried again.
    pub idempotent: bool,
    /// Whether the workspace is kept as the step leaves it, so that an attempt after one that was interrupted goes on from there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checkpoint: bool,
}

impl Step {
    /// A step with all defaults: no variables, the default time limit, in the workspace itself, idempotent.
    pub fn new(name: impl Into<String>, run: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            run: run.into(),
            env: BTreeMap::new(),
            timeout_ms: STEP_TIMEOUT_DEFAULT_MS,
            cwd: RelPath::workspace(),
            artifacts: Vec::new(),
            idempotent: true,
            checkpoint: false,
        }
    }
}

/// Retry policy of a run. `None` leaves the daemon's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Attempts after the first.
    pub max_retries: Option<u32>,
    /// First wait, milliseconds; doubles with each attempt.
    pub backoff_base_ms: Option<u64>,
    /// Largest random addition to a wait, milliseconds.
    pub backoff_jitter_ms: Option<u64>,
}

/// Conditions of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requires {
    /// A person must approve before it starts.
    pub approval: bool,
    /// Name of the agent that must do it.
    pub agent: Option<String>,
    /// Capability that the agent must have.
    pub capability: Option<String>,
}
