//! Gives every heading its class from its own words and the section it stands in.
//!
//! Decides what a section is about, not what its blocks become. Invariant: the classes do not depend on the text of
//! blocks that are not headings.

use super::ids;
use super::outline::{Block, BlockKind, Outline};
use super::section::{self, Class, Reading};

/// The classes of a document's headings.
#[derive(Debug)]
pub(super) struct Sections {
    /// Class by block; that of the heading above for blocks that are none.
    classes: Vec<Class>,
    /// Whether the block's own words gave it its class.
    named: Vec<bool>,
    /// The heading that is the document's title.
    pub(super) title: Option<usize>,
}

impl Sections {
    /// Reads the headings of a nested outline.
    pub(super) fn read(outline: &Outline) -> Self {
        let blocks = &outline.blocks;
        let title = title(blocks);
        let tops = blocks.iter().filter(|block| block.kind == BlockKind::Heading { level: 1 }).count();
        let mut sections =
            Self { classes: Vec::with_capacity(blocks.len()), named: Vec::with_capacity(blocks.len()), title };
        for (index, block) in blocks.iter().enumerate() {
            let above = block.parent.map_or(Class::Unknown, |parent| sections.class(parent));
            let own = match block.kind {
                BlockKind::Heading { .. } if title == Some(index) => title_class(&block.text, tops),
                // What stands behind an id is the requirement's name, not a section's.
                BlockKind::Heading { .. } if ids::begins_with_marked_id(&block.text, block.bold_len) => None,
                // A bold line in a section about the document does not open requirements.
                BlockKind::Heading { level } if level > 6 && matches!(above, Class::Aside | Class::Manual) => None,
                // Under the title every heading opens a section of its own.
                BlockKind::Heading { .. } if title.is_some() && block.parent == title => {
                    own_class(&block.text, Class::Unknown)
                }
                BlockKind::Heading { .. } => own_class(&block.text, above),
                BlockKind::Item | BlockKind::Paragraph | BlockKind::Row { .. } | BlockKind::Code => None,
            };
            sections.classes.push(own.unwrap_or(above));
            sections.named.push(own.is_some());
        }
        sections
    }

    /// The class of the section that the block stands in or opens.
    pub(super) fn class(&self, index: usize) -> Class {
        self.classes.get(index).copied().unwrap_or(Class::Unknown)
    }

    /// Whether the heading's own words gave it its class.
    pub(super) fn is_named(&self, index: usize) -> bool {
        self.named.get(index).copied().unwrap_or(false)
    }

    /// Whether a section is named as one of non-functional requirements.
    pub(super) fn has_qualities(&self) -> bool {
        self.classes.contains(&Class::NonFunctional)
    }

    /// Whether a section is named as one of features or functional requirements.
    pub(super) fn has_features(&self) -> bool {
        self.classes.contains(&Class::Functional)
    }

    /// List items that stand in sections of milestones.
    pub(super) fn milestone_items(&self, outline: &Outline) -> usize {
        let blocks = outline.blocks.iter().zip(&self.classes);
        blocks.filter(|(block, class)| block.kind == BlockKind::Item && **class == Class::Milestones).count()
    }
}

/// The first heading of level one, else a heading that opens the document.
fn title(blocks: &[Block]) -> Option<usize> {
    let top = blocks.iter().position(|block| block.kind == BlockKind::Heading { level: 1 });
    top.or_else(|| matches!(blocks.first()?.kind, BlockKind::Heading { level } if level <= 6).then_some(0))
}

fn title_class(text: &str, tops: usize) -> Option<Class> {
    if section::names_document(text) {
        return None;
    }
    section::classify(text, if tops > 1 { Reading::Contains } else { Reading::Exact })
}

/// What the heading's words say, where they may say it.
fn own_class(text: &str, above: Class) -> Option<Class> {
    let strict = above.is_requirements() || matches!(above, Class::Detail | Class::Aside | Class::Manual);
    let reading = if strict { Reading::Exact } else { Reading::Contains };
    let own = section::classify(text, reading)?;
    let says_requirements = own.is_requirements() && says_requirements(text);
    match above {
        Class::Functional | Class::NonFunctional | Class::Mixed => match own {
            Class::Quality => Some(Class::NonFunctional).filter(|_| above == Class::Mixed),
            Class::Mixed => Some(above),
            Class::Described | Class::Manual => None,
            Class::Summary => Some(Class::Detail),
            other => Some(other),
        },
        Class::Acceptance
        | Class::Risks
        | Class::Questions
        | Class::NonGoals
        | Class::Milestones
        | Class::Goals
        | Class::Constraint => {
            let weak =
                matches!(own, Class::Quality | Class::Described | Class::Detail | Class::Summary | Class::Manual);
            // `Weapon requirements` can be the subject of a question.
            let is_subject = matches!(above, Class::Questions | Class::Risks | Class::NonGoals | Class::Acceptance);
            let names_requirements = match is_subject {
                true => section::classify(text, Reading::Exact).is_some(),
                false => says_requirements,
            };
            let misled = own.is_requirements() && !names_requirements;
            Some(own).filter(|_| !weak && !misled)
        }
        Class::Aside | Class::Manual => Some(own).filter(|_| says_requirements),
        Class::Quality if own == Class::Mixed => Some(Class::NonFunctional),
        Class::Summary | Class::Detail | Class::Quality | Class::Described | Class::EdgeCases | Class::Unknown => {
            Some(own)
        }
    }
}

fn says_requirements(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains("requirement") || lower.contains("user stor")
}
