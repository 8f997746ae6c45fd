//! `orchctl audit`: the append-only record of everything, its check and its export.

use std::path::PathBuf;

use clap::Subcommand;
use orch_proto::PAGE_ITEMS_MAX;
use orch_proto::view::{AuditReport, EventPage, EventView};

use crate::ctl::args::Format;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::document::json_line;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Events, oldest first
    #[command(visible_alias = "ls")]
    List {
        /// Only those after this number
        #[arg(long, default_value_t = 0)]
        after: u64,
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
        AuditCommand::List { after, limit } => {
            let mut events: Vec<EventView> = Vec::new();
            let mut cursor = after;
            while events.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
                let left = limit - u32::try_from(events.len()).unwrap_or(limit);
                let page = page(session, cursor, left.min(PAGE_ITEMS_MAX), false).await?;
                if page.events.is_empty() {
                    break;
                }
                cursor = page.next;
                let project = session.options.project.as_ref();
                events.extend(
                    page.events
                        .into_iter()
                        .filter(|event| project.is_none_or(|name| event.project.as_ref() == Some(name))),
                );
            }
            session.list(&events)
        }
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
            Some(opened.map_err(|error| Failure::usage(format!("`{}` cannot be made: {error}", path.display())))?)
        }
        None => None,
    };
    let mut cursor = 0;
    let mut count = 0;
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
            count += 1;
        }
        cursor = page.next;
    }
    if let Some(path) = &to {
        session.note(&format!("wrote {count} events to `{}`", path.display()));
    }
    Ok(())
}

/// The result of verifying, in a line.
pub(crate) fn text(report: &AuditReport) -> String {
    match &report.broken_at {
        None => format!("{} events, chain whole, head {}\n", report.events, SafeText::line(&report.head_hash)),
        Some((seq, found)) => format!("{} events, BROKEN at {seq}: {}\n", report.events, SafeText::line(found)),
    }
}
