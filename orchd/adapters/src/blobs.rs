//! Content-addressed files: `sha256/ab/cdef...`, written once, never changed.
//!
//! Knows nothing of what is in them. **Invariants:** a blob under its name is whole and on disk (written beside, synced,
//! renamed, folder synced); the same content is stored once; files are readable by the daemon's user only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use orch_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes that are read and hashed at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A stored blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub hash: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// Why content was not stored. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The disk or a quota is full.
    #[error("no space left for the blob")]
    StorageFull(#[source] io::Error),
    /// The content is longer than the caller allows.
    #[error("content is longer than {max} bytes")]
    TooLarge { max: u64 },
    /// The content cannot be read.
    #[error("failed to read the content")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("failed to write the blob")]
    Write(#[source] io::Error),
}

/// Why a blob was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is none of this name.
    #[error("no blob `{0}`")]
    Missing(Digest),
    /// Its content is not that of its name.
    #[error("blob `{0}` is damaged")]
    Damaged(Digest),
    /// It is larger than the caller allows.
    #[error("blob `{hash}` has {size} bytes, more than {max}")]
    TooLarge { hash: Digest, size: u64, max: u64 },
    /// It cannot be read.
    #[error("failed to read blob `{hash}`")]
    Io { hash: Digest, source: io::Error },
}

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
    /// Held by who stores something under its name, and alone by who removes: what is stored again while it is removed
    /// stays.
    names: Arc<RwLock<()>>,
}

impl BlobStore {
    /// Opens the folder, made if it is missing, and clears what a crash left half-written.
    ///
    /// # Errors
    /// If the folder cannot be made or cleared.
    pub fn open(root: &Path) -> io::Result<Self> {
        let store = Self::at(root);
        private_dirs(&store.root.join("sha256"))?;
        private_dirs(&store.drafts())?;
        for entry in fs::read_dir(store.drafts())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(store)
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// [`PutError`] if they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, PutError> {
        let hash = Digest::of(bytes);
        let size_bytes = bytes.len() as u64;
        if self.renew(&hash, size_bytes) {
            return Ok(Blob { hash, size_bytes });
        }
        self.put_reader(bytes, size_bytes)
    }

