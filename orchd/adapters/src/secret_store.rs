//! Where values of secrets lie: files of the daemon's user alone, one per secret, and the credentials of its service.
//!
//! Knows names and bytes. **Invariant:** a value is in no error, and `Debug` of nothing here shows one. **Invariant:** nothing is
//! written here that is not encrypted, and nothing else is taken for a value; what versions that did not encrypt have left is
//! encrypted when the store is opened. A credential that systemd decrypts for the service is read from where it is, and comes
//! after what was set here.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use orch_core::recipe::SecretName;
use orch_proto::Timestamp;
use orch_sandbox::secrets::{Secrets, SecretsError, VALUE_BYTES_MIN, VALUES_BYTES_MAX};

use crate::sealing::{CREDENTIAL, MARK_BYTES, SEALED_MORE_BYTES, Sealed, Sealer, UnsealError};

/// Name of a value on its way to its place. No secret's name starts with a dot.
const DRAFT: &str = ".draft";

/// The secrets of one installation.
#[derive(Clone, Debug)]
pub struct SecretStore {
    directory: PathBuf,
    credentials: Option<PathBuf>,
    sealer: Arc<Sealer>,
    /// Held by who writes: all of them have one draft.
    writing: Arc<Mutex<()>>,
}

/// What is known of a secret without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEntry {
    pub name: SecretName,
    pub source: SecretSource,
    pub size_bytes: u64,
    pub changed_at: Timestamp,
}

/// Which files there were, and when each was changed last: equal ones stand for the same values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<FileStamp>);

/// Name, time of the last change, and inode and size of a file.
type FileStamp = (OsString, [i64; 2], [u64; 2]);

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Set here.
    Stored,
    /// Given to the service by systemd.
    Credential,
}

/// Failure of the store. Names secrets, never values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretStoreError {
    #[error("failed to {what} in the directory of secrets")]
    Files { what: &'static str, source: io::Error },
    #[error("failed to read the secret `{name}`")]
    Read { name: SecretName, source: io::Error },
    #[error("failed to open the secret `{name}`: {problem}")]
    Sealed { name: SecretName, problem: UnsealError },
    #[error("secret `{name}` is not set")]
    Missing { name: SecretName },
    #[error("secret `{name}` cannot be given: it is {problem}")]
    Value { name: SecretName, problem: String },
}

