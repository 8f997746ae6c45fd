//! Checksum of a downloaded thing: SHA-256, or SHA-512 as npm publishes it, and nothing weaker.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

use super::text::{TextError, checked_text, printable};

/// In front of a SHA-256.
const SHA256: &str = "sha256:";
/// In front of a SHA-512, as in `integrity` of npm.
const SHA512: &str = "sha512-";
/// Length of 64 bytes in base64.
const SHA512_CHARS: usize = 88;

checked_text! {
    /// `sha256:` and 64 lower-case hexadecimal digits, or `sha512-` and 64 bytes in base64.
    Checksum
}

impl Checksum {
    /// Checks the form of a checksum. Upper-case hexadecimal digits are taken and made lower-case.
    ///
    /// # Errors
    /// `Checksum`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.strip_prefix(SHA512).is_some_and(is_64_bytes) {
            return Ok(Self(text.to_owned()));
        }
        let hex = text.strip_prefix(SHA256).filter(|hex| hex.len() == 64);
        match hex {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Self(text.to_ascii_lowercase())),
            _ => Err(TextError::Checksum { text: printable(text) }),
        }
    }

    /// What takes the bytes and says what checksum of this kind they have.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        if self.0.starts_with(SHA512) { Hasher::Sha512(Sha512::new()) } else { Hasher::Sha256(Sha256::new()) }
    }
}

/// Whether it is 64 bytes in the one form that base64 has for them.
fn is_64_bytes(text: &str) -> bool {
    text.len() == SHA512_CHARS && STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 64)
}

/// Takes bytes as they come.
#[derive(Clone, Debug)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Takes some more.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The checksum of all of them.
    #[must_use]
    pub fn finish(self) -> Checksum {
        match self {
            Self::Sha256(hasher) => {
                let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                Checksum(format!("{SHA256}{hex}"))
            }
            Self::Sha512(hasher) => Checksum(format!("{SHA512}{}", STANDARD.encode(hasher.finalize()))),
        }
    }

    /// Whether they are what was pinned.
    ///
    /// # Errors
    /// `ChecksumMismatch` with both values.
    pub fn verify(self, expected: &Checksum) -> Result<(), ChecksumMismatch> {
        let found = self.finish();
        if found == *expected { Ok(()) } else { Err(ChecksumMismatch { expected: expected.clone(), found }) }
    }
}

/// The bytes are not what the recipe pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checksum does not match: expected `{expected}`, found `{found}`")]
pub struct ChecksumMismatch {
    /// What the recipe says.
    pub expected: Checksum,
    /// What the bytes have.
    pub found: Checksum,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    /// As npm writes it.
    const INTEGRITY_OF_ABC: &str =
        "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";

    fn verify(bytes: &[u8], pinned: &str) -> Result<(), ChecksumMismatch> {
        let pinned = Checksum::parse(pinned).expect("well formed");
        let mut hasher = pinned.hasher();
        bytes.chunks(2).for_each(|some| hasher.update(some));
        hasher.verify(&pinned)
    }

    #[test]
    fn both_kinds_are_compared_and_both_values_named() {
        for pinned in [OF_ABC, INTEGRITY_OF_ABC] {
            assert_eq!(verify(b"abc", pinned), Ok(()));
            let wrong = verify(b"abd", pinned).expect_err("other bytes");
            let text = wrong.to_string();
            assert!(
                text.contains(pinned) && text.contains(wrong.found.as_str()) && wrong.found != wrong.expected,
                "{text}"
            );
        }
    }

    #[test]
    fn only_whole_checksums_of_these_kinds() {
        let (short, loose) = (&INTEGRITY_OF_ABC[..90], INTEGRITY_OF_ABC.replace("w==", "x=="));
        for bad in [
            "",
            "sha256:",
            "sha256:deadbeef",
            "md5:900150983cd24fb0d6963f7d28e17f72",
            "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
            &OF_ABC[7..],
            short,
            &loose,
        ] {
            assert!(Checksum::parse(bad).is_err(), "{bad}");
        }
        let shouted = OF_ABC.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(Checksum::parse(&shouted).map(String::from), Ok(OF_ABC.to_owned()));
    }
}
