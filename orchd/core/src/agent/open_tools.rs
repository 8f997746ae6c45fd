//! Which tools are at work. Bounded: of more than `OPEN_MAX` the oldest is forgotten.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::event::{FileOp, ToolKind};
use super::text::Text;

/// Most tools that are remembered at once.
const OPEN_MAX: usize = 64;
/// Most files of a tool that are remembered.
const FILES_MAX: usize = 64;

/// What is known of a tool at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenTool {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) kind: ToolKind,
    /// What was told of what the tool was given, as a hash.
    pub(super) input: u64,
    /// Files that it changes if it succeeds.
    pub(super) files: Vec<(String, FileOp)>,
}

impl OpenTool {
    pub(super) fn new(id: String, tool: String, kind: ToolKind, input: &Text) -> Self {
        Self { id, tool, kind, input: hash(input), files: Vec::new() }
    }

    /// Whether `input` says more than what was told; from now on it is what was told.
    pub(super) fn is_given(&mut self, input: &Text) -> bool {
        let is_new = !input.text.is_empty() && self.input != hash(input);
        if is_new {
            self.input = hash(input);
        }
        is_new
    }

    pub(super) fn add_file(&mut self, path: String, op: FileOp) {
        if let Some((_, known)) = self.files.iter_mut().find(|(known, _)| *known == path) {
            *known = op;
        } else if self.files.len() < FILES_MAX {
            self.files.push((path, op));
        }
    }
}

/// Only compared with others of the same process.
fn hash(input: &Text) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.text.hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug, Default)]
pub(super) struct OpenTools(VecDeque<OpenTool>);

impl OpenTools {
    pub(super) fn open(&mut self, tool: OpenTool) {
        self.close(&tool.id);
        if self.0.len() == OPEN_MAX {
            self.0.pop_front();
        }
        self.0.push_back(tool);
    }

    pub(super) fn get(&self, id: &str) -> Option<&OpenTool> {
        self.0.iter().rfind(|tool| tool.id == id)
    }

    pub(super) fn close(&mut self, id: &str) -> Option<OpenTool> {
        let place = self.0.iter().rposition(|tool| tool.id == id)?;
        self.0.remove(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_tools_is_forgotten() {
        let mut tools = OpenTools::default();
        let tool = |id: usize| OpenTool::new(id.to_string(), "t".into(), ToolKind::Other, &Text::default());
        for id in 0..=OPEN_MAX {
            tools.open(tool(id));
        }
        tools.open(tool(1));
        assert_eq!(tools.close("0"), None);
        assert_eq!(tools.close("1"), Some(tool(1)));
        assert_eq!(tools.close("1"), None);
    }

    #[test]
    fn what_a_tool_was_given_is_told_when_it_is_new() {
        let mut tool = OpenTool::new("1".into(), "t".into(), ToolKind::Edit, &"a".into());
        let new = ["a", "", "b", "b", "a"].map(|input| tool.is_given(&input.into()));
        assert_eq!(new, [false, false, true, false, true]);
    }

    #[test]
    fn a_file_is_remembered_once() {
        let mut tool = OpenTool::new("1".into(), "t".into(), ToolKind::Edit, &Text::default());
        tool.add_file("a".into(), FileOp::Modified);
        tool.add_file("a".into(), FileOp::Added);
        for name in 0..2 * FILES_MAX {
            tool.add_file(name.to_string(), FileOp::Modified);
        }
        assert_eq!(tool.files.first(), Some(&("a".to_owned(), FileOp::Added)));
        assert_eq!(tool.files.len(), FILES_MAX);
    }
}
