//! Secret values of one run, on their way from whoever starts it to its steps.
//!
//! A spec names secrets; the values travel beside it, in a sealed memory file that is passed by descriptor, and are never
//! written to a disk, an argument or the environment of anything but a step. **Invariant:** nothing here shows a value:
//! `Debug` prints names and errors name secrets. **Invariant:** a run whose spec and values do not fit is refused before
//! anything runs. Memory that held a value is overwritten before it is given back, so that no process forked later has it.
//! Not reached by that are copies that the kernel made, those that a redactor's spellings leave in the shim, which nobody may
//! look into and which has the values anyway, and pages that are swapped unless the host's swap is off or encrypted.

mod sealed;

use std::collections::BTreeMap;
use std::fmt;

use crate::redact::Patterns;
use crate::spec::{CheckedSpec, RunSpec, SECRETS_MAX, SecretDelivery};

pub use sealed::{SealedSecrets, TransferError};

/// Least bytes of a value without white space around it: what is shorter occurs everywhere, so it cannot be taken out of a
/// log without destroying it.
pub const VALUE_BYTES_MIN: usize = 4;
/// Most bytes of the values of one run together.
pub const VALUES_BYTES_MAX: usize = 64 << 10;
/// Longest name, in bytes; no spec has a longer one.
const NAME_BYTES_MAX: usize = 63;

/// Why secrets cannot be used. Never contains a value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretsError {
    /// Two values for one name.
    #[error("secret `{}` is given twice", name.escape_default())]
    Twice {
        /// The name.
        name: String,
    },
    /// A value that occurs by chance.
    #[error("secret `{}` has fewer than {VALUE_BYTES_MIN} bytes, which cannot be taken out of logs", name.escape_default())]
    TooShort {
        /// The name.
        name: String,
    },
    /// More than a run is given.
    #[error("secrets have more than {VALUES_BYTES_MAX} bytes together, or are more than {SECRETS_MAX}")]
    TooMuch,
    /// The spec names it and nobody gave it.
    #[error("secret `{name}` of the spec has no value")]
    Missing {
        /// The name.
        name: String,
    },
    /// Somebody gave it and the spec does not name it.
    #[error("secret `{}` is not in the spec", name.escape_default())]
    Surplus {
        /// The name.
        name: String,
    },
    /// It is for the environment, where no value can have a NUL.
    #[error("secret `{name}` has a NUL and cannot be an environment variable")]
    Nul {
        /// The name.
        name: String,
    },
    /// The spec is on the disk and its arguments can be read by others.
    #[error("the value of secret `{name}` is in the spec itself")]
    InSpec {
        /// The name.
        name: String,
    },
}

/// Secrets by name.
#[derive(Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<String, Value>,
}

/// Bytes that are overwritten before their memory is given back.
#[derive(Default, PartialEq, Eq)]
struct Value(Vec<u8>);

impl Drop for Value {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites `bytes`.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without a reader the compiler may leave out the writes.
    std::hint::black_box(bytes);
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// No secret.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, byte for byte what the run will find.
    ///
    /// # Errors
    /// When no spec can have the name or it has a value, or the value is too short or too much. `value` is overwritten
    /// then, too.
    pub fn insert(&mut self, name: &str, value: Vec<u8>) -> Result<(), SecretsError> {
        let value = Value(value);
        let name = name.to_owned();
        if name.len() > NAME_BYTES_MAX {
            return Err(SecretsError::Surplus { name });
        }
        if self.values.contains_key(&name) {
            return Err(SecretsError::Twice { name });
        }
        if value.0.trim_ascii().len() < VALUE_BYTES_MIN {
            return Err(SecretsError::TooShort { name });
        }
        if !self.has_room_for(&value.0) {
            return Err(SecretsError::TooMuch);
        }
        self.values.insert(name, value);
        Ok(())
    }

