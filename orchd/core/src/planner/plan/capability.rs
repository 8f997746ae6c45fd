//! Which kind of agent a requirement needs, how long it may take, and what can go wrong.
//!
//! Word lists and nothing else. Invariant: the same requirement always gets the same answer.

use std::collections::BTreeSet;

use super::keyword;
use crate::planner::model::{Requirement, RequirementKind};

/// Capabilities and the words that ask for them; of two with as many words, the first one wins.
const CAPABILITIES: [(&str, &[&str]); 4] = [
    (
        "security",
        &[
            "security",
            "secret",
            "encryption",
            "vulnerability",
            "privacy",
            "compliance",
            "privilege",
            "authentication",
            "authorization",
            "audit",
            "credential",
            "threat",
            "penetration",
            "gdpr",
            "pii",
            "sast",
            "cve",
        ],
    ),
    (
        "infra",
        &[
            "deployment",
            "deploy",
            "kubernetes",
            "terraform",
            "opentofu",
            "docker",
            "container",
            "infrastructure",
            "ci",
            "pipeline",
            "cloud",
            "helm",
            "provision",
            "rollout",
            "environment",
            "backup",
            "monitoring",
            "hosting",
            "availability",
        ],
    ),
    ("docs", &["documentation", "document", "readme", "runbook", "adr", "guide", "tutorial", "changelog"]),
    (
        "qa",
        &[
            "test",
            "coverage",
            "benchmark",
            "performance",
            "latency",
            "throughput",
            "load",
            "regression",
            "quality",
            "scalability",
            "usability",
            "accessibility",
            "reliability",
            "concurrent",
        ],
    ),
];

/// Words that name a danger, and the risk they bring.
const RISKS: [(&str, &str); 7] = [
    ("data migration", "changes stored data: needs a way back"),
    ("schema migration", "changes stored data: needs a way back"),
    ("delete", "removes data: needs a confirmation or a way back"),
    ("payment", "handles money: needs review"),
    ("production", "touches production: needs approval"),
    ("credential", "handles credentials: must not reach logs or the repository"),
    ("secret", "handles secrets: must not reach logs or the repository"),
];

/// The capability of the agent that serves the requirement.
pub(super) fn capability(requirement: &Requirement) -> &'static str {
    let functional = requirement.kind == RequirementKind::Functional;
    // What a product does often mentions tests or clouds in passing; its title says what it is about.
    let text = if functional { keyword::stems(&requirement.title) } else { words_of(requirement) };
    let mut best = (0, if functional { "developer" } else { "qa" });
    for (capability, words) in CAPABILITIES {
        let count = words.iter().filter(|word| keyword::speaks_of(&text, word)).count();
        if count > best.0 {
            best = (count, capability);
        }
    }
    best.1
}

/// The first danger that the requirement speaks of.
pub(super) fn risk(requirement: &Requirement) -> Option<String> {
    let text = words_of(requirement);
    RISKS.iter().find(|(word, _)| keyword::speaks_of(&text, word)).map(|(_, risk)| (*risk).to_owned())
}

/// Shortest and longest time for an agent to serve requirements with this much to do, in minutes.
pub(super) fn estimate_minutes(parts: usize, criteria: usize) -> (u32, u32) {
    let steps = u32::try_from(parts + criteria).unwrap_or(u32::MAX).min(40);
    (15 + 5 * steps, 60 + 30 * steps)
}

fn words_of(requirement: &Requirement) -> BTreeSet<String> {
    let mut words = keyword::stems(&requirement.title);
    words.extend(keyword::stems(&requirement.text));
    words
}
