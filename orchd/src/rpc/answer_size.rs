//! How large a part of an answer is on the wire.

use std::io::{self, Write};

use serde::Serialize;

/// Bytes of the answer in JSON, if there are at most `bytes_max`.
pub(super) fn within(answer: &impl Serialize, bytes_max: usize) -> Option<usize> {
    let mut left = Left(bytes_max);
    serde_json::to_writer(&mut left, answer).ok()?;
    Some(bytes_max - left.0)
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
    }
}
