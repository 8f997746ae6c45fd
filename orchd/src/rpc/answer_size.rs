//! How large an answer is on the wire: one that does not fit into a frame is an error and not a lost connection.

use std::io::{self, Write};

use orch_proto::wire::FRAME_BYTES_MAX;
use orch_proto::{ErrorCode, RpcError};
use serde::Serialize;

/// Room in a frame for what goes around an answer.
const AROUND_BYTES: usize = 4 << 10;

/// Bytes of the answer in JSON, if there are at most `bytes_max`.
pub(super) fn within(answer: &impl Serialize, bytes_max: usize) -> Option<usize> {
    let mut left = Left(bytes_max);
    serde_json::to_writer(&mut left, answer).ok()?;
    Some(bytes_max - left.0)
}

/// The answer, if it can be sent.
///
/// # Errors
/// `E_TOO_LARGE`.
pub(super) fn checked<T: Serialize>(answer: T) -> Result<T, RpcError> {
    match within(&answer, FRAME_BYTES_MAX - AROUND_BYTES) {
        Some(_) => Ok(answer),
        None => {
            Err(RpcError::new(ErrorCode::TooLarge, format!("the answer has more than {} MiB", FRAME_BYTES_MAX >> 20))
                .hint("ask for less at once, or for a part of it"))
        }
    }
}

/// Counts down, and keeps nothing.
struct Left(usize);

impl Write for Left {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_large_as_its_json() {
        assert_eq!(within(&["a", "\u{1}"], 14), Some(14));
        assert_eq!(within(&["a", "\u{1}"], 13), None);
        checked("x".repeat(FRAME_BYTES_MAX / 2)).unwrap();
        assert_eq!(checked("x".repeat(FRAME_BYTES_MAX)).unwrap_err().code, ErrorCode::TooLarge);
    }
}
