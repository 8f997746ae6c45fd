//! Ids that authors give their requirements: `FR-12`, `NFR1`, `[REQ-007]`, `US-1.2`, `FR-AUTH-01`, `Requirement 3`.
//!
//! Reads the beginning of a text and nothing else. An id of a well-known series is believed wherever it opens a text;
//! any other is only believed when its series has a second member, because `SHA-256: ...` and `S3: ...` look alike.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{RequirementKey, RequirementKind};

/// Series of requirement ids that are believed without a second member.
const KNOWN_SERIES: [&str; 20] = [
    "FR", "NFR", "REQ", "FREQ", "NFREQ", "RQ", "US", "UR", "SR", "SRS", "BR", "NF", "FRQ", "NFRQ", "RF", "RNF", "CON",
    "SWR", "SYS", "FUNC",
];
/// Series that number something that is not a requirement.
const OTHER_SERIES: [&str; 46] = [
    "P", "M", "V", "Q", "H", "L", "S", "E", "AC", "SC", "TC", "UC", "OQ", "RISK", "RK", "ADR", "RFC", "ISO", "IEEE",
    "IPV", "SHA", "AES", "UTF", "HTTP", "SOC", "OAUTH", "EC", "PHASE", "STEP", "SPRINT", "WEEK", "DAY", "OPTION", "MD",
    "RSA", "UUIDV", "HTML", "CSS", "ES", "WCAG", "TLS", "FIPS", "EPIC", "TASK", "G", "KPI",
];
/// Series of qualities.
const QUALITY_SERIES: [&str; 14] =
    ["NFR", "NF", "NFREQ", "NFRQ", "RNF", "QR", "QA", "PERF", "SEC", "REL", "USAB", "SCAL", "MAINT", "AVAIL"];
/// Words that number requirements when they open a heading or a label: `Requirement 3`.
const WORD_SERIES: [(&str, &str); 6] =
    [("requirement", "REQ"), ("req", "REQ"), ("user story", "US"), ("story", "US"), ("fr", "FR"), ("nfr", "NFR")];
/// Longest id that is read, in bytes.
const ID_BYTES_MAX: usize = 40;

/// An id at the beginning of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundId {
    pub(super) key: RequirementKey,
    /// The series in capitals: `FR` of `FR-12`, `FR-AUTH` of `FR-AUTH-01`.
    pub(super) series: String,
    /// Offset of the text behind the id and its separator.
    pub(super) rest: usize,
    /// Whether it is written in words: `User story 3`.
    pub(super) in_words: bool,
    /// Whether a colon, dash, bracket, bold end or the end of the text sets the id off.
    pub(super) marked: bool,
}

impl FoundId {
    /// Whether the series is one of requirements by its name alone.
    pub(super) fn is_known(&self) -> bool {
        let first = self.series.split('-').next().unwrap_or_default();
        KNOWN_SERIES.contains(&first)
    }

    fn is_other(&self) -> bool {
        OTHER_SERIES.contains(&self.series.as_str())
    }

    /// The kind that the series names, if it does.
    pub(super) fn kind(&self) -> Option<RequirementKind> {
        let mut words = self.series.split('-');
        let first = words.next().unwrap_or_default();
        if QUALITY_SERIES.contains(&first) {
            Some(RequirementKind::NonFunctional)
        } else if matches!(first, "CON" | "CONSTRAINT" | "DC") {
            Some(RequirementKind::Constraint)
        } else if matches!(first, "FR" | "FREQ" | "FRQ" | "RF" | "US" | "FUNC") {
            Some(RequirementKind::Functional)
        } else {
            None
        }
    }
}

/// The series of a document that have at least two members.
#[derive(Debug, Default)]
pub(super) struct Series(BTreeMap<String, BTreeSet<String>>);

impl Series {
    /// Counts the id that opens a text, if one does.
    pub(super) fn note(&mut self, text: &str, bold_len: usize) {
        if let Some(id) = find(text, bold_len).filter(|id| id.marked && !id.is_other()) {
            self.0.entry(id.series).or_default().insert(id.key.to_string());
        }
    }

    /// Whether the document numbers requirements with this id's series.
    pub(super) fn believes(&self, id: &FoundId) -> bool {
        if id.is_other() {
            return false;
        }
        id.is_known() || (id.marked && self.0.get(&id.series).is_some_and(|members| members.len() >= 2))
    }
}

