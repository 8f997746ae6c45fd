//! `orchctl up`, `down` and `daemon`: start, look at and stop the daemon.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use orch_proto::ErrorCode;
use orch_proto::request::Request;
use orch_proto::view::{
    CaseResult, CheckReport, CheckResult, DoctorReport, RunFilter, StatusView, UpkeepOutcome, UpkeepRequest,
};

use super::{audit, backup, gc, isolation, status};
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::launch::{self, Launch};
use crate::ctl::session::Session;
use crate::ctl::upkeep;
use crate::fmt::color::{Paint, Role};
use crate::fmt::count;
use crate::fmt::resource::{check_word, state_role};
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum DaemonCommand {
    /// What needs attention, and the next command
    Status(status::StatusArgs),
    /// Check what this machine gives, with the fix for what is missing
    Doctor,
    /// Check the record, its tables, blobs and repositories, and what nothing names; exit code 1 if anything is wrong
    Check(CheckArgs),
    /// Remove what was kept for long enough by `[retention]`, which happens by itself once a day, too
    Gc(gc::GcArgs),
    /// Write a backup of everything, while the daemon goes on
    Backup(backup::BackupArgs),
    /// Begin nothing any more and wait until nothing is under way, as before an upgrade of the machine
    Drain {
        /// Why; people who wait read it
        #[arg(long)]
        reason: Option<String>,
    },
    /// Stop the daemon; runs go on and are taken up at its next start
    Shutdown,
}

/// How much to check.
#[derive(Debug, Default, Args)]
pub(crate) struct CheckArgs {
    /// Only the newest part of the record and its rows, and that their blobs are there, which takes seconds
    #[arg(long)]
    quick: bool,
}

/// How to start the daemon.
#[derive(Debug, Default, Args)]
pub(crate) struct UpArgs {
    /// State directory [default: that of the daemon]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Configuration file [default: that of the daemon]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where its messages go [default: orchd.out in the state directory of this user]
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

/// What to start in a session of its own.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

pub(crate) async fn run(session: &Session, command: DaemonCommand) -> Result<(), Failure> {
    match command {
        DaemonCommand::Status(args) => status::run(session, &args).await,
        DaemonCommand::Doctor => doctor(session).await,
        DaemonCommand::Check(args) => check(session, &args).await,
        DaemonCommand::Gc(args) => gc::run(session, &args).await,
        DaemonCommand::Backup(args) => backup::run(session, args).await,
        DaemonCommand::Drain { reason } => drain(session, reason).await,
        DaemonCommand::Shutdown => {
            session.confirm("stop the daemon? runs go on").await?;
            session.read(async |orch, context| orch.shutdown(context).await).await?;
            session.line("the daemon stops")
        }
    }
}

/// Pauses everything and waits for the runs that are under way.
async fn drain(session: &Session, reason: Option<String>) -> Result<(), Failure> {
    let reason = Some(reason.unwrap_or_else(|| "the daemon is drained".into()));
    let pause = Request::ProjectPause { projects: Vec::new(), reason, until: None, with_runs: false };
    session.change(pause, "paused").await?;
    let active = RunFilter { active: true, ..RunFilter::default() };
    until(session, "the runs under way", async || {
        let runs = session.read(async |orch, context| orch.runs(context, active.clone()).await).await?;
        Ok(runs.is_empty().then_some(()))
    })
    .await?;
    session.line("nothing is under way")?;
    session.next("orchctl project resume --all");
    Ok(())
}

/// Starts a daemon unless one runs.
pub(crate) async fn up(session: &Session, args: UpArgs) -> Result<(), Failure> {
    match session.read(async |orch, context| orch.status(context).await).await {
        Ok(status) => return report_up(session, &status, "runs already"),
        Err(Failure::Refused(error)) if error.code == ErrorCode::Unreachable => {}
        Err(failure) => return Err(failure),
    }
    let log = match args.log {
        Some(log) => log,
        None => launch::default_log(args.state_dir.as_deref(), |name| session.console.env(name))?,
    };
    let launch = Launch {
        program: launch::find("orchd", "ORCHD_PROGRAM", &|name: &str| session.console.env(name))?,
        socket: session.socket().to_path_buf(),
        state_dir: args.state_dir,
        config: args.config,
        log,
        without: &[],
    };
    let status = launch::start(session, &launch).await?;
    report_up(session, &status, "started")
}

/// Stops the daemon and waits until it is gone.
pub(crate) async fn down(session: &Session) -> Result<(), Failure> {
    let status = match session.read(async |orch, context| orch.status(context).await).await {
        Ok(status) => status,
        // A daemon of another build answers nothing that can be read, and is there all the same.
        Err(Failure::Refused(error)) if error.code == ErrorCode::Unreachable && !is_listened_to(session.socket()) => {
            return session.line(&format!("no daemon runs on `{}`", session.socket().display()));
        }
        Err(failure) => return Err(failure),
    };
    if status.runs_active > 0 {
        session.note(&format!("left running: {}; the next daemon goes on with that", count(status.runs_active, "run")));
    }
    launch::stop(session, status.pid).await?;
    session.line(&format!("stopped orchd (pid {})", status.pid))
}

fn is_listened_to(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn report_up(session: &Session, status: &StatusView, what: &str) -> Result<(), Failure> {
    for warning in &status.warnings {
        session.note(warning);
    }
    session.report("Status", status, || {
        let line = format!(
            "orchd {} {what}: pid {}, socket {}, state {}",
            status.version,
            status.pid,
            session.socket().display(),
            status.state_directory
        );
        format!("{}\n", SafeText::line(&line))
    })
}

/// Shows what the host gives; fails when something that is needed is missing.
pub(crate) async fn doctor(session: &Session) -> Result<(), Failure> {
    let report = session.read(async |orch, context| orch.doctor(context).await).await?;
    session.report("DoctorReport", &report, || doctor_text(&report, session.paint()))?;
    let failed = report.checks.iter().filter(|check| check.result == CheckResult::Failed).count();
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Negative(format!("{failed} of {} checks failed", report.checks.len())))
    }
}

