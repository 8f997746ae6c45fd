//! Questions to people, from a run: asked once by their key, waited for as long as it takes.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use orch_proto::channel::{Answered, ApprovalAnswer, InfoAnswer, ToolAnswer, Verb, WAIT_MS_MAX};
use orch_proto::{ErrorCode, RpcError};

use super::client::{Channel, Wanted};

/// Wait before a question is asked again that could not be.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a daemon that is away is waited for, to take a question back.
const WITHDRAW_MAX: Duration = Duration::from_secs(60);
/// How long a question may be on its way to the record when it is taken back.
const UNKNOWN_MAX: Duration = Duration::from_secs(3);
/// Wait before that is tried again.
const WITHDRAW_AGAIN: Duration = Duration::from_millis(200);

/// What a question came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Values by the names of the fields; of a secret the file that has it.
    Answered(BTreeMap<String, String>),
    Granted,
    /// The tool is there, under this path.
    Here {
        path: String,
    },
    /// The next attempt has the tool.
    NextAttempt,
    /// Nobody decided, or somebody decided against it: the state, and why.
    Without {
        state: &'static str,
        reason: String,
    },
    /// It waits on, and the caller does not.
    Waiting,
    /// Nobody wanted the answer any more, and the question was taken back.
    Withdrawn,
}

/// How long somebody waits for an answer: so long where that is said, and as long as it is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    pub(crate) at_most: Option<Duration>,
    pub(crate) wanted: Wanted,
}

/// Where values of secrets go: a place that vanishes with the run.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    home: PathBuf,
}

impl Secrets {
    /// Below the home of the run.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn of_run(env: impl Fn(&str) -> Option<String>) -> Result<Self, RpcError> {
        let home = env("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| RpcError::new(ErrorCode::Invalid, "`HOME` names no directory for secrets"))?;
        Ok(Self { home })
    }

    /// Writes a value for this user alone; the file that has it.
    fn put(&self, key: &str, name: &str, value: &str) -> io::Result<String> {
        let place = self.home.join(".orch").join(key);
        DirBuilder::new().recursive(true).mode(0o700).create(&place)?;
        let path = place.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(value.as_bytes())?;
        Ok(path.display().to_string())
    }
}

/// Asks for information and waits. What is not wanted any more is taken back.
///
/// # Errors
/// When it is refused.
pub(crate) fn request_info(
    channel: &mut Channel,
    question: &Verb,
    secrets: &Secrets,
    patience: &Patience,
) -> Result<Outcome, RpcError> {
    let Verb::RequestInfo { key, .. } = question else { return Err(wrong()) };
    loop_until(channel, question, patience, |channel, answered| {
        let Answered::Info { state, .. } = answered else { return Err(wrong()) };
        Ok(Some(match state {
            InfoAnswer::Pending => return Ok(None),
            InfoAnswer::Expired => without("expired", "nobody answered in time"),
            InfoAnswer::Cancelled { reason } => without("cancelled", &reason),
            InfoAnswer::Answered { mut values, secrets: given } => {
                for (name, value) in given {
                    let path = secrets.put(key, &name, &value).map_err(|error| {
                        RpcError::new(ErrorCode::Storage, format!("the secret `{name}` cannot be written: {error}"))
                    })?;
                    values.insert(name, path);
                }
                channel.call(&Verb::TakeInfo { key: key.clone() })?;
                Outcome::Answered(values)
            }
        }))
    })
}

/// Asks to be allowed something and waits likewise.
///
/// # Errors
/// When it is refused.
pub(crate) fn await_approval(channel: &mut Channel, question: &Verb, patience: &Patience) -> Result<Outcome, RpcError> {
    loop_until(channel, question, patience, |_, answered| {
        let Answered::Approval { state, .. } = answered else { return Err(wrong()) };
        Ok(Some(match state {
            ApprovalAnswer::Pending => return Ok(None),
            ApprovalAnswer::Granted => Outcome::Granted,
            ApprovalAnswer::Denied { reason } => without("denied", &reason),
            ApprovalAnswer::Expired => without("expired", "nobody decided in time"),
            ApprovalAnswer::Void { reason } => without("withdrawn", &reason),
        }))
    })
}

