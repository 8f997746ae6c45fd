//! How many of a thing, in words: `1 file`, `2 files`.

use std::fmt::Display;

/// The number with its noun, which is given for one of them.
#[must_use]
pub fn count<N: Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    if number == N::from(1) {
        return format!("{number} {one}");
    }
    one.strip_suffix('y').map_or_else(|| format!("{number} {one}s"), |stem| format!("{number} {stem}ies"))
}

/// `34,120`.
#[must_use]
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        assert_eq!(
            [0_u32, 1, 2].map(|number| count(number, "open question")).join(", "),
            "0 open questions, 1 open question, 2 open questions"
        );
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands).join(" "), "0 999 1,000 1,234,567");
        assert_eq!([1_usize, 2].map(|number| count(number, "story")).join(", "), "1 story, 2 stories");
    }
}
