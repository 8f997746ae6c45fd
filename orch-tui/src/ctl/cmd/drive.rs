//! `orchctl agent drive`: speaks to the program of an agent. Arguments and text only; the work is in `crate::agent`.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orch_proto::ErrorCode;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::acp::{self, Bounds, DriveError, Job};
use crate::agent::permissions::AllowInside;
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
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// What agent programs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// The Agent Client Protocol, version 1
    Acp,
}

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
    let job = Job { command: &args.command, prompt: &prompt, directory: &directory, bounds: Bounds::default() };
    let driven = match args.protocol {
        Protocol::Acp => acp::drive(job, &session.console, AllowInside, told_to_end).await,
    };
    driven.map_err(failure)
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
