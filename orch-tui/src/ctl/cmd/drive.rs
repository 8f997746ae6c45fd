//! `orchctl agent drive`: speaks to the program of an agent. Arguments and text only; the work is in `crate::agent`.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orch_proto::ErrorCode;
use orch_proto::leave::LeaveRule;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::{Bounds, DriveError, Inbox, Job, People, Policy, acp, claude, codex};
use crate::channel::Channel;
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;

/// Largest prompt, in bytes.
const PROMPT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Args)]
pub(crate) struct DriveArgs {
    /// How the program is spoken to
    protocol: Protocol,
    /// File with what it is told, or `-`
    #[arg(long, value_name = "FILE")]
    prompt: PathBuf,
    /// Rules for what it may do, as JSON; without them it may do all that the run may
    #[arg(long, value_name = "JSON", value_parser = rules)]
    leave: Option<Rules>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// What agent programs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// The Agent Client Protocol, version 1
    Acp,
    /// `claude` with stream-json each way
    Claude,
    /// `codex app-server`
    Codex,
}

/// Rules, the first that fits first.
#[derive(Clone, Debug, Default)]
struct Rules(Vec<LeaveRule>);

pub(crate) async fn drive(session: &Session, args: DriveArgs) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told_to_end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // Whatever is in it, the agent is told: parts of a prompt are somebody's text.
    let prompt = input::read(session, &args.prompt, PROMPT_BYTES_MAX)?.bytes;
    let prompt = String::from_utf8_lossy(&prompt);
    let directory = std::env::current_dir()?;
    let rules = args.leave.unwrap_or_default().0;
    let asks = !rules.is_empty();
    let job = Job { command: &args.command, prompt: &prompt, directory: &directory, asks, bounds: Bounds::default() };
    // Outside of a run with a channel nobody can be asked, and nobody says anything.
    let channel = Channel::of_run(|name| session.console.env(name)).ok();
    let people = channel.as_ref().map_or_else(People::none, People::of_run);
    let with = (Policy::new(rules, people), channel.as_ref().map_or_else(Inbox::none, Inbox::of_run));
    let console = &session.console;
    let driven = match args.protocol {
        Protocol::Acp => acp::drive(job, console, with, told_to_end).await,
        Protocol::Claude => claude::drive(job, console, with, told_to_end).await,
        Protocol::Codex => codex::drive(job, console, with, told_to_end).await,
    };
    driven.map_err(failure)
}

/// Reads rules, and says what is wrong with them.
fn rules(text: &str) -> Result<Rules, String> {
    let rules: Vec<LeaveRule> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match rules.iter().find_map(LeaveRule::problem) {
        Some(problem) => Err(problem),
        None => Ok(Rules(rules)),
    }
}

fn failure(error: DriveError) -> Failure {
    let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
    let (message, hint) = (format!("{error}{cause}"), error.hint());
    match error {
        DriveError::Print(source) => Failure::Output(source),
        DriveError::Start { .. } => Failure::new(ErrorCode::ToolMissing, message, hint.unwrap_or_default()),
        _ => {
            let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            Failure::Negative(format!("error: {message}{hint}"))
        }
    }
}
