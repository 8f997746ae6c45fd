//! `orchctl undo`: takes back what a person decided, where nothing was built on it.

use clap::Args;
use orch_proto::request::Request;
use orch_proto::view::UndoView;

use crate::ctl::args::Format;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::text::SafeText;

#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// Number of an event of what is to be taken back, as `events tail` shows it [default: your last decision]
    #[arg(value_name = "EVENT")]
    event: Option<u64>,
    /// Say what would be taken back, and what stands against it
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(session: &Session, args: UndoArgs) -> Result<(), Failure> {
    let UndoArgs { event, dry_run } = args;
    if dry_run {
        let found = session.read(async |orch, context| orch.undo_preview(context, event).await).await?;
        session.report("Undo", &found, || text(&found))?;
        return match found.against {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        };
    }
    let accepted = session.submit(Request::Undo { event }).await?;
    if session.options.output != Format::Table {
        return session.accepted(&accepted, "undone");
    }
    for (at, line) in accepted.notes.iter().enumerate() {
        session.line(&format!("{:<8}{line}", if at == 0 { "undone: " } else { "" }))?;
    }
    let again = if accepted.duplicate { "it was done before under this key; " } else { "" };
    session.note(&format!("{again}`orchctl undo {}` does it again", accepted.seq));
    Ok(())
}

fn text(found: &UndoView) -> String {
    let UndoView { event, last_event, at, actor, done, undid, back, against: _ } = found;
    let mut lines = vec![match event == last_event {
        true => format!("event {event}, {at}, by {actor}"),
        false => format!("events {event} to {last_event}, {at}, by {actor}"),
    }];
    lines.extend(done.iter().map(|line| format!("  {line}")));
    lines.extend(undid.map(|undid| format!("which took back event {undid}")));
    if !back.is_empty() {
        lines.push("would be taken back:".into());
        lines.extend(back.iter().map(|line| format!("  {line}")));
    }
    lines.iter().map(|line| format!("{}\n", SafeText::line(line))).collect()
}
