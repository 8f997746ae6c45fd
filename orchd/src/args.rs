//! The command line, and how a failed start ends: one line with code and hint on standard error, and an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use orch_proto::{ErrorCode, RpcError};

use crate::config;
use crate::{daemon, logging, upkeep};

/// The daemon of the Codex Orchestrator: takes a Vision to reviewed and merged changes.
#[derive(Debug, Parser)]
#[command(name = "orchd", version)]
pub(crate) struct Args {
    /// Configuration file [default: /etc/orchd/config.toml or $XDG_CONFIG_HOME/orchd/config.toml, if there is one]
    #[arg(long, global = true, env = "ORCHD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where all state is kept [default: $STATE_DIRECTORY, /var/lib/orchd for root, or $XDG_STATE_HOME/orchd]
    #[arg(long, global = true, env = "ORCHD_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Socket to listen on [default: in $RUNTIME_DIRECTORY, /run/orchd for root, or $XDG_RUNTIME_DIR/orchd]
    #[arg(long, env = "ORCHD_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// What is written to standard error: off, error, warn, info, debug, trace, or a tracing filter
    #[arg(long, env = "ORCHD_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Check the configuration, print what would be used, and end
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Do this instead of being the daemon
    #[command(subcommand)]
    pub(crate) command: Option<upkeep::Command>,
}

/// The whole program.
#[must_use]
pub fn main_impl() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output and are no errors; clap knows which is which.
            let printed = error.print();
            return ExitCode::from(if printed.is_ok() && !error.use_stderr() { 0 } else { 2 });
        }
    };
    match start(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report(&error);
            ExitCode::from(error.code.exit_code())
        }
    }
}

/// Whether all is well, where something was looked at.
fn start(mut args: Args) -> Result<bool, RpcError> {
    let (check_only, command) = (args.check_config, args.command.take());
    let config = config::load(args, |name| std::env::var(name).ok())?;
    if check_only {
        let text = config.to_file().map_err(|error| RpcError::new(ErrorCode::Internal, error.to_string()))?;
        print(&text);
        config.doubts().iter().for_each(|doubt| warn(doubt));
        return Ok(true);
    }
    if let Some(command) = command {
        return upkeep::run_offline(&command, &config);
    }
    let logging = logging::start(&config)?;
    daemon::run(config, logging).map(|()| true)
}

#[expect(clippy::print_stderr, reason = "a failed start has no log yet")]
fn report(error: &RpcError) {
    eprintln!("orchd: error[{}]: {}", error.code, error.message);
    if let Some(hint) = &error.hint {
        eprintln!("hint: {hint}");
    }
}

#[expect(clippy::print_stderr, reason = "standard output is the configuration")]
fn warn(doubt: &str) {
    eprintln!("warning: {doubt}");
}

#[expect(clippy::print_stdout, reason = "this is what the user asked for")]
fn print(text: &str) {
    print!("{text}");
}
