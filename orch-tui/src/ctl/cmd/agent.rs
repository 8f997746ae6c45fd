//! `orchctl agent`: what a program in a run says to the daemon over the run's channel. Needs no socket and no configuration.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use orch_proto::channel::{EXPIRES_MS_DEFAULT, Verb};
use orch_proto::id::CommandId;
use orch_proto::view::{FieldKind, FieldSpec};
use orch_proto::{ErrorCode, RpcError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::drive::{self, DriveArgs};
use super::provide::{self, ProvideArgs};
use super::replay::{self, ReplayArgs};
use crate::channel::{self, Calls, Channel, Outcome, Patience, Secrets, Verdict, Wanted};
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;
use crate::fmt::duration;

/// How long a question is waited for that is taken back: as long as a daemon that is away is.
const GIVE_UP_MAX: Duration = Duration::from_secs(65);

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
    /// Run here what will be run on the result of the run before it is merged; exit code 1 if something fails
    RunTests {
        /// Only this; can be given several times
        #[arg(long = "only", value_name = "NAME")]
        names: Vec<String>,
    },
    /// Ask a person for something, and wait; prints the values as JSON, and of a secret the file that has it
    RequestInfo(InfoArgs),
    /// Ask a person to allow something, and wait; exit code 1 if it is not allowed
    AwaitApproval(ApprovalArgs),
    /// Ask for a program that the run does not have, and wait; prints where it is, if it is there. Exit code 8 if the next
    /// attempt has it, 1 if nobody gives it
    RequestTool(ToolArgs),
    /// Say under which words the change of the run is to be proposed: its title, and why. The last words count
    ProposeChange {
        /// One line
        title: String,
        /// Why, and what a reader has to know; `-` is standard input
        #[arg(long)]
        body: Option<String>,
    },
    /// Serve the same verbs as tools of the Model Context Protocol, on standard input and output
    Mcp,
    /// Ask people for what providers need, and leave it where the steps of the run find it. The run's own first step
    #[command(hide = true)]
    Provide(ProvideArgs),
    /// Start an agent program, have it do one prompt, and print every line of it. Needs no daemon
    Drive(DriveArgs),
    /// Take the place of an agent program: print what one printed, and be spoken to as it was. Needs no daemon
    Replay(ReplayArgs),
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

#[derive(Debug, Args)]
pub(crate) struct ToolArgs {
    /// The program, as it is called
    name: String,
    /// What it is needed for
    #[arg(long)]
    reason: String,
    /// When it is over without a decision [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    expires: Option<Duration>,
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
        expires_ms(self.expires)
    }
}