/// Asks for a tool and waits likewise.
///
/// # Errors
/// When it is refused, as one that cannot be had.
pub(crate) fn request_tool(channel: &mut Channel, question: &Verb, patience: &Patience) -> Result<Outcome, RpcError> {
    loop_until(channel, question, patience, |_, answered| {
        let Answered::Tool { state } = answered else { return Err(wrong()) };
        Ok(Some(match state {
            ToolAnswer::Here { path } => Outcome::Here { path },
            ToolAnswer::Pending => return Ok(None),
            ToolAnswer::Granted => Outcome::NextAttempt,
            ToolAnswer::Denied { reason } => without("denied", &reason),
            ToolAnswer::Expired => without("expired", "nobody decided in time"),
            ToolAnswer::Void { reason } => without("withdrawn", &reason),
        }))
    })
}

fn loop_until(
    channel: &mut Channel,
    question: &Verb,
    patience: &Patience,
    judge: impl Fn(&mut Channel, Answered) -> Result<Option<Outcome>, RpcError>,
) -> Result<Outcome, RpcError> {
    let until = patience.at_most.map(|at_most| Instant::now() + at_most);
    let mut asking = channel.while_wanted(&patience.wanted);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match asking.once(&held(question, left)) {
            Ok(answered) => {
                if let Some(outcome) = judge(channel, answered)? {
                    return Ok(outcome);
                }
            }
            Err(_) if patience.wanted.is_over() => {}
            Err(error) if error.code.retryable() == Some(true) => std::thread::park_timeout(AGAIN),
            Err(error) => return Err(error),
        }
        if patience.wanted.is_over() {
            withdraw(channel, question);
            return Ok(Outcome::Withdrawn);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Outcome::Waiting);
        }
    }
}

/// Takes a question back. A daemon that is away is waited for, but not for ever.
fn withdraw(channel: &Channel, question: &Verb) {
    let verb = match question {
        Verb::RequestInfo { key, .. } => Verb::Withdraw { key: key.clone(), action: None, details: Vec::new() },
        Verb::AwaitApproval { key, action, details, .. } => {
            Verb::Withdraw { key: key.clone(), action: Some(action.clone()), details: details.clone() }
        }
        Verb::RequestTool { name, .. } => Verb::WithdrawTool { name: name.clone() },
        _ => return,
    };
    let (mut channel, begun) = (channel.another(), Instant::now());
    while let Err(error) = channel.once(&verb) {
        let most = match error.code {
            ErrorCode::NotFound => UNKNOWN_MAX,
            code if code.retryable() == Some(true) => WITHDRAW_MAX,
            _ => return,
        };
        if begun.elapsed() >= most {
            return;
        }
        std::thread::park_timeout(WITHDRAW_AGAIN);
    }
}

/// The question, held as long as there is time.
fn held(question: &Verb, left: Option<Duration>) -> Verb {
    let most = left.and_then(|left| u32::try_from(left.as_millis()).ok()).map_or(WAIT_MS_MAX, |ms| ms.min(WAIT_MS_MAX));
    let mut question = question.clone();
    if let Verb::RequestInfo { wait_ms, .. } | Verb::AwaitApproval { wait_ms, .. } | Verb::RequestTool { wait_ms, .. } =
        &mut question
    {
        *wait_ms = most;
    }
    question
}

fn without(state: &'static str, reason: &str) -> Outcome {
    Outcome::Without { state, reason: reason.to_owned() }
}

fn wrong() -> RpcError {
    RpcError::new(ErrorCode::Internal, "the daemon answered another question")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_a_file_for_one_user() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets { home: home.path().to_owned() };
        for value in ["first-value", "second"] {
            let path = secrets.put("k", "token", value).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), value);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
