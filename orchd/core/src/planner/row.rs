//! What the cells of a table row mean, by the header above them.
//!
//! Knows one row at a time and nothing of sections.

use super::ids::{self, FoundId, Series};
use super::phrase;

/// A row read as a requirement.
#[derive(Debug, Default)]
pub(super) struct RowReading {
    pub(super) id: Option<FoundId>,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) priority: Option<String>,
    pub(super) acceptance: Vec<String>,
    /// Whether the header names a column that may hold requirements.
    pub(super) header_fits: bool,
    /// Whether the header says `Requirement` above a column beside the ids.
    pub(super) names_requirements: bool,
}

/// The part that a column plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Id,
    Text,
    Title,
    Priority,
    Acceptance,
    Other,
}

/// Reads a row; `header` may be shorter or longer than `cells`.
pub(super) fn read(header: &[String], cells: &[String], series: &Series) -> RowReading {
    let mut reading = RowReading::default();
    let mut roles: Vec<Role> = header.iter().map(|name| role(name)).collect();
    roles.resize(cells.len(), Role::Other);
    // Some tables keep the id in a column called `Requirement`; two columns are looked at, and only a whole cell counts.
    for (cell, role) in cells.iter().zip(&mut roles).take(2) {
        let found = ids::find(cell, 0).filter(|id| id.rest == cell.len() && series.believes(id));
        if let Some(found) = found.filter(|_| reading.id.is_none()) {
            reading.id = Some(found);
            *role = Role::Id;
        }
    }
    reading.header_fits = roles.iter().any(|role| matches!(role, Role::Text | Role::Title)) && !is_number_only(&roles);
    let mut columns = header.iter().zip(&roles);
    reading.names_requirements =
        columns.any(|(name, role)| *role == Role::Text && name.to_lowercase().contains("requirement"));
    let has_text = roles.contains(&Role::Text);
    let mut details: Vec<String> = Vec::new();
    for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        match roles.get(at).copied().unwrap_or(Role::Other) {
            Role::Id => {}
            Role::Text if reading.text.is_empty() => reading.text.clone_from(cell),
            Role::Title if reading.title.is_empty() => reading.title.clone_from(cell),
            Role::Priority => reading.priority = Some(cell.clone()),
            // `Test` alone says nothing where the column is one of verification methods.
            Role::Acceptance => match header.get(at).filter(|name| name.to_lowercase().contains("verif")) {
                Some(name) => reading.acceptance.push(format!("{name}: {cell}")),
                None => reading.acceptance.push(cell.clone()),
            },
            Role::Text | Role::Title | Role::Other => {
                match header.get(at).filter(|name| !name.is_empty() && has_text) {
                    Some(name) => details.push(format!("{name}: {cell}")),
                    None => details.push(cell.clone()),
                }
            }
        }
    }
    let detail = details.join("; ");
    reading.text = match (reading.text.is_empty(), detail.is_empty()) {
        (false, false) => format!("{}\n{detail}", reading.text),
        (true, false) => detail,
        (_, true) if reading.text.is_empty() => reading.title.clone(),
        (_, true) => reading.text,
    };
    reading.title = phrase::title(if reading.title.is_empty() { &reading.text } else { &reading.title }, 0);
    reading
}

/// A table of bare titles (`Name | Version`) does not hold requirements.
fn is_number_only(roles: &[Role]) -> bool {
    !roles.contains(&Role::Text) && !roles.contains(&Role::Id) && !roles.contains(&Role::Priority)
}

fn role(name: &str) -> Role {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    if has(&["id", "ref", "nr", "no", "key", "code", "identifier"])
        || lower.trim() == "#"
        || words.as_slice() == ["number"]
    {
        Role::Id
    } else if has(&["priority", "moscow", "importance", "prio"]) {
        Role::Priority
    } else if has(&["acceptance", "verification", "criteria", "criterion"]) {
        Role::Acceptance
    } else if has(&[
        "description",
        "requirement",
        "requirements",
        "statement",
        "expectation",
        "story",
        "specification",
        "target",
        "behavior",
        "behaviour",
    ]) {
        Role::Text
    } else if has(&[
        "title",
        "name",
        "feature",
        "area",
        "category",
        "aspect",
        "attribute",
        "quality",
        "function",
        "capability",
        "metric",
    ]) {
        Role::Title
    } else {
        Role::Other
    }
}
