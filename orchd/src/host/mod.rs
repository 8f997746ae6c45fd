//! What the host gives: programs, kernel features, and the isolation that a sandbox really reaches here.
//!
//! The level is measured by a run of its own at every start, never assumed. So is whether the sandbox withstands the
//! attacks of `self_test`: while one of them works nothing runs.

mod room;
mod self_test;

use std::path::Path;

use orch_adapters::executor::Executor;
use orch_adapters::host_tools::HostTools;
use orch_adapters::job::{self, JobLimits};
use orch_adapters::run_log;
use orch_core::entity::{GuaranteeState, Isolation};
use orch_proto::view::{CaseResult, CaseView, CheckResult, DoctorCheck};
use orch_sandbox::advice::advice;
use orch_sandbox::exit_record::ExitRecord;
use orch_sandbox::level::{GuaranteeKind, Level, LevelReport};
use orch_sandbox::{HostReport, Secrets};

use crate::app::blocking;
use crate::config::Config;
use crate::error_chain::chain;
use crate::jail::{self, Jail};

pub(crate) use room::{KnownRoom, Room, WRITTEN_EVERY};

/// What is known of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// Isolation that a run reaches, 0 to 4; 0 while an attack on the sandbox works.
    pub(crate) level: u8,
    /// What to do to reach more.
    pub(crate) fix: String,
    /// What a run found inside. Everything is absent where none was possible.
    pub(crate) isolation: Isolation,
    /// What the settings of the host say.
    pub(crate) report: HostReport,
    /// The attacks that were tried.
    pub(crate) cases: Vec<CaseView>,
    /// Nothing was measured, for want of space on the disk of the state.
    pub(crate) is_cramped: bool,
}

impl HostFacts {
    /// The level without which nothing starts, where the configuration asks for `configured`. While an attack works that is
    /// one that nothing reaches, whatever is asked for.
    pub(crate) fn required(&self, configured: u8) -> u8 {
        configured.max(u8::from(!self.withstands()))
    }

    /// Whether no attack on the sandbox works.
    pub(crate) fn withstands(&self) -> bool {
        self.cases.iter().all(|case| case.result != CaseResult::Open)
    }

    /// Whether the kernel keeps the memory of whole runs within bounds, and with it that of all of them together.
    pub(crate) fn bounds_memory(&self) -> bool {
        let name = GuaranteeKind::MemoryLimit.to_string();
        self.isolation.guarantees.iter().any(|found| found.name == name && found.state == GuaranteeState::Enforced)
    }
}

/// What the host is measured with.
#[derive(Clone, Copy, Debug)]
struct Bench<'a> {
    executor: &'a dyn Executor,
    /// The `orch-sandbox` program.
    program: &'a Path,
    /// What runs may use, so that the limits are measured that they will have.
    limits: &'a JobLimits,
    /// What runs need.
    required: Level,
    /// A directory of this measurement alone, which exists.
    directory: &'a Path,
}

/// Measures the host in `directory`, which is made for it and removed.
pub(crate) async fn measure_in(config: &Config, executor: &dyn Executor, directory: &Path) -> HostFacts {
    if let Err(error) = std::fs::create_dir_all(directory) {
        // The first run says the same.
        tracing::warn!(%error, "failed to make the probe's directory");
    }
    let bench = Bench {
        executor,
        program: &config.sandbox_program,
        limits: &config.job_limits,
        required: level_of(config.required_level),
        directory,
    };
    let facts = measure(bench).await;
    let directory = directory.to_owned();
    let removed = blocking(move || orch_sandbox::remove_tree(&directory)).await;
    if let Err(error) = removed {
        tracing::warn!(error = chain(&error), "failed to remove the probe's directory");
    }
    facts
}

