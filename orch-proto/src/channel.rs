//! The channel of a run: what a program in a sandbox can ask of the daemon, and how.
//!
//! The daemon serves a listener on the run's own loopback, whose address is in [`VARIABLE`]. The listener is the identity:
//! no call names a run, and none can. Frames are a length of four bytes, big-endian, and as many bytes; a call and its answer
//! are JSON, one after the other on a connection. The content of a file follows its call in frames of its own, the last one
//! empty. A call can be sent again at any time: what asks for something has a `key` that makes it the same call.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::error::RpcError;
use crate::view::FieldSpec;

/// Version of what is said here. The daemon refuses others by name.
pub const CHANNEL_VERSION: u32 = 1;
/// Variable with the address, as `127.0.0.1:4142`.
pub const VARIABLE: &str = "ORCH_CHANNEL";
/// Largest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 256 << 10;
/// Longest time for which an answer is held, in milliseconds.
pub const WAIT_MS_MAX: u32 = 20_000;
/// Largest file that can be handed in, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// How long a question waits where nothing is said, in milliseconds: a day.
pub const EXPIRES_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub version: u32,
    #[serde(flatten)]
    pub verb: Verb,
}

/// What a run can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// Says how far the run is. The newest counts; those between may be left out.
    Progress {
        /// 0 to 100.
        percent: Option<u8>,
        #[serde(default)]
        text: String,
    },
    /// Puts a remark on the run's record.
    Note { text: String },
    /// Hands in a file, whose content follows.
    Artifact {
        /// Under which name it is kept: relative, without `.` and `..`.
        path: String,
        size_bytes: u64,
    },
    /// Says what the result of the run is checked with: it can do the same before it is done.
    Tests,
    /// Asks a person for what the run does not know. Answered as soon as there is an answer, or after `wait_ms`.
    RequestInfo {
        key: String,
        text: String,
        fields: Vec<FieldSpec>,
        expires_ms: u64,
        #[serde(default)]
        wait_ms: u32,
    },
    /// The answer has arrived: secrets in it are not given again.
    TakeInfo { key: String },
    /// Nobody in the run waits for the answer to a question any more: it is not asked any more. A permission is known by its action and
    /// details, too.
    Withdraw {
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        details: Vec<String>,
    },
    /// Asks a person to allow an action. Answered as soon as that is decided, or after `wait_ms`.
    AwaitApproval {
        key: String,
        action: String,
        #[serde(default)]
        details: Vec<String>,
        expires_ms: u64,
        #[serde(default)]
        wait_ms: u32,
    },
    /// Asks for what people say to the agent of the run, of higher numbers than this. Answered as soon as there is something, or
    /// after `wait_ms`.
    TakeMessages {
        after: u32,
        #[serde(default)]
        wait_ms: u32,
    },
    /// The agent was told the message of this number.
    MessageTold { number: u32 },
    /// What the agent answered to the message of this number, once it was told it: the first of what it said.
    Replied { number: u32, text: String },
    /// Under which words the work of the run is to be proposed: a line, and why. The newest count.
    ProposeChange {
        title: String,
        #[serde(default)]
        body: String,
    },
    /// Asks for a program that the run may not have. Answered at once when it is there or cannot be had, otherwise as soon as a
    /// person has decided, or after `wait_ms`.
    RequestTool {
        name: String,
        /// What it is for.
        reason: String,
        expires_ms: u64,
        #[serde(default)]
        wait_ms: u32,
    },
    /// Nobody in the run waits any more for the decision about the tool of this name.
    WithdrawTool { name: String },
}

/// What a person says to the agent of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Grows with each message to the same task.
    pub number: u32,
    /// Who says it.
    pub from: String,
    pub text: String,
}

/// An answer, or why there is none.
pub type Answer = Result<Answered, RpcError>;

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Answered {
    Done,
    /// The content of a file may follow.
    Continue,
    /// The file is kept under this SHA-256, in hex.
    Kept {
        digest: String,
    },
    Tests {
        /// Where the checks are done, inside the run.
        workspace: String,
        checks: Vec<Check>,
    },
    Info {
        name: String,
        state: InfoAnswer,
    },
    Approval {
        name: String,
        state: ApprovalAnswer,
    },
    /// In the order of their numbers.
    Messages {
        messages: Vec<Said>,
    },
    Tool {
        state: ToolAnswer,
    },
}

/// One thing that the result of a run is checked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// Text for a shell.
    pub run: String,
    /// Below the workspace.
    pub cwd: String,
    pub timeout_ms: u64,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// How far a question is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InfoAnswer {
    Pending,
    Answered {
        values: BTreeMap<String, String>,
        /// Values of secrets, until they were taken.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        secrets: BTreeMap<String, String>,
    },
    Expired,
    Cancelled {
        reason: String,
    },
}

/// Values of secrets are not shown.
impl std::fmt::Debug for InfoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pending => f.write_str("Pending"),
            Self::Answered { values, secrets } => {
                write!(f, "Answered({values:?}, {} secrets)", secrets.len())
            }
            Self::Expired => f.write_str("Expired"),
            Self::Cancelled { reason } => write!(f, "Cancelled({reason})"),
        }
    }
}

/// How far the permission for an action is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ApprovalAnswer {
    Pending,
    Granted,
    Denied {
        reason: String,
    },
    Expired,
    /// It was withdrawn.
    Void {
        reason: String,
    },
}

