//! The key that values of secrets are encrypted with where they lie, and the form that they have there (adr 0013).
//!
//! ```text
//! file = magic "\0ORSEC1\n" | id of the key: 8 bytes | nonce: 12 bytes | ciphertext | tag: 16 bytes
//! ```
//!
//! ChaCha20-Poly1305 with a random nonce; magic, id and name of the secret are authenticated with it, so that a value cannot be
//! taken for that of another name. The key is the credential [`CREDENTIAL`] of the service, or else a file that is made once:
//! both are 64 hexadecimal digits. **Invariant:** no key and no value is in an error, and `Debug` of nothing here shows one.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

/// Name of the credential of the service that is the key. It is no secret that a run could be given.
pub const CREDENTIAL: &str = "orch-secrets-key";
/// Name of the key among the keys of an installation.
pub const KEY_FILE: &str = "secrets.key";

const MAGIC: &[u8; 8] = b"\0ORSEC1\n";
const ID_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// Where the ciphertext begins.
const HEAD_BYTES: usize = MAGIC.len() + ID_BYTES + NONCE_LEN;
/// How much larger a value is when it is encrypted.
pub(crate) const SEALED_MORE_BYTES: usize = HEAD_BYTES + TAG_BYTES;
/// What says whose a file is.
pub(crate) const MARK_BYTES: usize = MAGIC.len() + ID_BYTES;
const KEY_BYTES: usize = 32;
/// Longest file of a key: its digits, and white space around them.
const KEY_FILE_BYTES_MAX: u64 = 1 << 10;
/// Name of a key on its way to its place.
const DRAFT: &str = ".secrets.key.draft";

/// Failure to find or make the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("failed to {what} the key of secrets `{}`", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the key of secrets `{}` is not {} hexadecimal digits", path.display(), 2 * KEY_BYTES)]
    Form { path: PathBuf },
    #[error("the host gives no random bytes for a key of secrets")]
    Random,
}

/// Why a file is not the value of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    #[error("it is not encrypted: set it again, or start the daemon anew, which encrypts what it finds")]
    Plain,
    #[error("it is encrypted with another key: put that back, or set it again")]
    OtherKey,
    #[error("its file is damaged, or was that of another secret: set it again")]
    Damaged,
}

/// Encrypts values, and decrypts what it has encrypted.
pub struct Sealer {
    key: Key,
    /// The file that is left from before there was a credential.
    former: Option<Key>,
    random: SystemRandom,
}

struct Key {
    id: [u8; ID_BYTES],
    aead: LessSafeKey,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// It is encrypted with the key.
    Well,
    /// It is encrypted with the one of before.
    Formerly,
    /// It is encrypted with neither.
    Elsewhere,
    /// It is not encrypted.
    Not,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sealer").field("has_former", &self.former.is_some()).finish_non_exhaustive()
    }
}

impl Sealer {
    /// The key among the `credentials` of the service, or else in `directory`, where it is made if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, or is none.
    pub fn open(directory: &Path, credentials: Option<&Path>) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let given = credentials.map(|place| read(&place.join(CREDENTIAL))).transpose()?.flatten();
        let path = directory.join(KEY_FILE);
        let kept = read(&path)?;
        let whose = if given.is_some() { "the credential" } else { "the file" };
        let (key, former) = match (given, kept) {
            (Some(given), kept) => (given, kept),
            (None, Some(kept)) => (kept, None),
            (None, None) => (make(&random, directory, &path)?, None),
        };
        tracing::info!(key = whose, "secrets are encrypted");
        Ok(Self { key, former, random })
    }

    /// The value of the secret `name` as it is to lie there. None when the host gives no random bytes.
    pub(crate) fn seal(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        // Of the final size at once: what a vector outgrows stays in memory.
        let mut text = Vec::with_capacity(value.len() + TAG_BYTES);
        text.extend_from_slice(value);
        let aad = Aad::from(bound(&self.key, name));
        self.key.aead.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).ok()?;
        Some([MAGIC.as_slice(), &self.key.id, &nonce, &text].concat())
    }

    /// The value of the secret `name` of which `bytes` is the file.
    pub(crate) fn unseal(&self, name: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, UnsealError> {
        let key = match (self.whose(&bytes), &self.former) {
            (Sealed::Well, _) => &self.key,
            (Sealed::Formerly, Some(former)) => former,
            (Sealed::Formerly, None) | (Sealed::Elsewhere, _) => return Err(UnsealError::OtherKey),
            (Sealed::Not, _) => return Err(UnsealError::Plain),
        };
        let nonce = bytes.get(MARK_BYTES..HEAD_BYTES).ok_or(UnsealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError::Damaged)?;
        let opened = key.aead.open_within(nonce, Aad::from(bound(key, name)), &mut bytes, HEAD_BYTES..);
        let len = opened.map_err(|_| UnsealError::Damaged)?.len();
        // What the value was moved from.
        bytes[len..].fill(0);
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Whose a file is that begins with `bytes`.
    pub(crate) fn whose(&self, bytes: &[u8]) -> Sealed {
        // What begins as an encrypted one and breaks off was one.
        let is_cut = !bytes.is_empty() && bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes);
        if is_cut {
            return Sealed::Elsewhere;
        }
        let Some(rest) = bytes.strip_prefix(MAGIC) else { return Sealed::Not };
        match rest.get(..ID_BYTES) {
            Some(id) if id == self.key.id => Sealed::Well,
            Some(id) if self.former.as_ref().is_some_and(|former| id == former.id) => Sealed::Formerly,
            Some(_) | None => Sealed::Elsewhere,
        }
    }
}

