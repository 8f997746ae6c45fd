//! Reads a log while it grows.
//!
//! **Invariant:** a reader never waits and never trusts a length further than the file reaches. A torn last record is
//! the end of the file for now; the same offset can be asked again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{CONTROL_BYTES_MAX, Ending, LOG_START, META_BYTES, NO_STEP, Record, Stream, file_header};

/// Failure to read a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadLogError {
    /// The file cannot be opened.
    #[error("failed to open log `{}`", path.display())]
    Open {
        /// The log file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("failed to read log at byte {offset}")]
    Read {
        /// Where reading failed.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is no log, or of a version that is not known here.
    #[error("`{}` is not a run log of version 1", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// No record starts at the offset, or the file is damaged there.
    #[error("no valid record at byte {offset} of the log")]
    Damaged {
        /// The offset.
        offset: u64,
    },
}

/// A log that is open for reading.
#[derive(Debug)]
pub struct LogReader {
    file: File,
}

impl LogReader {
    /// Opens the log file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened or is not a log. A file shorter than its header is an empty log.
    pub fn open(path: &Path) -> Result<Self, ReadLogError> {
        let open = |source| ReadLogError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(open)?;
        let mut header = [0; LOG_START as usize];
        let got = read_up_to(&file, &mut header, 0)?;
        if header[..got] != file_header()[..got] {
            return Err(ReadLogError::NotALog { path: path.to_owned() });
        }
        Ok(Self { file })
    }

    /// Reads whole records from `offset` on (0 is the start) until about `max_bytes` of them are read; always at least
    /// one if there is one. Returns them with the offset to go on from.
    ///
    /// # Errors
    /// When reading fails, or when no valid record starts at `offset`.
    pub fn read_from(&self, offset: u64, max_bytes: usize) -> Result<(Vec<Record>, u64), ReadLogError> {
        let mut offset = offset.max(LOG_START);
        let window = max_bytes.clamp(4 << 10, 64 << 20);
        // No more than there is: most looks find a few lines.
        let left = self.file.metadata().map_err(|source| ReadLogError::Read { offset, source })?.len();
        let left = usize::try_from(left.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; window.min(left)];
        let got = read_up_to(&self.file, &mut bytes, offset)?;
        bytes.truncate(got);
        let mut records = Vec::new();
        let mut rest: &[u8] = &bytes;
        while let Some((record, used)) = parse(rest, offset)? {
            records.push(record);
            rest = &rest[used..];
            offset += used as u64;
        }
        if records.is_empty() && got == window {
            // The first record is larger than the window: read exactly that one.
            let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
            bytes.resize(4 + length, 0);
            let got = read_up_to(&self.file, &mut bytes, offset)?;
            if let Some((record, used)) = parse(&bytes[..got], offset)? {
                records.push(record);
                offset += used as u64;
            }
        }
        Ok((records, offset))
    }
}

/// Parses the record at the start of `bytes`, which is at `offset` of the file; `None` when it is not whole.
pub(crate) fn parse(bytes: &[u8], offset: u64) -> Result<Option<(Record, usize)>, ReadLogError> {
    let damaged = || ReadLogError::Damaged { offset };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 && bytes.iter().all(|byte| *byte == 0) {
        // What a file system leaves of a write that never reached the disk.
        return Ok(None);
    }
    if !(META_BYTES..=META_BYTES + CONTROL_BYTES_MAX).contains(&length) {
        return Err(damaged());
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let (meta, payload) = body.split_first_chunk::<META_BYTES>().ok_or_else(damaged)?;
    let [stream, ending, step_low, step_high, time @ ..] = *meta;
    let step = u16::from_le_bytes([step_low, step_high]);
    let record = Record {
        offset,
        stream: Stream::from_code(stream).ok_or_else(damaged)?,
        ending: Ending::from_code(ending).ok_or_else(damaged)?,
        step: (step != NO_STEP).then_some(step),
        time_us: u64::from_le_bytes(time),
        payload: payload.to_vec(),
    };
    Ok(Some((record, 4 + length)))
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, ReadLogError> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ReadLogError::Read { offset, source }),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::super::{CHUNK_BYTES_MAX, ControlEvent, LineCutter, LogWriter};
    use super::*;

    /// Feeds `pieces` as stdout of step 0 and returns the log file.
    fn log_of(pieces: &[&[u8]], payload_bytes_max: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut log = LogWriter::create(file.reopen().unwrap().into(), payload_bytes_max).unwrap();
        let mut cutter = LineCutter::new(Stream::Stdout, 0);
        for piece in pieces {
            cutter.feed(piece, 7, &mut log);
        }
        cutter.finish(8, &mut log);
        log.finish().unwrap();
        assert_eq!(log.len(), file.as_file().metadata().unwrap().len());
        file
    }

    fn read_all(path: &Path, max_bytes: usize) -> Vec<Record> {
        let reader = LogReader::open(path).unwrap();
        let mut all = Vec::new();
        let mut offset = 0;
        loop {
            let (mut records, next) = reader.read_from(offset, max_bytes).unwrap();
            if records.is_empty() {
                return all;
            }
            all.append(&mut records);
            offset = next;
        }
    }

    fn bytes_of(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in records.iter().filter(|record| record.stream == Stream::Stdout) {
            bytes.extend_from_slice(&record.payload);
            if record.ending == Ending::Newline {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    #[test]
    fn keeps_every_byte_of_awkward_streams() {
        let long = vec![b'x'; 3 * CHUNK_BYTES_MAX];
        let exact = vec![b'y'; CHUNK_BYTES_MAX];
        let cases: &[&[&[u8]]] = &[
            &[],
            &[b"\n"],
            &[b"a\nb"],
            &[b"a", b"b", b"\n\n", b"c\n"],
            &[b"\x00\xff\x1b[2J\r\n\x03"],
            &[&long],
            &[&long, b"\n"],
            &[&exact, b"\n", &exact],
        ];
        for case in cases {
            let file = log_of(case, u64::MAX);
            for window in [1, 5000, 10 << 20] {
                let records = read_all(file.path(), window);
                assert_eq!(bytes_of(&records), case.concat());
                assert!(records.iter().all(|record| record.payload.len() <= CHUNK_BYTES_MAX));
            }
        }
    }

    #[test]
    fn endings_say_how_a_line_goes_on() {
        let file = log_of(&[b"one\ntwo"], u64::MAX);
        let endings: Vec<_> = read_all(file.path(), 0).iter().map(|record| record.ending).collect();
        assert_eq!(endings, [Ending::Newline, Ending::NoNewline]);
    }

    #[test]
    fn the_limit_drops_payload_and_says_so_once() {
        let file = log_of(&[b"aaaa\nbbbb\ncccc\n"], 9);
        let records = read_all(file.path(), 0);
        assert_eq!(bytes_of(&records), b"aaaa\n");
        let events: Vec<_> = records.iter().filter_map(Record::control).collect();
        assert_eq!(events, [ControlEvent::Truncated { limit_bytes: 9 }]);
    }

    #[test]
    fn torn_tails_are_the_end_for_now() {
        let whole = std::fs::read(log_of(&[b"first\nsecond\n"], u64::MAX).path()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for cut in 0..whole.len() {
            std::fs::write(file.path(), &whole[..cut]).unwrap();
            assert!(read_all(file.path(), 0).len() < 2);
        }
        std::fs::write(file.path(), [&whole[..], &[0; 64]].concat()).unwrap();
        assert_eq!(read_all(file.path(), 0).len(), 2);
    }

    #[test]
    fn other_files_and_wrong_offsets_are_errors() {
        let file = log_of(&[b"0123456789\n"], u64::MAX);
        assert!(matches!(
            LogReader::open(file.path()).unwrap().read_from(LOG_START + 1, 100),
            Err(ReadLogError::Damaged { .. })
        ));
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert!(matches!(LogReader::open(file.path()), Err(ReadLogError::NotALog { .. })));
    }
}
