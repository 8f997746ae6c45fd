//! Whether a text speaks of something: words compared by their stems.
//!
//! Knows English endings and no plan.

use std::collections::BTreeSet;

/// Words that say nothing about the subject.
const STOP_WORDS: [&str; 40] = [
    "a", "an", "and", "any", "are", "as", "at", "be", "by", "can", "each", "for", "from", "has", "have", "in", "into",
    "is", "it", "its", "must", "not", "of", "on", "or", "shall", "should", "so", "that", "the", "their", "then",
    "this", "to", "user", "via", "when", "which", "will", "with",
];

/// The stems of a text.
pub(in crate::planner) fn stems(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(word))
        .map(stem)
        .collect()
}

/// Whether every word of `keyword` is in the text with these stems; a keyword without words is in none.
pub(in crate::planner) fn speaks_of(text: &BTreeSet<String>, keyword: &str) -> bool {
    let keyword = stems(keyword);
    !keyword.is_empty() && keyword.is_subset(text)
}

/// The word without a common ending; short words stay whole.
fn stem(word: &str) -> String {
    const ENDINGS: [(&str, &str); 16] = [
        ("izations", "ize"),
        ("ization", "ize"),
        ("ations", "ate"),
        ("ation", "ate"),
        ("ating", "ate"),
        ("ated", "ate"),
        ("ments", ""),
        ("ment", ""),
        ("ingly", ""),
        ("ing", ""),
        ("ies", "y"),
        ("ied", "y"),
        ("ed", ""),
        ("es", "e"),
        ("ly", ""),
        ("s", ""),
    ];
    for (ending, replacement) in ENDINGS {
        if let Some(head) = word.strip_suffix(ending).filter(|head| head.len() >= 3 && !head.ends_with('s')) {
            let mut stem = format!("{head}{replacement}");
            // `deploy`, `deploys`, `deployed`; `merge`, `merges`, `merging` meet without their last `e`.
            if stem.ends_with('e') {
                stem.pop();
            }
            return stem;
        }
    }
    word.strip_suffix('e').filter(|head| head.len() >= 3).unwrap_or(word).to_owned()
}
