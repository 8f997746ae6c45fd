//! What a run may reach over the network.

use serde::{Deserialize, Serialize};

/// What a run may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Egress {
    /// Only a loopback interface of its own.
    None,
    /// What the policy allows, through the proxy of the run.
    Allow(EgressPolicy),
}

/// Names and ports that a run may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// What is allowed; never empty.
    pub entries: Vec<AllowEntry>,
    /// Also catches connections of programs that ignore proxy variables.
    pub transparent: bool,
}

/// One name or family of names that a run may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// A name such as `crates.io`, or `*.example.com` for everything below `example.com`.
    pub host: String,
    /// TCP ports; never empty.
    pub ports: Vec<u16>,
}
