//! Markdown as a flat list of blocks, each with its text, its lines and the block it stands in.
//!
//! Knows Markdown and nothing of requirements: what a block means is decided elsewhere. Flat on purpose: a hostile
//! document can nest as deep as it is long, and a walk over indices needs no stack.
//! Invariant: a block's parent stands before it in the list.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::inline::{Inline, InlineLine};
use super::model::LineRange;
use super::source::Source;

/// One block of text.
#[derive(Debug)]
pub(super) struct Block {
    /// The list item it stands in or, for blocks outside lists, the heading (set by `nest`).
    pub(super) parent: Option<usize>,
    pub(super) kind: BlockKind,
    /// Plain text of the block's own lines.
    pub(super) text: String,
    /// Length in bytes of the bold words that open the text; zero where there are none.
    pub(super) bold_len: usize,
    /// Whether every word is bold.
    pub(super) all_bold: bool,
    /// Whether every word is struck out.
    pub(super) struck: bool,
    /// Whether it is only a link to a heading of this document.
    pub(super) only_anchors: bool,
    /// Whether it stands in a block quote.
    pub(super) quoted: bool,
    pub(super) lines: LineRange,
}

/// What kind of block it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// A heading; bold lines that act as headings have the levels above six.
    Heading {
        level: u8,
    },
    Item,
    Paragraph,
    /// A table row; `table` indexes `Outline::tables`.
    Row {
        table: usize,
        cells: Vec<String>,
    },
    Code,
}

/// The blocks of a document and the header cells of its tables.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) blocks: Vec<Block>,
    pub(super) tables: Vec<Vec<String>>,
}

/// Parses the Markdown that begins at `body_start`.
pub(super) fn parse(source: &Source<'_>, body_start: usize) -> Outline {
    let body = source.text.get(body_start..).unwrap_or_default();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut builder = Builder::new(source, body_start);
    for (event, range) in Parser::new_ext(body, options).into_offset_iter() {
        builder.event(event, range.start + body_start..range.end + body_start);
    }
    builder.outline
}

/// The block whose text is being collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    None,
    Heading(u8),
    Paragraph,
    /// Text that stands in a list item without a paragraph of its own.
    Tight,
    Cell,
    Code,
    Html,
}

