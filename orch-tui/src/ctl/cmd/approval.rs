//! `orchctl approval`: what waits for a person, and the answers.

use clap::{Args, Subcommand};
use orch_proto::request::{Decision, Request};
use orch_proto::view::{ApprovalFilter, ApprovalState, ApprovalView, Choice};
use orch_proto::{EntityKind, Ref};

use super::change;
use crate::clock;
use crate::ctl::digest;
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::input;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::duration::{self, age};
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalCommand {
    /// Approvals that wait; with `--all` the others too
    #[command(visible_alias = "ls")]
    List {
        /// Those that were answered or withdrawn, too
        #[arg(long)]
        all: bool,
    },
    /// One approval: the exact action, why it is asked for, and its digest
    #[command(visible_alias = "show")]
    Get {
        /// The approval, as `A-12` or `shop/A-12`
        approval: String,
        /// Exit with 0 when granted, 1 when denied or gone, 8 when it waits
        #[arg(long)]
        exit_code: bool,
    },
    /// What would change
    Diff {
        /// The approval, as `A-12` or `shop/A-12`
        approval: String,
        /// The bytes as they are
        #[arg(long)]
        raw: bool,
    },
    /// Agree
    #[command(visible_alias = "grant")]
    Approve(AnswerArgs),
    /// Refuse; the reason is told to whoever asked
    #[command(visible_alias = "reject")]
    Deny(AnswerArgs),
    /// Take one of the answers of a question
    Answer(ChoiceArgs),
    /// Wait until it is decided; exit code 1 if it is neither granted nor answered
    Wait {
        /// The approval, as `A-12` or `shop/A-12`
        approval: String,
    },
}

/// One of several answers.
#[derive(Debug, Args)]
pub(crate) struct ChoiceArgs {
    /// The question, as `A-12` or `shop/A-12`
    pub(crate) approval: String,
    /// `go_on`, `end`, `retry`, `cancel`, `leave`, `raise` or `done`, as far as it has them
    #[arg(value_parser = choice)]
    pub(crate) choice: Choice,
    /// Digest of what was shown: fails if something else is there by now
    #[arg(long)]
    pub(crate) digest: Option<String>,
    /// With `retry`: let the next attempt wait, as `10m`
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) delay: Option<std::time::Duration>,
    /// With `retry`: with another priority, 0 (last) to 9 (first)
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: Option<u8>,
}

/// An answer.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// Approvals, or `-` for names on standard input
    #[arg(required = true)]
    pub(crate) approvals: Vec<String>,
    /// Digest of what was shown: fails if something else is there by now
    #[arg(long)]
    pub(crate) digest: Option<String>,
    /// Why
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

pub(crate) async fn run(session: &Session, command: ApprovalCommand) -> Result<(), Failure> {
    match command {
        ApprovalCommand::List { all } => {
            let filter = ApprovalFilter { project: session.given_project(), pending: !all };
            session.list(&list(session, filter).await?)
        }
        ApprovalCommand::Get { approval, exit_code } => {
            let approval = get(session, &session.reference(&approval)).await?;
            session.show(&approval, || text(&approval, session.paint()))?;
            if exit_code { outcome(&approval) } else { Ok(()) }
        }
        ApprovalCommand::Diff { approval, raw } => {
            let approval = get(session, &session.reference(&approval)).await?;
            diff(session, &approval, raw).await
        }
        ApprovalCommand::Approve(args) => answer(session, args, Decision::Approve).await,
        ApprovalCommand::Deny(args) => answer(session, args, Decision::Deny).await,
        ApprovalCommand::Answer(args) => choose(session, args).await,
        ApprovalCommand::Wait { approval } => {
            let reference = session.reference(&approval);
            let approval = until(session, &format!("approval {reference}"), async || {
                let approval = get(session, &reference).await?;
                Ok(Some(approval).filter(|approval| approval.state != ApprovalState::Pending))
            })
            .await?;
            session.list(std::slice::from_ref(&approval))?;
            outcome(&approval)
        }
    }
}

/// Reads an approval.
pub(crate) async fn get(session: &Session, approval: &Ref) -> Result<ApprovalView, Failure> {
    let approval = approval.clone();
    session.read(async |orch, context| orch.approval(context, approval).await).await
}

/// Reads approvals.
pub(crate) async fn list(session: &Session, filter: ApprovalFilter) -> Result<Vec<ApprovalView>, Failure> {
    session.read(async |orch, context| orch.approvals(context, filter).await).await
}

async fn answer(session: &Session, args: AnswerArgs, decision: Decision) -> Result<(), Failure> {
    let names = input::names(session, &args.approvals)?;
    if names.len() > 1 && args.digest.is_some() {
        return Err(Failure::usage("`--digest` names one approval, but there are several"));
    }
    let reason = match (decision, args.reason) {
        (Decision::Deny, None) if session.can_ask() => {
            Some(session.console.ask("why not? ").await?).filter(|reason| !reason.is_empty())
        }
        (_, reason) => reason,
    };
    if decision == Decision::Deny && reason.is_none() {
        return Err(Failure::usage("a denial needs a `--reason`, which whoever asked is told"));
    }
    if !session.can_ask() {
        // None of several is answered before that is known.
        session.confirm_approval(&format!("{} {}?", verb(decision), names.join(" ")), args.digest.as_deref()).await?;
    }
    let approvals: Vec<_> = names.iter().map(|name| session.reference(name)).collect();
    crate::ctl::batch::each(session, &approvals, async |approval| {
        answer_one(session, &approval, args.digest.as_deref(), (decision, reason.clone())).await
    })
    .await
}

