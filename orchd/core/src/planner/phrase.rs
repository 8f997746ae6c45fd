//! Reads short texts: labels, titles, priorities, and whether a sentence demands something.
//!
//! Knows English and nothing of documents.

/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 80;
/// Longest label that is not bold, in bytes.
const LABEL_BYTES_MAX: usize = 60;
/// Longest label that is not bold, in words.
const LABEL_WORDS_MAX: usize = 6;

/// A text that opens with a label: `**Priority:** high`, `Metrics: throughput, cost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labelled<'a> {
    pub(super) name: &'a str,
    /// The text behind the label; empty where there is only a label.
    pub(super) body: &'a str,
}

/// The label of `text`, whose first `bold_len` bytes are bold.
pub(super) fn label(text: &str, bold_len: usize) -> Option<Labelled<'_>> {
    let bold = bold_len > 0;
    let at = if bold { bold_len } else { text.find(':').filter(|&at| at <= LABEL_BYTES_MAX)? };
    let (head, tail) = text.split_at_checked(at)?;
    let rest = tail.trim_start();
    let mark =
        [":", "\u{2013}", "\u{2014}", "- "].iter().find(|mark| rest.starts_with(**mark)).map_or(0, |mark| mark.len());
    let fits = if bold {
        head.trim_end().ends_with(':') || mark > 0 || rest.is_empty()
    } else {
        let spaced = rest.get(1..).is_some_and(|behind| behind.is_empty() || behind.starts_with(' '));
        spaced && !head.contains(['.', ',', ';', '`', '(', '"']) && head.split_whitespace().count() <= LABEL_WORDS_MAX
    };
    let name = head.trim().trim_end_matches(':').trim_end();
    let body = rest.get(mark..).unwrap_or_default().trim();
    (fits && !name.is_empty()).then_some(Labelled { name, body })
}

/// A short name for a requirement: its label, else its first clause.
pub(super) fn title(text: &str, bold_len: usize) -> String {
    let line = without_priority(text.lines().next().unwrap_or_default());
    if let Some(wish) = wish(line) {
        return shorten(wish, TITLE_CHARS_MAX);
    }
    let name = label(line, bold_len.min(line.len())).map_or_else(|| first_clause(line), |label| label.name);
    shorten(name.trim_end_matches([':', '.', ' ']), TITLE_CHARS_MAX)
}

/// The line without a priority in parentheses at its end.
fn without_priority(line: &str) -> &str {
    match line.rfind(['(', '[']).and_then(|open| line.split_at_checked(open)) {
        Some((head, tail)) if tail.ends_with([')', ']']) && !head.is_empty() && priority(tail).is_some() => {
            head.trim_end()
        }
        Some(_) | None => line,
    }
}

/// The wish of a user story: `edit the name` of `As a player, I want to edit the name, so that ...`.
fn wish(line: &str) -> Option<&str> {
    if !is_user_story(line) {
        return None;
    }
    let (_, wish) = line.split_once("I want to ").or_else(|| line.split_once("I want "))?;
    let ends = [", so that", " so that", ", so ", ". "].iter().filter_map(|mark| wish.find(mark));
    let wish = ends.min().and_then(|at| wish.get(..at)).unwrap_or(wish);
    Some(wish.trim_end_matches(['.', ' '])).filter(|wish| !wish.is_empty())
}

/// At most `chars_max` characters, cut between words, with `...` in place of the rest.
pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    if text.char_indices().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let cut: String = text.chars().take(chars_max - 3).collect();
    let whole = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{}...", whole.trim_end_matches([',', ';', ':', ' ']))
}

/// The text up to the end of its first sentence, or to a semicolon where that is nearer.
fn first_clause(line: &str) -> &str {
    let outside_code = |at: &usize| line.get(..*at).is_some_and(|head| head.matches('`').count().is_multiple_of(2));
    let ends = [". ", "; ", " (e.g", ": "].iter().filter_map(|mark| line.find(mark));
    let end = ends.filter(|&at| at >= 12).filter(outside_code).min();
    end.and_then(|at| line.get(..at)).unwrap_or(line)
}

/// Whether the text demands something: `must`, `shall`, `should`, `will`, `As a user, I want`.
pub(super) fn is_normative(text: &str) -> bool {
    is_user_story(text)
        || text
            .split(|c: char| !c.is_ascii_alphabetic())
            .any(|word| ["must", "shall", "should"].iter().any(|verb| word.eq_ignore_ascii_case(verb)))
        || text.contains(" needs to ")
}

/// Whether the text is a user story: `As a ..., I want ...`.
pub(super) fn is_user_story(text: &str) -> bool {
    let head: String = text.chars().take(120).flat_map(char::to_lowercase).collect();
    ["as a ", "as an ", "as the ", "user story: as a", "**user story:** as a"]
        .iter()
        .any(|opening| head.starts_with(opening))
        || (head.starts_with("user story:") && head.contains(" as a"))
}

/// Whether the text only introduces what follows it.
pub(super) fn is_lead_in(text: &str) -> bool {
    text.ends_with(':')
}

/// The priority that a text names: `(P1)`, `[Must]`, `(Priority: High)`.
pub(super) fn priority(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(open) = rest.find(['(', '[']) {
        let inside = rest.get(open + 1..)?;
        let close = inside.find([')', ']'])?;
        let word = inside.get(..close)?.trim();
        let named = word.strip_prefix("Priority:").or_else(|| word.strip_prefix("priority:"));
        if let Some(named) = named {
            return Some(named.trim().to_owned()).filter(|named| is_priority(named));
        }
        // `(optional)` mostly speaks of the word before it.
        if is_priority(word) && !["required", "optional"].iter().any(|vague| word.eq_ignore_ascii_case(vague)) {
            return Some(word.to_owned());
        }
        rest = inside.get(close + 1..)?;
    }
    None
}

/// Whether the words are a priority by themselves.
pub(super) fn is_priority(word: &str) -> bool {
    const NAMES: [&str; 26] = [
        "must",
        "should",
        "could",
        "won't",
        "wont",
        "must have",
        "should have",
        "could have",
        "must-have",
        "should-have",
        "could-have",
        "nice to have",
        "nice-to-have",
        "critical",
        "high",
        "medium",
        "low",
        "essential",
        "optional",
        "mandatory",
        "required",
        "m",
        "s",
        "c",
        "w",
        "desirable",
    ];
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let numbered = bare.len() == 2 && bare.starts_with(['P', 'p']) && bare.ends_with(|c: char| c.is_ascii_digit());
    numbered || NAMES.iter().any(|name| bare.eq_ignore_ascii_case(name) && name.len() > 1)
}
