//! Requirements as text for people.

use orch_proto::view::{RequirementView, RequirementsDiff, RequirementsView, StatementView};

use crate::fmt::color::{Paint, Role};
use crate::text::SafeText;

const KINDS: [(&str, &str); 3] =
    [("functional", "Functional"), ("non_functional", "Non-functional"), ("constraint", "Constraints on the solution")];

/// The whole document, wrapped to `width`.
pub(crate) fn show(reqs: &RequirementsView, width: usize, paint: Paint) -> String {
    let mut page = Page { out: String::new(), width, paint };
    let state = crate::fmt::document_state(reqs.state);
    let head =
        format!("{} requirements v{} ({state}), from vision v{}", reqs.project, reqs.version, reqs.vision_version);
    page.heading(&head);
    page.paragraph(0, &reqs.title);
    if !reqs.summary.is_empty() {
        page.paragraph(0, &reqs.summary);
    }
    page.statements("Goals", &reqs.goals);
    page.statements("Non-goals", &reqs.non_goals);
    for (kind, title) in KINDS {
        page.requirements(title, reqs.requirements.iter().filter(|item| item.kind == kind));
    }
    page.requirements(
        "Other",
        reqs.requirements.iter().filter(|item| KINDS.iter().all(|(kind, _)| item.kind != *kind)),
    );
    page.statements("Constraints", &reqs.constraints);
    page.statements("Acceptance", &reqs.acceptance);
    page.statements("Risks", &reqs.risks);
    page.statements("Milestones", &reqs.milestones);
    page.statements("Open questions", &reqs.open_questions);
    page.statements("Not understood", &reqs.unclassified);
    if !reqs.warnings.is_empty() {
        page.title("Warnings");
        for warning in &reqs.warnings {
            page.bullet(warning, None);
        }
    }
    if !reqs.comments.is_empty() {
        page.title("Comments");
        for comment in &reqs.comments {
            let about = comment.key.as_deref().unwrap_or("all");
            page.bullet(&format!("{about}, {}: {}", comment.by, comment.text), None);
        }
    }
    page.out.push_str(&format!("\ndigest {}\n", SafeText::line(&reqs.digest)));
    page.out
}

/// What changed between two versions.
pub(crate) fn diff(diff: &RequirementsDiff, paint: Paint) -> String {
    let mut out = format!("requirements v{} -> v{}: {} unchanged\n", diff.from, diff.to, diff.unchanged);
    let mut line = |role, sign: &str, text: &str| {
        out.push_str(&paint.apply(role, &SafeText::line(&format!("{sign} {text}"))));
        out.push('\n');
    };
    for item in &diff.added {
        line(Role::Good, "+", &whole(item));
    }
    for item in &diff.removed {
        line(Role::Bad, "-", &whole(item));
    }
    for (before, after) in &diff.changed {
        line(Role::Plain, "~", &after.key);
        for (field, old, new) in [
            ("kind", before.kind.as_str(), after.kind.as_str()),
            ("title", &before.title, &after.title),
            ("text", &before.text, &after.text),
            ("acceptance", &before.acceptance.join("; "), &after.acceptance.join("; ")),
        ] {
            if old != new {
                line(Role::Bad, "  -", &format!("{field}: {old}"));
                line(Role::Good, "  +", &format!("{field}: {new}"));
            }
        }
    }
    out
}

fn whole(item: &RequirementView) -> String {
    if says_more(item) {
        format!("{} {}: {}", item.key, item.title, item.text)
    } else {
        format!("{} {}", item.key, item.title)
    }
}

/// Whether the text is more than the title with its full stop.
fn says_more(item: &RequirementView) -> bool {
    let bare = |text: &str| text.trim().trim_end_matches('.').to_owned();
    !item.text.is_empty() && bare(&item.text) != bare(&item.title)
}

/// A text in the making.
struct Page {
    out: String,
    width: usize,
    paint: Paint,
}

impl Page {
    fn heading(&mut self, text: &str) {
        self.out.push_str(&self.paint.apply(Role::Strong, &SafeText::line(text)));
        self.out.push('\n');
    }

    fn title(&mut self, text: &str) {
        self.out.push('\n');
        self.heading(text);
    }

    fn paragraph(&mut self, columns: usize, text: &str) {
        let margin = " ".repeat(columns);
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for line in SafeText::line(&one_line).wrap(self.width.saturating_sub(columns)) {
            self.out.push_str(&format!("{margin}{line}\n"));
        }
    }

    fn bullet(&mut self, text: &str, lines: Option<(u32, u32)>) {
        let place = lines.map_or(String::new(), |lines| format!("  [{}]", place(lines)));
        let start = self.out.len();
        self.paragraph(4, &format!("{text}{place}"));
        self.out.replace_range(start..start + 4, "  - ");
    }

    fn statements(&mut self, title: &str, statements: &[StatementView]) {
        if statements.is_empty() {
            return;
        }
        self.title(title);
        for statement in statements {
            self.bullet(&statement.text, statement.lines);
        }
    }

    fn requirements<'a>(&mut self, title: &str, items: impl Iterator<Item = &'a RequirementView>) {
        let items: Vec<_> = items.collect();
        if items.is_empty() {
            return;
        }
        self.title(&format!("{title} ({})", items.len()));
        let key_columns = items.iter().map(|item| item.key.len()).max().unwrap_or(0).min(12);
        for item in items {
            let columns = key_columns + 4;
            let place = item.lines.map_or(String::new(), |lines| format!("  [{}]", place(lines)));
            let start = self.out.len();
            self.paragraph(columns, &format!("{}{place}", item.title));
            let key = SafeText::line(&item.key).clip(key_columns);
            let gap = " ".repeat(key_columns - key.width() + 2);
            let key = self.paint.apply(Role::Active, &key);
            self.out.replace_range(start..start + columns, &format!("  {key}{gap}"));
            if says_more(item) {
                self.paragraph(columns, &item.text);
            }
            for acceptance in &item.acceptance {
                self.paragraph(columns, &format!("accept: {acceptance}"));
            }
        }
    }
}

fn place((from, to): (u32, u32)) -> String {
    if from == to { format!("line {from}") } else { format!("lines {from}-{to}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    #[test]
    fn a_document_is_laid_out() {
        let text = show(&samples::requirements(), 80, Paint::OFF);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_text_that_is_the_title_is_not_said_twice() {
        let mut reqs = samples::requirements();
        reqs.requirements[1].text = format!("{}.", reqs.requirements[1].title);
        let text = show(&reqs, 80, Paint::OFF);
        assert_eq!(text.matches("Answer errors as problem documents").count(), 1, "{text}");
        assert!(text.contains("Names are unique."), "{text}");
    }

    #[test]
    fn a_difference_names_fields() {
        let reqs = samples::requirements();
        let mut after = reqs.requirements[0].clone();
        after.title = "Create and change items".into();
        let change = RequirementsDiff {
            from: 1,
            to: 2,
            added: vec![reqs.requirements[1].clone()],
            removed: vec![],
            changed: vec![(reqs.requirements[0].clone(), after)],
            unchanged: 4,
        };
        insta::assert_snapshot!(diff(&change, Paint::OFF));
    }
}
