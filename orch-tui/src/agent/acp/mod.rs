//! The Agent Client Protocol, version 1: one prompt, and everything that the agent says until its turn has ended.
//!
//! Every line of the agent is printed as it came, which is the log of the run. It is offered no files and no terminal: it
//! has its own, in the sandbox that it is in.

mod wire;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::wire::{Answer, Message};
use super::lines::Line;
use super::permissions::{Asked, Permissions};
use super::program::Program;
use crate::ctl::Console;
use crate::text::SafeText;

/// Requests for leave that are decided at once; more are not granted.
const DECISIONS_MAX: usize = 64;

/// What an agent is told, and what it may take for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    /// Its program and arguments.
    pub(crate) command: &'a [OsString],
    pub(crate) prompt: &'a str,
    /// Where it works; absolute.
    pub(crate) directory: &'a Path,
    pub(crate) bounds: Bounds,
}

/// What an agent may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Longest line that is read, in bytes; a longer one is left out.
    pub(crate) line_bytes_max: usize,
    /// How long it may think before it has a session. Its work is bounded by its run.
    pub(crate) start: Duration,
    /// How long it may take to end.
    pub(crate) end: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { line_bytes_max: 10_000_000, start: Duration::from_secs(60), end: Duration::from_secs(3) }
    }
}

