//! Checksum of a downloaded thing: SHA-256 and nothing weaker.

use sha2::{Digest as _, Sha256};

use super::text::{TextError, checked_text, printable};

checked_text! {
    /// `sha256:` and 64 lower-case hexadecimal digits.
    Checksum
}

impl Checksum {
    /// Checks the form of a checksum. Upper-case digits are taken and made lower-case.
    ///
    /// # Errors
    /// `Checksum`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        match hex {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Self(text.to_ascii_lowercase())),
            _ => Err(TextError::Checksum { text: printable(text) }),
        }
    }

    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}"))
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

/// Compares bytes with a pinned checksum.
///
/// # Errors
/// `ChecksumMismatch` with both values.
pub fn verify(bytes: &[u8], expected: &Checksum) -> Result<(), ChecksumMismatch> {
    let found = Checksum::of(bytes);
    if found == *expected { Ok(()) } else { Err(ChecksumMismatch { expected: expected.clone(), found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn verify_names_both_values() {
        let pinned = Checksum::parse(OF_ABC).expect("well formed");
        assert_eq!(verify(b"abc", &pinned), Ok(()));
        let text = verify(b"abd", &pinned).expect_err("other bytes").to_string();
        assert!(text.contains(OF_ABC) && text.contains(Checksum::of(b"abd").as_str()), "{text}");
    }

    #[test]
    fn only_sha256_of_full_length() {
        for bad in ["", "sha256:", "sha256:deadbeef", "md5:900150983cd24fb0d6963f7d28e17f72", &OF_ABC[7..]] {
            assert!(Checksum::parse(bad).is_err(), "{bad}");
        }
        let shouted = OF_ABC.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(Checksum::parse(&shouted).map(String::from), Ok(OF_ABC.to_owned()));
    }
}
