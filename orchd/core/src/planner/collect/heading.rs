//! What a heading opens: a section, a requirement, or details of the requirement above it.

use super::Walk;
use super::lists::List;
use super::mode::{Context, Mode};
use super::record::GROUP_CHARS_MAX;
use crate::planner::model::RequirementKind;
use crate::planner::outline::{Block, BlockKind};
use crate::planner::phrase;
use crate::planner::section::{self, Class};

impl Walk<'_> {
    pub(super) fn heading(&mut self, index: usize, block: &Block, level: u8, above: Context) -> Context {
        let id = self.id_in(block, above.mode);
        let class = self.sections.class(index);
        let named = self.sections.is_named(index);
        let is_label = level > 6;
        let describes = named
            && matches!(
                class,
                Class::Acceptance
                    | Class::Detail
                    | Class::Summary
                    | Class::Aside
                    | Class::EdgeCases
                    | Class::Constraint
            );
        let from_paragraph =
            self.paragraph_owner.filter(|(parent, _)| is_label && *parent == block.parent).map(|(_, owner)| owner);
        if !(is_label && describes) {
            self.paragraph_owner = None;
        }
        let owner = above.owner.or(from_paragraph).or(above.item);
        let mut context = Context { heading: Some(index), item: None, statement: None, ..above };
        if let Some(id) = id {
            context.mode = match above.mode {
                Mode::Requirements(kind) => Mode::Requirements(id.kind().unwrap_or(kind)),
                _ => Mode::Requirements(id.kind().unwrap_or(RequirementKind::Functional)),
            };
            context.owner =
                self.open(block, Some(&id), Context { heading: above.heading, item: above.item, ..context });
            context.parts = false;
            return context;
        }
        if describes && owner.is_some() {
            context.mode = self.reach.mode_of(class, owner);
            context.owner = owner;
            return context;
        }
        if above.owner.is_some() && !(named && class.is_requirements()) {
            // A heading under a requirement's heading is one of its details.
            let is_own = !matches!(class, Class::Quality | Class::Described | Class::Manual | Class::Unknown);
            if named && is_own {
                context.mode = self.reach.mode_of(class, None);
                context.owner = None;
            } else {
                self.detail(above.owner, block);
            }
            return context;
        }
        // Under the title every heading opens a section of its own.
        let under_title = above.heading.is_none() || above.heading == self.sections.title;
        context.mode = if named || under_title { self.reach.mode_of(class, None) } else { above.mode };
        let was_read = matches!(above.mode, Mode::Requirements(_) | Mode::Statements(_));
        if was_read && matches!(context.mode, Mode::Ignore | Mode::Loose | Mode::Summary) {
            context.mode = Mode::Statements(List::Unclassified);
        }
        context.owner = above.owner;
        context.parts = above.owner.is_some();
        let is_title = self.sections.title == Some(index);
        if is_title && context.mode == Mode::Ignore {
            context.mode = Mode::Summary;
            return context;
        }
        match context.mode {
            Mode::Requirements(_) => self.open_section(index, block, &mut context, above),
            Mode::Statements(_) => self.open_statements(index, block, &mut context, above),
            Mode::Ignore if !is_label && !matches!(above.mode, Mode::Ignore) => self.skip(index, block),
            Mode::Ignore | Mode::Loose | Mode::Summary | Mode::Accept(_) | Mode::Detail(_) => {}
        }
        context
    }

    /// A heading inside a requirements section: a requirement by itself where nothing under it is one.
    fn open_section(&mut self, index: usize, block: &Block, context: &mut Context, above: Context) {
        let facts = self.facts.get(index).copied().unwrap_or_default();
        let inside =
            matches!(above.mode, Mode::Requirements(_)) && above.owner.is_none() && !self.sections.is_named(index);
        let bare = !facts.has_items && !facts.has_rows && !facts.has_sections;
        let is_label = matches!(block.kind, BlockKind::Heading { level } if level > 6);
        let is_requirement = inside
            && !facts.has_ids
            && (facts.has_user_story && !facts.has_sections || bare && (facts.has_paragraphs || !is_label));
        if is_requirement && section::priority(&block.text).is_none() {
            context.owner = self.open(block, None, Context { heading: above.heading, ..*context });
        } else if inside && bare && !facts.has_paragraphs {
            self.unclassified(block);
        }
    }

    /// A heading inside a section of statements: a statement by itself where nothing under it is one.
    fn open_statements(&mut self, index: usize, block: &Block, context: &mut Context, above: Context) {
        let Mode::Statements(list) = context.mode else { return };
        let facts = self.facts.get(index).copied().unwrap_or_default();
        let lists_parts = facts.has_items || facts.has_rows || facts.has_sections;
        let inside = above.mode == context.mode && !phrase::is_lead_in(&block.text);
        let is_phase = list == List::Milestones && (inside || section::names_phase(&block.text));
        if is_phase || (inside && !lists_parts) {
            context.statement = self.state(list, &block.text, block.lines);
        }
    }

    /// Remembers a heading whose section is not read, if anything stands under it.
    fn skip(&mut self, index: usize, block: &Block) {
        let facts = self.facts.get(index).copied().unwrap_or_default();
        if facts.has_items || facts.has_rows || facts.has_paragraphs || facts.has_sections {
            self.found.skipped.push((phrase::shorten(&block.text, GROUP_CHARS_MAX), block.lines.first));
        }
    }
}
