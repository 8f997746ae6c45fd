//! Rows as the screens show them. The boundary: raw views come in, and every text of them leaves as [`SafeText`].

mod approval;
mod isolation;
mod plan;
mod project;
mod question;
mod run;
mod system;
mod task;

pub(crate) use approval::ApprovalRow;
pub(crate) use isolation::IsolationRow;
pub(crate) use plan::{PlanRow, PlanTask, RequirementRow, RequirementsDoc};
pub(crate) use project::ProjectRow;
pub(crate) use question::{FieldRow, QuestionRow};
pub(crate) use run::{RunRow, StepRow};
pub(crate) use system::{EventRow, StatusRow};
pub(crate) use task::{MessageRow, TaskRow, Thread};

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

/// A full name such as `shop/T-12` in at most `columns`: what is cut is the project, never the number.
pub(crate) fn short_name(full: &SafeText, columns: usize) -> SafeText {
    let Some((project, local)) = full.as_str().rsplit_once('/').filter(|_| full.width() > columns) else {
        return full.clone();
    };
    let local = SafeText::line(local);
    match columns.saturating_sub(local.width() + 1) {
        // Less than a letter and the mark of a cut says nothing.
        0..4 => local,
        room => SafeText::line(&format!("{}/{local}", SafeText::line(project).clip(room))),
    }
}

/// The first characters of a hash, enough to compare by eye.
fn short_hash(hash: &str) -> SafeText {
    SafeText::line(&hash.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_name_that_is_too_long_the_number_stays() {
        let shown = |name: &str, columns: usize| short_name(&SafeText::line(name), columns).to_string();
        assert_eq!(shown("shop/R-18", 9), "shop/R-18");
        assert_eq!(shown("unit-converter/R-18", 14), "unit-c.../R-18");
        assert_eq!(shown("unit-converter/R-18", 9), "u.../R-18");
        assert_eq!(shown("unit-converter/R-18", 8), "R-18");
        assert_eq!(shown("unit-converter/R-18", 0), "R-18", "never less than the number");
        assert_eq!(shown("nothing", 3), "nothing");
    }
}