    /// Stores what a reader gives, at most `max` bytes. For a file, open it and give it here: no path is followed.
    ///
    /// # Errors
    /// [`PutError`] if the content is too long, cannot be read or cannot be written.
    pub fn put_reader(&self, mut content: impl Read, max: u64) -> Result<Blob, PutError> {
        let draft = Draft::create(&self.drafts()).map_err(write_error)?;
        let mut file = &draft.file;
        let (mut hasher, mut size_bytes) = (Sha256::new(), 0_u64);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => chunk.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PutError::Read(error)),
            };
            size_bytes = size_bytes.saturating_add(read.len() as u64);
            if size_bytes > max {
                return Err(PutError::TooLarge { max });
            }
            hasher.update(read);
            file.write_all(read).map_err(write_error)?;
        }
        let hash = Digest::from_bytes(hasher.finalize().into());
        file.sync_all().map_err(write_error)?;
        let path = self.path(&hash);
        let folder = path.parent().unwrap_or(&self.root);
        if private_dirs(folder).map_err(write_error)? == Made::New {
            sync_dir(&self.root.join("sha256")).map_err(write_error)?;
        }
        let _names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        fs::rename(&draft.path, &path).map_err(write_error)?;
        sync_dir(folder).map_err(write_error)?;
        Ok(Blob { hash, size_bytes })
    }

    /// Whether it is stored already, in which case it counts as stored now.
    fn renew(&self, hash: &Digest, size_bytes: u64) -> bool {
        let _names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let renewed = File::open(self.path(hash)).and_then(|file| {
            file.set_times(fs::FileTimes::new().set_modified(now()))?;
            file.metadata()
        });
        renewed.is_ok_and(|known| known.len() == size_bytes)
    }

    /// Removes a blob unless it was stored, perhaps again, since `before`. Its size, when it was removed.
    ///
    /// # Errors
    /// When it cannot be looked at or removed. That there is none is no error.
    pub fn remove_older(&self, hash: &Digest, before: SystemTime) -> io::Result<Option<u64>> {
        let _names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(hash);
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.modified()? >= before {
            return Ok(None);
        }
        fs::remove_file(&path)?;
        Ok(Some(found.len()))
    }

    /// Blobs whose names begin with this byte, each with its size and the time at which it was stored last.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn list_in(&self, first: u8) -> io::Result<Vec<(Digest, u64, SystemTime)>> {
        let folder = format!("{first:02x}");
        let entries = match fs::read_dir(self.root.join("sha256").join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            let (Ok(hash), Ok(meta)) = (name.parse(), entry.metadata()) else { continue };
            found.push((hash, meta.len(), meta.modified()?));
        }
        Ok(found)
    }

    /// The folder as it is, for looking at it: nothing is made or cleared.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), names: Arc::default() }
    }

    /// Where a blob lies within the folder, with `/`.
    #[must_use]
    pub fn place(hash: &Digest) -> String {
        let text = hash.to_string();
        let (folder, name) = text.split_at(2);
        format!("sha256/{folder}/{name}")
    }

    /// Path of the file with the content, whether there is one or not.
    #[must_use]
    pub fn path_of(&self, hash: &Digest) -> PathBuf {
        self.path(hash)
    }

    /// All blobs, each with the time at which it was stored. What has no name of a blob is left out.
    #[must_use]
    pub fn list(&self) -> Vec<(Digest, Option<SystemTime>)> {
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for folder in entries(&self.root.join("sha256")) {
            for file in entries(&folder.path()) {
                let name = [folder.file_name(), file.file_name()].map(|part| part.to_string_lossy().into_owned());
                if let Ok(hash) = name.concat().parse() {
                    found.push((hash, file.metadata().and_then(|meta| meta.modified()).ok()));
                }
            }
        }
        found
    }

    /// Whether a blob of this name is stored.
    #[must_use]
    pub fn exists(&self, hash: &Digest) -> bool {
        self.path(hash).is_file()
    }

    /// Size of a blob, in bytes.
    ///
    /// # Errors
    /// [`GetError`] if there is none.
    pub fn size(&self, hash: &Digest) -> Result<u64, GetError> {
        let file = self.file(hash)?;
        file.metadata().map(|known| known.len()).map_err(|source| GetError::Io { hash: *hash, source })
    }

    /// Part of a blob: at most `max` bytes from `offset` on; empty behind its end. Not checked against its name.
    ///
    /// # Errors
    /// [`GetError`] if there is none or it cannot be read.
    pub fn read(&self, hash: &Digest, offset: u64, max: u64) -> Result<Vec<u8>, GetError> {
        let io_error = |source| GetError::Io { hash: *hash, source };
        let mut file = self.file(hash)?;
        file.seek(SeekFrom::Start(offset)).map_err(io_error)?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes).map_err(io_error)?;
        Ok(bytes)
    }

    /// A whole blob of at most `max` bytes, checked against its name.
    ///
    /// # Errors
    /// [`GetError`] if there is none, it is larger, damaged or cannot be read.
    pub fn read_verified(&self, hash: &Digest, max: u64) -> Result<Vec<u8>, GetError> {
        let size = self.size(hash)?;
        if size > max {
            return Err(GetError::TooLarge { hash: *hash, size, max });
        }
        let bytes = self.read(hash, 0, max)?;
        if Digest::of(&bytes) == *hash { Ok(bytes) } else { Err(GetError::Damaged(*hash)) }
    }

    fn file(&self, hash: &Digest) -> Result<File, GetError> {
        File::open(self.path(hash)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => GetError::Missing(*hash),
            _ => GetError::Io { hash: *hash, source },
        })
    }

    fn path(&self, hash: &Digest) -> PathBuf {
        self.root.join(Self::place(hash))
    }

    fn drafts(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// A file under a name of its own, removed unless it has been renamed.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    fn create(dir: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = dir.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; after a crash `BlobStore::open` clears it.
        drop(fs::remove_file(&self.path));
    }
}

#[derive(PartialEq, Eq)]
enum Made {
    New,
    Before,
}

/// Makes a folder and those above it for the daemon's user only.
fn private_dirs(path: &Path) -> io::Result<Made> {
    if path.is_dir() {
        return Ok(Made::Before);
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Ok(Made::New)
}

/// When a blob is stored. Only compared with other times of the same file system.
#[expect(clippy::disallowed_methods, reason = "a file that is written anew gets this time from the kernel, too")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write_error(error: io::Error) -> PutError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PutError::StorageFull(error),
        _ => PutError::Write(error),
    }
}

