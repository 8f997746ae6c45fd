//! `orchctl secret`: set and remove values, and see which names there are. There is no way to read one.

use std::path::PathBuf;

use clap::Subcommand;
use orch_proto::ErrorCode;
use orch_proto::request::Bytes;

use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;

/// Largest value that the daemon takes, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Names of all secrets; never a value
    #[command(visible_alias = "ls")]
    List,
    /// Set a value, from standard input or a file; never an argument, which everybody could read
    Set {
        /// The name, as a recipe's `secrets` has it
        name: String,
        /// Read the value from this file [default: standard input]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Keep a newline at the end of what standard input gives
        #[arg(long)]
        keep_newline: bool,
        /// Leave out a newline at the end of the file
        #[arg(long, requires = "file", conflicts_with = "keep_newline")]
        trim_newline: bool,
    },
    /// Remove a value; tasks that name it wait
    Rm {
        /// The name
        name: String,
    },
}

pub(crate) async fn run(session: &Session, command: SecretCommand) -> Result<(), Failure> {
    match command {
        SecretCommand::List => {
            let secrets = session.read(async |orch, context| orch.secrets(context).await).await?;
            session.list(&secrets)
        }
        SecretCommand::Set { name, file, keep_newline, trim_newline } => {
            // What is typed would stand on the screen.
            if file.is_none() && session.console.terminal.stdin {
                let hint = format!("pipe it in, as `orchctl secret set {name} < FILE`, or use `--file FILE`");
                return Err(Failure::new(ErrorCode::Usage, "a value is not typed in", hint));
            }
            // `echo` ends a line that is not part of the value; a file is what it is, and keys need its last newline.
            let trims = if file.is_some() { trim_newline } else { !keep_newline };
            let path = file.clone().unwrap_or_else(|| PathBuf::from("-"));
            let mut value = input::read(session, &path, VALUE_BYTES_MAX)?.bytes;
            let ends_line = value.last() == Some(&b'\n');
            if trims && ends_line {
                value.pop();
            }
            let called = name.clone();
            session
                .read(async |orch, context| orch.secret_set(context, called.clone(), Bytes(value.clone())).await)
                .await?;
            match (ends_line, trims) {
                (true, true) if file.is_none() => {
                    session.note("its last newline was left out; `--keep-newline` keeps it");
                }
                (true, false) if file.is_some() => {
                    session.note("it ends with a newline, as the file does; `--trim-newline` leaves that out");
                }
                _ => {}
            }
            session.line(&format!("secret {name} is set"))
        }
        SecretCommand::Rm { name } => {
            session.confirm(&format!("remove the secret {name}? tasks that name it wait")).await?;
            let called = name.clone();
            session.read(async |orch, context| orch.secret_remove(context, called.clone()).await).await?;
            session.line(&format!("secret {name} is removed"))
        }
    }
}
