//! The walk over a document's blocks that turns them into requirements and statements.
//!
//! One pass in document order; what a block becomes depends on its section, its parent and its own text. Invariant:
//! every block of a requirements section ends in a requirement, a statement or `unclassified`.

use super::draft::{Draft, Drafts};
use super::ids::{self, FoundId, Series};
use super::model::{LineRange, RequirementKind, Statement};
use super::nest::HeadingFacts;
use super::outline::{Block, BlockKind, Outline};
use super::phrase::{self, Labelled};
use super::row;
use super::section::{self, Class, Reading};
use super::sections::Sections;

/// Longest summary, in characters.
const SUMMARY_CHARS_MAX: usize = 4_000;
/// Longest piece of a group that comes from one heading, in characters.
const GROUP_CHARS_MAX: usize = 120;
/// Headings that make up a group.
const GROUP_DEPTH_MAX: usize = 8;

/// Which sections may hold requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    /// Those that are named so.
    Named,
    /// Those, and those that are named after a quality.
    WithQualities,
    /// All that are not about something else: for documents that name no requirements.
    Loose,
}

/// The lists that statements go to.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) goals: Vec<Statement>,
    pub(super) non_goals: Vec<Statement>,
    pub(super) constraints: Vec<Statement>,
    pub(super) acceptance: Vec<Statement>,
    pub(super) questions: Vec<Statement>,
    pub(super) risks: Vec<Statement>,
    pub(super) milestones: Vec<Statement>,
    pub(super) unclassified: Vec<Statement>,
}

impl Lists {
    fn of(&mut self, list: List) -> &mut Vec<Statement> {
        match list {
            List::Goals => &mut self.goals,
            List::NonGoals => &mut self.non_goals,
            List::Constraints => &mut self.constraints,
            List::Acceptance => &mut self.acceptance,
            List::Questions => &mut self.questions,
            List::Risks => &mut self.risks,
            List::Milestones => &mut self.milestones,
            List::Unclassified => &mut self.unclassified,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Goals,
    NonGoals,
    Constraints,
    Acceptance,
    Questions,
    Risks,
    Milestones,
    Unclassified,
}

/// What the blocks of a section become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Requirements(RequirementKind),
    /// Only items and sentences that demand something.
    Loose,
    Statements(List),
    /// Acceptance criteria of the requirement that owns the section.
    Accept(usize),
    /// Details of the requirement that owns the section.
    Detail(usize),
    Summary,
    Ignore,
}

/// What a block hands down to the blocks under it.
#[derive(Clone, Copy, Debug)]
struct Context {
    mode: Mode,
    /// The requirement that a heading or a paragraph opened.
    owner: Option<usize>,
    /// Whether items under the owner are requirements of their own.
    parts: bool,
    /// The requirement of the list item above.
    item: Option<usize>,
    /// The statement of the list item above.
    statement: Option<(List, usize)>,
    /// The heading above.
    heading: Option<usize>,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) drafts: Drafts,
    pub(super) lists: Lists,
    pub(super) summary: String,
    /// Headings whose sections were not read, with their lines.
    pub(super) skipped: Vec<(String, u32)>,
    /// Lines of requirements that are struck out.
    pub(super) struck: Vec<u32>,
    /// Whether requirements were left over at the limit.
    pub(super) overfull: bool,
}

/// Walks the blocks of `outline`.
pub(super) fn collect(outline: &Outline, sections: &Sections, facts: &[HeadingFacts], breadth: Breadth) -> Collected {
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
        breadth,
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
    breadth: Breadth,
    series: Series,
    contexts: Vec<Context>,
    /// A requirement that a paragraph opened, and the parent of that paragraph: a list behind it holds its details.
    paragraph_owner: Option<(Option<usize>, usize)>,
    found: Collected,
}

