//! Rows as the screens show them. The boundary: raw views come in, and every text of them leaves as [`SafeText`].

mod approval;
mod plan;
mod project;
mod run;
mod system;
mod task;

pub(crate) use approval::ApprovalRow;
pub(crate) use plan::{PlanRow, PlanTask, RequirementRow, RequirementsDoc};
pub(crate) use project::ProjectRow;
pub(crate) use run::{RunRow, StepRow};
pub(crate) use system::{EventRow, StatusRow};
pub(crate) use task::TaskRow;

use crate::text::SafeText;

/// One line of each.
fn safe_all(texts: &[String]) -> Vec<SafeText> {
    texts.iter().map(|text| SafeText::line(text)).collect()
}

/// One line, if there is a text.
fn safe_opt(text: Option<&str>) -> Option<SafeText> {
    text.map(SafeText::line)
}

/// Short names put one after the other.
fn joined(texts: &[String]) -> SafeText {
    SafeText::line(&texts.join(" "))
}

/// The part of `shop/T-12` after the project.
fn local_name(name: &str) -> SafeText {
    SafeText::line(name.rsplit_once('/').map_or(name, |(_, local)| local))
}

/// The first characters of a hash, enough to compare by eye.
fn short_hash(hash: &str) -> SafeText {
    SafeText::line(&hash.chars().take(12).collect::<String>())
}
