//! `orchctl agent drive`: speaks to the program of an agent. Arguments and text only; the work is in `crate::agent`.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use orch_proto::ErrorCode;
use orch_proto::leave::LeaveRule;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::{self, Bounds, DriveError, Inbox, Job, People, Policy, Protocol, Resume, Tools};
use crate::channel::{Channel, Secrets};
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;

/// Largest prompt, in bytes.
const PROMPT_BYTES_MAX: usize = 4 << 20;

/// Variable of a run with the number of its attempt.
const ATTEMPT: &str = "ORCH_ATTEMPT";

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
    /// The session of an earlier attempt that it goes on with
    #[arg(long, value_name = "ID")]
    resume: Option<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
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
    // Outside of a run with a channel nobody can be asked, and nobody says anything.
    let env = |name: &str| session.console.env(name);
    let channel = Channel::of_run(env).ok();
    let tools = channel.as_ref().and_then(tools);
    let people =
        channel.as_ref().map_or_else(People::none, |channel| People::of_run(channel, Secrets::of_run(env).ok()));
    let with = (Policy::new(rules, people), channel.as_ref().map_or_else(Inbox::none, Inbox::of_run));
    let attempt = env(ATTEMPT).and_then(|attempt| attempt.parse().ok()).unwrap_or_default();
    let job = Job {
        protocol: args.protocol,
        command: &args.command,
        prompt: &prompt,
        directory: &directory,
        asks,
        tools: tools.as_ref(),
        bounds: Bounds::default(),
        resume: args.resume.as_deref().map(|session| Resume { session, attempt }),
    };
    let driven = agent::drive(job, &session.console, with, told_to_end).await;
    driven.map_err(failure)
}

/// The tools of a channel, as this program serves them.
fn tools(channel: &Channel) -> Option<Tools> {
    let program = std::env::current_exe().ok()?.into_os_string().into_string().ok()?;
    Some(Tools { program, address: channel.address().to_owned() })
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
