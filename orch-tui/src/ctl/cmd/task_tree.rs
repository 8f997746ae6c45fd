//! What waits for what, as an indented tree. A task with several dependencies stands under each; the second time in
//! brief, so that the tree stays as small as the graph.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::view::TaskView;

use crate::fmt::color::Paint;
use crate::fmt::resource::state_role;
use crate::text::SafeText;

/// Deepest level that is drawn.
const DEPTH_MAX: usize = 60;

/// The tree, at most `width` columns wide where names allow.
pub(crate) fn text(tasks: &[TaskView], width: usize, paint: Paint) -> String {
    let known: BTreeMap<&str, &TaskView> =
        tasks.iter().flat_map(|task| names(task).map(move |name| (name, task))).collect();
    let mut dependents: BTreeMap<&str, Vec<&TaskView>> = BTreeMap::new();
    for task in tasks {
        for need in &task.depends_on {
            if let Some(need) = known.get(need.as_str()) {
                dependents.entry(need.name.as_str()).or_default().push(task);
            }
        }
    }
    let mut tree = Tree { dependents, seen: BTreeSet::new(), width, paint, out: String::new() };
    for task in tasks.iter().filter(|task| task.depends_on.iter().all(|need| !known.contains_key(need.as_str()))) {
        tree.draw(task, 0);
    }
    tree.out
}

/// A dependency is named `shop/T-1` or, within the project, `T-1`.
fn names(task: &TaskView) -> impl Iterator<Item = &str> {
    [Some(task.name.as_str()), task.name.split_once('/').map(|(_, short)| short)].into_iter().flatten()
}

struct Tree<'a> {
    dependents: BTreeMap<&'a str, Vec<&'a TaskView>>,
    seen: BTreeSet<&'a str>,
    width: usize,
    paint: Paint,
    out: String,
}

impl<'a> Tree<'a> {
    fn draw(&mut self, task: &'a TaskView, depth: usize) {
        let margin = "  ".repeat(depth.min(DEPTH_MAX));
        let first = self.seen.insert(&task.name);
        let state = SafeText::literal(task.state.label());
        let title = if first { task.title.as_str() } else { "(above)" };
        let head = SafeText::line(&task.name);
        let room = self.width.saturating_sub(margin.len() + head.width() + state.width() + 4).max(12);
        let title = SafeText::line(title).clip(room);
        let state = self.paint.apply(state_role(task.state.label()), &state);
        self.out.push_str(&format!("{margin}{head}  {state}  {title}\n"));
        if first && depth < DEPTH_MAX {
            for dependent in self.dependents.get(task.name.as_str()).cloned().unwrap_or_default() {
                self.draw(dependent, depth + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    #[test]
    fn a_task_with_two_predecessors_stands_under_both() {
        let mut tasks = vec![samples::task(1), samples::task(2), samples::task(3)];
        tasks[1].depends_on = vec!["T-1".into()];
        tasks[2].depends_on = vec!["shop/T-1".into(), "shop/T-2".into()];
        insta::assert_snapshot!(text(&tasks, 60, Paint::OFF));
    }
}
