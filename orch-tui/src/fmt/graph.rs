//! A plan's graph as text: for people level by level with arrows to what each task waits for, and as DOT.

use std::collections::BTreeMap;

use orch_proto::view::{PlanNode, PlanView};

use super::color::{Paint, Role};
use super::duration::band;
use crate::text::SafeText;

/// Widest column of keys; longer ones are cut.
const KEY_COLUMNS_MAX: usize = 26;

/// Columns that a title gets at least.
const TITLE_COLUMNS_MIN: usize = 16;

/// The graph for people, at most `width` columns wide (at least 40). Tasks of one level can run at the same time; `*`
/// marks the critical path.
#[must_use]
pub fn ascii(plan: &PlanView, width: usize, paint: Paint) -> String {
    let width = width.max(40);
    let mut levels: BTreeMap<u32, Vec<&PlanNode>> = BTreeMap::new();
    for node in &plan.nodes {
        levels.entry(node.level).or_default().push(node);
    }
    let key_columns = plan.nodes.iter().map(|node| SafeText::line(&node.key).width()).max().unwrap_or(0);
    let sheet = Sheet { width, key_columns: key_columns.min(KEY_COLUMNS_MAX), paint };
    let mut out = String::new();
    for (at, nodes) in levels.values().enumerate() {
        let together = if nodes.len() > 1 { format!(", {} at once", nodes.len()) } else { String::new() };
        let heading = SafeText::line(&format!("level {}{together}", at + 1));
        out.push_str(&paint.apply(Role::Dim, &heading));
        out.push('\n');
        for node in nodes {
            sheet.node(node, &mut out);
        }
    }
    out.push_str(&critical_path(plan, width));
    out
}

/// The critical path and how much can run at the same time, in a few lines.
#[must_use]
pub fn critical_path(plan: &PlanView, width: usize) -> String {
    if plan.critical_path.is_empty() {
        return "the plan has no tasks\n".to_owned();
    }
    let path = SafeText::line(&plan.critical_path.join(" -> "));
    let summary = format!(
        "* critical path, {}, {} of {} tasks; at most {} at once:\n",
        band(plan.critical_minutes),
        plan.critical_path.len(),
        plan.nodes.len(),
        plan.parallel_max
    );
    indented(&path, 2, width).into_iter().fold(summary, |out, line| out + &line + "\n")
}

/// The graph in the language of Graphviz.
#[must_use]
pub fn dot(plan: &PlanView) -> String {
    let mut out = String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box];\n");
    for node in &plan.nodes {
        let weight = if node.critical { ", penwidth=2" } else { "" };
        let label = quoted(&format!("{}\n{}\n{}", node.key, node.title, band(node.estimate_minutes)));
        out.push_str(&format!("  {} [label={label}{weight}];\n", quoted(&node.key)));
    }
    for node in &plan.nodes {
        for need in &node.needs {
            out.push_str(&format!("  {} -> {};\n", quoted(need), quoted(&node.key)));
        }
    }
    out.push_str("}\n");
    out
}

/// Measures that all lines of one graph share.
struct Sheet {
    width: usize,
    key_columns: usize,
    paint: Paint,
}

impl Sheet {
    fn node(&self, node: &PlanNode, out: &mut String) {
        let mark = if node.critical { "*" } else { " " };
        let key = SafeText::line(&node.key).clip(self.key_columns);
        let state = node.state.map_or(String::new(), |state| format!(" [{}]", state.label()));
        let estimate = format!("{:>7}{state}", band(node.estimate_minutes));
        let used = 2 + self.key_columns + 2 + 2 + estimate.len();
        let title = SafeText::line(&node.title).clip(self.width.saturating_sub(used).max(TITLE_COLUMNS_MIN));
        let gap = " ".repeat(self.key_columns - key.width() + 2);
        let head = format!("{mark} {key}");
        let role = if node.critical { Role::Strong } else { Role::Plain };
        out.push_str(&self.paint.apply(role, &SafeText::line(&head)));
        out.push_str(&format!("{gap}{title}"));
        let filled = 2 + self.key_columns + 2 + title.width();
        let right = self.width.saturating_sub(estimate.len());
        out.extend(std::iter::repeat_n(' ', right.saturating_sub(filled)));
        out.push_str(&self.paint.apply(Role::Dim, &SafeText::line(&estimate)));
        out.push('\n');
        if !node.needs.is_empty() {
            let needs = SafeText::line(&format!("<- {}", node.needs.join(", ")));
            for line in indented(&needs, self.key_columns + 4, self.width) {
                out.push_str(&self.paint.apply(Role::Dim, &SafeText::line(&line)));
                out.push('\n');
            }
        }
    }
}

/// The text wrapped to `width`, each line behind `columns` spaces.
fn indented(text: &SafeText, columns: usize, width: usize) -> Vec<String> {
    let margin = " ".repeat(columns);
    text.wrap(width.saturating_sub(columns).max(TITLE_COLUMNS_MIN))
        .iter()
        .map(|line| format!("{margin}{line}"))
        .collect()
}

/// A DOT string. Newlines become line breaks of the label.
fn quoted(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| line.replace('\\', "\\\\").replace('"', "\\\"")).collect();
    let safe: Vec<_> = lines.iter().map(|line| SafeText::line(line).to_string()).collect();
    format!("\"{}\"", safe.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::resource::samples;

    #[test]
    fn the_graph_is_readable_at_80_columns() {
        let text = ascii(&samples::plan(), 80, Paint::OFF);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_narrow_terminal_and_a_hostile_title_are_no_trouble() {
        let mut plan = samples::plan();
        plan.nodes[1].title = "evil\x1b[2J\u{202e}".into();
        plan.nodes[1].key = "k".repeat(200);
        insta::assert_snapshot!(ascii(&plan, 48, Paint::OFF));
    }

    #[test]
    fn dot_quotes_what_would_end_a_string() {
        let mut plan = samples::plan();
        plan.nodes.truncate(2);
        plan.nodes[1].title = "say \"hi\" \\".into();
        insta::assert_snapshot!(dot(&plan));
    }
}