fn expires_ms(expires: Option<Duration>) -> u64 {
    expires.map_or(EXPIRES_MS_DEFAULT, |expires| u64::try_from(expires.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) async fn run(session: &Session, command: AgentCommand) -> Result<(), Failure> {
    match command {
        AgentCommand::Drive(args) => drive::drive(session, args).await,
        AgentCommand::Replay(args) => replay::run(&args),
        AgentCommand::Provide(args) => provide::run(session, args).await,
        AgentCommand::RequestInfo(args) => {
            let value = args.value.clone();
            tell(session, request_info(session, args).await?, value.as_deref())
        }
        AgentCommand::AwaitApproval(args) => tell(session, await_approval(session, args).await?, None),
        AgentCommand::RequestTool(args) => match request_tool(session, args).await? {
            // It has no key: what it asks for is its name.
            Outcome::Waiting => Err(waiting("ask again for the same tool, which is the same question")),
            outcome => tell(session, outcome, None),
        },
        AgentCommand::Mcp => serve_mcp(session).await,
        AgentCommand::RunTests { names } => run_tests(session, &names),
        of_channel => say(session, of_channel),
    }
}

async fn request_info(session: &Session, args: InfoArgs) -> Result<Outcome, Failure> {
    let (key, expires_ms) = (args.waits.key(), args.waits.expires_ms());
    ask(session, Verb::RequestInfo { key, text: args.question, fields: args.fields, expires_ms, wait_ms: 0 }).await
}

/// Asks people for information, and waits.
pub(super) async fn ask(session: &Session, question: Verb) -> Result<Outcome, Failure> {
    let env = |name: &str| session.console.env(name);
    let (mut channel, secrets) = (Channel::of_run(env)?, Secrets::of_run(env)?);
    let patience = Patience { at_most: session.options.timeout, wanted: Wanted::default() };
    let wanted = patience.wanted.clone();
    let ask = move || channel::request_info(&mut channel, &question, &secrets, &patience);
    asked(until_told(ask, move || give_up(&wanted)).await?)
}

async fn await_approval(session: &Session, args: ApprovalArgs) -> Result<Outcome, Failure> {
    let mut channel = Channel::of_run(|name| session.console.env(name))?;
    let (key, expires_ms) = (args.waits.key(), args.waits.expires_ms());
    let (action, details) = (args.action, args.details);
    let question = Verb::AwaitApproval { key, action, details, expires_ms, wait_ms: 0 };
    let patience = Patience { at_most: session.options.timeout, wanted: Wanted::default() };
    let wanted = patience.wanted.clone();
    let ask = move || channel::await_approval(&mut channel, &question, &patience);
    asked(until_told(ask, move || give_up(&wanted)).await?)
}

async fn request_tool(session: &Session, args: ToolArgs) -> Result<Outcome, Failure> {
    let mut channel = Channel::of_run(|name| session.console.env(name))?;
    let expires_ms = expires_ms(args.expires);
    let question = Verb::RequestTool { name: args.name, reason: args.reason, expires_ms, wait_ms: 0 };
    let patience = Patience { at_most: session.options.timeout, wanted: Wanted::default() };
    let wanted = patience.wanted.clone();
    let ask = move || channel::request_tool(&mut channel, &question, &patience);
    asked(until_told(ask, move || give_up(&wanted)).await?)
}

fn asked(outcome: Option<Result<Outcome, RpcError>>) -> Result<Outcome, Failure> {
    outcome.unwrap_or(Ok(Outcome::Withdrawn)).map_err(Failure::from)
}

fn run_tests(session: &Session, names: &[String]) -> Result<(), Failure> {
    let mut channel = Channel::of_run(|name| session.console.env(name))?;
    let (workspace, checks) = channel::list_checks(&mut channel, names)?;
    let mut failed = Vec::new();
    for check in &checks {
        let mut print = |piece: &[u8]| session.console.data(piece);
        match channel::run_check(check, Path::new(&workspace), &Wanted::default(), &mut print)? {
            Verdict::Passed => session.note(&format!("{}: passed", check.name)),
            Verdict::GivenUp => return Err(Failure::Detached),
            Verdict::Failed { why } => {
                session.note(&format!("{}: failed, {why}", check.name));
                failed.push(check.name.as_str());
            }
        }
    }
    match (checks.is_empty(), failed.is_empty()) {
        (true, _) => session.note("nothing is run on the result of this run"),
        (false, true) => {}
        (false, false) => return Err(Failure::Negative(format!("failed: {}", failed.join(", ")))),
    }
    Ok(())
}

async fn serve_mcp(session: &Session) -> Result<(), Failure> {
    let env = |name: &str| session.console.env(name);
    let (channel, secrets) = (Channel::of_run(env)?, Secrets::of_run(env));
    // The console holds the stream itself; another descriptor of it can be read.
    let input = BufReader::new(File::from(std::io::stdin().as_fd().try_clone_to_owned()?));
    let calls = Calls::default();
    let under_way = calls.clone();
    let serve = move || channel::serve(input, Box::new(std::io::stdout()), (&channel, &secrets), &calls);
    // It may read on for ever: what it was asked to do is done, or taken back.
    let give_up = move || {
        under_way.give_up_all();
        Duration::ZERO
    };
    match until_told(serve, give_up).await? {
        Some(served) => Ok(served?),
        None => Err(Failure::Detached),
    }
}

/// Has a question taken back; how long that may take.
fn give_up(wanted: &Wanted) -> Duration {
    wanted.give_up();
    GIVE_UP_MAX
}

/// Works on a thread of its own, since what it waits for may take days. Told to end, this process has it given up, and waits
/// for as long as that says; none when nothing came of it.
async fn until_told<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    give_up: impl FnOnce() -> Duration,
) -> Result<Option<T>, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (end, mut ended) = oneshot::channel();
    std::thread::Builder::new().spawn(move || {
        // Without a receiver nobody wants it any more.
        let _is_late = end.send(work()).is_err();
    })?;
    tokio::select! {
        outcome = &mut ended => return Ok(outcome.ok()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let most = give_up();
    Ok(tokio::time::timeout(most, ended).await.ok().and_then(Result::ok))
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
        AgentCommand::ProposeChange { title, body } => {
            let body = body.map(|body| input::words(session, &body)).transpose()?.unwrap_or_default();
            Ok(channel.call(&Verb::ProposeChange { title, body }).map(drop)?)
        }
        AgentCommand::Artifact { file, name } => {
            let name = name.or_else(|| file.to_str().map(|path| path.trim_start_matches("./").to_owned()));
            let name = name.ok_or_else(|| Failure::usage("the path is not UTF-8; say `--name`"))?;
            Ok(channel.hand_in(&file, &name).map(drop)?)
        }
        AgentCommand::RequestInfo(_)
        | AgentCommand::AwaitApproval(_)
        | AgentCommand::RequestTool(_)
        | AgentCommand::RunTests { .. }
        | AgentCommand::Mcp
        | AgentCommand::Provide(_)
        | AgentCommand::Drive(_)
        | AgentCommand::Replay(_) => Err(Failure::usage("it is no word that is said and done")),
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
        (Outcome::Here { path }, _) => session.line(&path),
        (Outcome::NextAttempt, _) => Err(Failure::Pending(
            "given to the next attempt at this task: it has the tool, and this one does not".into(),
        )),
        (Outcome::Without { state, reason }, _) => Err(Failure::Negative(format!("{state}: {reason}"))),
        (Outcome::Withdrawn, _) => Err(Failure::Detached),
        (Outcome::Waiting, _) => {
            Err(waiting("ask again in the same words and with the same `--key`, which is the same question"))
        }
    }
}

/// The question stands, and is not waited for any more; how it is taken up again.
fn waiting(hint: &str) -> Failure {
    Failure::new(ErrorCode::Timeout, "nobody has answered yet", hint)
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