struct Builder<'a> {
    source: &'a Source<'a>,
    outline: Outline,
    leaf: Leaf,
    inline: Inline,
    raw: String,
    open_items: Vec<usize>,
    quote_depth: usize,
    in_table_head: bool,
    cells: Vec<String>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source<'a>, at: usize) -> Self {
        Self {
            source,
            outline: Outline::default(),
            leaf: Leaf::None,
            inline: Inline::at(at),
            raw: String::new(),
            open_items: Vec::new(),
            quote_depth: 0,
            in_table_head: false,
            cells: Vec::new(),
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(&tag, range),
            Event::End(tag) => self.end(tag, range),
            Event::Text(text) if matches!(self.leaf, Leaf::Code | Leaf::Html) => self.raw.push_str(&text),
            Event::Html(text) => self.raw.push_str(&text),
            Event::Text(text) => self.leaf_at(&range).text(&text, range.end),
            Event::Code(code) => self.leaf_at(&range).code(&code, range.end),
            Event::InlineHtml(html) => self.leaf_at(&range).html(&html, range.end),
            Event::SoftBreak | Event::HardBreak => self.leaf_at(&range).line_break(range.end),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.leaf_at(&range).text(&text, range.end);
            }
            Event::Rule | Event::TaskListMarker(_) => {}
        }
    }

    /// The collector of inline text, opened here for text that stands directly in an item.
    fn leaf_at(&mut self, range: &Range<usize>) -> &mut Inline {
        if self.leaf == Leaf::None {
            self.leaf = Leaf::Tight;
            self.inline = Inline::at(range.start);
        }
        &mut self.inline
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Strong => self.leaf_at(&range).bold(true),
            Tag::Strikethrough => self.leaf_at(&range).strike(true),
            Tag::Heading { level, .. } => self.open(Leaf::Heading(level_of(*level)), range.start),
            Tag::Paragraph => self.open(Leaf::Paragraph, range.start),
            Tag::CodeBlock(_) => self.open(Leaf::Code, range.start),
            Tag::HtmlBlock => self.open(Leaf::Html, range.start),
            Tag::TableCell => self.open(Leaf::Cell, range.start),
            Tag::BlockQuote(_) => {
                self.flush_tight();
                self.quote_depth += 1;
            }
            Tag::Item => {
                self.flush_tight();
                let first = self.source.line(range.start);
                let index = self.push(BlockKind::Item, InlineLine::default(), LineRange { first, last: first });
                self.open_items.push(index);
            }
            Tag::Table(_) => {
                self.flush_tight();
                self.outline.tables.push(Vec::new());
            }
            Tag::TableHead => {
                self.in_table_head = true;
                self.cells.clear();
            }
            Tag::TableRow => self.cells.clear(),
            Tag::List(_) => self.flush_tight(),
            Tag::Link { dest_url, .. } => self.leaf_at(&range).anchor(dest_url.starts_with('#')),
            Tag::Emphasis | Tag::Image { .. } | Tag::Superscript | Tag::Subscript => {}
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Strong => self.inline.bold(false),
            TagEnd::Strikethrough => self.inline.strike(false),
            TagEnd::Link => self.inline.anchor(false),
            TagEnd::Heading(_) | TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::HtmlBlock => self.close(range),
            TagEnd::BlockQuote(_) => {
                self.flush_tight();
                self.quote_depth = self.quote_depth.saturating_sub(1);
            }
            TagEnd::Item => {
                self.flush_tight();
                self.open_items.pop();
            }
            TagEnd::TableCell => {
                let cell = self.inline.take_joined().text;
                self.cells.push(cell);
                self.leaf = Leaf::None;
            }
            TagEnd::TableHead => {
                self.in_table_head = false;
                let header = std::mem::take(&mut self.cells);
                if let Some(table) = self.outline.tables.last_mut() {
                    *table = header;
                }
            }
            TagEnd::TableRow => self.row(range),
            TagEnd::List(_)
            | TagEnd::Table
            | TagEnd::Emphasis
            | TagEnd::Image
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    fn open(&mut self, leaf: Leaf, at: usize) {
        self.flush_tight();
        self.leaf = leaf;
        self.inline = Inline::at(at);
        self.raw.clear();
    }

    /// Ends the text that stands directly in an item.
    fn flush_tight(&mut self) {
        if self.leaf == Leaf::Tight {
            self.leaf = Leaf::None;
            self.paragraphs();
        }
    }

    fn close(&mut self, range: Range<usize>) {
        let leaf = std::mem::replace(&mut self.leaf, Leaf::None);
        match leaf {
            Leaf::Heading(level) => {
                let text = self.inline.take_joined();
                let lines = self.source.lines(range);
                self.push(BlockKind::Heading { level }, text, lines);
            }
            Leaf::Code => {
                let code = InlineLine::plain(std::mem::take(&mut self.raw).trim_end());
                let lines = self.source.lines(range);
                self.push(BlockKind::Code, code, lines);
            }
            Leaf::Html => {
                let text = InlineLine::without_tags(&std::mem::take(&mut self.raw));
                if !text.text.is_empty() {
                    let lines = self.source.lines(range);
                    self.push(BlockKind::Paragraph, text, lines);
                }
            }
            Leaf::Paragraph | Leaf::Tight | Leaf::Cell | Leaf::None => self.paragraphs(),
        }
    }

    /// Turns the collected lines into paragraphs; the first one of an item is the item's own text.
    fn paragraphs(&mut self) {
        for part in self.inline.take_parts() {
            let lines = self.source.lines(part.start..part.end);
            let item = self.open_items.last().copied();
            match item.and_then(|index| self.outline.blocks.get_mut(index)) {
                Some(item) if item.text.is_empty() => item.set_text(part, lines),
                Some(_) | None => drop(self.push(BlockKind::Paragraph, part, lines)),
            }
        }
    }

    fn row(&mut self, range: Range<usize>) {
        let cells = std::mem::take(&mut self.cells);
        if cells.iter().all(String::is_empty) {
            return;
        }
        let table = self.outline.tables.len().saturating_sub(1);
        let filled: Vec<&str> = cells.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        let text = InlineLine::plain(&filled.join(" | "));
        let lines = self.source.lines(range);
        self.push(BlockKind::Row { table, cells }, text, lines);
    }

    fn push(&mut self, kind: BlockKind, text: InlineLine, lines: LineRange) -> usize {
        let mut block = Block {
            parent: self.open_items.last().copied(),
            kind,
            text: String::new(),
            bold_len: 0,
            all_bold: false,
            struck: false,
            only_anchors: false,
            quoted: self.quote_depth > 0,
            lines,
        };
        block.set_text(text, lines);
        self.outline.blocks.push(block);
        self.outline.blocks.len() - 1
    }
}

impl Block {
    fn set_text(&mut self, line: InlineLine, lines: LineRange) {
        self.bold_len = line.bold_len();
        self.all_bold = line.all_bold();
        self.struck = line.struck();
        self.only_anchors = line.only_anchors();
        self.text = line.text;
        self.lines.extend(lines);
    }
}

fn level_of(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