/// Why the agent did not say that it is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("failed to start the agent `{}`", program.display())]
    Start {
        program: OsString,
        #[source]
        source: io::Error,
    },
    #[error("failed to read what the agent says")]
    Read(#[source] io::Error),
    #[error("failed to print what the agent says")]
    Print(#[source] io::Error),
    #[error("the agent did not answer `{method}` within {seconds} s")]
    Silent { method: &'static str, seconds: u64 },
    #[error("the agent ended ({how}) before it answered `{method}`")]
    Ended { method: &'static str, how: String },
    #[error("the agent wants somebody to log in: {message}")]
    Login { message: String },
    #[error("the agent answered `{method}` with an error: {message}")]
    Refused { method: &'static str, message: String },
    #[error("the agent's answer to `{method}` is not what the protocol says: {answer}")]
    Answer { method: &'static str, answer: String },
    #[error("the agent speaks version {theirs} of the Agent Client Protocol, which is not version {}", wire::VERSION)]
    Version { theirs: String },
    #[error("the agent stopped before it was done: {why}")]
    Stopped { why: String },
    #[error("the agent was told to stop")]
    Terminated,
}

impl DriveError {
    /// What helps, where that is known.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Start { .. } => Some("look at `program` and `arguments` of `[agents.NAME]`"),
            Self::Silent { .. } | Self::Answer { .. } => {
                Some("see that `arguments` of `[agents.NAME]` have the program speak the Agent Client Protocol")
            }
            Self::Ended { .. } => Some("what it said on its standard error is above"),
            Self::Login { .. } => {
                Some("have it use the gateway and `{key}`, by `environment` and `files` of `[agents.NAME]`")
            }
            Self::Version { .. } => Some("use a release of the agent that speaks it"),
            _ => None,
        }
    }
}

/// Has an agent do its job, and gives up when `told_to_end` says so.
///
/// # Errors
/// When it did not say that it is done; whatever it did until then is done.
pub(crate) async fn drive<P: Permissions>(
    job: Job<'_>,
    console: &Console,
    permissions: P,
    told_to_end: impl Future<Output = ()>,
) -> Result<(), DriveError> {
    let program = Program::start(job.command, job.bounds.line_bytes_max)
        .map_err(|source| DriveError::Start { program: job.command.first().cloned().unwrap_or_default(), source })?;
    let mut talk = Conversation {
        program,
        console,
        permissions,
        bounds: job.bounds,
        session: None,
        decisions: Decisions::default(),
    };
    let outcome = tokio::select! {
        outcome = talk.hold(&job) => outcome,
        () = told_to_end => {
            talk.cancel().await;
            Err(DriveError::Terminated)
        }
    };
    talk.end().await;
    outcome
}

/// Requests for leave that nobody decided yet.
#[derive(Debug, Default)]
struct Decisions {
    open: JoinSet<Decision>,
    /// Their ids.
    ids: Vec<Box<RawValue>>,
}

/// A request for leave: its id, what it is about, and which answer was chosen.
type Decision = (Box<RawValue>, String, Option<String>);

struct Conversation<'a, P> {
    program: Program,
    console: &'a Console,
    permissions: P,
    bounds: Bounds,
    /// The session that was told the prompt.
    session: Option<String>,
    decisions: Decisions,
}

impl<P: Permissions> Conversation<'_, P> {
    /// From the greeting to the end of the turn.
    async fn hold(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        let client = json!({
            "protocolVersion": wire::VERSION,
            "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false },
            "clientInfo": { "name": "orchctl", "title": "Codex Orchestrator", "version": env!("CARGO_PKG_VERSION") },
        });
        self.program.say(wire::request(wire::INITIALIZE, "initialize", &client)).await;
        let greeting = self.answer_soon(wire::INITIALIZE, "initialize").await?;
        let agent: wire::Initialized = read(&greeting, "initialize")?;
        if agent.protocol_version.as_u64() != Some(wire::VERSION) {
            return Err(DriveError::Version { theirs: wire::start(&agent.protocol_version.to_string()) });
        }
        let place = json!({ "cwd": job.directory, "mcpServers": [] });
        self.program.say(wire::request(wire::SESSION, "session/new", &place)).await;
        let begun = self.answer_soon(wire::SESSION, "session/new").await?;
        let session = read::<wire::Begun>(&begun, "session/new")?.session_id;
        let session = session.ok_or_else(|| not_as_said("session/new", &begun))?;
        let prompt = json!({ "sessionId": session, "prompt": [{ "type": "text", "text": job.prompt }] });
        self.session = Some(session);
        self.program.say(wire::request(wire::PROMPT, "session/prompt", &prompt)).await;
        let done = self.answer(wire::PROMPT, "session/prompt").await?;
        let stop = read::<wire::Done>(&done, "session/prompt")?.stop_reason;
        stopped(&stop.ok_or_else(|| not_as_said("session/prompt", &done))?)
    }

    /// The answer to a request before the work begins.
    async fn answer_soon(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        let bound = self.bounds.start;
        let answer = timeout(bound, self.answer(id, method)).await;
        answer.unwrap_or(Err(DriveError::Silent { method, seconds: bound.as_secs() }))
    }

    /// The answer to our request with this id. What comes before it is printed, and answered where that is wanted.
    async fn answer(&mut self, id: &str, method: &'static str) -> Result<Box<str>, DriveError> {
        loop {
            let line = tokio::select! {
                Some(decided) = self.decisions.open.join_next() => {
                    // One that could not be made leaves the agent waiting, until its run ends.
                    if let Ok(decided) = decided {
                        self.tell(decided).await;
                    }
                    continue;
                }
                line = self.program.line() => line.map_err(DriveError::Read)?,
            };
            let Some(line) = line else {
                let how = self.program.ended(self.bounds.end).await;
                let how = how.map_or_else(|| "it closed its output".to_owned(), |status| status.to_string());
                return Err(DriveError::Ended { method, how });
            };
            let Some(line) = self.print(line)? else { continue };
            // What is not UTF-8 in it is not what is looked for.
            let line = String::from_utf8_lossy(&line);
            let Some(message) = Message::read(&line) else { continue };
            match message.answer_to(id) {
                Some(Answer::Result(result)) => return Ok(result),
                Some(Answer::Error { code: Some(wire::AUTH_REQUIRED), message }) => {
                    return Err(DriveError::Login { message });
                }
                Some(Answer::Error { message, .. }) => return Err(DriveError::Refused { method, message }),
                None => self.hear(&message).await,
            }
        }
    }

    /// Prints a line as it came; none when it was too long for that.
    fn print(&self, line: Line) -> Result<Option<Vec<u8>>, DriveError> {
        match line {
            Line::Whole(mut line) => {
                line.push(b'\n');
                self.console.data(&line).map_err(DriveError::Print)?;
                Ok(Some(line))
            }
            Line::TooLong(bytes) => {
                self.note(&format!("a line of the agent is left out: it has {bytes} bytes"));
                Ok(None)
            }
        }
    }

    /// Something that is no answer: a request of the agent, or a notification, of which none needs an answer.
    async fn hear(&mut self, message: &Message<'_>) {
        let (Some(id), Some(method)) = (message.id, &message.method) else { return };
        let answer = match method.as_ref() {
            "session/request_permission" => match wire::asked(message.params) {
                Some(asked) => return self.ask(id, asked).await,
                None => wire::error(id, wire::INVALID_PARAMS, "the parameters cannot be read"),
            },
            _ => wire::error(id, wire::NO_SUCH_METHOD, "this client has no such method; use your own tools"),
        };
        self.program.say(answer).await;
    }

    /// Has somebody decide, and goes on meanwhile.
    async fn ask(&mut self, id: &RawValue, asked: Asked) {
        if self.decisions.open.len() >= DECISIONS_MAX {
            return self.program.say(wire::result(id, &wire::outcome(None))).await;
        }
        self.decisions.ids.push(id.to_owned());
        let (id, title, permissions) = (id.to_owned(), asked.title.clone(), self.permissions.clone());
        self.decisions.open.spawn(async move { (id, title, permissions.decide(asked).await) });
    }

    /// Tells the agent what was decided.
    async fn tell(&mut self, (id, title, chosen): Decision) {
        self.decisions.ids.retain(|open| open.get() != id.get());
        let first = title.lines().next().unwrap_or_default();
        self.note(&format!("{} leave for: {first}", if chosen.is_some() { "gave" } else { "did not give" }));
        self.program.say(wire::result(&id, &wire::outcome(chosen.as_deref()))).await;
    }

    /// Has the agent stop its turn, and waits a little for what it still says.
    async fn cancel(&mut self) {
        // Nobody decides any more: all that is open is not granted.
        let open = std::mem::take(&mut self.decisions).ids;
        let Some(session) = self.session.take() else { return };
        let patience = self.bounds.end;
        let wait = async {
            for id in open {
                self.program.say(wire::result(&id, &wire::outcome(None))).await;
            }
            self.program.say(wire::notification("session/cancel", &json!({ "sessionId": session }))).await;
            self.answer(wire::PROMPT, "session/prompt").await
        };
        // Whatever it says, it is to end now.
        drop(timeout(patience, wait).await);
    }

    /// Ends the agent, and prints what it still says.
    async fn end(mut self) {
        self.program.hush();
        let patience = self.bounds.end;
        let rest = async {
            while let Ok(Some(line)) = self.program.line().await {
                if self.print(line).is_err() {
                    return;
                }
            }
        };
        drop(timeout(patience, rest).await);
        self.program.end(patience).await;
    }

    fn note(&self, text: &str) {
        self.console.say(SafeText::line(text).as_str());
    }
}

fn read<'a, T: serde::Deserialize<'a>>(answer: &'a str, method: &'static str) -> Result<T, DriveError> {
    serde_json::from_str(answer).map_err(|_| not_as_said(method, answer))
}

fn not_as_said(method: &'static str, answer: &str) -> DriveError {
    DriveError::Answer { method, answer: wire::start(answer) }
}

/// What a turn's end means for the work.
fn stopped(reason: &str) -> Result<(), DriveError> {
    let why = match reason {
        "end_turn" => return Ok(()),
        "max_tokens" => "its model may not say more (max_tokens)".to_owned(),
        "max_turn_requests" => "it asked its model as often as it may (max_turn_requests)".to_owned(),
        "refusal" => "its model refuses to do this (refusal)".to_owned(),
        "cancelled" => "it was cancelled (cancelled)".to_owned(),
        other => format!("it says `{}`, which nobody here knows", wire::start(other)),
    };
    Err(DriveError::Stopped { why })
}