impl SecretStore {
    /// Opens the store in `directory`, which is made for nobody else to read, beside the credentials of the service. What lies
    /// there without being encrypted, or encrypted with the key of before, is encrypted with that of `sealer`.
    ///
    /// # Errors
    /// When the directory cannot be made, or a value in it is encrypted with a key that is not there.
    pub fn open(directory: &Path, credentials: Option<PathBuf>, sealer: Arc<Sealer>) -> Result<Self, SecretStoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| SecretStoreError::Files { what: "make a place", source })?;
        let store = Self { directory: directory.to_owned(), credentials, sealer, writing: Arc::default() };
        // A value whose setting was cut off, which nobody will ask for.
        store.discard_draft().map_err(|source| SecretStoreError::Files { what: "clean up", source })?;
        let stored = entries(directory, SecretSource::Stored);
        let stored = stored.map_err(|source| SecretStoreError::Files { what: "list names", source })?;
        stored.iter().try_for_each(|entry| store.renew(&entry.name))?;
        Ok(store)
    }

    /// Encrypts a value with the key, if it is not.
    fn renew(&self, name: &SecretName) -> Result<(), SecretStoreError> {
        let path = self.directory.join(name.as_str());
        let failed = |source| SecretStoreError::Read { name: name.clone(), source };
        // What a link leads to is somebody else's.
        let found = fs::symlink_metadata(&path).map_err(failed)?;
        let sealed = self.sealer.whose(&read(&path, MARK_BYTES).map_err(failed)?);
        if !found.is_file() || (sealed == Sealed::Not && found.len() > VALUES_BYTES_MAX as u64) {
            tracing::warn!(secret = %name, "this is no value that was set here, and it is given to no run");
            return Ok(());
        }
        let value = match sealed {
            Sealed::Well => return Ok(()),
            Sealed::Elsewhere => {
                return Err(SecretStoreError::Sealed { name: name.clone(), problem: UnsealError::OtherKey });
            }
            Sealed::Formerly => self.read_stored(name, &path)?,
            Sealed::Not => Value(read(&path, VALUES_BYTES_MAX + 1).map_err(failed)?),
        };
        tracing::info!(secret = %name, "a secret is encrypted where it lies");
        self.write(name, &value.0, found.modified().ok())
    }

    /// The value of a secret that was set here.
    fn read_stored(&self, name: &SecretName, path: &Path) -> Result<Value, SecretStoreError> {
        // One byte more: what is too large is said to be.
        let sealed = read(path, VALUES_BYTES_MAX + SEALED_MORE_BYTES + 1);
        let sealed = sealed.map_err(|source| SecretStoreError::Read { name: name.clone(), source })?;
        let opened = self.sealer.unseal(name.as_str(), sealed);
        opened.map(Value).map_err(|problem| SecretStoreError::Sealed { name: name.clone(), problem })
    }

    fn discard_draft(&self) -> io::Result<()> {
        match fs::remove_file(self.directory.join(DRAFT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sets a value, durably and at once: a reader has the one before or this one.
    ///
    /// # Errors
    /// When no run could be given it, or it cannot be written.
    pub fn set(&self, name: &SecretName, value: &[u8]) -> Result<(), SecretStoreError> {
        let problem = if value.trim_ascii().len() < VALUE_BYTES_MIN {
            Some(format!("shorter than {VALUE_BYTES_MIN} bytes, which cannot be taken out of logs"))
        } else if value.len() > VALUES_BYTES_MAX {
            Some(format!("larger than {VALUES_BYTES_MAX} bytes"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(SecretStoreError::Value { name: name.clone(), problem });
        }
        self.write(name, value, None)
    }

    /// Puts a value in its place, as one of then or of now.
    fn write(&self, name: &SecretName, value: &[u8], modified: Option<SystemTime>) -> Result<(), SecretStoreError> {
        let sealed = self.sealer.seal(name.as_str(), value);
        let sealed = sealed.ok_or_else(|| io::Error::other("the host gives no random bytes to encrypt it with"));
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = sealed.and_then(|sealed| self.replace(name, &sealed, modified));
        let written = written.or_else(|error| self.discard_draft().and(Err(error)));
        written.map_err(|source| SecretStoreError::Files { what: "write a value", source })
    }

    /// Only while nobody else writes.
    fn replace(&self, name: &SecretName, sealed: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
        let draft = self.directory.join(DRAFT);
        self.discard_draft()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(sealed)?;
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        file.sync_all()?;
        fs::rename(&draft, self.directory.join(name.as_str()))?;
        fs::File::open(&self.directory)?.sync_all()
    }

    /// Removes a value that was set here. False when there was none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &SecretName) -> Result<bool, SecretStoreError> {
        match fs::remove_file(self.directory.join(name.as_str())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(SecretStoreError::Files { what: "remove a value", source }),
        }
    }

    /// Whether there is a value.
    #[must_use]
    pub fn has(&self, name: &SecretName) -> bool {
        self.place(name).is_some()
    }

    /// All secrets, by name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<SecretEntry>, SecretStoreError> {
        let failed = |source| SecretStoreError::Files { what: "list names", source };
        let stored = entries(&self.directory, SecretSource::Stored).map_err(failed)?;
        let given = self.credentials.iter().map(|place| entries(place, SecretSource::Credential).unwrap_or_default());
        let mut all = stored;
        for entry in given.flatten().filter(|entry| is_given(&entry.name)) {
            if !all.iter().any(|known| known.name == entry.name) {
                all.push(entry);
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// Tells whether a value has changed, by whomever, without a look at any. Taken before values are read, it is theirs or
    /// that of earlier ones.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn stamp(&self) -> Result<Stamp, SecretStoreError> {
        let failed = |source| SecretStoreError::Files { what: "list names", source };
        let mut files = stamps(&self.directory).map_err(failed)?;
        files.extend(self.credentials.iter().flat_map(|place| stamps(place).unwrap_or_default()));
        files.sort_unstable();
        Ok(Stamp(files))
    }

    /// The values of these secrets, for one run.
    ///
    /// # Errors
    /// The first that is not set, cannot be read or cannot be given.
    pub fn values<'a>(&self, names: impl IntoIterator<Item = &'a SecretName>) -> Result<Secrets, SecretStoreError> {
        let mut secrets = Secrets::new();
        for name in names {
            let (source, path) = self.place(name).ok_or_else(|| SecretStoreError::Missing { name: name.clone() })?;
            let mut value = match source {
                SecretSource::Stored => self.read_stored(name, &path)?,
                SecretSource::Credential => read(&path, VALUES_BYTES_MAX + 1)
                    .map(Value)
                    .map_err(|source| SecretStoreError::Read { name: name.clone(), source })?,
            };
            secrets.insert(name.as_str(), std::mem::take(&mut value.0)).map_err(|error| SecretStoreError::Value {
                name: name.clone(),
                problem: match error {
                    SecretsError::TooShort { .. } => "too short to be taken out of logs".to_owned(),
                    SecretsError::TooMuch => "too large, with the others of the run".to_owned(),
                    other => other.to_string(),
                },
            })?;
        }
        Ok(secrets)
    }

    /// The values of all secrets that have at least so many bytes, in as many sets as they need.
    ///
    /// # Errors
    /// When they cannot be listed or one cannot be read.
    pub fn all(&self, bytes_min: usize) -> Result<Vec<Secrets>, SecretStoreError> {
        let mut sets = vec![Secrets::new()];
        for SecretEntry { name, size_bytes, .. } in self.list()? {
            // What is larger was never set here, and is given to no run.
            if size_bytes < bytes_min as u64 || size_bytes > VALUES_BYTES_MAX as u64 {
                continue;
            }
            let one = match self.values([&name]) {
                Ok(one) => one,
                // Removed since, or nothing but white space.
                Err(SecretStoreError::Missing { .. } | SecretStoreError::Value { .. }) => continue,
                // Nobody set it, and no run was given it.
                Err(SecretStoreError::Sealed { problem: UnsealError::Plain, .. }) => continue,
                Err(error) => return Err(error),
            };
            for (name, value) in one.iter().filter(|(_, value)| value.trim_ascii().len() >= bytes_min) {
                let set = sets.last_mut().filter(|set| set.has_room_for(value));
                let set = match set {
                    Some(set) => set,
                    None => {
                        sets.push(Secrets::new());
                        let Some(set) = sets.last_mut() else { continue };
                        set
                    }
                };
                // There is room, its name was checked, and it is there once.
                if let Err(error) = set.insert(name, value.to_vec()) {
                    tracing::warn!(%error, "a secret is not taken out of what agents ask");
                }
            }
        }
        sets.retain(|set| !set.is_empty());
        Ok(sets)
    }

    /// Where a secret lies.
    fn place(&self, name: &SecretName) -> Option<(SecretSource, PathBuf)> {
        let given = self.credentials.as_ref().filter(|_| is_given(name));
        let given = given.map(|place| (SecretSource::Credential, place));
        let places = [Some((SecretSource::Stored, &self.directory)), given].into_iter().flatten();
        places.map(|(source, place)| (source, place.join(name.as_str()))).find(|(_, path)| path.is_file())
    }
}

/// Bytes of a value that are overwritten before their memory is given back.
struct Value(Vec<u8>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader the compiler may leave out the writes.
        std::hint::black_box(&self.0);
    }
}

/// Whether a credential of the service can be the secret of a run: the key to all of them cannot.
fn is_given(name: &SecretName) -> bool {
    name.as_str() != CREDENTIAL
}

/// At most so many bytes of a file.
fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    // Large enough at once: what a vector outgrows is not overwritten.
    let mut bytes = Vec::with_capacity(bytes_max + 1);
    fs::File::open(path)?.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn stamps(place: &Path) -> io::Result<Vec<FileStamp>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        match fs::metadata(entry.path()) {
            Ok(meta) => {
                found.push((entry.file_name(), [meta.ctime(), meta.ctime_nsec()], [meta.ino(), meta.len()]));
            }
            // Removed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn entries(place: &Path, source: SecretSource) -> io::Result<Vec<SecretEntry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        // What no recipe can name is no secret of ours.
        let Some(Ok(name)) = entry.file_name().to_str().map(SecretName::parse) else { continue };
        let meta = match fs::metadata(entry.path()) {
            Ok(meta) => meta,
            // Removed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if meta.is_file() {
            let changed_us = meta.mtime().saturating_mul(1_000_000).saturating_add(meta.mtime_nsec() / 1_000);
            let changed_at = Timestamp::from_unix_us(changed_us);
            let size_bytes = match source {
                SecretSource::Stored => meta.len().saturating_sub(SEALED_MORE_BYTES as u64),
                SecretSource::Credential => meta.len(),
            };
            found.push(SecretEntry { name, source, size_bytes, changed_at });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    fn sealer() -> Arc<Sealer> {
        Arc::new(Sealer::open(tempfile::tempdir().unwrap().path(), None).unwrap())
    }

    fn open(place: &Path, credentials: Option<PathBuf>) -> SecretStore {
        SecretStore::open(place, credentials, sealer()).unwrap()
    }

    #[test]
    fn values_that_are_set_at_once_keep_their_names() {
        let place = tempfile::tempdir().unwrap();
        let store = open(place.path(), None);
        std::thread::scope(|scope| {
            for own in ["one", "two", "three"] {
                let store = store.clone();
                scope.spawn(move || {
                    for round in 0..100 {
                        let value = format!("value of {own} in round {round}");
                        store.set(&name(own), value.as_bytes()).unwrap();
                        assert_eq!(store.values([&name(own)]).unwrap().get(own), Some(value.as_bytes()));
                        assert!(store.list().unwrap().iter().any(|entry| entry.name == name(own)));
                    }
                });
            }
        });
    }

    #[test]
    fn a_change_of_any_value_is_seen_without_a_look_at_it() {
        let [place, given] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let store = open(place.path(), Some(given.path().to_owned()));
        let mut before = store.stamp().unwrap();
        let mut has_changed = || {
            let now = store.stamp().unwrap();
            std::mem::replace(&mut before, now.clone()) != now
        };
        assert!(!has_changed());
        store.set(&name("token"), b"first value").unwrap();
        assert!(has_changed());
        store.set(&name("token"), b"other value").unwrap();
        assert!(has_changed() && !has_changed());
        fs::write(given.path().join("given"), "by the service").unwrap();
        assert!(has_changed());
        assert!(store.remove(&name("token")).unwrap() && has_changed());
    }

    #[test]
    fn all_values_are_found_in_as_many_sets_as_they_need_but_short_ones() {
        let place = tempfile::tempdir().unwrap();
        let store = open(place.path(), None);
        assert!(store.all(8).unwrap().is_empty());
        let large = vec![b'x'; VALUES_BYTES_MAX - 4];
        for (own, value) in
            [("a-word", &b"word"[..]), ("key", b"a-longer-value"), ("large", &large), ("more", b"the-last-one")]
        {
            store.set(&name(own), value).unwrap();
        }
        let sets = store.all(8).unwrap();
        let found: Vec<&str> = sets.iter().flat_map(Secrets::iter).map(|(name, _)| name).collect();
        assert_eq!((found, sets.len()), (vec!["key", "large", "more"], 3));
    }

    #[test]
    fn a_value_whose_setting_was_cut_off_is_removed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(DRAFT), "half a value").unwrap();
        let store = open(place.path(), None);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        // What cannot be put in its place is not left either.
        fs::create_dir(place.path().join("token")).unwrap();
        store.set(&name("token"), b"other value").unwrap_err();
        assert!(!place.path().join(DRAFT).exists());
    }

    #[test]
    fn values_are_kept_for_the_owner_alone_and_replaced_at_once() {
        let place = tempfile::tempdir().unwrap();
        let store = open(&place.path().join("secrets"), None);
        store.set(&name("token"), b"first value").unwrap();
        store.set(&name("token"), b"other value").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(place.path().join("secrets")), mode(place.path().join("secrets/token"))), (0o700, 0o600));
        assert_eq!(store.values([&name("token")]).unwrap().get("token"), Some(b"other value".as_slice()));
        assert_eq!(store.list().unwrap().len(), 1);
        assert!(store.remove(&name("token")).unwrap());
        assert!(!store.remove(&name("token")).unwrap());
        let error = store.values([&name("token")]).unwrap_err();
        assert_eq!(error.to_string(), "secret `token` is not set");
    }

    /// No file of the place has any of these.
    fn nowhere(place: &Path, values: &[&[u8]]) {
        for entry in fs::read_dir(place).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            for value in values {
                assert!(!bytes.windows(value.len()).any(|window| window == *value), "{bytes:?}");
            }
        }
    }

    /// What earlier versions left is there as it was, but for being encrypted; what is no file of theirs is left alone.
    #[test]
    fn what_was_not_encrypted_is_at_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        fs::write(&path, "of an earlier version\n").unwrap();
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("file"), "of somebody else").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("file"), place.path().join("link")).unwrap();
        let sealer = sealer();
        let store = SecretStore::open(place.path(), None, Arc::clone(&sealer)).unwrap();
        assert_eq!(store.values([&name("token")]).unwrap().get("token"), Some(b"of an earlier version\n".as_slice()));
        assert!(!fs::read(&path).unwrap().windows(4).any(|window| window == b"vers"));
        let listed = store.list().unwrap().into_iter().find(|entry| entry.name == name("token")).unwrap();
        assert_eq!((listed.size_bytes, listed.changed_at.unix_us()), (22, 1_000_000_000_000_000));
        let error = store.values([&name("link")]).unwrap_err();
        assert!(error.to_string().contains("failed to open the secret `link`: it is not encrypted"), "{error}");
        assert_eq!(fs::read(elsewhere.path().join("file")).unwrap(), b"of somebody else");
        assert_eq!(store.all(4).unwrap().iter().map(|set| set.iter().count()).sum::<usize>(), 1);
        // Once is enough: a second start changes nothing.
        let before = store.stamp().unwrap();
        assert_eq!(SecretStore::open(place.path(), None, sealer).unwrap().stamp().unwrap(), before);
    }

    #[test]
    fn a_copy_without_the_key_is_worth_nothing() {
        let place = tempfile::tempdir().unwrap();
        let store = open(place.path(), None);
        let (value, other) = (b"a value of some length".as_slice(), b"another one".as_slice());
        store.set(&name("token"), value).unwrap();
        store.set(&name("other"), other).unwrap();
        nowhere(place.path(), &[value, other, &value[..8]]);
        // That of one is not that of another.
        fs::copy(place.path().join("other"), place.path().join("token")).unwrap();
        let error = store.values([&name("token")]).unwrap_err();
        assert!(error.to_string().contains("damaged, or was that of another secret"), "{error}");
        store.all(4).unwrap_err();
        let error = SecretStore::open(place.path(), None, sealer()).unwrap_err();
        assert!(error.to_string().contains("is encrypted with another key: put that back"), "{error}");
    }

    #[test]
    fn the_key_of_the_service_is_no_secret_of_a_run() {
        let [place, keys, credentials] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let before = Arc::new(Sealer::open(keys.path(), None).unwrap());
        SecretStore::open(place.path(), None, before).unwrap().set(&name("token"), b"of before").unwrap();
        fs::write(credentials.path().join(CREDENTIAL), "0".repeat(64)).unwrap();
        let given = Some(credentials.path().to_owned());
        let now = Arc::new(Sealer::open(keys.path(), given.as_deref()).unwrap());
        let store = SecretStore::open(place.path(), given.clone(), now).unwrap();
        assert!(!store.has(&name(CREDENTIAL)));
        assert_eq!(store.list().unwrap().len(), 1);
        store.values([&name(CREDENTIAL)]).unwrap_err();
        // All is encrypted with it now: the file is not needed any more.
        fs::remove_file(keys.path().join(crate::sealing::KEY_FILE)).unwrap();
        let alone = Arc::new(Sealer::open(keys.path(), given.as_deref()).unwrap());
        let store = SecretStore::open(place.path(), given, alone).unwrap();
        assert_eq!(store.values([&name("token")]).unwrap().get("token"), Some(b"of before".as_slice()));
    }

    #[test]
    fn what_no_run_could_be_given_is_refused_without_its_value() {
        let place = tempfile::tempdir().unwrap();
        let store = open(place.path(), None);
        for value in [b" abc\n".to_vec(), vec![b'x'; VALUES_BYTES_MAX + 1]] {
            let error = store.set(&name("token"), &value).unwrap_err().to_string();
            assert!(error.starts_with("secret `token` cannot be given"), "{error}");
            assert!(!error.contains("abc") && !error.contains("xxx"), "{error}");
        }
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn credentials_of_the_service_come_after_what_was_set() {
        let place = tempfile::tempdir().unwrap();
        let credentials = place.path().join("credentials");
        fs::create_dir(&credentials).unwrap();
        fs::write(credentials.join("both"), "of the service").unwrap();
        fs::write(credentials.join("given"), "of the service").unwrap();
        let store = open(&place.path().join("secrets"), Some(credentials));
        store.set(&name("both"), b"set here").unwrap();
        let values = store.values([&name("both"), &name("given")]).unwrap();
        assert_eq!(values.get("both"), Some(b"set here".as_slice()));
        assert_eq!(values.get("given"), Some(b"of the service".as_slice()));
        let sources: Vec<_> = store.list().unwrap().into_iter().map(|entry| entry.source).collect();
        assert_eq!(sources, [SecretSource::Stored, SecretSource::Credential]);
    }
}
