//! `orchctl agent`: what a program in a run says to the daemon over the run's channel. Needs no socket and no configuration.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use orch_proto::ErrorCode;
use orch_proto::channel::{EXPIRES_MS_DEFAULT, Verb};
use orch_proto::id::CommandId;
use orch_proto::view::{FieldKind, FieldSpec};

use super::drive::{self, DriveArgs};
use crate::channel::{self, Channel, Outcome, Secrets};
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Say how far the work is
    Progress {
        /// 0 to 100
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: u8,
        /// What is being done
        text: Option<String>,
    },
    /// Put a remark on the record of the run
    Note {
        /// The remark
        text: String,
    },
    /// Hand in a file, to be kept with the run
    Artifact {
        /// The file
        file: PathBuf,
        /// Under which path it is kept [default: the same]
        #[arg(long, value_name = "PATH")]
        name: Option<String>,
    },
    /// Ask a person for something, and wait; prints the values as JSON, and of a secret the file that has it
    RequestInfo(InfoArgs),
    /// Ask a person to allow something, and wait; exit code 1 if it is not allowed
    AwaitApproval(ApprovalArgs),
    /// Serve the same verbs as tools of the Model Context Protocol, on standard input and output
    Mcp,
    /// Start an agent program, have it do one prompt, and print every line of it. Needs no daemon
    Drive(DriveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// What is asked, and why
    question: String,
    /// A field, as `NAME[?][:KIND][=LABEL]`: `?` if it need not be given; the kind is `text`, `number`, `bool`, `secret`
    /// or choices, as `eu|us`
    #[arg(long = "field", required = true, value_parser = field)]
    fields: Vec<FieldSpec>,
    /// Print the value of this field alone
    #[arg(long, value_name = "NAME")]
    value: Option<String>,
    #[command(flatten)]
    waits: WaitsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApprovalArgs {
    /// What will be done, in a line
    action: String,
    /// What a person needs to know
    #[arg(long = "detail")]
    details: Vec<String>,
    #[command(flatten)]
    waits: WaitsArgs,
}

/// How long a question waits, and by which name it is known.
#[derive(Debug, Args)]
pub(crate) struct WaitsArgs {
    /// When it is over without an answer [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    expires: Option<Duration>,
    /// Its name: asked again by the same name, it is the same question [default: a new one]
    #[arg(long)]
    key: Option<String>,
}

impl WaitsArgs {
    fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| CommandId::generate().to_string())
    }

    fn expires_ms(&self) -> u64 {
        self.expires.map_or(EXPIRES_MS_DEFAULT, |expires| u64::try_from(expires.as_millis()).unwrap_or(u64::MAX))
    }
}

pub(crate) async fn run(session: &Session, command: AgentCommand) -> Result<(), Failure> {
    match command {
        AgentCommand::Drive(args) => drive::drive(session, args).await,
        of_channel => say(session, of_channel),
    }
}

fn say(session: &Session, command: AgentCommand) -> Result<(), Failure> {
    let env = |name: &str| session.console.env(name);
    let mut channel = Channel::of_run(env)?;
    match command {
        AgentCommand::Progress { percent, text } => {
            channel.call(&Verb::Progress { percent: Some(percent), text: text.unwrap_or_default() })?;
            Ok(())
        }
        AgentCommand::Note { text } => Ok(channel.call(&Verb::Note { text }).map(drop)?),
        AgentCommand::Artifact { file, name } => {
            let name = name.or_else(|| file.to_str().map(|path| path.trim_start_matches("./").to_owned()));
            let name = name.ok_or_else(|| Failure::usage("the path is not UTF-8; say `--name`"))?;
            Ok(channel.hand_in(&file, &name).map(drop)?)
        }
        AgentCommand::RequestInfo(args) => {
            let (key, expires_ms) = (args.waits.key(), args.waits.expires_ms());
            let question = Verb::RequestInfo { key, text: args.question, fields: args.fields, expires_ms, wait_ms: 0 };
            let patience = (session.options.timeout, &(|| false) as &dyn Fn() -> bool);
            let outcome = channel::request_info(&mut channel, &question, &Secrets::of_run(env)?, patience)?;
            tell(session, outcome, args.value.as_deref())
        }
        AgentCommand::AwaitApproval(args) => {
            let (key, expires_ms) = (args.waits.key(), args.waits.expires_ms());
            let (action, details) = (args.action, args.details);
            let question = Verb::AwaitApproval { key, action, details, expires_ms, wait_ms: 0 };
            let patience = (session.options.timeout, &(|| false) as &dyn Fn() -> bool);
            tell(session, channel::await_approval(&mut channel, &question, patience)?, None)
        }
        AgentCommand::Drive(_) => Err(Failure::usage("it is no word for the channel")),
        AgentCommand::Mcp => {
            // The console holds the stream itself; another descriptor of it can be read.
            let input = BufReader::new(File::from(std::io::stdin().as_fd().try_clone_to_owned()?));
            Ok(channel::serve(input, Box::new(std::io::stdout()), &channel, &Secrets::of_run(env))?)
        }
    }
}

fn tell(session: &Session, outcome: Outcome, value: Option<&str>) -> Result<(), Failure> {
    match (outcome, value) {
        (Outcome::Answered(values), None) => {
            session.console.data(format!("{}\n", serde_json::to_string(&values)?).as_bytes())?;
            Ok(())
        }
        (Outcome::Answered(values), Some(name)) => {
            // What need not be given may be empty.
            let value = values.get(name).map_or("", String::as_str);
            Ok(session.console.data(format!("{value}\n").as_bytes())?)
        }
        (Outcome::Granted, _) => Ok(()),
        (Outcome::Without { state, reason }, _) => Err(Failure::Negative(format!("{state}: {reason}"))),
        (Outcome::Waiting, _) => {
            let hint = "ask again with the same `--key`, which is the same question";
            Err(Failure::new(ErrorCode::Timeout, "nobody has answered yet", hint))
        }
    }
}

/// Reads `NAME[?][:KIND][=LABEL]`.
fn field(text: &str) -> Result<FieldSpec, String> {
    let (head, label) = text.split_once('=').unwrap_or((text, ""));
    let (name, kind) = head.split_once(':').unwrap_or((head, "text"));
    let (name, required) = name.strip_suffix('?').map_or((name, true), |name| (name, false));
    let kind = match kind {
        "text" => FieldKind::Text,
        "number" => FieldKind::Number,
        "bool" => FieldKind::Bool,
        "secret" => FieldKind::Secret,
        choices if choices.contains('|') => {
            FieldKind::Choice { choices: choices.split('|').map(ToOwned::to_owned).collect() }
        }
        other => {
            return Err(format!("`{other}` is neither `text`, `number`, `bool`, `secret` nor choices, as `eu|us`"));
        }
    };
    if name.is_empty() {
        return Err("a field has a name".to_owned());
    }
    Ok(FieldSpec { name: name.to_owned(), label: label.to_owned(), kind, required })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_in_short() {
        let spec = |name: &str, label: &str, kind, required| {
            Ok(FieldSpec { name: name.into(), label: label.into(), kind, required })
        };
        assert_eq!(field("host"), spec("host", "", FieldKind::Text, true));
        assert_eq!(field("token?:secret=The token"), spec("token", "The token", FieldKind::Secret, false));
        let choices = vec!["eu".to_owned(), "us".to_owned()];
        assert_eq!(field("region:eu|us=Where=to"), spec("region", "Where=to", FieldKind::Choice { choices }, true));
        assert!(field("a:date").is_err() && field(":text").is_err());
    }
}
