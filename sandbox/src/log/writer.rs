//! Writes the log: cuts streams into lines, frames them, and keeps the file under its limit.
//!
//! Knows no process and no descriptor of a step; the shim feeds it bytes. **Invariant:** control records are written
//! whatever the limit says. **Invariant:** the file stays below [`FRAMED_MAX`] times the limit but for them. **Invariant:** a record reaches the file whole or, when the disk is full, is counted as
//! dropped and the file is cut back to the last whole record.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use super::{CHUNK_BYTES_MAX, CONTROL_BYTES_MAX, ControlEvent, Ending, META_BYTES, NO_STEP, Stream, file_header};

/// Most bytes of the file for each byte of output that is kept: short lines take more space for their frames than for
/// what they say.
const FRAMED_MAX: u64 = 4;

/// Room for what is written at once of a run that says little. It grows with what there is to write.
const PENDING_BYTES: usize = 2 << 10;

/// Failure to write the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteLogError {
    #[error("failed to write the log")]
    Write(#[source] io::Error),
    #[error("failed to cut a torn record off the log")]
    CutBack(#[source] io::Error),
    #[error("failed to sync the log")]
    Sync(#[source] io::Error),
}

/// The open log of one run.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: File,
    len: u64,
    payload_bytes: u64,
    payload_bytes_max: u64,
    dropped_bytes: u64,
    pending: Vec<u8>,
}

impl LogWriter {
    /// Starts an empty log in `file`, keeping at most `payload_bytes_max` bytes of output.
    pub(crate) fn create(file: OwnedFd, payload_bytes_max: u64) -> Result<Self, WriteLogError> {
        let mut file = File::from(file);
        file.write_all(&file_header()).map_err(WriteLogError::Write)?;
        Ok(Self {
            file,
            len: super::LOG_START,
            payload_bytes: 0,
            payload_bytes_max,
            dropped_bytes: 0,
            pending: Vec::with_capacity(PENDING_BYTES),
        })
    }

    /// Size of the file with what is not flushed yet, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len + self.pending.len() as u64
    }

    /// Payload dropped so far, in bytes.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Appends one piece of a stream, or counts it as dropped once the limit is reached.
    pub(crate) fn payload(&mut self, origin: Origin, ending: Ending, time_us: u64, payload: &[u8]) {
        debug_assert!(payload.len() <= CHUNK_BYTES_MAX, "{} > {CHUNK_BYTES_MAX}", payload.len());
        let bytes = payload.len() as u64 + u64::from(ending == Ending::Newline);
        let too_much = self.payload_bytes + bytes > self.payload_bytes_max
            || self.len() + payload.len() as u64 > self.payload_bytes_max.saturating_mul(FRAMED_MAX);
        if self.dropped_bytes > 0 || too_much {
            if self.dropped_bytes == 0 && bytes > 0 {
                self.control(time_us, &ControlEvent::Truncated { limit_bytes: self.payload_bytes_max });
            }
            self.dropped_bytes += bytes;
            return;
        }
        self.payload_bytes += bytes;
        self.frame(origin, ending, time_us, payload);
    }

    /// Appends a control record.
    pub(crate) fn control(&mut self, time_us: u64, event: &ControlEvent) {
        let json = serde_json::to_vec(event).expect("control events have string keys only and no custom serializer");
        assert!(json.len() <= CONTROL_BYTES_MAX, "control record of {} bytes", json.len());
        self.frame(Origin { stream: Stream::Control, step: NO_STEP }, Ending::Newline, time_us, &json);
    }

    /// Writes what is pending to the file.
    ///
    /// A full disk is no error: the pending records are dropped and counted, and the file ends with a whole record.
    pub(crate) fn flush(&mut self) -> Result<(), WriteLogError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending_bytes = self.pending.len() as u64;
        match self.file.write_all(&self.pending) {
            Ok(()) => self.len += pending_bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                self.dropped_bytes += pending_bytes;
                self.file.set_len(self.len).map_err(WriteLogError::CutBack)?;
            }
            Err(error) => return Err(WriteLogError::Write(error)),
        }
        self.pending.clear();
        Ok(())
    }

    /// Flushes and makes the log durable.
    pub(crate) fn finish(&mut self) -> Result<(), WriteLogError> {
        self.flush()?;
        match self.file.sync_all() {
            // The log of a run that nobody keeps goes to a device, which has nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced.map_err(WriteLogError::Sync),
        }
    }

    fn frame(&mut self, origin: Origin, ending: Ending, time_us: u64, payload: &[u8]) {
        let length = u32::try_from(META_BYTES + payload.len()).expect("payloads are bounded by a constant");
        self.pending.extend_from_slice(&length.to_le_bytes());
        self.pending.extend_from_slice(&[origin.stream.code(), ending.code()]);
        self.pending.extend_from_slice(&origin.step.to_le_bytes());
        self.pending.extend_from_slice(&time_us.to_le_bytes());
        self.pending.extend_from_slice(payload);
    }
}

/// Which stream of which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) stream: Stream,
    pub(crate) step: u16,
}

/// Cuts the bytes of one stream into records.
#[derive(Debug)]
pub(crate) struct LineCutter {
    origin: Origin,
    line: Vec<u8>,
    /// Whether the last record of this stream was [`Ending::Continues`].
    open: bool,
}

impl LineCutter {
    /// A cutter for one stream of the step with index `step`.
    pub(crate) fn new(stream: Stream, step: u16) -> Self {
        Self { origin: Origin { stream, step }, line: Vec::new(), open: false }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], time_us: u64, log: &mut LogWriter) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            self.extend(head, time_us, log);
            log.payload(self.origin, Ending::Newline, time_us, &self.line);
            self.line.clear();
            self.open = false;
            bytes = &rest[1..];
        }
        self.extend(bytes, time_us, log);
    }

    /// Whether a part of a line waits for its end.
    pub(crate) fn has_partial(&self) -> bool {
        !self.line.is_empty()
    }

    /// Gives out the incomplete line, so that a reader sees prompts and progress.
    pub(crate) fn flush_partial(&mut self, time_us: u64, log: &mut LogWriter) {
        if !self.line.is_empty() {
            log.payload(self.origin, Ending::Continues, time_us, &self.line);
            self.line.clear();
            self.open = true;
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self, time_us: u64, log: &mut LogWriter) {
        if self.open || !self.line.is_empty() {
            log.payload(self.origin, Ending::NoNewline, time_us, &self.line);
            self.line.clear();
        }
    }

    fn extend(&mut self, mut bytes: &[u8], time_us: u64, log: &mut LogWriter) {
        while self.line.len() + bytes.len() > CHUNK_BYTES_MAX {
            let (head, rest) = bytes.split_at(CHUNK_BYTES_MAX - self.line.len());
            self.line.extend_from_slice(head);
            bytes = rest;
            self.flush_partial(time_us, log);
        }
        self.line.extend_from_slice(bytes);
    }
}