async fn choose(session: &Session, args: ChoiceArgs) -> Result<(), Failure> {
    let view = get(session, &session.reference(&args.approval)).await?;
    digest::check(args.digest.as_deref(), &view.digest, &view.name)?;
    let later = |delay: std::time::Duration| clock::now().plus_ms(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    let request = Request::QuestionAnswer {
        approval: Ref(view.id.to_string()),
        choice: args.choice,
        digest: Some(view.digest),
        not_before: args.delay.map(later),
        priority: args.priority,
    };
    session.change(request, "answered").await.map(drop)
}

/// Reads the word for an answer; `go-on` is meant for `go_on`, too.
fn choice(text: &str) -> Result<Choice, String> {
    let words = || Choice::ALL.map(Choice::label).join(", ");
    let found = Choice::ALL.into_iter().find(|choice| choice.label() == text.replace('-', "_"));
    found.ok_or_else(|| format!("`{text}` is no answer; there are {}", words()))
}

const fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Deny => "deny",
    }
}

async fn answer_one(
    session: &Session,
    approval: &Ref,
    given: Option<&str>,
    (decision, reason): (Decision, Option<String>),
) -> Result<(), Failure> {
    let view = get(session, approval).await?;
    digest::check(given, &view.digest, &view.name)?;
    let done = match decision {
        Decision::Approve => "approved",
        Decision::Deny => "denied",
    };
    if session.can_ask() {
        if !session.options.yes {
            session.console.say(text(&view, session.paint_messages()).trim_end());
        }
        session.confirm_approval(&format!("{} {}?", verb(decision), view.name), given).await?;
    }
    let request =
        Request::ApprovalDecide { approval: Ref(view.id.to_string()), decision, digest: Some(view.digest), reason };
    session.change(request, done).await.map(drop)
}

async fn diff(session: &Session, approval: &ApprovalView, raw: bool) -> Result<(), Failure> {
    match approval.subject_kind {
        EntityKind::Change => change::print_diff(session, &Ref(approval.subject.clone()), raw).await,
        EntityKind::Project
        | EntityKind::Vision
        | EntityKind::Requirements
        | EntityKind::Plan
        | EntityKind::Task
        | EntityKind::Run
        | EntityKind::InfoRequest
        | EntityKind::Approval => {
            let look = match approval.subject_kind {
                EntityKind::Requirements => format!("orchctl req show -p {}", approval.project),
                EntityKind::Plan => format!("orchctl plan show -p {}", approval.project),
                other => format!("orchctl {other} get {}", approval.subject),
            };
            session.console.data(text(approval, session.paint()).as_bytes())?;
            session.next(&look);
            Ok(())
        }
    }
}

fn outcome(approval: &ApprovalView) -> Result<(), Failure> {
    let message = match &approval.state {
        ApprovalState::Denied { reason } | ApprovalState::Void { reason } => {
            format!("{} is {}: {reason}", approval.name, approval.state.label())
        }
        ApprovalState::Answered { choice } => format!("{} is answered: {}", approval.name, choice.label()),
        ApprovalState::Pending | ApprovalState::Granted | ApprovalState::Expired => {
            format!("{} is {}", approval.name, approval.state.label())
        }
    };
    match approval.state {
        ApprovalState::Granted | ApprovalState::Answered { .. } => Ok(()),
        ApprovalState::Pending => Err(Failure::Pending(message)),
        ApprovalState::Denied { .. } | ApprovalState::Expired | ApprovalState::Void { .. } => {
            Err(Failure::Negative(message))
        }
    }
}

/// The dossier: what will happen, why it is asked, and what the answer is bound to.
pub(crate) fn text(approval: &ApprovalView, paint: Paint) -> String {
    let now = clock::now();
    let head = format!("{}  {}  {}", approval.name, approval.state.label(), approval.action);
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&head)));
    let mut field = |name: &str, value: &str| out.push_str(&format!("  {name:<9} {}\n", SafeText::line(value)));
    field("about", &format!("{} {}", approval.subject_kind, approval.subject));
    field("rule", &approval.rule);
    for detail in &approval.details {
        field("", detail);
    }
    for choice in &approval.choices {
        field("answer", &format!("{}: {}", choice.label(), choice.text()));
    }
    if let ApprovalState::Answered { choice } = &approval.state {
        field("answered", choice.label());
    }
    let by = if approval.granted_by.is_empty() { "nobody yet".to_owned() } else { approval.granted_by.join(", ") };
    field("granted", &format!("{} of {} by {by}", approval.granted_by.len(), approval.needed));
    field("asked", &format!("{} ago", age(approval.requested_at, now)));
    if let Some(expires) = approval.expires_at {
        field("expires", &expires.to_string());
    }
    if let ApprovalState::Denied { reason } | ApprovalState::Void { reason } = &approval.state {
        field("reason", reason);
    }
    field("digest", &approval.digest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    #[test]
    fn outcomes_are_exit_codes() {
        let code = |state| {
            let approval = ApprovalView { state, ..samples::approval(1) };
            outcome(&approval).map_or_else(|failure| failure.exit_code(), |()| 0)
        };
        assert_eq!(code(ApprovalState::Granted), 0);
        assert_eq!(code(ApprovalState::Pending), 8);
        assert_eq!(code(ApprovalState::Answered { choice: Choice::GoOn }), 0);
        assert_eq!((choice("go-on"), choice("retry")), (Ok(Choice::GoOn), Ok(Choice::Retry)));
        assert!(choice("yes").unwrap_err().contains("go_on, end"));
        assert_eq!(code(ApprovalState::Expired), 1);
        assert_eq!(code(ApprovalState::Denied { reason: "no".into() }), 1);
    }
}
