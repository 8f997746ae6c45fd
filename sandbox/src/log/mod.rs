//! The log of a run: one append-only file that keeps every byte of every stream, with step and time per line.
//!
//! ```text
//! file   = magic "ORSBLOG\n" | version: u32 | reserved: u32 | record*          all numbers little-endian
//! record = length: u32 of what follows | stream: u8 | flags: u8 | step: u16 | time: u64 unix us | payload
//! ```
//!
//! A line is one record without its newline. A line longer than [`CHUNK_BYTES_MAX`], or one that stays incomplete for
//! a while, is cut: all its records but the last carry [`Ending::Continues`]. The last piece of a stream that did not
//! end with a newline carries [`Ending::NoNewline`]. So `payload + ending` of all records of a stream, in order, are
//! its bytes. **Invariant:** only the shim writes [`Stream::Control`] records; a payload is behind a length and cannot
//! forge one. **Invariant:** a record is never changed; a torn last one is ignored by the reader.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};

#[cfg(feature = "fuzzing")]
pub(crate) use reader::parse;
pub use reader::{LogReader, ReadLogError};
pub(crate) use writer::{LineCutter, LogWriter, WriteLogError};

use crate::egress::EgressRecord;
use crate::exit_record::StepStatus;
use crate::level::LevelReport;
use crate::limit::Excess;

/// Longest payload of one record, in bytes.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Longest payload of a control record, in bytes.
pub(crate) const CONTROL_BYTES_MAX: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"ORSBLOG\n";
const VERSION: u32 = 1;
/// Offset of the first record.
pub const LOG_START: u64 = 16;
/// Bytes of a record between its length and its payload.
const META_BYTES: usize = 12;
/// `step` of a record that belongs to no step.
const NO_STEP: u16 = u16::MAX;

/// Where a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output of a step.
    Stdout,
    /// Standard error of a step.
    Stderr,
    /// The shim itself; the payload is a [`ControlEvent`] as JSON.
    Control,
}

/// How the payload of a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With a newline, which the payload does not contain.
    Newline,
    /// In the middle of a line; the next record of the same stream and step goes on.
    Continues,
    /// With the end of the stream, without a newline.
    NoNewline,
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Offset of this record in the file, in bytes: a stable cursor.
    pub offset: u64,
    /// Where it comes from.
    pub stream: Stream,
    /// How its payload ends.
    pub ending: Ending,
    /// Index of the step in the spec; `None` for records about the whole run.
    pub step: Option<u16>,
    /// When the shim read it, Unix time in microseconds.
    pub time_us: u64,
    /// The bytes, exactly as the step wrote them.
    pub payload: Vec<u8>,
}

impl Record {
    /// The event of a control record; `None` for a record of a step's output and for an event that is not known here.
    pub fn control(&self) -> Option<ControlEvent> {
        (self.stream == Stream::Control).then(|| serde_json::from_slice(&self.payload).ok()).flatten()
    }
}

/// What the shim says in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlEvent {
    /// The probes inside the sandbox have run.
    Level {
        /// What they found.
        report: LevelReport,
    },
    /// A step was started.
    StepStarted {
        /// Its index in the spec.
        index: u16,
        /// Its name.
        name: String,
    },
    /// A step's process ended.
    StepFinished {
        /// Its index in the spec.
        index: u16,
        /// Its name.
        name: String,
        /// How it ended.
        status: StepStatus,
    },
    /// Payload is dropped from here on, because `log_bytes_max` is reached.
    Truncated {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// All processes of the run were seen to stand still, as was asked some time before: since then its timers do. A run that
    /// goes on before that was seen says neither this nor that it goes on.
    Paused,
    /// They go on. Of those that are killed that is not said.
    Resumed,
    /// The run used more than a limit of the whole run allows; it is being killed.
    LimitExceeded {
        /// Which limit, its bound and what was found.
        excess: Excess,
    },
    /// The running step was silent for too long; it is being killed.
    Silent {
        /// For how long it may be, in milliseconds.
        idle_ms: u64,
    },
    /// Somebody cancelled the run.
    CancelRequested,
    /// The run asked for something on the network.
    Egress {
        /// What it asked for, and what became of it.
        record: EgressRecord,
        /// How often since the last event like this; the bytes in the record are of all of them.
        count: u64,
    },
    /// Records about the network that are left out because there were too many.
    EgressUnrecorded {
        /// How many.
        count: u64,
    },
    /// The proxy of the run died; its connections are gone.
    EgressProxyEnded {
        /// Whether another one took its place. If not, the run reaches nothing any more.
        replaced: bool,
    },
    /// The run was ended because it may not be the one any more; there is no record of it.
    LeaseLost {
        /// What was found.
        reason: String,
    },
    /// The run is over.
    Finished {
        /// Payload that was dropped, in bytes.
        dropped_bytes: u64,
    },
}

impl Stream {
    fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::Control => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::Control),
            _ => None,
        }
    }
}

impl Ending {
    fn code(self) -> u8 {
        match self {
            Self::Newline => 0,
            Self::Continues => 1,
            Self::NoNewline => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Newline),
            1 => Some(Self::Continues),
            2 => Some(Self::NoNewline),
            _ => None,
        }
    }
}

/// The fixed start of a log file.
fn file_header() -> [u8; 16] {
    let mut header = [0; 16];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}