/// How far it is that a run gets a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ToolAnswer {
    /// It is there, under this path inside the run.
    Here {
        path: String,
    },
    Pending,
    /// The next attempt has it. What a run that is under way has stays as it is.
    Granted,
    Denied {
        reason: String,
    },
    Expired,
    /// It was withdrawn.
    Void {
        reason: String,
    },
}

/// Writes a frame.
///
/// # Errors
/// When it cannot be written, or is too large.
pub fn write_frame(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    to.write_all(&head(frame)?)?;
    to.write_all(frame)
}

/// The length that stands before a frame.
///
/// # Errors
/// When it is too large.
pub fn head(frame: &[u8]) -> io::Result<[u8; 4]> {
    match u32::try_from(frame.len()) {
        Ok(len) if frame.len() <= FRAME_BYTES_MAX => Ok(len.to_be_bytes()),
        Ok(_) | Err(_) => Err(too_large(frame.len())),
    }
}

/// Reads a frame.
///
/// # Errors
/// When the other side is gone, or its frame is too large.
pub fn read_frame(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut frame = vec![0; length(head)?];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// The length that a head says.
///
/// # Errors
/// When it is too large.
pub fn length(head: [u8; 4]) -> io::Result<usize> {
    match usize::try_from(u32::from_be_bytes(head)) {
        Ok(len) if len <= FRAME_BYTES_MAX => Ok(len),
        Ok(len) => Err(too_large(len)),
        Err(_) => Err(too_large(usize::MAX)),
    }
}

fn too_large(len: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {len} bytes; {FRAME_BYTES_MAX} are accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::view::FieldKind;

    fn again<T: Serialize + serde::de::DeserializeOwned>(it: &T) -> T {
        let mut wire = Vec::new();
        write_frame(&mut wire, &serde_json::to_vec(it).unwrap()).unwrap();
        serde_json::from_slice(&read_frame(&mut wire.as_slice()).unwrap()).unwrap()
    }

    #[test]
    fn every_verb_and_answer_survives_the_wire() {
        let field =
            FieldSpec { name: "token".into(), label: "A token".into(), kind: FieldKind::Secret, required: false };
        let verbs = [
            Verb::Progress { percent: Some(7), text: "half".into() },
            Verb::Note { text: "n".into() },
            Verb::Artifact { path: "a/b".into(), size_bytes: 3 },
            Verb::RequestInfo { key: "k".into(), text: "t".into(), fields: vec![field], expires_ms: 1, wait_ms: 2 },
            Verb::Tests,
            Verb::TakeInfo { key: "k".into() },
            Verb::Withdraw { key: "k".into(), action: None, details: vec![] },
            Verb::Withdraw { key: "k".into(), action: Some("a".into()), details: vec!["d".into()] },
            Verb::AwaitApproval { key: "k".into(), action: "a".into(), details: vec![], expires_ms: 1, wait_ms: 2 },
            Verb::TakeMessages { after: 3, wait_ms: 2 },
            Verb::MessageTold { number: 4 },
            Verb::Replied { number: 4, text: "yes".into() },
            Verb::ProposeChange { title: "t".into(), body: "b\nc".into() },
            Verb::RequestTool { name: "go".into(), reason: "r".into(), expires_ms: 1, wait_ms: 2 },
            Verb::WithdrawTool { name: "go".into() },
        ];
        for verb in verbs {
            let call = Call { version: CHANNEL_VERSION, verb };
            assert_eq!(again(&call), call);
        }
        let secrets = BTreeMap::from([("token".to_owned(), "hunter2-hunter2".to_owned())]);
        let answered = InfoAnswer::Answered { values: BTreeMap::new(), secrets };
        assert!(!format!("{answered:?}").contains("hunter2"));
        for answer in [
            Ok(Answered::Done),
            Ok(Answered::Continue),
            Ok(Answered::Kept { digest: "d".into() }),
            Ok(Answered::Tests {
                workspace: "/work".into(),
                checks: vec![Check {
                    name: "test".into(),
                    run: "make".into(),
                    cwd: ".".into(),
                    timeout_ms: 1,
                    env: BTreeMap::from([("A".into(), "b".into())]),
                }],
            }),
            Ok(Answered::Info { name: "shop/I-1".into(), state: answered }),
            Ok(Answered::Info { name: "shop/I-1".into(), state: InfoAnswer::Cancelled { reason: "no".into() } }),
            Ok(Answered::Approval { name: "A-1".into(), state: ApprovalAnswer::Denied { reason: "no".into() } }),
            Ok(Answered::Messages { messages: vec![Said { number: 4, from: "ada".into(), text: "t".into() }] }),
            Ok(Answered::Tool { state: ToolAnswer::Here { path: "/usr/bin/make".into() } }),
            Ok(Answered::Tool { state: ToolAnswer::Granted }),
            Err(RpcError::new(ErrorCode::TooLarge, "no")),
        ] {
            let answer: Answer = answer;
            assert_eq!(again(&answer), answer);
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_is_read() {
        assert!(read_frame(&mut u32::MAX.to_be_bytes().as_slice()).is_err());
        assert!(write_frame(&mut Vec::new(), &vec![0; FRAME_BYTES_MAX + 1]).is_err());
        assert_eq!(read_frame(&mut [0, 0, 0, 2, 1].as_slice()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
