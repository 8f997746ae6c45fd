//! `orchctl events`: what happens, as it happens. Resumable by cursor, also over a restart of the daemon.

use clap::Subcommand;
use orch_proto::view::EventView;
use serde::Serialize;

use crate::ctl::args::Format;
use crate::ctl::failure::Failure;
use crate::ctl::follow::{Follow, detachable};
use crate::ctl::session::Session;
use crate::fmt::document::json_line;
use crate::text::SafeText;

/// Events before the newest with which `tail` begins.
const BEFORE: u64 = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Events as they happen; each line of `-o jsonl` has the cursor to go on from
    Tail {
        /// Begin after this cursor [default: the last 20 events]
        #[arg(long, value_name = "CURSOR")]
        after_cursor: Option<u64>,
        /// Stop at the newest event
        #[arg(long)]
        no_follow: bool,
    },
}

/// A line of `-o jsonl`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Goes on after this event.
    cursor: String,
    object: &'a EventView,
}

pub(crate) async fn run(session: &Session, command: EventsCommand) -> Result<(), Failure> {
    let EventsCommand::Tail { after_cursor, no_follow } = command;
    let head = session.read(async |orch, context| orch.status(context).await).await?.seq;
    let after = after_cursor.unwrap_or(head.saturating_sub(BEFORE));
    if no_follow {
        let mut follow = Follow::after(session, after);
        while follow.cursor() < head {
            print(session, &follow.next().await?)?;
        }
        return Ok(());
    }
    detachable(session, "the daemon", async {
        let mut follow = Follow::after(session, after);
        loop {
            print(session, &follow.next().await?)?;
        }
    })
    .await
}

fn print(session: &Session, events: &[EventView]) -> Result<(), Failure> {
    for event in events.iter().filter(|event| wanted(session, event)) {
        match session.options.output {
            Format::Json | Format::Jsonl => {
                let line = Line { kind: "added", cursor: event.seq.to_string(), object: event };
                session.line_raw(&json_line(&line)?)?;
            }
            Format::Name => session.line_raw(&event.seq.to_string())?,
            Format::Yaml => session.list(std::slice::from_ref(event))?,
            Format::Table => session.line_raw(&line(event, session.width()))?,
        }
    }
    Ok(())
}

fn wanted(session: &Session, event: &EventView) -> bool {
    session.options.project.as_ref().is_none_or(|project| event.project.as_ref() == Some(project))
}

fn line(event: &EventView, width: Option<usize>) -> String {
    let at = event.at.to_string();
    let time = at.get(..19).unwrap_or(&at);
    let text = format!(
        "{:>6}  {time}  {:<20}  {:<10}  {}  ({})",
        event.seq, event.kind, event.subject, event.text, event.actor
    );
    let text = SafeText::line(&text);
    width.map_or_else(|| text.to_string(), |width| text.clip(width).to_string())
}
