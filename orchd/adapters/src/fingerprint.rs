//! Digests of programs and of folders with data: what a step runs with, by content.
//!
//! A file is read again only when its time of change, its size or its number is another.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use orch_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Most files that are looked at in a folder.
const FILES_MAX: usize = 10_000;

/// What says that a file is as it was: device, number, size, and time of change with its nanoseconds.
type Stamp = (u64, u64, u64, (i64, i64));

/// Digests that are known.
#[derive(Debug, Default)]
pub struct Fingerprints(Mutex<BTreeMap<PathBuf, (Stamp, Digest)>>);

impl Fingerprints {
    /// The digest of a file's content, or of all that is below a folder with the names.
    ///
    /// # Errors
    /// When something of it cannot be read, is neither of these, or there is too much of it.
    pub fn of(&self, path: &Path) -> io::Result<Digest> {
        if fs::metadata(path)?.is_file() {
            return self.of_file(path);
        }
        let mut found = BTreeMap::new();
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry.path(), kind)))?;
                let digest = if kind.is_dir() {
                    folders.push(entry);
                    continue;
                } else if kind.is_symlink() {
                    Digest::of(fs::read_link(&entry)?.as_os_str().as_bytes())
                } else {
                    self.of_file(&entry)?
                };
                let name = entry.strip_prefix(path).unwrap_or(&entry).as_os_str().as_bytes().to_owned();
                found.insert(name, digest);
                if found.len() > FILES_MAX {
                    return Err(io::Error::other(format!("more than {FILES_MAX} files")));
                }
            }
        }
        Ok(Digest::of_json(&found.into_iter().collect::<Vec<_>>()))
    }

    fn of_file(&self, path: &Path) -> io::Result<Digest> {
        let mut file = fs::File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let stamp = (found.dev(), found.ino(), found.size(), (found.ctime(), found.ctime_nsec()));
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = known().get(path).filter(|(before, _)| *before == stamp) {
            return Ok(*digest);
        }
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hasher.update(buffer.get(..read).unwrap_or_default()),
            }
        }
        let digest = Digest::from_bytes(hasher.finalize().into());
        known().insert(path.to_owned(), (stamp, digest));
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_another_content_or_name_has_another_digest() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("f"), dir.path().join("f/a"));
        fs::create_dir_all(folder.join("empty")).unwrap();
        fs::write(&file, "1").unwrap();
        let known = Fingerprints::default();
        let (one, all) = (known.of(&file).unwrap(), known.of(&folder).unwrap());
        assert_eq!((known.of(&file).unwrap(), known.of(&folder).unwrap()), (one, all));
        assert_eq!(one, Digest::of(b"1"));
        fs::write(&file, "2").unwrap();
        assert_ne!(known.of(&folder).unwrap(), all);
        fs::write(&file, "1").unwrap();
        assert_eq!(known.of(&folder).unwrap(), all);
        fs::rename(&file, folder.join("b")).unwrap();
        assert_ne!(known.of(&folder).unwrap(), all);
        assert!(known.of(&file).is_err());
    }
}
