//! Tests of the rule-based planner: the seed documents, the styles of other people, bad input, plans, properties.
//!
//! Everything goes through the public API. The fixtures are compiled in, because the core does no I/O.

mod asked;
mod bad_input;
mod plans;
mod properties;
mod seeds;
mod styles;

use orch_core::planner::{Extraction, Requirement, RequirementKind, Statement};

/// Reads a document that is expected to be readable.
fn read(text: &str) -> Extraction {
    orch_core::planner::extract(text.as_bytes()).expect("the document is text of a fitting size")
}

/// One line per requirement: lines, id, kind, title and what belongs to it; `?` for what is not ASCII.
fn outline(extraction: &Extraction) -> String {
    let lines = extraction.requirements.iter().map(line).collect::<Vec<_>>().join("\n");
    lines.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

fn line(requirement: &Requirement) -> String {
    let kind = match requirement.kind {
        RequirementKind::Functional => "F",
        RequirementKind::NonFunctional => "N",
        RequirementKind::Constraint => "C",
    };
    let parent = requirement.parent.as_ref().map_or(String::new(), |parent| format!(" of {parent}"));
    let priority = requirement.priority.as_ref().map_or(String::new(), |priority| format!(" [{priority}]"));
    let acceptance = match requirement.acceptance.len() {
        0 => String::new(),
        count => format!(" +{count}"),
    };
    let lines = requirement.lines;
    format!(
        "{}-{} {kind} {}{parent}: {}{priority}{acceptance}",
        lines.first, lines.last, requirement.id, requirement.title
    )
}

fn ids(extraction: &Extraction) -> Vec<&str> {
    extraction.requirements.iter().map(|requirement| requirement.id.as_str()).collect()
}

fn first_lines(statements: &[Statement]) -> Vec<u32> {
    statements.iter().map(|statement| statement.lines.first).collect()
}
