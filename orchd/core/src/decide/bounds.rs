//! Bounds of what people and clients give: every text has a length and every list a number of entries.
//!
//! What is over a bound is refused whole and never cut. A view of any single thing within these bounds fits a frame.

use super::DecideError;
use crate::entity::{TaskSpec, Work};
use crate::planner::Extraction;
use crate::printable::misleads;

/// Longest title of anything, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
/// Longest free text in a command, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest single line, such as one of acceptance, in bytes.
pub const LINE_BYTES_MAX: usize = 4 << 10;
/// Most lines of acceptance of one thing.
pub const ACCEPTANCE_MAX: usize = 200;
/// Most things that one command names: edits, keys, tasks that another waits for.
pub const NAMED_MAX: usize = 1_000;
/// Most tasks that are put into the queue by one command; a plan has that many.
pub(super) const QUEUED_MAX: usize = 10_000;
/// Most requirements in one version.
pub const REQUIREMENTS_MAX: usize = 2_000;
/// Most bytes of all requirements in one version, as they are stored.
const REQUIREMENTS_BYTES_MAX: usize = 8 << 20;
/// Most bytes of all comments on one version.
pub const COMMENTS_BYTES_MAX: usize = 1 << 20;

/// Checks a text that a person gave.
pub(crate) fn text<'t>(field: &'static str, text: &'t str) -> Result<&'t str, DecideError> {
    bytes(field, text.len(), TEXT_BYTES_MAX)?;
    Ok(text)
}

/// Checks a title: one line, not empty, not endless, and nothing in it that makes it look like another.
pub(crate) fn title(field: &'static str, title: &str) -> Result<String, DecideError> {
    let title = title.trim();
    let problem = if title.is_empty() {
        "is empty".to_owned()
    } else if title.chars().count() > TITLE_CHARS_MAX {
        format!("has more than {TITLE_CHARS_MAX} characters")
    } else if title.chars().any(char::is_control) {
        "has control characters".to_owned()
    } else if title.chars().any(misleads) {
        "has characters that change the direction of text".to_owned()
    } else {
        return Ok(title.to_owned());
    };
    Err(DecideError::Invalid { field, problem })
}

/// Checks how many things a command names.
pub(crate) fn count(field: &'static str, count: usize, max: usize) -> Result<(), DecideError> {
    if count <= max {
        return Ok(());
    }
    Err(DecideError::TooLarge { field, problem: format!("has {count} entries; {max} are accepted") })
}

/// Checks how many bytes something has.
pub(crate) fn bytes(field: &'static str, bytes: usize, max: usize) -> Result<(), DecideError> {
    if bytes <= max {
        return Ok(());
    }
    Err(DecideError::TooLarge { field, problem: format!("has {bytes} bytes; {max} are accepted") })
}

/// Checks lines of acceptance.
pub(crate) fn acceptance(lines: &[String]) -> Result<(), DecideError> {
    count("acceptance", lines.len(), ACCEPTANCE_MAX)?;
    lines.iter().try_for_each(|line| bytes("acceptance line", line.len(), LINE_BYTES_MAX))
}

/// Checks what a person wants a task to do, as far as it is not what it did `before`: a plan may have given it more.
/// Steps come from a recipe, which has bounds of its own.
pub(super) fn spec(spec: &TaskSpec, before: Option<&TaskSpec>) -> Result<(), DecideError> {
    if before.is_none_or(|before| before.acceptance != spec.acceptance) {
        acceptance(&spec.acceptance)?;
    }
    if before.is_none_or(|before| before.requirements != spec.requirements) {
        count("requirements", spec.requirements.len(), NAMED_MAX)?;
    }
    match &spec.work {
        Work::Agent { capability } => title("capability", capability).map(drop),
        Work::Steps { source, .. } => title("recipe name", source).map(drop),
    }
}

/// Checks a version of the requirements as a whole.
pub(crate) fn requirements(content: &Extraction) -> Result<(), DecideError> {
    count("requirements", content.requirements.len(), REQUIREMENTS_MAX)?;
    let stored: usize = content
        .requirements
        .iter()
        .map(|found| found.title.len() + found.text.len() + found.acceptance.iter().map(String::len).sum::<usize>())
        .sum();
    bytes("requirements", stored, REQUIREMENTS_BYTES_MAX)
}
