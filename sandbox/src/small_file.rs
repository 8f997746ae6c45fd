//! Reading small files, most of them the kernel's, in as few calls as there can be: one for the content and one for the end.
//!
//! The standard way asks for a size, which such files do not have, and then for a few bytes at a time, which the kernel makes
//! anew for each of them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Room for all that most of them say.
const ROOM: usize = 4096;

/// All bytes of `file` up to `max_bytes`.
pub(crate) fn bytes(file: File, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM);
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of the file at `path`, up to `max_bytes`.
pub(crate) fn text(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<String> {
    let bytes = bytes(File::open(path)?, max_bytes)?;
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_one_call_is_read_too() {
        let long = "x".repeat(3 * ROOM + 1);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &long).unwrap();
        assert_eq!(text(file.path(), u64::MAX).unwrap(), long);
        assert_eq!(text(file.path(), 5).unwrap(), "xxxxx");
        std::fs::write(file.path(), [0xff]).unwrap();
        assert_eq!(text(file.path(), 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(text("/proc/self/status", u64::MAX).unwrap().contains("NoNewPrivs"));
    }
}
