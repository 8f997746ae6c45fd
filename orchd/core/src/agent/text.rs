//! Bounds for what agents write.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Longest text in an event, bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Longest id or name in an event, bytes; the rest is cut off.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest path in an event, and longest line of a plan or choice, bytes; the rest is cut off.
pub const PATH_BYTES_MAX: usize = 4096;

/// Text of an agent, cut at `TEXT_BYTES_MAX` between two characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub text: String,
    /// How many bytes of it are left out at the end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_bytes: u64,
}

impl Text {
    /// Takes what fits of `text`, to which `dropped_bytes` did not fit already.
    pub(super) fn new(text: Cow<'_, str>, dropped_bytes: u64) -> Self {
        let kept = start(&text, TEXT_BYTES_MAX).len();
        let dropped_bytes = dropped_bytes.saturating_add((text.len() - kept) as u64);
        let text = match text {
            Cow::Borrowed(text) => start(text, TEXT_BYTES_MAX).to_owned(),
            Cow::Owned(mut text) => {
                text.truncate(kept);
                text
            }
        };
        Self { text, dropped_bytes }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(Cow::Borrowed(text), 0)
    }
}

/// The first bytes of `text`, whole characters, at most `bytes_max` of them.
pub(super) fn start(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    // A character has at most four bytes.
    (0..=bytes_max).rev().take(4).find_map(|end| text.split_at_checked(end)).map_or("", |(kept, _)| kept)
}

/// The text that begins `bytes`, at most `TEXT_BYTES_MAX` of them, and how many bytes it leaves out.
///
/// What is not UTF-8 becomes U+FFFD: also half of a surrogate pair, which programs write when they cut a text in the
/// middle of a character.
pub(super) fn lossy(bytes: &[u8]) -> (Cow<'_, str>, u64) {
    let kept = match bytes.split_at_checked(TEXT_BYTES_MAX) {
        None => bytes,
        Some((kept, rest)) => {
            let is_inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
            let mut kept = kept;
            // A character has at most three more bytes; more than that is not UTF-8 and may be cut anywhere.
            if is_inside(rest.first()) {
                for _ in 0..3 {
                    let Some((last, before)) = kept.split_last() else { break };
                    kept = before;
                    if !is_inside(Some(last)) {
                        break;
                    }
                }
            }
            kept
        }
    };
    let dropped = (bytes.len() - kept.len()) as u64;
    match std::str::from_utf8(kept) {
        Ok(text) => (Cow::Borrowed(text), dropped),
        // Replacement characters take more room than what they stand for.
        Err(_) => {
            let text = String::from_utf8_lossy(kept).into_owned();
            (Cow::Owned(start(&text, TEXT_BYTES_MAX).to_owned()), dropped)
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = format!("{}\u{20ac}", "a".repeat(TEXT_BYTES_MAX - 1));
        let text = Text::from(long.as_str());
        assert_eq!((text.text.len(), text.dropped_bytes), (TEXT_BYTES_MAX - 1, 3));
        let (kept, dropped) = lossy(long.as_bytes());
        assert_eq!((kept.len(), dropped), (TEXT_BYTES_MAX - 1, 3));
        assert_eq!(start("ab", 2), "ab");
        assert_eq!(start("a\u{e4}", 2), "a");
        assert_eq!(start("\u{20ac}", 2), "");
    }

    #[test]
    fn what_is_not_utf8_is_replaced_and_stays_in_its_bound() {
        assert_eq!(lossy(b"a\xffb"), (Cow::Borrowed("a\u{fffd}b"), 0));
        let (kept, dropped) = lossy(&[0xff; TEXT_BYTES_MAX + 5]);
        assert!(kept.len() <= TEXT_BYTES_MAX, "{}", kept.len());
        assert!(kept.chars().all(|c| c == '\u{fffd}') && dropped >= 5);
        let (kept, _) = lossy(&[0x80; TEXT_BYTES_MAX + 5]);
        assert!(kept.len() <= TEXT_BYTES_MAX);
    }
}