/// Measures the isolation that a run reaches, and tries the attacks that every start has to withstand.
async fn measure(bench: Bench<'_>) -> HostFacts {
    let probe = Jail {
        directory: bench.directory.join("probe"),
        name: "probe",
        argv: vec!["/bin/true".into()],
        mounts: Vec::new(),
        with_out: false,
        required_level: Level::None,
    };
    let measured = match jail::spec(probe) {
        Ok((place, mut spec)) => {
            spec.limits = job::limits(bench.limits);
            jail::execute(bench.executor, &place, (&spec, &Secrets::new()), std::future::pending()).await
        }
        Err(error) => Err(error),
    };
    let is_cramped = match &measured {
        Ok(record) => record.level.is_none() && has_space(bench.directory).is_ok_and(|has| !has),
        Err(error) => is_for_want_of_space(error) || has_space(bench.directory).is_ok_and(|has| !has),
    };
    let (report, trouble) = match measured {
        Ok(ExitRecord { level: Some(report), .. }) => (report, String::new()),
        Ok(record) => (LevelReport::nothing("no probe ran"), format!("no probe ran: {}", record.outcome)),
        Err(error) => {
            tracing::error!(error = chain(&error), "failed to measure the sandbox");
            (LevelReport::nothing("no run was possible"), chain(&error))
        }
    };
    let isolation = run_log::isolation(&report);
    let cases = self_test::run(bench, &report).await;
    let open: Vec<&str> =
        cases.iter().filter(|case| case.result == CaseResult::Open).map(|case| case.id.as_str()).collect();
    let host = orch_sandbox::probe_host_for(bench.program);
    let (level, fix) = if is_cramped {
        (
            0,
            "there is no space to measure the sandbox: make room on the disk of the state; it is measured again"
                .to_owned(),
        )
    } else if open.is_empty() {
        (isolation.level, fix(trouble, &report, bench.required, &host))
    } else {
        tracing::error!(cases = open.join(" "), "the sandbox does not withstand what it must");
        (0, format!("these attacks on the sandbox work: {}; `orchctl doctor` says what was seen", open.join(", ")))
    };
    HostFacts { level, fix, isolation, report: host, cases, is_cramped }
}

/// Free space without which the sandbox cannot be measured, in bytes.
const SPACE: u64 = 4 << 20;

/// Whether the disk of a directory has the space that a measurement takes. What fails for want of it does not always say so: a
/// probe that cannot write its record has only none.
pub(crate) fn has_space(directory: &Path) -> nix::Result<bool> {
    let found = nix::sys::statvfs::statvfs(directory)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()) >= SPACE)
}

/// Whether something failed because a disk is full.
fn is_for_want_of_space(error: &(dyn std::error::Error + 'static)) -> bool {
    let kinds = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded];
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| kinds.contains(&error.kind()))
}

/// What mends what is missing for the level that runs need, each thing once.
fn fix(trouble: String, report: &LevelReport, required: Level, host: &HostReport) -> String {
    let missing = report.missing_for(required);
    let mut parts = if trouble.is_empty() { Vec::new() } else { vec![trouble] };
    if parts.is_empty() && !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        parts.push(format!("missing: {}", names.join(", ")));
    }
    for guarantee in report.guarantees.iter().filter(|guarantee| missing.contains(&guarantee.kind)) {
        let advice = advice(guarantee, host).filter(|advice| !parts.contains(advice));
        parts.extend(advice);
    }
    parts.join("; ")
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
    checks.push(withstood(&facts.cases));
    checks
}

/// What came of the attacks, with those by name that were not tried.
pub(crate) fn withstood(cases: &[CaseView]) -> DoctorCheck {
    let of = |result| cases.iter().filter(move |case| case.result == result);
    let (open, skipped) = (of(CaseResult::Open).count(), of(CaseResult::Skipped).count());
    let names: Vec<&str> = of(CaseResult::Skipped).map(|case| case.id.as_str()).collect();
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} skipped: {}", names.join(" ")) };
    let opened: Vec<String> = of(CaseResult::Open).map(|case| format!("{}: {}", case.id, case.detail)).collect();
    let detail = format!("{} attacks tried in runs withstood{skipped}", of(CaseResult::Held).count());
    let failed = (open > 0).then(|| "no run starts; report it with what was seen".to_owned());
    DoctorCheck {
        name: "escapes".into(),
        result: if open == 0 { CheckResult::Ok } else { CheckResult::Failed },
        detail: if open == 0 { detail } else { format!("{detail}; {open} work: {}", opened.join("; ")) },
        fix: failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_mended_by_each_thing_once() {
        let host = orch_sandbox::probe_host();
        let said = fix("no run was possible".to_owned(), &LevelReport::nothing("x"), Level::Full, &host);
        let parts: Vec<&str> = said.split("; ").collect();
        assert_eq!(parts[0], "no run was possible");
        assert!(parts.len() > 1 && !said.contains("Delegate="), "what level 3 does not need is left out: {said}");
        assert!(said.matches("seccomp=unconfined").count() <= 1, "{said}");
    }

    #[test]
    fn while_an_attack_works_nothing_is_enough() {
        let case = |result| CaseView { id: "N2".into(), what: String::new(), result, detail: String::new() };
        let facts = |result| HostFacts {
            level: 0,
            fix: String::new(),
            isolation: Isolation { level: 3, guarantees: Vec::new() },
            report: orch_sandbox::probe_host(),
            cases: vec![case(CaseResult::Held), case(result)],
            is_cramped: false,
        };
        assert_eq!(facts(CaseResult::Skipped).required(0), 0);
        let open = facts(CaseResult::Open);
        assert!(open.level < open.required(0) && open.level < open.required(3));
    }
}
