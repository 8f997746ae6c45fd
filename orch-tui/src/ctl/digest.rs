//! Digests as users give them: the start is enough, but what was shown must still be what is there.

use orch_proto::ErrorCode;

use super::failure::Failure;

/// Fewest letters of a digest that count as having looked.
const LETTERS_MIN: usize = 8;

/// Compares what the user says was shown with what is there.
pub(crate) fn check(given: Option<&str>, actual: &str, name: &str) -> Result<(), Failure> {
    let Some(given) = given else { return Ok(()) };
    let bare = given.strip_prefix("sha256:").unwrap_or(given).trim_end_matches('.');
    if bare.len() < LETTERS_MIN || !bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!("`{given}` is not a digest; give at least {LETTERS_MIN} of its letters")));
    }
    if actual.starts_with(&bare.to_ascii_lowercase()) {
        return Ok(());
    }
    let head = |text: &str| text.chars().take(12).collect::<String>();
    Err(Failure::new(
        ErrorCode::StaleDigest,
        format!("{name} is not what was shown: it has digest {} and not {}", head(actual), head(bare)),
        "look at it again, then decide",
    ))
}

/// The start of a digest, for people.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_digest_is_enough_but_not_too_little_of_it() {
        let actual = "9c1e77aa0011".repeat(5);
        for good in [None, Some("9c1e77aa"), Some("sha256:9C1E77AA00"), Some("9c1e77aa...")] {
            assert!(check(good, &actual, "shop/A-1").is_ok(), "{good:?}");
        }
        assert_eq!(check(Some("9c1e"), &actual, "shop/A-1").unwrap_err().exit_code(), 2);
        assert_eq!(check(Some("zzzzzzzz"), &actual, "shop/A-1").unwrap_err().exit_code(), 2);
        assert_eq!(check(Some("9c1e77ab"), &actual, "shop/A-1").unwrap_err().exit_code(), 4);
    }
}
