//! All messages between a shim and its init: one JSON object per packet, some with descriptors.
//!
//! No process of the run can reach the channel, so its content is trusted by both sides.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::exit_record::StepFailure;
use crate::sys::channel;

/// Longest message, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What the shim says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Probe the sandbox from inside; comes with a descriptor for the findings.
    Probe,
    /// Execute a step; comes with descriptors for its output and its errors.
    StartStep { index: u16 },
    /// Kill everything inside.
    KillAll,
    /// Stop everything inside.
    Stop,
    /// Let everything inside go on.
    Continue,
}

/// What init says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The sandbox stands.
    Ready,
    /// It could not be built; init ends.
    SetupFailed { step: String, message: String, hint: String },
    /// The process of a step has ended.
    StepEnded { index: u16, ended: Ended },
    /// Nothing runs inside but init.
    KilledAll,
}

/// How the process of a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    Exited { code: i32 },
    Signalled { signal: i32 },
    NotExecuted { message: String },
}

impl Ended {
    /// The failure that this is, if it is one.
    pub(crate) fn failure(self) -> Option<StepFailure> {
        match self {
            Self::Exited { code: 0 } => None,
            Self::Exited { code } => Some(StepFailure::ExitCode { code }),
            Self::Signalled { signal } => Some(StepFailure::Signal { signal }),
            Self::NotExecuted { message } => Some(StepFailure::Exec { message }),
        }
    }
}

/// Sends `message` without descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &impl Serialize) -> Result<(), Errno> {
    send_with(socket, message, &[])
}

/// Sends `message` with copies of `descriptors`.
pub(crate) fn send_with(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let json = serde_json::to_vec(message).map_err(|_| Errno::EPROTO)?;
    if json.len() > MESSAGE_BYTES_MAX {
        return Err(Errno::EMSGSIZE);
    }
    channel::send(socket, &json, descriptors)
}
