//! `orchctl`: the command line over the daemon's service.
//!
//! `main_impl` is the whole program; `run` is one call of it with any console, which tests use. Data go to standard
//! output and everything else to standard error; each failure has a stable code and exit code.

mod args;
mod batch;
mod cmd;
mod console;
mod current_project;
mod demo;
mod digest;
mod failure;
mod follow;
mod input;
mod key;
mod launch;
mod progress;
mod session;
mod upkeep;
mod values;
mod version;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use orch_proto::ErrorCode;

use self::args::{Cli, Command, Format};
pub use self::console::{Console, Terminal, Unseen};
use self::failure::Failure;
use self::session::Session;
use crate::fmt::color::Paint;

/// The program `orchctl`.
#[must_use]
pub fn main_impl() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let console = Console::of_process();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(run(std::env::args_os(), console))),
        Err(error) => {
            console.say(&format!("error: failed to start the runtime: {error}"));
            ExitCode::from(ErrorCode::Internal.exit_code())
        }
    }
}

/// Runs one command line, the program's name first, and gives its exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, console: Console) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error, wants_json(&arguments), &console),
    };
    let mut session = Session::new(cli.global, console);
    match dispatch(&mut session, cli.command).await {
        Ok(()) => 0,
        Err(failure) => {
            let json = session.options.output.is_json() && !matches!(failure, Failure::Detached);
            let text = if json { failure.json() } else { failure.text(session.paint_messages()) };
            if !text.is_empty() {
                session.console.say(&text);
            }
            failure.exit_code()
        }
    }
}

/// Help and version are data; everything else is a mistake in the command line.
fn not_parsed(error: &clap::Error, json: bool, console: &Console) -> u8 {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json {
        // A noun alone asks what there is: its help, without the label of a mistake.
        console.say(text.trim_end());
        return ErrorCode::Usage.exit_code();
    }
    if error.use_stderr() {
        let failure = Failure::usage(text.trim_end().trim_start_matches("error: "));
        console.say(&if json { failure.json() } else { failure.text(Paint::OFF) });
        return failure.exit_code();
    }
    match console.data(text.as_bytes()) {
        Ok(()) => 0,
        Err(error) => Failure::Output(error).exit_code(),
    }
}

/// Whether a command line that cannot be read asks for JSON, as far as that can be seen.
fn wants_json(arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let form = |text: &str| matches!(text, "json" | "jsonl");
    words.windows(2).any(|pair| matches!(&*pair[0], "-o" | "--output") && form(&pair[1]))
        || words.iter().any(|word| word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")).is_some_and(form))
}

async fn dispatch(session: &mut Session, command: Option<Command>) -> Result<(), Failure> {
    check_options(session)?;
    match command {
        None => cmd::status::run(session, &cmd::status::StatusArgs::default()).await,
        Some(Command::Demo(args)) => demo::run_all(session, args).await,
        Some(Command::Up(args)) => cmd::daemon::up(session, args).await,
        Some(Command::Down) => cmd::daemon::down(session).await,
        Some(Command::Backup(args)) => cmd::backup::run(session, args).await,
        Some(Command::Status(args)) => cmd::status::run(session, &args).await,
        Some(Command::Stats(args)) => cmd::stats::run(session, &args).await,
        Some(Command::Daemon(command)) => cmd::daemon::run(session, command).await,
        Some(Command::Doctor) => cmd::daemon::doctor(session).await,
        Some(Command::Project(command)) => cmd::project::run(session, command).await,
        Some(Command::Vision(command)) => cmd::vision::run(session, command).await,
        Some(Command::Req(command)) => cmd::req::run(session, command).await,
        Some(Command::Plan(command)) => cmd::plan::run(session, command).await,
        Some(Command::Trace(args)) => cmd::trace::run(session, args).await,
        Some(Command::Task(command)) => cmd::task::run(session, command).await,
        Some(Command::Run(command)) => cmd::run::run(session, command).await,
        Some(Command::Approval(command)) => cmd::approval::run(session, command).await,
        Some(Command::Question(command)) => cmd::question::run(session, command).await,
        Some(Command::Change(command)) => cmd::change::run(session, command).await,
        Some(Command::Undo(args)) => cmd::undo::run(session, args).await,
        Some(Command::Events(command)) => cmd::events::run(session, command).await,
        Some(Command::Audit(command)) => cmd::audit::run(session, command).await,
        Some(Command::Secret(command)) => cmd::secret::run(session, command).await,
        Some(Command::Tool(command)) => cmd::tool::run(session, command).await,
        Some(Command::Agent(command)) => cmd::agent::run(session, command).await,
        Some(Command::Version) => cmd::reference::version(session).await,
        Some(Command::Explain(args)) => cmd::reference::explain(session, &args),
        Some(Command::Completion(args)) => cmd::reference::completion(session, &args),
        Some(Command::Man(args)) => cmd::reference::man(session, &args),
        Some(Command::Help(args)) => cmd::reference::help(session, &args),
        Some(Command::Detach(args)) => Err(launch::detach(&args.command)),
    }
}

fn check_options(session: &Session) -> Result<(), Failure> {
    if !session.options.columns.is_empty() && session.options.output != Format::Table {
        return Err(Failure::usage("`--columns` is for tables; the other formats have all fields"));
    }
    Ok(())
}
