//! Reads one step, in its short form (a command) or its long form (a mapping).

use super::checked::{RUN_BYTES_MAX, STEP_TIMEOUT_DEFAULT_MS, STEP_TIMEOUT_MAX_MS, STEPS_MAX, Step};
use super::glob::Glob;
use super::problem::Problem;
use super::reader::{Fields, boolean, checked, env, line, list, list_of, seconds_ms, text};
use super::text::RelPath;
use super::yaml::{Fault, Node, Value};

const KEYS: &[&str] = &["run", "name", "env", "timeout", "cwd", "artifacts", "idempotent", "checkpoint"];
const ARTIFACTS_MAX: usize = 50;

/// Reads a list of at least one step.
pub(crate) fn steps(node: &Node, key: &str) -> Result<Vec<Step>, Fault> {
    let items = list(node, key, STEPS_MAX)?;
    if items.is_empty() {
        return Err(node.fault(Problem::EmptyValue { key: key.to_owned() }));
    }
    items.iter().enumerate().map(|(index, item)| step(item, &format!("step {}", index + 1))).collect()
}

/// Refuses checkpoints where no attempt could go on from one.
pub(crate) fn without_checkpoints(node: &Node, steps: Vec<Step>, why: &'static str) -> Result<Vec<Step>, Fault> {
    if steps.iter().any(|step| step.checkpoint) {
        return Err(node.fault(Problem::Contradiction { key: "checkpoint", why }));
    }
    Ok(steps)
}

/// Reads one step; `default_name` is for one that has no name.
pub(crate) fn step(node: &Node, default_name: &str) -> Result<Step, Fault> {
    match &node.value {
        Value::Scalar { .. } => Ok(Step::new(default_name, text(node, "run", RUN_BYTES_MAX)?)),
        Value::Map(_) | Value::List(_) => {
            let fields = Fields::of(node, "a step", KEYS)?;
            Ok(Step {
                name: fields.opt("name", line)?.unwrap_or_else(|| default_name.to_owned()),
                run: fields.req("run", |node, key| text(node, key, RUN_BYTES_MAX))?,
                env: fields.opt("env", env)?.unwrap_or_default(),
                timeout_ms: fields.opt("timeout", timeout)?.unwrap_or(STEP_TIMEOUT_DEFAULT_MS),
                cwd: fields
                    .opt("cwd", |node, key| checked(node, key, RelPath::parse))?
                    .unwrap_or_else(RelPath::workspace),
                artifacts: fields.opt("artifacts", globs)?.unwrap_or_default(),
                idempotent: fields.opt("idempotent", boolean)?.unwrap_or(true),
                checkpoint: fields.opt("checkpoint", boolean)?.unwrap_or(false),
            })
        }
    }
}

/// Reads a list of path patterns.
pub(crate) fn globs(node: &Node, key: &str) -> Result<Vec<Glob>, Fault> {
    list_of(node, key, ARTIFACTS_MAX, |node, key| checked(node, key, Glob::parse))
}

/// Reads a time limit in seconds: more than zero, at most a day.
pub(crate) fn timeout(node: &Node, key: &str) -> Result<u64, Fault> {
    match seconds_ms(node, key, STEP_TIMEOUT_MAX_MS)? {
        0 => Err(node.fault(Problem::Zero { key: key.to_owned() })),
        timeout_ms => Ok(timeout_ms),
    }
}
