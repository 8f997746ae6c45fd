//! What an error of a program says about trying again: from a status code of HTTP, if it names one, and from words.
//!
//! The words are those of codex, claude and the providers behind them. A program can say anything, so this is advice.

use super::event::ErrorClass;
use super::text;

/// How much of a message is looked at, bytes.
const LOOKED_AT_BYTES_MAX: usize = 4096;

/// These say more than the status that comes with them: the program tries again whatever it was, and providers send the
/// others with 400 and 429.
const BEFORE_STATUS: [(ErrorClass, &[&str]); 3] = [
    (ErrorClass::Transient, &["reconnecting"]),
    (
        ErrorClass::Context,
        &[
            "context window",
            "context length",
            "context_length",
            "maximum context",
            "prompt is too long",
            "input is too long",
        ],
    ),
    (
        ErrorClass::Budget,
        &["usage limit", "quota", "billing", "credit balance", "out of credits", "spend limit", "budget"],
    ),
];

const AFTER_STATUS: [(ErrorClass, &[&str]); 2] = [
    (
        ErrorClass::Auth,
        &[
            "unauthorized",
            "authentication",
            "api key",
            "api_key",
            "not logged in",
            "/login",
            "forbidden",
            "permission_error",
        ],
    ),
    (
        ErrorClass::Transient,
        &[
            "overloaded",
            "rate limit",
            "rate_limit",
            "timed out",
            "timeout",
            "stream disconnected",
            "connection",
            "error sending request",
            "temporarily",
            "high demand",
            "at capacity",
            "server_error",
            "internal server error",
            "malformed response",
            "try again",
        ],
    ),
];

/// Words after which a number is a status code.
const STATUS_WORDS: [&str; 5] = ["status", "status code", "api error", "http", "error code"];

/// Puts an error into its class. `status` is what the program says apart from the message.
pub(super) fn class(status: Option<u16>, message: &str) -> ErrorClass {
    let words = text::start(message, LOOKED_AT_BYTES_MAX).to_ascii_lowercase();
    let said = |classes: &[(ErrorClass, &[&str])]| {
        classes.iter().find(|(_, signs)| signs.iter().any(|sign| words.contains(sign))).map(|(class, _)| *class)
    };
    said(&BEFORE_STATUS)
        .or_else(|| status.or_else(|| status_in(&words)).and_then(of_status))
        .or_else(|| said(&AFTER_STATUS))
        .unwrap_or(ErrorClass::Fatal)
}

fn of_status(status: u16) -> Option<ErrorClass> {
    match status {
        401 | 403 => Some(ErrorClass::Auth),
        402 => Some(ErrorClass::Budget),
        413 => Some(ErrorClass::Context),
        408 | 409 | 425 | 429 | 500..=599 => Some(ErrorClass::Transient),
        400..=499 => Some(ErrorClass::Fatal),
        _ => None,
    }
}

/// The first status code that a message names, as in `unexpected status 401 Unauthorized` or `API Error: 500`.
fn status_in(words: &str) -> Option<u16> {
    STATUS_WORDS.iter().find_map(|word| {
        words.match_indices(word).find_map(|(at, _)| {
            let (_, rest) = words.split_at_checked(at + word.len())?;
            let rest = rest.trim_start_matches([' ', ':', '=', '/', '(']);
            let number = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
            number.parse().ok().filter(|status| number.len() == 3 && (400..600).contains(status))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_programs_are_put_into_classes() {
        let classes = [
            (
                None,
                "unexpected status 401 Unauthorized: Incorrect API key provided, url: http://127.0.0.1/",
                ErrorClass::Auth,
            ),
            (None, "Reconnecting... 2/5 (unexpected status 401 Unauthorized)", ErrorClass::Transient),
            (None, "stream disconnected before completion: stream closed", ErrorClass::Transient),
            (None, "API Error: 529 Overloaded", ErrorClass::Transient),
            (Some(400), "prompt is too long: 210000 tokens > 200000 maximum", ErrorClass::Context),
            (Some(429), "You exceeded your current quota", ErrorClass::Budget),
            (Some(429), "Too many requests", ErrorClass::Transient),
            (Some(404), "model: no-such-model", ErrorClass::Fatal),
            (None, "Not logged in \u{b7} Please run /login", ErrorClass::Auth),
            (None, "it exited with code 500 lines later", ErrorClass::Fatal),
            (None, "", ErrorClass::Fatal),
        ];
        for (status, message, expected) in classes {
            assert_eq!(class(status, message), expected, "{message}");
        }
    }
}
