//! Plans as text for people, and what differs between two of them.

use std::collections::BTreeMap;

use orch_proto::view::{PlanNode, PlanView};
use serde::Serialize;

use crate::fmt::color::{Paint, Role};
use crate::fmt::count;
use crate::fmt::eta;
use crate::fmt::graph;
use crate::text::SafeText;

/// What differs between two plans.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PlanDiff {
    pub(crate) from: Option<u32>,
    pub(crate) to: u32,
    pub(crate) added: Vec<String>,
    pub(crate) dropped: Vec<String>,
    /// Key and what is different.
    pub(crate) changed: Vec<(String, Vec<String>)>,
    pub(crate) kept: Vec<String>,
}

/// The breakdown, the graph and what needs a look.
pub(crate) fn show(plan: &PlanView, width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let state = crate::fmt::document_state(plan.state);
    let blueprint = plan.blueprint.as_ref().map_or(String::new(), |name| format!(", blueprint {name}"));
    let head = format!(
        "{} plan v{} ({state}), from requirements v{}{blueprint}, {}",
        plan.project,
        plan.version,
        plan.requirements_version,
        count(plan.nodes.len(), "task")
    );
    out.push_str(&paint.apply(Role::Strong, &SafeText::line(&head)));
    out.push_str("\n\n");
    let nodes: BTreeMap<&str, &PlanNode> = plan.nodes.iter().map(|node| (node.key.as_str(), node)).collect();
    for epic in &plan.epics {
        out.push_str(&paint.apply(Role::Strong, &SafeText::line(&format!("{}  {}", epic.key, epic.title)).clip(width)));
        out.push('\n');
        for story in &epic.stories {
            let serves = if story.requirements.is_empty() {
                String::new()
            } else {
                format!("  [{}]", story.requirements.join(", "))
            };
            let line = SafeText::line(&format!("  {}  {}{serves}", story.key, story.title));
            out.push_str(&format!("{}\n", line.clip(width)));
            for key in &story.tasks {
                out.push_str(&task_line(key, nodes.get(key.as_str()).copied(), width));
            }
        }
    }
    if !plan.epics.is_empty() {
        out.push('\n');
    }
    out.push_str(&graph::ascii(plan, width, paint));
    for line in plan.eta.iter().flat_map(eta::plan_lines) {
        out.push_str(&format!("{}\n", SafeText::line(&format!("eta: {line}"))));
    }
    for warning in &plan.warnings {
        out.push_str(&paint.apply(Role::Warn, &SafeText::line(&format!("warning: {warning}"))));
        out.push('\n');
    }
    out.push_str(&format!("\ndigest {}\n", SafeText::line(&plan.digest)));
    out
}

fn task_line(key: &str, node: Option<&PlanNode>, width: usize) -> String {
    let Some(node) = node else { return format!("    - {}\n", SafeText::line(key)) };
    let name = node.task.as_ref().map_or(String::new(), |task| format!("{task} "));
    let line = SafeText::line(&format!("    - {name}{key}: {}  ({})", node.title, node.work)).clip(width);
    // A risk is for reading, not for looking tidy.
    let risk = node.risk.as_ref().map(|risk| format!("      ! {}\n", SafeText::line(risk)));
    format!("{line}\n{}", risk.unwrap_or_default())
}

/// What differs from `base` to `plan`.
pub(crate) fn compare(base: &PlanView, plan: &PlanView) -> PlanDiff {
    let mut before: BTreeMap<&str, &PlanNode> = base.nodes.iter().map(|node| (node.key.as_str(), node)).collect();
    let mut diff = PlanDiff {
        from: Some(base.version),
        to: plan.version,
        added: vec![],
        dropped: vec![],
        changed: vec![],
        kept: vec![],
    };
    for node in &plan.nodes {
        match before.remove(node.key.as_str()) {
            None => diff.added.push(node.key.clone()),
            Some(old) => {
                let differences = differences(old, node);
                if differences.is_empty() {
                    diff.kept.push(node.key.clone());
                } else {
                    diff.changed.push((node.key.clone(), differences));
                }
            }
        }
    }
    diff.dropped = before.into_keys().map(str::to_owned).collect();
    diff
}

/// What the plan itself says that it changes.
pub(crate) fn against_approved(plan: &PlanView) -> PlanDiff {
    PlanDiff {
        from: None,
        to: plan.version,
        added: plan.added.clone(),
        dropped: plan.dropped.clone(),
        changed: vec![],
        kept: plan.kept.clone(),
    }
}

/// The difference as text.
pub(crate) fn diff(diff: &PlanDiff, paint: Paint) -> String {
    let from = diff.from.map_or_else(|| "approved before".to_owned(), |version| format!("v{version}"));
    let mut out = format!(
        "plan {from} -> v{}: {} added, {} dropped, {} changed, {} kept\n",
        diff.to,
        diff.added.len(),
        diff.dropped.len(),
        diff.changed.len(),
        diff.kept.len()
    );
    let mut line = |role, text: String| {
        out.push_str(&paint.apply(role, &SafeText::line(&text)));
        out.push('\n');
    };
    for key in &diff.added {
        line(Role::Good, format!("+ {key}"));
    }
    for key in &diff.dropped {
        line(Role::Bad, format!("- {key}"));
    }
    for (key, what) in &diff.changed {
        line(Role::Warn, format!("~ {key}: {}", what.join("; ")));
    }
    out
}

fn differences(old: &PlanNode, new: &PlanNode) -> Vec<String> {
    let mut found = Vec::new();
    if old.title != new.title {
        found.push(format!("title `{}` -> `{}`", old.title, new.title));
    }
    if old.work != new.work {
        found.push(format!("work `{}` -> `{}`", old.work, new.work));
    }
    found.extend(new.needs.iter().filter(|need| !old.needs.contains(need)).map(|need| format!("waits for {need}")));
    found.extend(
        old.needs.iter().filter(|need| !new.needs.contains(need)).map(|need| format!("no longer waits for {need}")),
    );
    if old.requirements != new.requirements {
        found.push(format!("serves {}", new.requirements.join(", ")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    #[test]
    fn differences_are_named() {
        let base = samples::plan();
        let mut plan = samples::plan();
        plan.version = 2;
        plan.nodes.retain(|node| node.key != "ci-workflow");
        plan.nodes[2].needs.push("storage".into());
        plan.nodes[4].needs.retain(|need| need != "ci-workflow");
        insta::assert_snapshot!(diff(&compare(&base, &plan), Paint::OFF), @r"
        plan v1 -> v2: 0 added, 1 dropped, 2 changed, 3 kept
        - ci-workflow
        ~ http: waits for storage
        ~ release-check: no longer waits for ci-workflow
        ");
    }
}
