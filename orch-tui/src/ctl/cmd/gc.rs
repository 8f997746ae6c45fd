//! `orchctl daemon gc`: has the daemon remove what was kept for long enough, or say what that would be.

use clap::Args;
use orch_proto::view::{GcReport, UpkeepOutcome, UpkeepRequest};

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::ctl::upkeep;
use crate::fmt::count;
use crate::text::SafeText;

/// What to do with it.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(session: &Session, args: &GcArgs) -> Result<(), Failure> {
    let dry_run = args.dry_run;
    if !dry_run {
        session.confirm("remove what was kept for long enough? `--dry-run` says what that is").await?;
    }
    let UpkeepOutcome::Gc(report) = upkeep::begin(session, UpkeepRequest::Gc { dry_run }).await? else {
        return Ok(());
    };
    session.report("GcReport", &report, || text(&report))?;
    match report.failed.len() {
        0 => Ok(()),
        failed => Err(Failure::Negative(format!("{} could not be removed", count(failed, "thing")))),
    }
}

/// What goes, in a few lines.
fn text(report: &GcReport) -> String {
    let mut lines = Vec::new();
    for found in &report.kinds {
        let (one, many) = words(&found.kind);
        let things = format!("{} {}", found.count, if found.count == 1 { one } else { many });
        lines.push(match found.size_bytes {
            0 => things,
            bytes => format!("{things}, {} KiB", bytes.div_ceil(1024)),
        });
    }
    match (lines.is_empty(), report.dry_run) {
        (true, _) => lines.push("nothing was kept for long enough to go".to_owned()),
        (false, true) => lines.push("would go; nothing was removed".to_owned()),
        (false, false) => lines.push("removed; the record says what it was".to_owned()),
    }
    if report.evidence > 0 {
        lines.push(format!("kept as evidence of what was merged or decided: {}", count(report.evidence, "run")));
    }
    if report.in_use > 0 {
        lines.push(format!("kept because something open refers to it: {}", count(report.in_use, "run")));
    }
    lines.extend(report.failed.iter().map(|line| format!("not removed: {line}")));
    lines.iter().map(|line| format!("{}\n", SafeText::line(line))).collect()
}

/// A kind in words, one and several.
fn words(kind: &str) -> (&str, &str) {
    match kind {
        "log" => ("log of a run", "logs of runs"),
        "files" => ("run directory", "run directories"),
        "artifacts" => ("run's artifacts", "runs' artifacts"),
        "result" => ("ref of a result", "refs of results"),
        "texts" => ("run's exchanges with models", "runs' exchanges with models"),
        "blob" => ("blob", "blobs"),
        other => (other, other),
    }
}

#[cfg(test)]
mod tests {
    use orch_proto::view::GcKind;

    use super::*;

    #[test]
    fn what_goes_and_what_stays_is_said() {
        let kind = |kind: &str, count, size_bytes| GcKind { kind: kind.into(), count, size_bytes };
        let kinds = vec![kind("blob", 1, 1), kind("log", 2, 4_096), kind("result", 3, 0)];
        let report = GcReport { dry_run: true, kinds, evidence: 1, in_use: 2, failed: vec!["log of R-1: no".into()] };
        let said = [
            "1 blob, 1 KiB",
            "2 logs of runs, 4 KiB",
            "3 refs of results",
            "would go; nothing was removed",
            "kept as evidence of what was merged or decided: 1 run",
            "kept because something open refers to it: 2 runs",
            "not removed: log of R-1: no",
        ];
        assert_eq!(text(&report).lines().collect::<Vec<_>>(), said);
        assert_eq!(text(&GcReport::default()), "nothing was kept for long enough to go\n");
    }
}
