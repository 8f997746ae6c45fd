//! Checkpoints: workspaces that are kept between attempts, what decides what they are, and which one an attempt goes on from.

use std::collections::BTreeMap;

use orch_proto::id::RunId;
use serde::{Deserialize, Serialize};

use super::run::Run;
use super::step::PlannedStep;
use crate::digest::Digest;
use crate::recipe::{Access, Step};
use crate::state::run::{FailureClass, RunState};

/// All that decides what the steps of a run leave in its workspace, as far as it is known, beside the steps themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// Commit that the workspace begins as; none when the branch is empty.
    pub base: Option<String>,
    /// For all steps.
    pub env: BTreeMap<String, String>,
    /// Digests of programs by name, and of the files of a blueprint.
    pub programs: BTreeMap<String, Digest>,
    /// Network and secrets by name.
    pub access: Access,
    /// Isolation that the host gives, and that the run needs.
    pub level: u8,
    pub level_required: u8,
}

impl Inputs {
    /// The digest of these and of the steps that were run on them, in their order.
    #[must_use]
    pub fn digest(&self, steps: &[Step]) -> Digest {
        Digest::of_json(&("checkpoint", self, steps))
    }
}

/// A workspace that was kept as it was after a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The attempt that left it, and its number.
    pub run: RunId,
    pub number: u32,
    /// Index of the step that kept it, among all of the run.
    pub step: u32,
    /// Digest of all that decided what it is.
    pub inputs: Digest,
    /// Commit that holds it, in the project's repository.
    pub commit: String,
}

/// The checkpoint that an attempt with these steps goes on from, when the one before it was interrupted: the last that has the same
/// inputs. An attempt that failed by what its steps did begins anew: what they left may be the cause.
#[must_use]
pub fn resumable(last: &Run, steps: &[PlannedStep]) -> Option<Checkpoint> {
    let is_interrupted = match &last.state {
        RunState::Lost { .. } | RunState::TimedOut { .. } => true,
        RunState::Failed { class, .. } => {
            matches!(class, FailureClass::Infrastructure | FailureClass::Host | FailureClass::Budget)
        }
        RunState::Queued
        | RunState::Leased { .. }
        | RunState::Starting
        | RunState::Running
        | RunState::AwaitingInput { .. }
        | RunState::AwaitingApproval { .. }
        | RunState::Paused
        | RunState::Succeeded
        | RunState::Cancelled { .. } => false,
    };
    let planned = |kept: &Checkpoint| steps.get(usize::try_from(kept.step).ok()?)?.inputs;
    let kept = last.kept.iter().chain(&last.resumed).filter(|kept| planned(kept) == Some(kept.inputs));
    kept.max_by_key(|kept| kept.step).filter(|_| is_interrupted).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each input alone makes another digest, and so do a step, its order and a step before it.
    #[test]
    fn nothing_that_decides_a_workspace_is_left_out() {
        let inputs = Inputs {
            base: Some("b".into()),
            env: [("A".to_owned(), "1".to_owned())].into(),
            programs: [("sh".to_owned(), Digest::of(b"sh"))].into(),
            access: Access::default(),
            level: 3,
            level_required: 3,
        };
        let steps = [Step::new("one", "make"), Step::new("two", "make test")];
        let mut digests = vec![inputs.digest(&steps)];
        let mut other = |change: fn(&mut Inputs)| {
            let mut changed = inputs.clone();
            change(&mut changed);
            digests.push(changed.digest(&steps));
        };
        other(|inputs| inputs.base = None);
        other(|inputs| inputs.base = Some("c".into()));
        other(|inputs| drop(inputs.env.insert("A".into(), "2".into())));
        other(|inputs| inputs.programs.extend([("sh".into(), Digest::of(b"another"))]));
        other(|inputs| inputs.programs.extend([("cc".into(), Digest::of(b"sh"))]));
        other(|inputs| {
            let secret = crate::recipe::SecretUse { name: crate::recipe::SecretName::parse("key").unwrap(), env: None };
            inputs.access.secrets.push(secret);
        });
        other(|inputs| inputs.level = 4);
        other(|inputs| inputs.level_required = 2);
        digests.push(inputs.digest(&steps[..1]));
        let mut edit = |change: fn(&mut Step)| {
            let mut changed = steps.clone();
            change(&mut changed[0]);
            digests.push(inputs.digest(&changed));
        };
        edit(|step| step.run = "make all".into());
        edit(|step| drop(step.env.insert(crate::recipe::EnvName::parse("X").unwrap(), "1".into())));
        edit(|step| step.cwd = crate::recipe::RelPath::parse("sub").unwrap());
        let [one, two] = steps.clone();
        digests.push(inputs.digest(&[two, one]));
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }
}
