//! Puts every block under its heading, and finds the bold or short lines that act as headings.
//!
//! Knows blocks and headings, decides nothing about requirements. Invariant: afterwards only blocks above the first
//! heading have no parent, and parents still stand before their children.

use super::ids;
use super::outline::{Block, BlockKind, Outline};
use super::section::{self, Class, Reading};

/// Level of a bold line that acts as a heading.
const LABEL_LEVEL: u8 = 7;
/// Level of a bold line that describes what stands above it, such as `Acceptance criteria:`.
const DETAIL_LABEL_LEVEL: u8 = 8;
/// Longest line that acts as a heading, in bytes.
const LABEL_BYTES_MAX: usize = 120;

/// What stands directly under a heading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadingFacts {
    pub(super) has_items: bool,
    pub(super) has_rows: bool,
    pub(super) has_paragraphs: bool,
    /// A heading under it that does more than describe it.
    pub(super) has_sections: bool,
    pub(super) has_user_story: bool,
    /// Whether a paragraph under it opens with an id, so that it holds requirements instead of being one.
    pub(super) has_ids: bool,
}

/// Sets the parents; gives the facts of every block that is a heading, and defaults for the others.
pub(super) fn nest(outline: &mut Outline) -> Vec<HeadingFacts> {
    let mut open: Vec<(u8, usize)> = Vec::new();
    for index in 0..outline.blocks.len() {
        let label = label_level(&outline.blocks, index);
        let Some(block) = outline.blocks.get_mut(index) else { break };
        if let Some(level) = label {
            block.kind = BlockKind::Heading { level };
        }
        // A heading inside a list item stands under that item and opens nothing.
        if block.parent.is_some() {
            continue;
        }
        if let BlockKind::Heading { level } = block.kind {
            while open.last().is_some_and(|&(above, _)| above >= level) {
                open.pop();
            }
            block.parent = open.last().map(|&(_, index)| index);
            open.push((level, index));
        } else {
            block.parent = open.last().map(|&(_, index)| index);
        }
    }
    facts(&outline.blocks)
}

fn facts(blocks: &[Block]) -> Vec<HeadingFacts> {
    let mut facts = vec![HeadingFacts::default(); blocks.len()];
    for block in blocks {
        let Some(above) = block.parent.and_then(|parent| facts.get_mut(parent)) else { continue };
        match &block.kind {
            BlockKind::Item => above.has_items = true,
            BlockKind::Row { .. } => above.has_rows = true,
            BlockKind::Paragraph => {
                above.has_paragraphs = true;
                above.has_ids |= ids::begins_with_marked_id(&block.text, block.bold_len);
                above.has_user_story |= super::phrase::is_user_story(&block.text);
            }
            BlockKind::Heading { .. } => above.has_sections |= !describes(&block.text),
            BlockKind::Code => {}
        }
    }
    facts
}

/// Whether a heading of this text describes the thing above it instead of opening a new one.
pub(super) fn describes(text: &str) -> bool {
    matches!(
        section::classify(text, Reading::Exact),
        Some(Class::Acceptance | Class::Detail | Class::Summary | Class::Aside | Class::EdgeCases)
    )
}

/// The level of the heading that the block acts as, if it is a line that does.
fn label_level(blocks: &[Block], index: usize) -> Option<u8> {
    let block = blocks.get(index)?;
    let is_line = block.kind == BlockKind::Paragraph && block.parent.is_none() && !block.quoted;
    if !is_line || block.text.len() > LABEL_BYTES_MAX {
        return None;
    }
    let next = blocks.get(index + 1).filter(|next| next.parent.is_none());
    let opens_list =
        next.is_some_and(|next| matches!(next.kind, BlockKind::Item | BlockKind::Row { .. } | BlockKind::Code));
    let words = block.text.split_whitespace().count();
    // A longer line that mentions a section's name is a sentence about it.
    let reading = if words <= 3 { Reading::Contains } else { Reading::Exact };
    let said = section::classify(&block.text, reading).is_some();
    let acts = if block.all_bold {
        !block.text.ends_with(['.', '!', '?', ',']) && next.is_some()
    } else if block.text.ends_with(':') {
        opens_list && words <= 8 && (said || block.bold_len > 0)
    } else {
        opens_list
            && said
            && words <= 4
            && !block.text.ends_with(['.', '!', '?', ',', ';'])
            && !block.text.contains(':')
    };
    let level = if describes(&block.text) { DETAIL_LABEL_LEVEL } else { LABEL_LEVEL };
    acts.then_some(level)
}
