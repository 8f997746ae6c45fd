//! What an agent is driven to do, what it may take for it, and why it did not.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

/// What agent programs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// The Agent Client Protocol, version 1
    Acp,
    /// `claude` with stream-json each way
    Claude,
    /// `codex app-server`
    Codex,
}

/// What an agent is told, and what it may take for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) protocol: Protocol,
    /// Its program and arguments.
    pub(crate) command: &'a [OsString],
    pub(crate) prompt: &'a str,
    /// Where it works; absolute.
    pub(crate) directory: &'a Path,
    /// It is to ask before it does something.
    pub(crate) asks: bool,
    /// The tools of the run's channel, for a program that is told of them in the conversation.
    pub(crate) tools: Option<&'a Tools>,
    pub(crate) bounds: Bounds,
    /// The session that it goes on with; none: it begins one.
    pub(crate) resume: Option<Resume<'a>>,
}

/// A session of an earlier attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume<'a> {
    /// How the program names it.
    pub(crate) session: &'a str,
    /// Which attempt this is: what is said in it is none of what was said in those before.
    pub(crate) attempt: u32,
}

/// How the tools of the run's channel are started.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The program `orchctl`, as it is found in the run.
    pub(crate) program: String,
    /// Where the channel is.
    pub(crate) address: String,
}

/// What an agent may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Longest line that is held, in bytes; a longer one is printed while it comes, and read abridged.
    pub(crate) line_bytes_max: usize,
    /// How long it may think before it has a session. Its work is bounded by its run.
    pub(crate) start: Duration,
    /// How long it may take to take up what it was told, when it is done with all else.
    pub(crate) heed: Duration,
    /// How long it may take to end.
    pub(crate) end: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let (start, heed, end) = (Duration::from_secs(60), Duration::from_secs(10), Duration::from_secs(3));
        Self { line_bytes_max: 10 << 20, start, heed, end }
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
    #[error(
        "the agent speaks version {theirs} of the Agent Client Protocol, which is not version {}",
        super::acp::VERSION
    )]
    Version { theirs: String },
    #[error("the agent cannot go on with a session of an earlier attempt")]
    NoResume,
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
                Some("see that the program of `[agents.NAME]` speaks the protocol of its kind, with its `arguments`")
            }
            Self::Ended { .. } => Some("what it said on its standard error is above"),
            Self::Login { .. } => {
                Some("have it use the gateway and `{key}`, by `environment` and `files` of `[agents.NAME]`")
            }
            Self::Version { .. } => Some("use a release of the agent that speaks it"),
            _ => None,
        }
    }

    /// An answer that is not what the protocol says.
    pub(super) fn not_as_said(method: &'static str, answer: &str) -> Self {
        Self::Answer { method, answer: super::rpc::start(answer) }
    }
}
