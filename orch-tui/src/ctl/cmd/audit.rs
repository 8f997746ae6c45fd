//! `orchctl audit`: the append-only record of everything, its check and its export.

use std::collections::VecDeque;
use std::path::PathBuf;

use clap::Subcommand;
use orch_proto::PAGE_ITEMS_MAX;
use orch_proto::view::{AuditReport, EventPage, EventView};

use crate::ctl::args::Format;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::count;
use crate::fmt::document::json_line;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Events, oldest first: the newest of them, or those after a number
    #[command(visible_alias = "ls")]
    List {
        /// Begin after this number; 0 begins at the first [default: the newest ones]
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Check the hash chain of the whole record; exit code 1 if it is broken
    Verify,
    /// The whole record with its data, one JSON document per line
    Export {
        /// File to write, which must not exist yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

pub(crate) async fn run(session: &Session, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { after, limit } => list(session, after, limit).await,
        AuditCommand::Verify => {
            let report = session.read(async |orch, context| orch.audit_verify(context).await).await?;
            session.report("AuditReport", &report, || text(&report))?;
            match &report.broken_at {
                None => Ok(()),
                Some((seq, _)) => Err(Failure::Negative(format!("the audit is broken at event {seq}"))),
            }
        }
        AuditCommand::Export { to } => export(session, to).await,
    }
}

async fn list(session: &Session, after: Option<u64>, limit: u32) -> Result<(), Failure> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let project = session.options.project.as_ref();
    let head = session.read(async |orch, context| orch.status(context).await).await?.seq;
    // The newest ones of a project can be anywhere, so all are looked at.
    let newest_from = if project.is_some() { 0 } else { head.saturating_sub(limit.into()) };
    let mut cursor = after.unwrap_or(newest_from);
    let mut events: VecDeque<EventView> = VecDeque::new();
    let mut left_out = cursor;
    while cursor < head && (after.is_none() || events.len() < most) {
        let left = if after.is_none() { limit } else { limit - u32::try_from(events.len()).unwrap_or(limit) };
        let page = page(session, cursor, left.clamp(1, PAGE_ITEMS_MAX), false).await?;
        if page.events.is_empty() {
            break;
        }
        cursor = page.next;
        events.extend(
            page.events.into_iter().filter(|event| project.is_none_or(|name| event.project.as_ref() == Some(name))),
        );
        if events.len() > most {
            left_out += u64::try_from(events.len() - most).unwrap_or(0);
            events.drain(..events.len() - most);
        }
    }
    session.list(events.make_contiguous())?;
    match after {
        None if left_out > 0 => {
            session
                .note(&format!("the newest {}, {left_out} before them; `--after 0` begins at the first", events.len()));
        }
        Some(_) if cursor < head => {
            session.note(&format!("{} up to number {cursor} of {head}; go on with `--after {cursor}`", events.len()));
        }
        None | Some(_) => {}
    }
    Ok(())
}

async fn page(session: &Session, after: u64, limit: u32, with_data: bool) -> Result<EventPage, Failure> {
    session.read(async |orch, context| orch.events_since(context, after, limit, 0, with_data).await).await
}

async fn export(session: &Session, to: Option<PathBuf>) -> Result<(), Failure> {
    use std::io::Write as _;
    if !matches!(session.options.output, Format::Table | Format::Jsonl) {
        return Err(Failure::usage("an export is JSON lines; leave `-o` out or say `-o jsonl`"));
    }
    let mut file = match &to {
        Some(path) => {
            let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
            Some(opened.map_err(|error| Failure::cannot_write(path, &error))?)
        }
        None => None,
    };
    let mut cursor = 0;
    let mut events = 0_u64;
    loop {
        let page = page(session, cursor, PAGE_ITEMS_MAX, true).await?;
        if page.events.is_empty() {
            break;
        }
        for event in &page.events {
            let line = json_line(event)?;
            match &mut file {
                Some(file) => writeln!(file, "{line}")?,
                None => session.line_raw(&line)?,
            }
            events += 1;
        }
        cursor = page.next;
    }
    if let Some(path) = &to {
        session.note(&format!("wrote {} to `{}`", count(events, "event"), path.display()));
    }
    Ok(())
}

/// The result of verifying, in a line.
pub(crate) fn text(report: &AuditReport) -> String {
    match &report.broken_at {
        None => format!("{}, chain whole, head {}\n", count(report.events, "event"), SafeText::line(&report.head_hash)),
        Some((seq, found)) => {
            format!("{}, BROKEN at {seq}: {}\n", count(report.events, "event"), SafeText::line(found))
        }
    }
}
