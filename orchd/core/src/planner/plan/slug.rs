//! Keys in kebab case.
//!
//! Invariant: `Keys::claim` never gives the same key twice.

use std::collections::BTreeSet;

/// Longest key before a number is added, in bytes.
const KEY_BYTES_MAX: usize = 48;

/// Lower-case ASCII words joined by `-`, cut between words; `fallback` where no word is left.
pub(super) fn slug(text: &str, fallback: &str) -> String {
    let lower = text.to_lowercase();
    let mut slug = String::new();
    for word in lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if slug.len() + word.len() + 1 > KEY_BYTES_MAX {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(word);
    }
    if slug.is_empty() { fallback.to_owned() } else { slug }
}

/// The heading without its number: `5.3 Agent team` becomes `Agent team`.
pub(super) fn without_number(heading: &str) -> &str {
    let rest = heading.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ')' | ' '));
    if rest.is_empty() { heading } else { rest }
}

/// Keys that are in use.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeSet<String>);

impl Keys {
    /// The key, with a number behind it if it is in use.
    pub(super) fn claim(&mut self, key: String) -> String {
        let mut number = 2;
        let mut unique = key.clone();
        while !self.0.insert(unique.clone()) {
            unique = format!("{key}-{number}");
            number += 1;
        }
        unique
    }
}
