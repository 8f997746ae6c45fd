//! What an agent is driven to do, what it may take for it, and why it did not.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What an agent is told, and what it may take for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    /// Its program and arguments.
    pub(crate) command: &'a [OsString],
    pub(crate) prompt: &'a str,
    /// Where it works; absolute.
    pub(crate) directory: &'a Path,
    /// It is to ask before it does something.
    pub(crate) asks: bool,
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
    #[error(
        "the agent speaks version {theirs} of the Agent Client Protocol, which is not version {}",
        super::acp::VERSION
    )]
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