impl Walk<'_> {
    fn block(&mut self, index: usize, block: &Block) -> Context {
        let above = block.parent.and_then(|parent| self.contexts.get(parent)).copied().unwrap_or(Context {
            mode: self.mode_of(Class::Unknown, None),
            owner: None,
            parts: false,
            item: None,
            statement: None,
            heading: None,
        });
        if block.struck && !matches!(above.mode, Mode::Ignore | Mode::Summary) {
            self.found.struck.push(block.lines.first);
            self.unclassified(block);
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

    /// What a section of this class becomes, `owner` being the requirement it belongs to.
    fn mode_of(&self, class: Class, owner: Option<usize>) -> Mode {
        let functional = Mode::Requirements(RequirementKind::Functional);
        let non_functional = Mode::Requirements(RequirementKind::NonFunctional);
        match (class, owner) {
            (Class::Functional | Class::Mixed, _) => functional,
            (Class::NonFunctional, _) => non_functional,
            (Class::Acceptance, Some(owner)) => Mode::Accept(owner),
            (Class::Detail | Class::Summary | Class::Aside | Class::Manual | Class::Constraint, Some(owner)) => {
                Mode::Detail(owner)
            }
            (Class::Constraint, None) => Mode::Statements(List::Constraints),
            (Class::Goals, _) => Mode::Statements(List::Goals),
            (Class::NonGoals, _) => Mode::Statements(List::NonGoals),
            (Class::Acceptance, None) => Mode::Statements(List::Acceptance),
            (Class::Questions, _) => Mode::Statements(List::Questions),
            (Class::Risks, _) => Mode::Statements(List::Risks),
            (Class::Milestones, _) => Mode::Statements(List::Milestones),
            (Class::Summary, None) => Mode::Summary,
            (Class::Quality, _) => match self.breadth {
                Breadth::Named => Mode::Statements(List::Unclassified),
                Breadth::WithQualities | Breadth::Loose => non_functional,
            },
            (Class::Described, _) => match self.breadth {
                Breadth::Named | Breadth::WithQualities => Mode::Statements(List::Unclassified),
                Breadth::Loose => functional,
            },
            (Class::Unknown | Class::Detail, _) => match self.breadth {
                Breadth::Named | Breadth::WithQualities => Mode::Ignore,
                Breadth::Loose => Mode::Loose,
            },
            (Class::Aside | Class::Manual, None) => Mode::Ignore,
        }
    }

    fn heading(&mut self, index: usize, block: &Block, level: u8, above: Context) -> Context {
        let id = self.id_in(block, above.mode);
        let class = self.sections.class(index);
        let named = self.sections.is_named(index);
        let is_label = level > 6;
        let describes = named
            && matches!(class, Class::Acceptance | Class::Detail | Class::Summary | Class::Aside | Class::Constraint);
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
            context.owner = self.open(block, Some(&id), context);
            context.parts = false;
            return context;
        }
        if describes && owner.is_some() {
            context.mode = self.mode_of(class, owner);
            context.owner = owner;
            return context;
        }
        if above.owner.is_some() && !(named && class.is_requirements()) {
            // A heading under a requirement's heading is one of its details.
            if named && !matches!(class, Class::Quality | Class::Described) {
                context.mode = self.mode_of(class, None);
                context.owner = None;
            } else {
                self.detail(above.owner, block);
            }
            return context;
        }
        context.mode = if named || !matches!(above.mode, Mode::Requirements(_) | Mode::Loose) {
            self.mode_of(class, None)
        } else {
            above.mode
        };
        if matches!(above.mode, Mode::Requirements(_)) && matches!(context.mode, Mode::Ignore | Mode::Summary) {
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
        let is_requirement =
            inside && (facts.has_user_story && !facts.has_sections || bare && (facts.has_paragraphs || !is_label));
        if is_requirement && section::priority(&block.text).is_none() {
            context.owner = self.open(block, None, Context { heading: above.heading, ..*context });
        } else if inside && bare {
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

    fn item(&mut self, block: &Block, above: Context) -> Context {
        let label = phrase::label(&block.text, block.bold_len);
        let mut context = above;
        if let Some(said) = label.and_then(|label| self.labelled(block, label, above)) {
            return said;
        }
        let id = self.id_in(block, above.mode);
        let from_paragraph = self.paragraph_owner.filter(|(parent, _)| *parent == block.parent).map(|(_, owner)| owner);
        match above.mode {
            _ if id.is_some() => context.item = self.open(block, id.as_ref(), above),
            Mode::Requirements(_) | Mode::Loose => {
                let whole = above.item.filter(|&item| self.found.drafts.has_own_key(item));
                let owner = above.owner.filter(|_| !above.parts).or(from_paragraph);
                match whole.or(owner.filter(|_| above.item.is_none())) {
                    Some(owner) => self.detail_item(owner, block),
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
            Mode::Ignore => {}
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
            Mode::Statements(_) | Mode::Loose | Mode::Ignore => {}
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
        let id = reading.id.clone().filter(|id| self.may_define(id, above.mode));
        let is_requirement = match above.mode {
            Mode::Requirements(_) => id.is_some() || (reading.header_fits && above.owner.is_none()),
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
            Mode::Statements(List::Unclassified) => self.unclassified(block),
            Mode::Accept(owner) | Mode::Detail(owner) => {
                self.found.drafts.get_mut(owner).detail(&block.text, block.lines);
            }
            Mode::Statements(_) | Mode::Summary | Mode::Ignore => {}
        }
    }

    /// A line whose label says what it is: `**Acceptance criteria:** ...`, `- **Out of scope:** ...`, `Priority: P1`.
    fn labelled(&mut self, block: &Block, label: Labelled<'_>, above: Context) -> Option<Context> {
        let owner = above
            .item
            .or(above.owner)
            .or(self.paragraph_owner.filter(|(parent, _)| *parent == block.parent).map(|(_, owner)| owner));
        let in_requirements =
            matches!(above.mode, Mode::Requirements(_) | Mode::Loose | Mode::Detail(_) | Mode::Accept(_));
        if label.name.eq_ignore_ascii_case("priority") {
            let owner = owner.filter(|_| in_requirements)?;
            let draft = self.found.drafts.get_mut(owner);
            draft.priority =
                Some(phrase::shorten(label.body, phrase::TITLE_CHARS_MAX)).filter(|priority| !priority.is_empty());
            draft.detail("", block.lines);
            return Some(Context { mode: Mode::Detail(owner), ..above });
        }
        let class = section::classify(label.name, Reading::Exact)?;
        let mode = self.mode_of(class, owner.filter(|_| in_requirements));
        let is_item = block.kind == BlockKind::Item;
        let mut context = Context { mode, statement: None, ..above };
        match mode {
            Mode::Accept(owner) => self.found.drafts.get_mut(owner).accept(label.body, block.lines),
            Mode::Detail(owner) if is_item || class == Class::Detail => self.detail_item(owner, block),
            Mode::Summary if matches!(above.mode, Mode::Statements(_)) => self.summarise(label.body),
            Mode::Statements(List::Unclassified) | Mode::Ignore | Mode::Loose | Mode::Detail(_) | Mode::Summary => {
                return None;
            }
            // Inside a section of statements a label is part of a statement, but a bare one opens a list of another kind.
            Mode::Statements(list) => {
                let bare = label.body.is_empty();
                if (in_requirements && owner.is_some()) || (matches!(above.mode, Mode::Statements(_)) && !bare) {
                    return None;
                }
                if !bare {
                    context.statement = self.state(list, label.body, block.lines);
                }
            }
            Mode::Requirements(_) if is_item && label.body.is_empty() && owner.is_none() && class.is_requirements() => {
                context.item = None;
            }
            Mode::Requirements(_) => return None,
        }
        Some(context)
    }

    /// The id that opens the block, if it may define a requirement here.
    fn id_in(&self, block: &Block, mode: Mode) -> Option<FoundId> {
        ids::find(&block.text, block.bold_len).filter(|id| self.may_define(id, mode))
    }

    /// Whether an id that opens a block defines a requirement there, or only speaks of one.
    fn may_define(&self, id: &FoundId, mode: Mode) -> bool {
        match mode {
            Mode::Requirements(_) | Mode::Loose => self.series.believes(id),
            Mode::Statements(List::Constraints) => self.series.believes(id) && !self.found.drafts.is_taken(&id.key),
            Mode::Statements(List::Unclassified | List::Goals) | Mode::Ignore | Mode::Summary => {
                id.is_known() && id.marked && !self.found.drafts.is_taken(&id.key)
            }
            Mode::Accept(_) | Mode::Detail(_) => {
                id.is_known() && id.marked && !self.found.drafts.is_taken(&id.key) && id.series != "US"
            }
            Mode::Statements(_) => false,
        }
    }

    /// Makes the block a requirement; at the limit it is kept as unclassified instead.
    fn open(&mut self, block: &Block, id: Option<&FoundId>, above: Context) -> Option<usize> {
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

    fn priority_of(&self, heading: Option<usize>) -> Option<String> {
        section::priority(&self.outline.blocks.get(heading?)?.text)
    }

    /// The headings above, outermost first, without the document's title.
    fn group(&self, heading: Option<usize>) -> Option<String> {
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

    fn state(&mut self, list: List, text: &str, lines: LineRange) -> Option<(List, usize)> {
        let statements = self.found.lists.of(list);
        if !text.is_empty() {
            statements.push(Statement { text: text.to_owned(), lines });
        }
        statements.len().checked_sub(1).map(|index| (list, index))
    }

    /// Adds the block to the statement it stands under.
    fn append(&mut self, statement: Option<(List, usize)>, block: &Block) {
        let Some((list, index)) = statement else { return };
        if let Some(statement) = self.found.lists.of(list).get_mut(index) {
            statement.text.push('\n');
            statement.text.push_str(&block.text);
            statement.lines.extend(block.lines);
        }
    }

    fn extend_acceptance(&mut self, owner: usize, block: &Block) {
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

    fn detail(&mut self, owner: Option<usize>, block: &Block) {
        if let Some(owner) = owner {
            self.found.drafts.get_mut(owner).detail(&block.text, block.lines);
        }
    }

    fn detail_item(&mut self, owner: usize, block: &Block) {
        let text = if block.kind == BlockKind::Item { format!("- {}", block.text) } else { block.text.clone() };
        self.found.drafts.get_mut(owner).detail(&text, block.lines);
    }

    fn unclassified(&mut self, block: &Block) {
        self.state(List::Unclassified, &block.text, block.lines);
    }

    fn summarise(&mut self, text: &str) {
        let summary = &mut self.found.summary;
        if summary.len() < SUMMARY_CHARS_MAX && !text.is_empty() {
            if !summary.is_empty() {
                summary.push('\n');
            }
            summary.push_str(&phrase::shorten(text, SUMMARY_CHARS_MAX));
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