#[cfg(test)]
mod tests {
    use orch_core::digest::ParseDigestError;

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&dir.path().join("blobs")).unwrap();
        (dir, store)
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn content_is_found_by_its_hash_and_stored_once() {
        let (dir, store) = store();
        let blob = store.put(b"hello").unwrap();
        let name = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!((blob.hash.to_string().as_str(), blob.size_bytes), (name, 5));
        assert_eq!(name.parse(), Ok(blob.hash));
        assert_eq!(store.put(b"hello").unwrap(), blob);
        assert_eq!(store.put_reader(&b"hello"[..], 5).unwrap(), blob);
        let (folder, rest) = name.split_at(2);
        let path = dir.path().join("blobs/sha256").join(folder).join(rest);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(files(dir.path()), [path]);
        assert!(store.exists(&blob.hash));
        assert_eq!(store.read(&blob.hash, 1, 3).unwrap(), b"ell");
        assert_eq!(store.read(&blob.hash, 9, 3).unwrap(), b"");
        assert_eq!(store.read_verified(&blob.hash, 5).unwrap(), b"hello");
        assert!(matches!(store.read_verified(&blob.hash, 4), Err(GetError::TooLarge { size: 5, .. })));
    }

    #[test]
    fn missing_and_damaged_blobs_are_told_apart() {
        let (dir, store) = store();
        assert!(matches!(store.read(&Digest::of(b"none"), 0, 1), Err(GetError::Missing(_))));
        let blob = store.put(b"hello").unwrap();
        fs::write(&files(dir.path())[0], b"hullo").unwrap();
        assert!(matches!(store.read_verified(&blob.hash, 5), Err(GetError::Damaged(_))));
        for bad in ["", "xy", &"A".repeat(64), &"a".repeat(63)] {
            assert_eq!(bad.parse::<Digest>(), Err(ParseDigestError));
        }
    }

    /// Content that is too long, or whose reader fails, leaves nothing; what a crash left is cleared at the next start.
    #[test]
    fn nothing_is_left_of_what_was_not_stored() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let (dir, store) = store();
        assert!(matches!(store.put_reader(&b"hello"[..], 4), Err(PutError::TooLarge { max: 4 })));
        assert!(matches!(store.put_reader(b"start".chain(Broken), 100), Err(PutError::Read(_))));
        assert!(files(dir.path()).is_empty());
        fs::write(dir.path().join("blobs/tmp/1-1"), "half").unwrap();
        BlobStore::open(&dir.path().join("blobs")).unwrap();
        assert!(files(dir.path()).is_empty());
    }

    /// What is stored again is as young as what was never there, however it comes.
    #[test]
    fn only_what_was_not_stored_lately_is_removed() {
        let (dir, store) = store();
        let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let before = old + std::time::Duration::from_secs(1);
        let [kept, small, large] = [b"kept", b"small" as &[u8], b"large"].map(|bytes| store.put(bytes).unwrap().hash);
        for path in files(dir.path()) {
            File::open(path).unwrap().set_times(fs::FileTimes::new().set_modified(old)).unwrap();
        }
        store.put(b"small").unwrap();
        store.put_reader(&b"large"[..], 5).unwrap();
        for hash in [small, large] {
            assert_eq!(store.remove_older(&hash, before).unwrap(), None);
            assert!(store.exists(&hash));
        }
        let first = u8::from_str_radix(&kept.to_string()[..2], 16).unwrap();
        assert_eq!(store.list_in(first).unwrap(), [(kept, 4, old)]);
        assert_eq!(store.remove_older(&kept, before).unwrap(), Some(4));
        assert_eq!(store.remove_older(&kept, before).unwrap(), None, "it is gone");
        assert_eq!(store.list_in(first).unwrap(), []);
    }

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
        for errno in [nix::errno::Errno::ENOSPC, nix::errno::Errno::EDQUOT] {
            let error = write_error(io::Error::from_raw_os_error(errno as i32));
            assert!(matches!(error, PutError::StorageFull(_)), "{error:?}");
        }
    }

    #[test]
    fn large_content_passes_in_chunks() {
        let (_dir, store) = store();
        let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let blob = store.put_reader(content.as_slice(), u64::MAX).unwrap();
        assert_eq!(blob.hash, Digest::of(&content));
        assert_eq!(store.read_verified(&blob.hash, u64::MAX).unwrap(), content);
    }
}
