//! `orchctl question`: what runs ask people for, and the answers. Values come from files, standard input and the terminal, never
//! from arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orch_proto::request::{Bytes, Request};
use orch_proto::view::{FieldKind, FieldSpec, InfoRequestFilter, InfoRequestState, InfoRequestView};
use orch_proto::{ErrorCode, Ref};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::ctl::Unseen;
use crate::ctl::failure::Failure;
use crate::ctl::key;
use crate::ctl::session::Session;
use crate::ctl::values::{Sources, Values};
use crate::fmt::color::{Paint, Role};
use crate::fmt::duration::age;
use crate::text::SafeText;

/// Longest line that a terminal takes whole, in bytes: it cuts what is longer, and says nothing of it.
const TYPED_BYTES_MAX: usize = 4_094;

#[derive(Debug, Subcommand)]
pub(crate) enum QuestionCommand {
    /// Questions that wait; with `--all` the others too
    #[command(visible_alias = "ls")]
    List {
        /// Those that were answered or are over, too
        #[arg(long)]
        all: bool,
    },
    /// One question: what is asked, by whom, and its fields
    #[command(visible_alias = "show")]
    Get {
        /// The question, as `I-3` or `shop/I-3`
        question: String,
    },
    /// Answer; what is not given here is asked for
    Answer(AnswerArgs),
    /// Decline to answer; the run is told so
    Cancel {
        /// The question, as `I-3` or `shop/I-3`
        question: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// An answer.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The question, as `I-3` or `shop/I-3`
    question: String,
    /// A value from a file, as `token=FILE`; `-` is standard input
    #[arg(long = "value-file", value_name = "FIELD=FILE", value_parser = pair)]
    files: Vec<(String, String)>,
    /// Several values from a file: a JSON object, or lines of `FIELD=VALUE`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    values_file: Option<PathBuf>,
}

pub(crate) async fn run(session: &Session, command: QuestionCommand) -> Result<(), Failure> {
    match command {
        QuestionCommand::List { all } => {
            let filter = InfoRequestFilter { project: session.given_project(), pending: !all };
            let found = session.read(async |orch, context| orch.info_requests(context, filter.clone()).await).await?;
            session.list(&found)
        }
        QuestionCommand::Get { question } => {
            let question = get(session, &session.reference(&question)).await?;
            session.show(&question, || text(&question, session.paint()))
        }
        QuestionCommand::Answer(args) => until_told(answer(session, args)).await,
        QuestionCommand::Cancel { question, reason } => {
            let info = session.reference(&question);
            session.change(Request::InfoCancel { info, reason }, "declined").await.map(drop)
        }
    }
}

async fn get(session: &Session, question: &Ref) -> Result<InfoRequestView, Failure> {
    let question = question.clone();
    session.read(async |orch, context| orch.info_request(context, question).await).await
}

/// Works until it is done, or this process is told to end: dropped then, it leaves the terminal as it was.
async fn until_told(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        done = work => return done,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
    Err(Failure::Detached)
}

async fn answer(session: &Session, args: AnswerArgs) -> Result<(), Failure> {
    let question = get(session, &session.reference(&args.question)).await?;
    let sources = Sources { files: args.files, of_several: args.values_file };
    let mut values = sources.read(session, |name| known(&question, name))?;
    if question.state == InfoRequestState::Pending {
        ask(session, &question, &mut values).await?;
    }
    let key = key::command_id(session.options.idempotency_key.as_deref())?;
    let info = Ref(question.id.to_string());
    let accepted =
        session.read(async |orch, context| orch.info_answer(context, info.clone(), key, values.clone()).await).await?;
    session.accepted(&accepted, "answered")
}

/// Asks for what was not given, where somebody is there to be asked.
async fn ask(session: &Session, question: &InfoRequestView, values: &mut Values) -> Result<(), Failure> {
    let missing: Vec<&FieldSpec> = question.fields.iter().filter(|field| !values.contains_key(&field.name)).collect();
    let needed = missing.iter().any(|field| field.required);
    if !session.can_ask() || missing.is_empty() {
        let names: Vec<&str> = missing.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
        let hint = "give each with `--value-file FIELD=FILE`, or all with `--values-file FILE`";
        return if needed {
            Err(Failure::new(ErrorCode::Usage, format!("missing: {}", names.join(", ")), hint))
        } else {
            Ok(())
        };
    }
    session.console.say(text(question, session.paint_messages()).trim_end());
    for field in missing {
        let typed = typed(session, field).await?;
        if !typed.is_empty() || field.required {
            values.insert(field.name.clone(), Bytes(typed.into_bytes()));
        }
    }
    Ok(())
}

/// What a person types for a field. A secret is not shown meanwhile.
async fn typed(session: &Session, field: &FieldSpec) -> Result<String, Failure> {
    let (name, question) = (&field.name, format!("{}: ", SafeText::line(title(field))));
    let by_file = |message: String| Failure::new(ErrorCode::Usage, message, format!("use `--value-file {name}=FILE`"));
    let line = if field.kind == FieldKind::Secret {
        match session.console.ask_hidden(&question).await? {
            Unseen::Line(line) => line,
            Unseen::Lines => return Err(by_file(format!("`{name}` is asked for in one line, and several were typed"))),
            Unseen::Shown => {
                return Err(by_file(format!("`{name}` is a secret, and this terminal would show what is typed")));
            }
        }
    } else {
        session.console.ask(&question).await?
    };
    if line.len() > TYPED_BYTES_MAX {
        return Err(by_file(format!("`{name}` is longer than a terminal takes a line whole")));
    }
    Ok(line)
}

fn known(question: &InfoRequestView, name: &str) -> Result<(), Failure> {
    if question.fields.iter().any(|field| field.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = question.fields.iter().map(|field| field.name.as_str()).collect();
    let hint = format!("it has {}", names.join(", "));
    Err(Failure::new(ErrorCode::Usage, format!("{} has no field `{name}`", question.name), hint))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("is to be written as `FIELD=...`")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn title(field: &FieldSpec) -> &str {
    if field.label.is_empty() { &field.name } else { &field.label }
}

/// The dossier of a question. Its words are those of the run.
fn text(question: &InfoRequestView, paint: Paint) -> String {
    let now = clock::now();
    let head = format!("{}  {}", question.name, question.state.label());
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&head)));
    let mut field = |name: &str, value: &str| out.push_str(&format!("  {name:<9} {}\n", SafeText::line(value)));
    field("asked by", &format!("{}, for {} {}", question.run, question.task, question.task_title));
    for line in question.text.lines() {
        field("asks", line);
    }
    for wanted in &question.fields {
        let kind = match &wanted.kind {
            FieldKind::Choice { choices } => choices.join(" | "),
            other => other.label().to_owned(),
        };
        let optional = if wanted.required { "" } else { ", need not be given" };
        field("field", &format!("{}: {} ({kind}{optional})", wanted.name, title(wanted)));
    }
    for (name, value) in &question.answers {
        field("answer", &format!("{name}: {}", value.as_deref().unwrap_or("given, and shown to nobody")));
    }
    if let Some(by) = &question.answered_by {
        field("by", &format!("{by}{}", if question.taken { "; the run has it" } else { "" }));
    }
    field("asked", &format!("{} ago", age(question.asked_at, now)));
    if let Some(expires) = question.expires_at {
        field("expires", &expires.to_string());
    }
    if let InfoRequestState::Cancelled { reason } = &question.state {
        field("reason", reason);
    }
    out
}
