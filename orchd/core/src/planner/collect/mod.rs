//! The walk over a document's blocks that turns them into requirements and statements.
//!
//! One pass in document order; what a block becomes depends on its section, its parent and its own text. Invariant:
//! every block of a requirements section ends in a requirement, a statement or `unclassified`.

mod heading;
mod label;
mod lists;
mod mode;
mod record;

pub(super) use lists::Lists;
pub(super) use mode::Reach;

use super::draft::Drafts;
use super::ids::{FoundId, Series};
use super::nest::HeadingFacts;
use super::outline::{Block, BlockKind, Outline};
use super::phrase;
use super::row;
use super::section::Class;
use super::sections::Sections;
use lists::List;
use mode::{Context, Mode};

/// What the walk found.
#[derive(Debug, Default)]
pub(in crate::planner) struct Collected {
    pub(in crate::planner) drafts: Drafts,
    pub(in crate::planner) lists: Lists,
    pub(in crate::planner) summary: String,
    /// Headings whose sections were not read, with their lines.
    pub(in crate::planner) skipped: Vec<(String, u32)>,
    /// Lines of requirements that are struck out.
    pub(in crate::planner) struck: Vec<u32>,
    /// Whether requirements were left over at the limit.
    pub(in crate::planner) overfull: bool,
}

/// Walks the blocks of `outline`.
pub(in crate::planner) fn collect(
    outline: &Outline,
    sections: &Sections,
    facts: &[HeadingFacts],
    reach: Reach,
) -> Collected {
    let mut series = Series::default();
    for block in &outline.blocks {
        match &block.kind {
            BlockKind::Row { cells, .. } => cells.iter().take(2).for_each(|cell| series.note(cell, 0)),
            BlockKind::Heading { .. } | BlockKind::Item | BlockKind::Paragraph => {
                series.note(&block.text, block.bold_len);
            }
            BlockKind::Code => {}
        }
    }
    let mut walk = Walk {
        outline,
        sections,
        facts,
        reach,
        series,
        contexts: Vec::with_capacity(outline.blocks.len()),
        paragraph_owner: None,
        found: Collected::default(),
    };
    for (index, block) in outline.blocks.iter().enumerate() {
        let context = walk.block(index, block);
        walk.contexts.push(context);
    }
    walk.found
}

struct Walk<'a> {
    outline: &'a Outline,
    sections: &'a Sections,
    facts: &'a [HeadingFacts],
    reach: Reach,
    series: Series,
    contexts: Vec<Context>,
    /// A requirement that a paragraph opened, and the parent of that paragraph: a list behind it holds its details.
    paragraph_owner: Option<(Option<usize>, usize)>,
    found: Collected,
}

