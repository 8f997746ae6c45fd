//! The parts of the shipped blueprint that the demo uses: its gates, and how the finished service is started and called.
//!
//! The daemon reads the whole blueprint by its own rules; here only these sections are read, from the same file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ctl::failure::Failure;

const BLUEPRINT: &str = include_str!("../../../../recipes/blueprints/web-api/blueprint.yaml");

/// What is used of the blueprint.
#[derive(Debug, Deserialize)]
pub(super) struct Blueprint {
    parameters: Vec<Parameter>,
    pub(super) gates: Vec<Step>,
    pub(super) verify: Verify,
}

#[derive(Debug, Deserialize)]
struct Parameter {
    name: String,
    default: Scalar,
}

/// YAML gives numbers where people write none of its quotes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A command for the shell.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) run: String,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// In seconds.
    pub(super) timeout: u64,
}

/// How the finished service is started and called.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    pub(super) start: Step,
    ready_path: String,
    ready_timeout: u64,
    pub(super) calls: Vec<Call>,
}

/// One call of the service.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    expect_status: u16,
    expect_contains: Option<String>,
}

/// Values of the parameters, by their names.
pub(super) type Parameters = BTreeMap<String, String>;

impl Blueprint {
    /// Reads the blueprint and the parameters that the Vision gives.
    pub(super) fn load(vision: &str) -> Result<(Self, Parameters), Failure> {
        #[derive(Deserialize)]
        struct FrontMatter {
            #[serde(default)]
            parameters: BTreeMap<String, Scalar>,
        }
        let broken = |what: &str, error: &dyn std::fmt::Display| {
            Failure::usage(format!("the shipped {what} is broken: {error}"))
        };
        let mut blueprint: Self = serde_saphyr::from_str(BLUEPRINT).map_err(|error| broken("blueprint", &error))?;
        let front =
            vision.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).map_or("", |(front, _)| front);
        let front: FrontMatter = serde_saphyr::from_str(front).map_err(|error| broken("Vision", &error))?;
        let mut parameters: Parameters = blueprint
            .parameters
            .iter()
            .map(|parameter| (parameter.name.clone(), parameter.default.to_string()))
            .collect();
        for (name, value) in front.parameters {
            parameters.insert(name.replace('_', "-"), value.to_string());
        }
        for call in &mut blueprint.verify.calls {
            for (name, value) in &parameters {
                call.path = call.path.replace(&format!("{{{name}}}"), value);
            }
        }
        Ok((blueprint, parameters))
    }
}

/// The variable by which a step sees a parameter.
pub(super) fn variable(parameter: &str) -> String {
    format!("ORCH_PARAM_{}", parameter.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_blueprint_can_be_verified() {
        let (blueprint, parameters) = Blueprint::load(crate::ctl::demo::VISION).unwrap();
        assert!(!blueprint.gates.is_empty() && blueprint.verify.calls.len() > 3);
        assert!(blueprint.verify.calls.iter().all(|call| !call.path.contains('{')), "{:?}", blueprint.verify.calls);
        assert_eq!(parameters["demo-fail-once"], "yes");
        assert_eq!(variable("demo-fail-once"), "ORCH_PARAM_DEMO_FAIL_ONCE");
    }
}
