//! `orchctl change`: changes on their way to the default branch.

use clap::Subcommand;
use orch_proto::Ref;
use orch_proto::request::Request;
use orch_proto::view::{ChangeState, ChangeView};

use crate::clock;
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::count;
use crate::fmt::diff;
use crate::fmt::duration::age;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum ChangeCommand {
    /// Changes
    #[command(visible_alias = "ls")]
    List,
    /// One change with its checks
    #[command(visible_alias = "show")]
    Get {
        /// The change, as `C-12` or `shop/C-12`
        change: String,
        /// Exit with 0 when merged, 1 when it cannot be, 8 when neither
        #[arg(long)]
        exit_code: bool,
    },
    /// The change as a unified diff
    Diff {
        /// The change, as `C-12` or `shop/C-12`
        change: String,
        /// The bytes as they are, as for `git apply`
        #[arg(long)]
        raw: bool,
    },
    /// Give up a change that is not merged; its task fails
    Close {
        /// The change, as `C-12` or `shop/C-12`
        change: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Wait until it is merged; exit code 1 if it cannot be
    Wait {
        /// The change, as `C-12` or `shop/C-12`
        change: String,
    },
}

pub(crate) async fn run(session: &Session, command: ChangeCommand) -> Result<(), Failure> {
    match command {
        ChangeCommand::List => {
            let project = session.given_project();
            let changes = session.read(async |orch, context| orch.changes(context, project).await).await?;
            session.list(&changes)
        }
        ChangeCommand::Get { change, exit_code } => {
            let change = get(session, &session.reference(&change)).await?;
            session.show(&change, || text(&change, session.paint()))?;
            if exit_code { outcome(&change) } else { Ok(()) }
        }
        ChangeCommand::Diff { change, raw } => print_diff(session, &session.reference(&change), raw).await,
        ChangeCommand::Close { change, reason } => {
            session.confirm(&format!("give up {change}?")).await?;
            let request = Request::ChangeClose { change: session.reference(&change), reason };
            session.change(request, "closed").await.map(drop)
        }
        ChangeCommand::Wait { change } => {
            let reference = session.reference(&change);
            let change = until(session, &format!("change {reference}"), async || {
                let change = get(session, &reference).await?;
                let settled = !matches!(outcome(&change), Err(Failure::Pending(_)));
                Ok(Some(change).filter(|_| settled))
            })
            .await?;
            session.list(std::slice::from_ref(&change))?;
            outcome(&change)
        }
    }
}

/// Reads a change.
pub(crate) async fn get(session: &Session, change: &Ref) -> Result<ChangeView, Failure> {
    let change = change.clone();
    session.read(async |orch, context| orch.change(context, change).await).await
}

/// Writes the change as a diff.
pub(crate) async fn print_diff(session: &Session, change: &Ref, raw: bool) -> Result<(), Failure> {
    let change = change.clone();
    let view = session.read(async |orch, context| orch.change_diff(context, change).await).await?;
    session.report(
        "Diff",
        &view,
        || if raw { view.text.clone() } else { diff::render(&view.text, session.paint()) },
    )?;
    if view.truncated {
        session.note("the diff is longer than what is shown; clone the project's repository to see all of it");
    }
    Ok(())
}

fn outcome(change: &ChangeView) -> Result<(), Failure> {
    let message = match &change.state {
        ChangeState::ChangesRequested { reason } => format!("{} needs changes: {reason}", change.name),
        ChangeState::Conflicted { paths } => format!("{} conflicts in {}", change.name, paths.join(", ")),
        other => format!("{} is {}", change.name, other.label()),
    };
    match change.state {
        ChangeState::Merged { .. } => Ok(()),
        ChangeState::Closed | ChangeState::ChangesRequested { .. } | ChangeState::Conflicted { .. } => {
            Err(Failure::Negative(message))
        }
        ChangeState::Opened | ChangeState::Checking | ChangeState::Mergeable | ChangeState::Queued => {
            Err(Failure::Pending(message))
        }
    }
}

fn text(change: &ChangeView, paint: Paint) -> String {
    let head = format!("{}  {}  {}", change.name, change.state.label(), change.title);
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&head)));
    let mut field = |name: &str, value: &str| out.push_str(&format!("  {name:<10} {}\n", SafeText::line(value)));
    field("task", &format!("{}, run {}", change.task_name, change.run_name));
    field("since", &age(change.since, clock::now()));
    match &change.state {
        ChangeState::ChangesRequested { reason } => field("reason", reason),
        ChangeState::Conflicted { paths } => field("conflicts", &paths.join(", ")),
        ChangeState::Merged { commit } => field("commit", commit),
        ChangeState::Opened
        | ChangeState::Checking
        | ChangeState::Mergeable
        | ChangeState::Queued
        | ChangeState::Closed => {}
    }
    field("branch", &format!("{} at {}", change.branch, change.head));
    field("base", change.base.as_deref().unwrap_or("(empty)"));
    field(
        "size",
        &format!("{}, +{} -{}", count(change.files_changed, "file"), change.lines_added, change.lines_removed),
    );
    if let Some(words) = &change.words {
        field("called", &words.title);
        words.body.lines().for_each(|line| field("", line));
    }
    if !change.protected.is_empty() {
        field("protected", &change.protected.join(", "));
    }
    if let Some(approval) = &change.approval_name {
        field("approval", approval);
    }
    for (run, state) in &change.checks {
        field("check", &format!("{run} {state}"));
    }
    field("id", &change.id.to_string());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    #[test]
    fn outcomes_are_exit_codes() {
        let code = |state| {
            let change = ChangeView { state, ..samples::change(1) };
            outcome(&change).map_or_else(|failure| failure.exit_code(), |()| 0)
        };
        assert_eq!(code(ChangeState::Merged { commit: "4f2a".into() }), 0);
        assert_eq!(code(ChangeState::Conflicted { paths: vec!["a".into()] }), 1);
        assert_eq!(code(ChangeState::Mergeable), 8);
    }
}
