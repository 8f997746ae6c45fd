//! What the host gives: programs, kernel features, and the isolation that a sandbox really reaches here.
//!
//! The level is measured by a run of its own at every start, never assumed.

use std::path::PathBuf;

use orch_adapters::executor::Executor;
use orch_adapters::host_tools::HostTools;
use orch_adapters::run_log;
use orch_core::entity::{GuaranteeState, Isolation};
use orch_proto::view::{CheckResult, DoctorCheck};
use orch_sandbox::level::{GuaranteeKind, Level};

use crate::error_chain::chain;
use crate::jail::{Jail, jail};

/// What is known of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// Isolation that a run reaches, 0 to 4.
    pub(crate) level: u8,
    /// What to do to reach more.
    pub(crate) fix: String,
    pub(crate) isolation: Option<Isolation>,
}

impl HostFacts {
    /// Whether the kernel keeps the memory of whole runs within bounds, and with it that of all of them together.
    pub(crate) fn bounds_memory(&self) -> bool {
        let name = GuaranteeKind::MemoryLimit.to_string();
        self.isolation
            .iter()
            .flat_map(|isolation| &isolation.guarantees)
            .any(|found| found.name == name && found.state == GuaranteeState::Enforced)
    }
}

/// Measures the isolation that a run reaches.
pub(crate) async fn measure(executor: &dyn Executor, directory: PathBuf) -> HostFacts {
    let probe = Jail {
        directory,
        name: "probe",
        argv: vec!["/bin/true".into()],
        mounts: Vec::new(),
        with_out: false,
        required_level: Level::None,
    };
    let facts = match jail(executor, probe, std::future::pending()).await {
        Ok(record) => {
            let isolation = record.level.as_ref().map(run_log::isolation);
            let level = isolation.as_ref().map_or(0, |isolation| isolation.level);
            HostFacts { level, fix: missing(isolation.as_ref()), isolation }
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "failed to measure the sandbox");
            HostFacts { level: 0, fix: chain(&error), isolation: None }
        }
    };
    // What the run lacked, and what the host's own settings say about why.
    let advice = orch_sandbox::probe_host().fixes();
    let fix = [facts.fix.as_str(), advice.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    HostFacts { fix, ..facts }
}

fn missing(isolation: Option<&Isolation>) -> String {
    let absent = isolation.into_iter().flat_map(|isolation| &isolation.guarantees);
    let absent: Vec<&str> =
        absent.filter(|found| found.state == GuaranteeState::Absent).map(|found| found.name.as_str()).collect();
    if absent.is_empty() { String::new() } else { format!("missing: {}", absent.join(", ")) }
}

/// Whether the kernel spares the daemon when memory runs out.
fn oom_protection() -> DoctorCheck {
    let score =
        std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i32>().ok());
    let is_protected = score.is_some_and(|score| score < 0);
    let score = score.map_or_else(|| "unknown".to_owned(), |score| score.to_string());
    DoctorCheck {
        name: "out of memory".into(),
        result: if is_protected { CheckResult::Ok } else { CheckResult::Warning },
        detail: format!("oom_score_adj of the daemon is {score}; below 0 the kernel kills a run before it"),
        fix: (!is_protected).then(|| "set `OOMScoreAdjust=-900` in the daemon's unit".to_owned()),
    }
}

/// The level with this number; the highest for one that is too high, so that a mistake never loosens anything.
pub(crate) fn level_of(number: u8) -> Level {
    Level::try_from(number).unwrap_or(Level::FullWithLimits)
}

/// Checks of the host for `doctor`.
pub(crate) fn checks(tools: &HostTools, facts: &HostFacts, required: u8, git: &str) -> Vec<DoctorCheck> {
    let mut checks = vec![DoctorCheck {
        name: "isolation".into(),
        result: if facts.level >= required { CheckResult::Ok } else { CheckResult::Failed },
        detail: format!("level {} of 4 measured by a run; {required} is required", facts.level),
        fix: (facts.level < required).then(|| facts.fix.clone()),
    }];
    checks.push(DoctorCheck { name: "git".into(), result: CheckResult::Ok, detail: git.to_owned(), fix: None });
    for (tool, needed_for) in [("sh", "every step"), ("python3", "blueprint `web-api` and the demo")] {
        let found = tools.require(tool);
        checks.push(DoctorCheck {
            name: tool.into(),
            result: if found.is_ok() { CheckResult::Ok } else { CheckResult::Failed },
            detail: format!("needed for {needed_for}"),
            fix: found.err(),
        });
    }
    checks.push(oom_protection());
    for guarantee in facts.isolation.iter().flat_map(|isolation| &isolation.guarantees) {
        let result = match guarantee.state {
            GuaranteeState::Enforced => CheckResult::Ok,
            // What the required level does not need is worth knowing, no more.
            GuaranteeState::Absent if facts.level < required => CheckResult::Failed,
            GuaranteeState::Degraded | GuaranteeState::Absent => CheckResult::Warning,
        };
        let detail = format!("{}; {}", guarantee.how, guarantee.evidence);
        checks.push(DoctorCheck { name: format!("sandbox: {}", guarantee.name), result, detail, fix: None });
    }
    checks
}