/// Whether the text opens with an id that is set off from what follows.
pub(super) fn begins_with_marked_id(text: &str, bold_len: usize) -> bool {
    find(text, bold_len).is_some_and(|id| id.marked && !id.is_other())
}

/// The id that opens `text`, whose first `bold_len` bytes are bold.
pub(super) fn find(text: &str, bold_len: usize) -> Option<FoundId> {
    let open = text.len() - text.trim_start_matches(['[', '(', '`', '"', '\'', '*', '_', ' ']).len();
    if open > 4 {
        return None;
    }
    let body = text.get(open..)?;
    let by_token = token(body);
    let in_words = by_token.is_none();
    let (series, key, len) = by_token.or_else(|| words(body))?;
    let end = open + len;
    let closers =
        text.get(end..)?.chars().take_while(|c| matches!(c, ']' | ')' | '`' | '"' | '\'' | '*' | '_')).count();
    let tail = text.get(end + closers..)?;
    let rest = tail.trim_start();
    let separator = separator_len(rest);
    let bold_ends = bold_len > 0 && bold_len <= end + closers + 1 && bold_len >= end;
    let bracketed = open > 0 && closers > 0;
    let marked = rest.is_empty() || separator > 0 || bold_ends || bracketed;
    // A word glued to the id (`FR-1st`, `V2/foo`) shows that it is none.
    let glued = !(rest.is_empty() || separator > 0 || tail.starts_with(' ') || closers > 0);
    if glued || (in_words && !marked) {
        return None;
    }
    let behind = rest.get(separator..)?.trim_start();
    Some(FoundId { key: key.parse().ok()?, series, rest: text.len() - behind.len(), in_words, marked })
}

/// Length of the mark that sets an id off: `:`, `.`, `)`, `|` or a dash.
fn separator_len(rest: &str) -> usize {
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some(':' | '|' | ')'), _) => 1,
        (Some('.'), None | Some(' ')) => 1,
        (Some('-'), None | Some(' ')) => 1,
        (Some(dash @ ('\u{2013}' | '\u{2014}')), _) => dash.len_utf8(),
        _ => 0,
    }
}

/// `LETTERS(-LETTERS)*[-_.]?DIGITS([.-]DIGITS)*`, with its series, the id as it is written and its length.
fn token(body: &str) -> Option<(String, String, usize)> {
    let run = body.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(body.len());
    let token = body.get(..run.min(body.len()))?.trim_end_matches(['.', '-', '_']);
    if token.len() > ID_BYTES_MAX || !token.ends_with(|c: char| c.is_ascii_digit() || c.is_ascii_lowercase()) {
        return None;
    }
    let core = token.trim_end_matches(|c: char| c.is_ascii_lowercase());
    // `FR-12a` is an id, `FR-12th` is not.
    if token.len() - core.len() > 1 || !core.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let series_len = core.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_')).len();
    let series = core.get(..series_len)?;
    let letters_fit = series.split(['-', '_', '.']).all(|word| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.len() <= 12
            && word.chars().all(|c| c.is_ascii_alphanumeric())
    });
    let upper = series.to_ascii_uppercase().replace(['_', '.'], "-");
    let known = KNOWN_SERIES.contains(&upper.split('-').next().unwrap_or_default());
    if series.is_empty() || !letters_fit || !(known || series.chars().all(|c| !c.is_ascii_lowercase())) {
        return None;
    }
    Some((upper, token.to_owned(), token.len()))
}

/// `Requirement 3`, `User Story 1.2`: the id is the series' short name and the number.
fn words(body: &str) -> Option<(String, String, usize)> {
    for (word, series) in WORD_SERIES {
        let Some(head) = body.get(..word.len()) else { continue };
        let rest = body.get(word.len()..).unwrap_or_default();
        if !head.eq_ignore_ascii_case(word) || !rest.starts_with([' ', '#']) {
            continue;
        }
        let spaced = rest.trim_start_matches([' ', '#']);
        let digits = spaced.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(spaced.len());
        let number = spaced.get(..digits)?.trim_end_matches('.');
        if number.is_empty() || number.len() > 8 {
            continue;
        }
        let len = word.len() + (rest.len() - spaced.len()) + number.len();
        return Some((series.to_owned(), format!("{series}-{number}"), len));
    }
    None
}