impl Walk<'_> {
    fn block(&mut self, index: usize, block: &Block) -> Context {
        let above = block.parent.and_then(|parent| self.contexts.get(parent)).copied().unwrap_or(Context {
            mode: self.reach.mode_of(Class::Unknown, None),
            owner: None,
            parts: false,
            item: None,
            statement: None,
            heading: None,
        });
        if block.struck && !matches!(above.mode, Mode::Ignore | Mode::Summary) {
            self.found.struck.push(block.lines.first);
            let statement = self.state(List::Unclassified, &block.text, block.lines);
            return Context { mode: Mode::Statements(List::Unclassified), statement, owner: None, item: None, ..above };
        }
        if block.only_anchors && block.kind == BlockKind::Item {
            return Context { mode: Mode::Ignore, ..above };
        }
        match &block.kind {
            BlockKind::Heading { level } => self.heading(index, block, *level, above),
            BlockKind::Item => self.item(block, above),
            BlockKind::Paragraph => self.paragraph(block, above),
            BlockKind::Row { table, cells } => {
                self.row(block, *table, cells, above);
                above
            }
            BlockKind::Code => {
                self.code(block, above);
                above
            }
        }
    }

    fn item(&mut self, block: &Block, above: Context) -> Context {
        let label = phrase::label(&block.text, block.bold_len);
        let mut context = above;
        if let Some(said) = label.and_then(|label| self.labelled(block, label, above)) {
            return said;
        }
        let id = self.id_in(block, above.mode);
        let from_paragraph = self.paragraph_owner.filter(|(parent, _)| *parent == block.parent).map(|(_, owner)| owner);
        match above.mode {
            _ if id.is_some() => {
                context.item = self.open(block, id.as_ref(), above);
            }
            // A quotation is an example or a comment, not a demand.
            Mode::Requirements(_) | Mode::Loose if block.quoted => {
                match above.item.or(above.owner).or(from_paragraph) {
                    Some(owner) => {
                        self.detail_item(owner, block);
                        context.mode = Mode::Detail(owner);
                    }
                    None => self.unclassified(block),
                }
            }
            Mode::Requirements(_) | Mode::Loose => {
                let whole = above.item.filter(|&item| self.found.drafts.has_own_key(item));
                let owner = above.owner.filter(|_| !above.parts).or(from_paragraph);
                match whole.or(owner.filter(|_| above.item.is_none())) {
                    Some(owner) => {
                        self.detail_item(owner, block);
                        context.mode = Mode::Detail(owner);
                    }
                    None if above.item.is_some_and(|_| above.owner.is_some() && !above.parts) => {
                        self.detail(above.item, block);
                    }
                    None => context.item = self.open(block, None, above),
                }
            }
            Mode::Statements(list) => match above.statement {
                Some(_) => self.append(above.statement, block),
                None => context.statement = self.state(list, &block.text, block.lines),
            },
            Mode::Accept(owner) => match above.statement {
                Some(_) => self.extend_acceptance(owner, block),
                None => {
                    self.found.drafts.get_mut(owner).accept(&block.text, block.lines);
                    context.statement = Some((List::Acceptance, usize::MAX));
                }
            },
            Mode::Detail(owner) => self.detail_item(owner, block),
            Mode::Summary => self.summarise(&block.text),
            Mode::Ignore => self.overlooked(block, above),
        }
        context
    }

    fn paragraph(&mut self, block: &Block, above: Context) -> Context {
        let label = phrase::label(&block.text, block.bold_len);
        if let Some(said) = label.and_then(|label| self.labelled(block, label, above)) {
            return said;
        }
        let id = self.id_in(block, above.mode);
        if let Some(id) = id {
            let opened = self.open(block, Some(&id), above);
            self.paragraph_owner = opened.map(|owner| (block.parent, owner));
            return above;
        }
        let in_item = block
            .parent
            .and_then(|parent| self.outline.blocks.get(parent))
            .is_some_and(|above| above.kind == BlockKind::Item);
        match above.mode {
            Mode::Requirements(_) => self.demand(block, above, in_item),
            Mode::Loose if in_item && above.item.is_some() => self.detail(above.item, block),
            Mode::Loose if phrase::is_normative(&block.text) && !phrase::is_lead_in(&block.text) && !block.quoted => {
                self.open(block, None, above);
            }
            Mode::Statements(_) if above.statement.is_some() => self.append(above.statement, block),
            Mode::Statements(list) if list == List::Unclassified || !phrase::is_lead_in(&block.text) => {
                self.state(list, &block.text, block.lines);
            }
            Mode::Accept(owner) if above.statement.is_some() => self.extend_acceptance(owner, block),
            Mode::Accept(owner) if !phrase::is_lead_in(&block.text) => {
                self.found.drafts.get_mut(owner).accept(&block.text, block.lines);
            }
            Mode::Accept(owner) | Mode::Detail(owner) => {
                self.found.drafts.get_mut(owner).detail(&block.text, block.lines);
            }
            // `**Version:** 1.0` under the title is about the document.
            Mode::Summary if label.is_some() && above.heading == self.sections.title => {}
            Mode::Summary => self.summarise(&block.text),
            Mode::Loose if above.heading == self.sections.title && label.is_none() => self.summarise(&block.text),
            Mode::Ignore => self.overlooked(block, above),
            Mode::Statements(_) | Mode::Loose => {}
        }
        above
    }

    /// A paragraph of a requirements section.
    fn demand(&mut self, block: &Block, above: Context, in_item: bool) {
        let from_paragraph =
            self.paragraph_owner.filter(|(parent, _)| *parent == block.parent && block.quoted).map(|(_, owner)| owner);
        if let Some(owner) = above.item.filter(|_| in_item).or(above.owner).or(from_paragraph) {
            self.detail(Some(owner), block);
            return;
        }
        self.paragraph_owner = None;
        let facts = above.heading.and_then(|heading| self.facts.get(heading)).copied().unwrap_or_default();
        let only_paragraphs = !facts.has_items && !facts.has_rows && !facts.has_sections;
        let demands = phrase::is_normative(&block.text) || only_paragraphs;
        if demands && !phrase::is_lead_in(&block.text) && !block.quoted {
            self.open(block, None, above);
        } else {
            self.unclassified(block);
        }
    }

    fn row(&mut self, block: &Block, table: usize, cells: &[String], above: Context) {
        let header = self.outline.tables.get(table).map(Vec::as_slice).unwrap_or_default();
        let reading = row::read(header, cells, &self.series);
        // A table of ids and requirements defines them wherever it stands.
        let elsewhere = reading.names_requirements
            && matches!(above.mode, Mode::Ignore | Mode::Summary | Mode::Statements(List::Unclassified));
        let defines = |id: &FoundId| {
            self.may_define(id, above.mode)
                || (elsewhere && self.series.believes(id) && !self.found.drafts.is_taken(&id.key))
        };
        let id = reading.id.clone().filter(defines);
        let is_requirement = match above.mode {
            Mode::Requirements(_) => id.is_some() || (reading.header_fits && (above.owner.is_none() || above.parts)),
            Mode::Loose | Mode::Ignore | Mode::Statements(_) | Mode::Summary => id.is_some(),
            Mode::Accept(_) | Mode::Detail(_) => false,
        };
        if is_requirement {
            let opened = self.open(block, id.as_ref(), above);
            if let Some(index) = opened {
                let draft = self.found.drafts.get_mut(index);
                draft.title = reading.title;
                draft.text = reading.text;
                draft.priority = reading.priority.or_else(|| draft.priority.take());
                draft.acceptance = reading.acceptance;
            }
            return;
        }
        match above.mode {
            Mode::Requirements(_) if above.owner.is_some() => self.detail(above.owner, block),
            Mode::Requirements(_) => self.unclassified(block),
            Mode::Statements(_) if above.statement.is_some() => self.append(above.statement, block),
            Mode::Statements(list) => drop(self.state(list, &block.text, block.lines)),
            Mode::Accept(owner) => self.found.drafts.get_mut(owner).accept(&block.text, block.lines),
            Mode::Detail(owner) => self.found.drafts.get_mut(owner).detail(&block.text, block.lines),
            Mode::Loose | Mode::Summary | Mode::Ignore => {}
        }
    }

    fn code(&mut self, block: &Block, above: Context) {
        let from_paragraph = self.paragraph_owner.filter(|(parent, _)| *parent == block.parent).map(|(_, owner)| owner);
        match above.mode {
            Mode::Requirements(_) | Mode::Loose => match above.item.or(above.owner).or(from_paragraph) {
                Some(owner) => self.detail(Some(owner), block),
                None if above.mode == Mode::Loose => {}
                None => self.unclassified(block),
            },
            Mode::Statements(_) if above.statement.is_some() => self.append(above.statement, block),
            Mode::Statements(_) => self.unclassified(block),
            Mode::Accept(owner) | Mode::Detail(owner) => {
                self.found.drafts.get_mut(owner).detail(&block.text, block.lines);
            }
            Mode::Summary | Mode::Ignore => {}
        }
    }
}
