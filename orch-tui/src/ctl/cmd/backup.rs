//! `orchctl backup`: has the daemon write a backup, while it goes on.

use std::path::{Path, PathBuf};

use clap::Args;
use orch_proto::ErrorCode;
use orch_proto::view::{BackupReport, UpkeepOutcome, UpkeepRequest, UpkeepView};

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::ctl::upkeep;
use crate::fmt::count;
use crate::text::SafeText;

/// What to back up, and where to.
#[derive(Debug, Args)]
#[command(after_help = "The daemon's user checks and restores it: `orchd verify-backup DIRECTORY`, \
                        `orchd restore DIRECTORY`.")]
pub(crate) struct BackupArgs {
    /// New directory on the daemon's machine, outside its state directory
    #[arg(value_name = "DIRECTORY", required_unless_present_any = ["status", "cancel"])]
    directory: Option<PathBuf>,
    /// Take the values of secrets along, and the key to them where that is a file
    #[arg(long)]
    with_secrets: bool,
    /// Leave out the logs of runs
    #[arg(long)]
    without_logs: bool,
    /// Begin it and do not wait for its end
    #[arg(long)]
    detach: bool,
    /// How far the backup, check or garbage collection that is under way is, or what came of the last one
    #[arg(long, conflicts_with_all = ["directory", "cancel"])]
    status: bool,
    /// Cancel the backup, check or garbage collection that is under way
    #[arg(long, conflicts_with_all = ["directory"])]
    cancel: bool,
}

pub(crate) async fn run(session: &Session, args: BackupArgs) -> Result<(), Failure> {
    let Some(directory) = &args.directory else {
        return if args.cancel { cancel(session).await } else { status(session).await };
    };
    let request = UpkeepRequest::Backup {
        directory: absolute(directory)?,
        with_secrets: args.with_secrets,
        without_logs: args.without_logs,
    };
    if args.detach {
        let view = upkeep::start(session, request).await?;
        session.report("Upkeep", &view, || line(&view))?;
        session.next("orchctl backup --status");
        return Ok(());
    }
    match upkeep::begin(session, request).await? {
        UpkeepOutcome::Backup(report) => show(session, &report),
        _ => Ok(()),
    }
}

fn show(session: &Session, report: &BackupReport) -> Result<(), Failure> {
    session.report("BackupReport", report, || text(report))?;
    if !report.secrets_left_out.is_empty() {
        let names = report.secrets_left_out.join(", ");
        session.note(&format!("values of secrets are not in it: {names}; `--with-secrets` takes them along"));
    }
    if report.damage.is_empty() {
        return Ok(());
    }
    for line in &report.damage {
        session.note(&format!("not in it: {line}"));
    }
    Err(Failure::Negative("the backup is whole, but the state that it is of is damaged".to_owned()))
}

async fn status(session: &Session) -> Result<(), Failure> {
    let view = session.read(async |orch, context| orch.upkeep(context, 0, 0).await).await?;
    let Some(view) = view else {
        return session.line("no backup, check or garbage collection since the daemon was started");
    };
    session.report("Upkeep", &view, || line(&view))
}

async fn cancel(session: &Session) -> Result<(), Failure> {
    let view = session.read(async |orch, context| orch.upkeep_cancel(context).await).await?;
    session.line(&format!("the {} that `{}` began is being cancelled", view.request.label(), view.user))
}

/// The path as the daemon needs it, which does not know the user's working directory.
fn absolute(path: &Path) -> Result<String, Failure> {
    let cannot =
        |why: String| Failure::new(ErrorCode::Invalid, format!("`{}`: {why}", path.display()), "name a new directory");
    let absolute = std::path::absolute(path).map_err(|error| cannot(error.to_string()))?;
    absolute.into_os_string().into_string().map_err(|_| cannot("is not UTF-8".to_owned()))
}

fn text(report: &BackupReport) -> String {
    let head = format!("event {}, head {}", report.head_seq, report.head_hash);
    let size = format!("{}, {} KiB, verified", count(report.files, "file"), report.size_bytes.div_ceil(1024));
    let first = format!("backup in {}", report.directory);
    [first, size, head].iter().map(|line| format!("{}\n", SafeText::line(line))).collect()
}

fn line(view: &UpkeepView) -> String {
    let what = match &view.request {
        UpkeepRequest::Backup { directory, .. } => format!("backup to {directory}"),
        UpkeepRequest::Check => "check".to_owned(),
        UpkeepRequest::Gc { dry_run: false } => "garbage collection".to_owned(),
        UpkeepRequest::Gc { dry_run: true } => "garbage collection (dry run)".to_owned(),
    };
    let how = match &view.outcome {
        None => upkeep::progress(view),
        Some(UpkeepOutcome::Cancelled) => "cancelled".to_owned(),
        Some(UpkeepOutcome::Failed(error)) => format!("failed: {error}"),
        Some(UpkeepOutcome::Backup(report)) if report.damage.is_empty() => "done".to_owned(),
        Some(UpkeepOutcome::Backup(_)) => "done; the state that it is of is damaged".to_owned(),
        Some(UpkeepOutcome::Gc(report)) if report.failed.is_empty() => "done".to_owned(),
        Some(UpkeepOutcome::Gc(_)) => "done; not all could be removed".to_owned(),
        Some(UpkeepOutcome::Check(report)) if report.is_ok() => "all is well".to_owned(),
        Some(UpkeepOutcome::Check(_)) => "the state is not as it should be".to_owned(),
    };
    format!("{}\n", SafeText::line(&format!("{what}, begun by {}: {how}", view.user)))
}