fn doctor_text(report: &DoctorReport, paint: Paint) -> String {
    let mut out = String::new();
    for check in &report.checks {
        let word = check_word(check.result);
        let state = paint.apply(state_role(word), &SafeText::line(&format!("{word:<7}")));
        out.push_str(&format!("{state}  {}\n", SafeText::line(&format!("{}: {}", check.name, check.detail))));
        if let Some(fix) = &check.fix {
            let label = paint.apply(Role::Active, &SafeText::literal("fix"));
            out.push_str(&format!("         {label}: {}\n", SafeText::line(fix)));
        }
    }
    out.push_str("\nescapes tried in runs on this host\n");
    for case in &report.cases {
        let (word, role) = match case.result {
            CaseResult::Held => ("held", Role::Good),
            CaseResult::Open => ("OPEN", Role::Bad),
            CaseResult::Skipped => ("skipped", Role::Dim),
        };
        let word = paint.apply(role, &SafeText::line(&format!("{word:<7}")));
        let text = format!("{:<4} {}: {}", case.id, case.what, case.detail);
        out.push_str(&format!("{word}  {}\n", SafeText::line(&text)));
    }
    out.push_str("\nwhat a run found inside\n");
    out.push_str(&isolation::guarantees(&report.isolation, paint));
    let (level, required) = (report.isolation_level, report.isolation_required);
    out.push_str(&format!("isolation level {level}, {required} is required\n"));
    let next = isolation::next(&report.isolation);
    if !next.is_empty() {
        out.push_str(&format!("{}\n", SafeText::line(&next)));
    }
    out
}

async fn check(session: &Session, args: &CheckArgs) -> Result<(), Failure> {
    let report = if args.quick {
        session.read(async |orch, context| orch.check(context).await).await?
    } else {
        match upkeep::begin(session, UpkeepRequest::Check).await? {
            UpkeepOutcome::Check(report) => report,
            _ => return Ok(()),
        }
    };
    session.report("CheckReport", &report, || check_text(&report))?;
    if report.is_ok() { Ok(()) } else { Err(Failure::Negative("the state is not as it should be".to_owned())) }
}

/// The result of the check of the state, in a few lines.
pub(crate) fn check_text(report: &CheckReport) -> String {
    let mut out = audit::text(&report.audit);
    out.push_str(&format!(
        "{} compared with a replay, {}\n",
        count(report.rows_compared, "row"),
        count(report.differences.len(), "difference")
    ));
    for difference in &report.differences {
        out.push_str(&format!("  {}\n", SafeText::line(difference)));
    }
    for blob in &report.blobs_missing {
        out.push_str(&format!("  missing blob {}\n", SafeText::line(blob)));
    }
    for blob in &report.blobs_damaged {
        out.push_str(&format!("  damaged blob {}\n", SafeText::line(blob)));
    }
    for wrong in &report.repositories_wrong {
        out.push_str(&format!("  repository of {}\n", SafeText::line(wrong)));
    }
    if report.blobs_read > 0 || report.repositories > 0 {
        let looked = [count(report.blobs_read, "blob"), count(report.repositories, "repository")];
        out.push_str(&format!("{} read, {} checked\n", looked[0], looked[1]));
    }
    for orphan in &report.orphans {
        let line = format!("{}: {}; `orchd repair` puts it aside", orphan.path, orphan.what);
        out.push_str(&format!("  orphan {}\n", SafeText::line(&line)));
    }
    out.push_str(&format!("database: {}\n", SafeText::line(&report.integrity)));
    for left in &report.not_looked_at {
        out.push_str(&format!("  not looked at, `orchctl daemon check` does: {}\n", SafeText::line(left)));
    }
    out
}
