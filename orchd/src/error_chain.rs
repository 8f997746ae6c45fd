//! Prints an error with its causes. Displays never print their source, so this is the one place that joins them.

use std::error::Error;
use std::fmt::Write as _;

/// `failed to start: failed to bind: permission denied`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat the text of their source.
        if !text.ends_with(&cause_text) {
            let _infallible = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
