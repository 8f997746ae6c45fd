//! `orch-tui` from start to exit code.

use std::fmt::Arguments;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use orch_proto::ErrorCode;

use super::args::Args;
use super::runtime;
use crate::view::Options;
use crate::{connect, term};

/// Why the program could not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("failed to start the runtime")]
    Runtime {
        #[source]
        source: io::Error,
    },
    #[error("failed to use the terminal")]
    Terminal {
        #[source]
        source: io::Error,
    },
}

/// Runs the program with the arguments and the environment of this process.
#[must_use]
pub fn main_impl() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing can be said when not even this can be printed.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        say(format_args!("error[{}]: orch-tui needs a terminal on its input and output", ErrorCode::Usage));
        say(format_args!("hint: `orchctl status` and `orchctl task list -o json` work without one"));
        return ExitCode::from(ErrorCode::Usage.exit_code());
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        say(format_args!("error[{}]: the terminal cannot be drawn on: TERM is `dumb`", ErrorCode::Usage));
        say(format_args!("hint: `orchctl status`, `orchctl task list` and `orchctl run logs` write plain lines"));
        return ExitCode::from(ErrorCode::Usage.exit_code());
    }
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            say(format_args!("error: {error}{source}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something on standard error, which may be the terminal that was lost.
fn say(text: Arguments<'_>) {
    drop(writeln!(io::stderr(), "{text}"));
}

fn run(args: &Args) -> Result<u8, StartError> {
    let options = Options { can_suspend: term::can_suspend(), ..args.options(connect::process_env) };
    let socket = connect::socket_path(args.socket.as_deref(), connect::process_env);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Runtime { source })?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, runtime::run(options, socket)).map_err(|source| StartError::Terminal { source })
}
