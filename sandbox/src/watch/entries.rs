//! What is still to be read of one directory, and from which place on reading goes on later.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::sys::listing;

/// Bytes that are read at once: a hundred entries, and more than the longest one.
const BUFFER_BYTES: usize = 4096;
/// Where the fields of an entry are: its number, the place behind it, its length, its kind, its name.
const PLACE_AT: usize = 8;
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a CStr,
    /// The place behind it, for [`Entries::from`].
    pub(super) next: i64,
}

/// The entries of an open directory.
#[derive(Debug)]
pub(super) struct Entries {
    buffer: Box<[u8]>,
    filled: usize,
    at: usize,
}

impl Entries {
    /// All of a directory that has just been opened.
    pub(super) fn all() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into(), filled: 0, at: 0 }
    }

    /// Those of `dir` from `place` on.
    pub(super) fn from(dir: &OwnedFd, place: i64) -> Result<Self, Errno> {
        lseek(dir, place, Whence::SeekSet)?;
        Ok(Self::all())
    }

    /// The next one of `dir` but `.` and `..`, which stays the next one; `None` at the end.
    pub(super) fn peek(&mut self, dir: &OwnedFd) -> Result<Option<Entry<'_>>, Errno> {
        loop {
            if self.at >= self.filled {
                self.filled = listing::read(dir.as_fd(), &mut self.buffer)?;
                self.at = 0;
                if self.filled == 0 {
                    return Ok(None);
                }
            }
            match parse(&self.buffer[self.at..self.filled]) {
                Some((entry, _)) if entry.name != c"." && entry.name != c".." => break,
                Some((_, length)) => self.at += length,
                None => return Err(Errno::EIO),
            }
        }
        Ok(parse(&self.buffer[self.at..self.filled]).map(|(entry, _)| entry))
    }

    /// Goes past the entry that is the next one.
    pub(super) fn advance(&mut self) {
        let length = parse(&self.buffer[self.at..self.filled]).map_or(0, |(_, length)| length);
        self.at += length;
    }
}

/// The first entry of `bytes`, and its length.
fn parse(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let length = u16::from_ne_bytes(bytes.get(LENGTH_AT..LENGTH_AT + 2)?.try_into().ok()?);
    let next = i64::from_ne_bytes(bytes.get(PLACE_AT..PLACE_AT + 8)?.try_into().ok()?);
    let entry = bytes.get(..usize::from(length))?;
    let name = CStr::from_bytes_until_nul(entry.get(NAME_AT..)?).ok()?;
    Some((Entry { name, next }, usize::from(length)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn reading_goes_on_where_it_was_left() {
        let home = tempfile::tempdir().unwrap();
        let names: BTreeSet<String> = (0..500).map(|index| format!("{index}-{}", "x".repeat(index % 200))).collect();
        for name in &names {
            std::fs::write(home.path().join(name), "").unwrap();
        }
        let mut dir = open(home.path());
        let (mut entries, mut seen, mut count) = (Entries::all(), BTreeSet::new(), 0);
        while let Some(entry) = entries.peek(&dir).unwrap() {
            seen.insert(entry.name.to_str().unwrap().to_owned());
            count += 1;
            let next = entry.next;
            entries.advance();
            if count % 7 == 0 {
                dir = open(home.path());
                entries = Entries::from(&dir, next).unwrap();
            }
        }
        assert_eq!((seen, count), (names, 500));
        assert!(entries.peek(&dir).unwrap().is_none());
    }

    #[test]
    fn an_entry_that_is_cut_off_is_none() {
        let mut bytes = [0; 32];
        bytes[LENGTH_AT] = 32;
        bytes[NAME_AT] = b'a';
        assert!(parse(&bytes).is_some_and(|(entry, length)| entry.name == c"a" && length == 32));
        assert!(parse(&bytes[..31]).is_none() && parse(&[]).is_none());
        assert!(parse(&[0; 32]).is_none(), "an entry has a length");
        bytes[NAME_AT..].fill(b'a');
        assert!(parse(&bytes).is_none());
    }
}