    /// Whether one more value like this can be added.
    pub fn has_room_for(&self, value: &[u8]) -> bool {
        let bytes: usize = self.values.values().map(|value| value.0.len()).sum();
        bytes + value.len() <= VALUES_BYTES_MAX && self.values.len() < SECRETS_MAX
    }

    /// The value of the secret `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(|value| value.0.as_slice())
    }

    /// Names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.0.as_slice()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Checks that these are the secrets of `spec` and that they are nowhere in it.
    ///
    /// # Errors
    /// The first thing that does not fit, by name.
    pub fn check(&self, spec: &CheckedSpec) -> Result<(), SecretsError> {
        for secret in &spec.secrets {
            let name = || secret.name.clone();
            let value = self.get(&secret.name).ok_or_else(|| SecretsError::Missing { name: name() })?;
            if matches!(secret.delivery, SecretDelivery::Env(_)) && value.contains(&0) {
                return Err(SecretsError::Nul { name: name() });
            }
        }
        let named = |name: &&String| spec.secrets.iter().any(|secret| secret.name == **name);
        if let Some(name) = self.values.keys().find(|name| !named(name)) {
            return Err(SecretsError::Surplus { name: name.clone() });
        }
        self.check_outside(spec)
    }

    fn check_outside(&self, spec: &RunSpec) -> Result<(), SecretsError> {
        if self.is_empty() {
            return Ok(());
        }
        let patterns = Patterns::of_values(std::slice::from_ref(self));
        let env = spec.env.iter().chain(spec.steps.iter().flat_map(|step| &step.env));
        let words = spec.steps.iter().flat_map(|step| step.argv.iter().chain([&step.name]));
        let texts = words.chain(env.flat_map(|(name, value)| [name, value]));
        match texts.into_iter().find_map(|text| patterns.first_in(text.as_bytes())) {
            Some(name) => Err(SecretsError::InSpec { name: name.to_owned() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::SecretSpec;

    fn spec(secrets: &[(&str, SecretDelivery)]) -> RunSpec {
        let mut spec = crate::cli::doctor_spec("/srv/ws".into());
        spec.secrets = secrets
            .iter()
            .map(|(name, delivery)| SecretSpec { name: (*name).to_owned(), delivery: delivery.clone() })
            .collect();
        spec
    }

    fn given(values: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::new();
        for (name, value) in values {
            secrets.insert(name, value.as_bytes().to_vec()).unwrap();
        }
        secrets
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_by_name() {
        let mut secrets = given(&[("a", "value")]);
        let error = |secrets: &mut Secrets, name: &str, value: Vec<u8>| secrets.insert(name, value).unwrap_err();
        assert_eq!(error(&mut secrets, "a", b"other".to_vec()), SecretsError::Twice { name: "a".into() });
        assert_eq!(error(&mut secrets, "b", b"abc".to_vec()), SecretsError::TooShort { name: "b".into() });
        assert_eq!(error(&mut secrets, "b", b"\r\n abc\t\n".to_vec()), SecretsError::TooShort { name: "b".into() });
        assert_eq!(error(&mut secrets, "b", vec![b'x'; VALUES_BYTES_MAX]), SecretsError::TooMuch);
        assert_eq!(secrets.get("a"), Some(b"value".as_slice()));
        assert_eq!(format!("{secrets:?}"), "{\"a\"}");
    }

    #[test]
    fn spec_and_values_must_fit() {
        let checked = spec(&[("a", SecretDelivery::File), ("b", SecretDelivery::Env("B".into()))]).check().unwrap();
        assert_eq!(given(&[("a", "value"), ("b", "other")]).check(&checked), Ok(()));
        let missing = SecretsError::Missing { name: "b".into() };
        assert_eq!(given(&[("a", "value")]).check(&checked), Err(missing));
        let surplus = SecretsError::Surplus { name: "c".into() };
        assert_eq!(given(&[("a", "value"), ("b", "other"), ("c", "more")]).check(&checked), Err(surplus));
        assert_eq!(
            given(&[("a", "v\0lue"), ("b", "oth\0r")]).check(&checked),
            Err(SecretsError::Nul { name: "b".into() })
        );
    }

    #[test]
    fn a_value_in_the_spec_is_refused() {
        let mut changed = spec(&[("a", SecretDelivery::File)]);
        changed.steps[0].argv.push("--token=hunter22".into());
        let checked = changed.clone().check().unwrap();
        let in_spec = Err(SecretsError::InSpec { name: "a".into() });
        assert_eq!(given(&[("a", "hunter22\n")]).check(&checked), in_spec);
        assert_eq!(given(&[("a", "hunter23\n")]).check(&checked), Ok(()));
        changed.steps[0].argv.pop();
        changed.env.insert("TOKEN".into(), "hunter22".into());
        assert_eq!(given(&[("a", "hunter22\n")]).check(&changed.check().unwrap()), in_spec);
    }

    /// Length of a piece of a value that is looked for in memory, and what a piece begins with.
    const PIECE: usize = 16;
    const MARK: u8 = 0xf5;

    /// A byte of a value that occurs by chance nowhere, so that the value itself need not be anywhere to be recognised.
    fn rare_byte(at: usize) -> u8 {
        let mixed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        if at.is_multiple_of(PIECE) { MARK } else { u8::try_from((mixed >> 40) % u64::from(MARK)).unwrap() }
    }

    /// Places in this process's writable memory where a piece of that value is, its bytes at equal distances.
    fn pieces_in_memory(len: usize) -> Vec<String> {
        let mem = std::fs::File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut found = Vec::new();
        let regions: Vec<(&str, u64, usize)> = maps
            .lines()
            .filter(|line| line.contains(" rw"))
            .map(|line| {
                let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
                (line, start, usize::try_from(end - start).unwrap())
            })
            .collect();
        // One buffer, so that no copy of what is found stays where it was before it grew.
        let mut buffer = vec![0; regions.iter().map(|(_, _, len)| *len).max().unwrap()];
        for (line, start, region) in regions {
            let bytes = &mut buffer[..region];
            // Another test's thread may have given it back.
            if std::os::unix::fs::FileExt::read_exact_at(&mem, bytes, start).is_err() {
                continue;
            }
            for at in (0..bytes.len()).filter(|at| bytes[*at] == MARK) {
                let is_piece = |distance: usize, piece: usize| {
                    (1..PIECE).all(|n| bytes.get(at + n * distance) == Some(&rare_byte(piece + n)))
                };
                let pieces = (0..len).step_by(PIECE);
                let there = pieces.flat_map(|piece| (1..=64).map(move |distance| (distance, piece)));
                let there = there.into_iter().find(|(distance, piece)| is_piece(*distance, *piece));
                found.extend(there.map(|there| format!("{there:?} at {at} of {line}")));
            }
        }
        wipe(&mut buffer);
        found
    }

    /// What a shim has in its memory when it forks init. Memory that is free is looked at, too, and is made so that whatever
    /// grows in it has to move.
    #[test]
    fn checking_leaves_no_value_in_memory() {
        const LEN: usize = 2000;
        let checked = spec(&[("a", SecretDelivery::File)]).check().unwrap();
        let mut secrets = Secrets::new();
        secrets.insert("a", (0..LEN).map(rare_byte).collect()).unwrap();
        let sealed = secrets.seal().unwrap();
        drop(secrets);
        let mut blocks: Vec<Vec<u8>> = (0..4000).map(|index| vec![0; 24 << (index % 12)]).collect();
        let mut index = 0;
        blocks.retain(|_| {
            index += 1;
            index % 3 != 0
        });
        let opened = sealed.open().unwrap();
        assert_ne!(pieces_in_memory(LEN), [""; 0], "this does not find what is there");
        opened.check(&checked).unwrap();
        drop(opened);
        assert_eq!(pieces_in_memory(LEN), [""; 0]);
        drop(blocks);
    }
}
