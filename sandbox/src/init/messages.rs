//! All messages between a shim, its init and the first process inside: one JSON object per packet, some with descriptors.
//!
//! No process of the run can reach the channels, so their content is trusted by all sides.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::exit_record::StepFailure;
use crate::level::Guarantee;
use crate::sys::channel;

/// Longest message, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What the shim says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// The sandbox is for this run from now on: attach what belongs to it and let the first step go. Comes with the
    /// descriptor of the secrets, if any is a file, and those of the run's directories, unless init was told to open them
    /// itself.
    Claim {
        /// Host name inside.
        name: String,
        /// Names of the secrets that are files inside.
        secret_files: Vec<String>,
        /// What is known outside of the limits of the whole run, when the required level depends on it.
        limits: Vec<Guarantee>,
        /// Whether descriptors of the temporary file systems are wanted, to watch their use.
        lend_tmpfs: bool,
    },
    /// Execute a step but the first; comes with descriptors for its output and its errors.
    StartStep { index: u16 },
    /// Kill everything inside.
    KillAll,
    /// Stop everything inside, and say whether all of it stands still.
    Stop,
    /// Let everything inside go on.
    Continue,
}

/// What init and the first process inside say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The sandbox could not be built; init ends.
    SetupFailed { step: String, message: String, hint: String },
    /// The listeners of the run come with this, in the order of the spec.
    Listening,
    /// What the first process found when it was confined, but for landlock.
    Probed { guarantees: Vec<Guarantee> },
    /// The first process is about to execute the program of the first step.
    Executing {
        /// The last finding.
        landlock: Guarantee,
        /// When, on the monotonic clock, in nanoseconds.
        at_ns: u64,
    },
    /// A descriptor of each temporary file system comes with this.
    Lent,
    /// The first process does not execute its program, because the sandbox holds less than is required.
    Refused { landlock: Guarantee },
    /// The process of a step has ended.
    StepEnded {
        index: u16,
        ended: Ended,
        /// Whether nothing runs inside any more but init: every process of the run is its descendant, and it has none.
        alone: bool,
    },
    /// Nothing runs inside but init.
    KilledAll,
    /// The answer to each request to stop.
    Stopped {
        /// Whether everything inside was seen to stand still. If not it is on its way, or wakes itself, and can be stopped again.
        all: bool,
    },
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