impl Key {
    fn of(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let digest = Sha256::new().chain_update(b"orchd: id of a key of secrets\n").chain_update(bytes).finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest[..ID_BYTES]);
        let aead = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?);
        Some(Self { id, aead })
    }
}

/// What a value is bound to.
fn bound(key: &Key, name: &str) -> Vec<u8> {
    [MAGIC.as_slice(), &key.id, name.as_bytes()].concat()
}

/// The key at `path`, if there is one.
fn read(path: &Path) -> Result<Option<Key>, KeyError> {
    let failed = |source| KeyError::File { what: "read", path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    if let Err(error) = file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text) {
        return match error.kind() {
            io::ErrorKind::InvalidData => Err(KeyError::Form { path: path.to_owned() }),
            _ => Err(failed(error)),
        };
    }
    let key = of_digits(text.trim_ascii()).and_then(|bytes| Key::of(&bytes));
    key.map(Some).ok_or_else(|| KeyError::Form { path: path.to_owned() })
}

fn of_digits(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digits: Vec<u8> = text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect::<Option<_>>()?;
    let mut bytes = [0; KEY_BYTES];
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Some(bytes)
}

/// Makes the key, durably, before anything is encrypted with it.
fn make(random: &SystemRandom, directory: &Path, path: &Path) -> Result<Key, KeyError> {
    let mut bytes = [0; KEY_BYTES];
    random.fill(&mut bytes).map_err(|_| KeyError::Random)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = directory.join(DRAFT);
    let write = || {
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        // Whatever the mask of the process takes away, nobody else gets more.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(format!("{digits}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| KeyError::File { what: "make", path: path.to_owned(), source })?;
    Key::of(&bytes).ok_or_else(|| KeyError::Form { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place with a key of its own.
    fn sealer() -> (tempfile::TempDir, Sealer) {
        let place = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(place.path(), None).unwrap();
        (place, sealer)
    }

    #[test]
    fn a_value_is_what_it_was_and_differs_each_time_where_it_lies() {
        let (place, sealer) = sealer();
        let value = b"a value \0 of some length";
        let [one, other] = [(); 2].map(|()| sealer.seal("token", value).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), value.len() + SEALED_MORE_BYTES);
        assert!(!one.windows(7).any(|window| window == b"a value"));
        assert_eq!(sealer.whose(&one), Sealed::Well);
        // Another start has the same key.
        let again = Sealer::open(place.path(), None).unwrap();
        assert_eq!(again.unseal("token", one).unwrap(), value);
        assert_eq!(again.unseal("empty", sealer.seal("empty", b"").unwrap()).unwrap(), b"");
        let mode = fs::metadata(place.path().join(KEY_FILE)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_else_is_taken_for_a_value() {
        let (_place, sealer) = sealer();
        let (_other_place, other) = self::sealer();
        let good = sealer.seal("token", b"a value").unwrap();
        assert_eq!(sealer.unseal("other", good.clone()), Err(UnsealError::Damaged), "that of another name");
        assert_eq!(other.unseal("token", good.clone()), Err(UnsealError::OtherKey));
        assert_eq!(sealer.unseal("token", b"a value".to_vec()), Err(UnsealError::Plain));
        for len in 0..good.len() {
            sealer.unseal("token", good[..len].to_vec()).unwrap_err();
        }
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            sealer.unseal("token", changed).unwrap_err();
        }
        assert_eq!(sealer.unseal("token", good).unwrap(), b"a value");
    }

    #[test]
    fn a_credential_takes_the_place_of_the_file_which_still_opens_what_was() {
        let (place, before) = sealer();
        let credentials = tempfile::tempdir().unwrap();
        let path = credentials.path().join(CREDENTIAL);
        fs::write(&path, format!("  {}\n", "0123456789abcdefABCDEF0123456789".repeat(2))).unwrap();
        let old = before.seal("token", b"of before").unwrap();
        let now = Sealer::open(place.path(), Some(credentials.path())).unwrap();
        assert_eq!(now.whose(&old), Sealed::Formerly);
        assert_eq!(now.unseal("token", old).unwrap(), b"of before");
        let new = now.seal("token", b"of now").unwrap();
        assert_eq!((now.whose(&new), before.whose(&new)), (Sealed::Well, Sealed::Elsewhere));
        // With a credential no file is needed, and none is made.
        let elsewhere = tempfile::tempdir().unwrap();
        let alone = Sealer::open(elsewhere.path(), Some(credentials.path())).unwrap();
        assert_eq!(alone.unseal("token", new).unwrap(), b"of now");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        assert_eq!(format!("{now:?}"), "Sealer { has_former: true, .. }");
    }

    #[test]
    fn what_is_no_key_is_named_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(KEY_FILE);
        for wrong in ["", "0123", &"0".repeat(63), &"g".repeat(64), &"0".repeat(65), "\u{e4}"] {
            fs::write(&path, wrong).unwrap();
            let error = Sealer::open(place.path(), None).unwrap_err().to_string();
            assert!(error.contains(KEY_FILE) && error.contains("64 hexadecimal digits"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
        }
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(Sealer::open(place.path(), None), Err(KeyError::Form { .. })));
    }
}
