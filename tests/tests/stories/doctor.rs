//! What doctor says of this machine: each guarantee with its evidence and what mends it, and the attacks that were tried.

use anyhow::{Context as _, ensure};
use orch_proto::view::{CaseResult, CheckResult, GuaranteeState};
use orch_tests::Setup;
use orch_tests::command_line::orchctl;

use crate::story;

/// Guarantees in a report.
const GUARANTEES: usize = 16;
/// Cases that may be skipped on a machine on which runs can start: what is for clients, what only lesser machines show,
/// what only Linux 6.14 or a control group bounds.
const MAY_BE_SKIPPED: [&str; 3] = ["L1", "M4", "R1"];

#[test]
fn doctor_names_every_guarantee_and_tries_the_escapes() -> anyhow::Result<()> {
    story("doctor", Setup::Runs, async |story| {
        let report = story.wire().call(async |orch, context| orch.doctor(context).await).await?;
        ensure!(report.isolation.guarantees.len() == GUARANTEES, "{report:#?}");
        for guarantee in &report.isolation.guarantees {
            let is_enforced = guarantee.state == GuaranteeState::Enforced;
            ensure!(guarantee.fix.is_none() == is_enforced && !guarantee.evidence.is_empty(), "{guarantee:#?}");
        }
        let missing = report.isolation.next.as_ref().map(|next| next.missing.is_empty());
        ensure!(missing != Some(true), "a next level misses something: {report:#?}");
        for case in &report.cases {
            let fits = match case.result {
                CaseResult::Held => true,
                CaseResult::Open => false,
                CaseResult::Skipped => MAY_BE_SKIPPED.contains(&case.id.as_str()),
            };
            ensure!(fits, "{case:#?}");
        }
        ensure!(report.cases.len() == 21, "{:#?}", report.cases);
        let check = report.checks.iter().find(|check| check.name == "escapes").context("it is a check, too")?;
        ensure!(check.result == CheckResult::Ok && check.detail.contains("L1"), "skipped by name: {check:#?}");
        let shown = orchctl(story.env(), &["doctor"]).await?;
        for said in ["held     N20", "skipped  L1", "enforced  filesystem view by", "memory limit"] {
            ensure!(shown.stdout.contains(said), "no `{said}` in\n{}", shown.stdout);
        }
        ensure!(std::fs::read_dir(story.env().state().join("jail"))?.next().is_none(), "nothing is left of it");
        Ok(())
    })
}
