//! What the host gives: programs, kernel features, and the isolation that a sandbox really reaches here.
//!
//! The level is measured by a run of its own at every start, never assumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_adapters::executor::{Executor, Observed};
use orch_adapters::host_tools::HostTools;
use orch_adapters::run_log;
use orch_core::entity::{GuaranteeState, Isolation};
use orch_proto::view::{CheckResult, DoctorCheck};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::level::Level;
use orch_sandbox::spec::{Isolation as Confinement, Limits, Network, Phase, ReadOnlyMount, RunSpec, StepSpec};

use crate::error_chain::chain;

/// How long the daemon waits for short sandboxed work of its own.
const JAIL_TIMEOUT_MS: u64 = 30 * 60 * 1_000;

/// What is known of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// Isolation that a run reaches, 0 to 4.
    pub(crate) level: u8,
    /// What to do to reach more.
    pub(crate) fix: String,
    pub(crate) isolation: Option<Isolation>,
}

/// Short work that the daemon itself has done in a sandbox.
#[derive(Debug)]
pub(crate) struct Jail<'a> {
    /// Directory of the run, which must not exist yet.
    pub(crate) directory: PathBuf,
    pub(crate) name: &'a str,
    pub(crate) argv: Vec<String>,
    pub(crate) mounts: Vec<ReadOnlyMount>,
    /// Whether a directory for results is there, as `out` in `directory`.
    pub(crate) with_out: bool,
    pub(crate) required_level: Level,
}

/// Why jailed work has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JailError {
    #[error("failed to make the directories of the jail")]
    Directories(#[source] std::io::Error),
    #[error(transparent)]
    Submit(#[from] orch_adapters::executor::SubmitError),
    #[error("failed to look into the jail")]
    Inspect(#[from] orch_sandbox::run_dir::InspectError),
    #[error("the jail is gone without a record")]
    Lost,
    #[error("{outcome}")]
    Ended { outcome: Box<Outcome>, log: String },
}

/// Executes work in a sandbox and waits for it.
///
/// # Errors
/// When it did not succeed.
pub(crate) async fn jail(
    executor: &dyn Executor,
    jail: Jail<'_>,
) -> Result<orch_sandbox::exit_record::ExitRecord, JailError> {
    let workspace = jail.directory.join("work");
    let out = jail.directory.join("out");
    let run = jail.directory.join("run");
    for directory in [&workspace, &out, &run] {
        std::fs::create_dir_all(directory).map_err(JailError::Directories)?;
    }
    let spec = RunSpec {
        name: jail.name.to_owned(),
        fence: 1,
        workspace: canonical(&workspace)?,
        workspace_at: "/work".into(),
        mounts: jail.mounts,
        out: if jail.with_out { Some(canonical(&out)?) } else { None },
        env: BTreeMap::from([
            ("PATH".to_owned(), orch_adapters::host_tools::SYSTEM_PATH.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]),
        steps: vec![StepSpec {
            name: jail.name.to_owned(),
            argv: jail.argv,
            env: BTreeMap::new(),
            cwd: PathBuf::new(),
            timeout_ms: JAIL_TIMEOUT_MS,
            phase: Phase::Main,
        }],
        limits: Limits {
            wall_ms: JAIL_TIMEOUT_MS,
            cpu_seconds: JAIL_TIMEOUT_MS / 1_000,
            memory_bytes: None,
            processes: 256,
            open_files: 4_096,
            file_size_bytes: 64 << 30,
            log_bytes_max: 4 << 20,
            tmp_bytes: 1 << 30,
        },
        required_level: jail.required_level,
        isolation: Confinement::Sandboxed,
        network: Network::None,
    };
    let run = canonical(&run)?;
    executor.submit(&run, &spec)?;
    let mut pause = Duration::from_millis(2);
    loop {
        match executor.observe(&run, spec.fence)? {
            Observed::Exited(record) if record.outcome == Outcome::Succeeded => return Ok(*record),
            Observed::Exited(record) => {
                return Err(JailError::Ended { outcome: Box::new(record.outcome), log: tail(&run) });
            }
            Observed::Lost | Observed::Absent => return Err(JailError::Lost),
            Observed::Running => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn canonical(path: &Path) -> Result<PathBuf, JailError> {
    path.canonicalize().map_err(JailError::Directories)
}

/// The end of what the jail printed, made harmless.
fn tail(run: &Path) -> String {
    let log = orch_adapters::executor::log_path(run);
    let Ok(piece) = run_log::chunks(&log, orch_adapters::executor::LOG_START, 64 << 10) else { return String::new() };
    let lines = piece.items.iter().filter(|chunk| chunk.stream != orch_proto::view::LogStream::Control);
    let lines: Vec<String> = lines.map(|chunk| orch_adapters::git::escape(&chunk.bytes.0)).collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
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
    let facts = match jail(executor, probe).await {
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
