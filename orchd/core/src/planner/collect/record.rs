//! Writes what the walk decided into requirements, lists and the summary.
//!
//! Decides nothing but the limits.

use super::Walk;
use super::lists::List;
use super::mode::{Context, Mode};
use crate::planner::draft::Draft;
use crate::planner::ids::FoundId;
use crate::planner::model::{LineRange, RequirementKind, Statement};
use crate::planner::outline::{Block, BlockKind};
use crate::planner::section::Class;
use crate::planner::{phrase, section};

/// Longest summary, in characters.
const SUMMARY_CHARS_MAX: usize = 4_000;
/// Longest piece of a group that comes from one heading, in characters.
pub(super) const GROUP_CHARS_MAX: usize = 120;
/// Headings that make up a group.
const GROUP_DEPTH_MAX: usize = 8;

impl Walk<'_> {
    /// Makes the block a requirement; at the limit it is kept as unclassified instead.
    pub(super) fn open(&mut self, block: &Block, id: Option<&FoundId>, above: Context) -> Option<usize> {
        if self.found.drafts.is_full() {
            self.found.overfull = true;
            self.unclassified(block);
            return None;
        }
        let kind = match above.mode {
            Mode::Statements(List::Constraints) => RequirementKind::Constraint,
            Mode::Requirements(kind) => kind,
            _ => RequirementKind::Functional,
        };
        let offset = id.map_or(0, |id| id.rest);
        let text = block.text.get(offset..).unwrap_or_default().to_owned();
        let bold_len = block.bold_len.saturating_sub(offset);
        let priority = phrase::priority(block.text.lines().next().unwrap_or_default());
        if above.mode == Mode::Statements(List::Constraints) {
            self.state(List::Constraints, &block.text, block.lines);
        }
        let draft = Draft {
            key: id.map(|id| id.key.clone()),
            kind: id.and_then(FoundId::kind).unwrap_or(kind),
            title: phrase::title(&text, bold_len),
            text,
            group: self.group(above.heading),
            parent: above.item.or(above.owner),
            priority: priority.or_else(|| self.priority_of(above.heading)),
            acceptance: Vec::new(),
            lines: block.lines,
        };
        Some(self.found.drafts.push(draft))
    }

    pub(super) fn priority_of(&self, heading: Option<usize>) -> Option<String> {
        section::priority(&self.outline.blocks.get(heading?)?.text)
    }

    /// The headings above, outermost first, without the document's title.
    pub(super) fn group(&self, heading: Option<usize>) -> Option<String> {
        let mut names: Vec<String> = Vec::new();
        let mut at = heading;
        while let Some(index) = at.filter(|_| names.len() < GROUP_DEPTH_MAX) {
            let block = self.outline.blocks.get(index)?;
            if self.sections.title != Some(index) {
                names.push(phrase::shorten(block.text.trim_end_matches(':'), GROUP_CHARS_MAX));
            }
            at = block.parent;
        }
        names.reverse();
        (!names.is_empty()).then(|| names.join(" > "))
    }

    pub(super) fn state(&mut self, list: List, text: &str, lines: LineRange) -> Option<(List, usize)> {
        let statements = self.found.lists.of(list);
        if !text.is_empty() {
            statements.push(Statement { text: text.to_owned(), lines });
        }
        statements.len().checked_sub(1).map(|index| (list, index))
    }

    /// Adds the block to the statement it stands under.
    pub(super) fn append(&mut self, statement: Option<(List, usize)>, block: &Block) {
        let Some((list, index)) = statement else { return };
        if let Some(statement) = self.found.lists.of(list).get_mut(index) {
            statement.text.push('\n');
            statement.text.push_str(&block.text);
            statement.lines.extend(block.lines);
        }
    }

    pub(super) fn extend_acceptance(&mut self, owner: usize, block: &Block) {
        let draft = self.found.drafts.get_mut(owner);
        draft.lines.extend(block.lines);
        match draft.acceptance.last_mut() {
            Some(last) => {
                last.push('\n');
                last.push_str(&block.text);
            }
            None => draft.acceptance.push(block.text.clone()),
        }
    }

    pub(super) fn detail(&mut self, owner: Option<usize>, block: &Block) {
        if let Some(owner) = owner {
            self.found.drafts.get_mut(owner).detail(&block.text, block.lines);
        }
    }

    pub(super) fn detail_item(&mut self, owner: usize, block: &Block) {
        let text = if block.kind == BlockKind::Item { format!("- {}", block.text) } else { block.text.clone() };
        self.found.drafts.get_mut(owner).detail(&text, block.lines);
    }

    pub(super) fn unclassified(&mut self, block: &Block) {
        self.state(List::Unclassified, &block.text, block.lines);
    }

    /// Keeps a demand that stands in a section of unknown meaning.
    pub(super) fn overlooked(&mut self, block: &Block, above: Context) {
        let unknown = above.heading.is_none_or(|heading| self.sections.class(heading) == Class::Unknown);
        if unknown && !block.quoted && phrase::is_normative(&block.text) {
            self.unclassified(block);
        }
    }

    pub(super) fn summarise(&mut self, text: &str) {
        let summary = &mut self.found.summary;
        if summary.len() < SUMMARY_CHARS_MAX && !text.is_empty() {
            if !summary.is_empty() {
                summary.push('\n');
            }
            summary.push_str(&phrase::shorten(text, SUMMARY_CHARS_MAX));
        }
    }
}
