//! Requirements while they are being read: created once, then grown by the details that stand under them.
//!
//! Knows no Markdown. Invariants: keys are unique whatever their case; a requirement without an id of its own gets its
//! `REQ-n` only at the end, when all ids of the source are known.

use std::collections::BTreeSet;

use super::model::{LineRange, Requirement, RequirementKey, RequirementKind};
use super::phrase;

/// Most requirements of one document; the text of further ones is kept as unclassified.
pub const REQUIREMENTS_MAX: usize = 2_000;

/// A requirement that is being read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) key: Option<RequirementKey>,
    pub(super) kind: RequirementKind,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) group: Option<String>,
    /// Index of the requirement that it is a part of.
    pub(super) parent: Option<usize>,
    pub(super) priority: Option<String>,
    pub(super) acceptance: Vec<String>,
    pub(super) lines: LineRange,
}

impl Draft {
    /// Adds a line of detail to the text.
    pub(super) fn detail(&mut self, text: &str, lines: LineRange) {
        if !text.is_empty() {
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            self.text.push_str(text);
        }
        self.lines.extend(lines);
    }

    /// Adds an acceptance criterion.
    pub(super) fn accept(&mut self, text: &str, lines: LineRange) {
        if !text.is_empty() {
            self.acceptance.push(text.to_owned());
        }
        self.lines.extend(lines);
    }
}

/// The requirements of a document.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    drafts: Vec<Draft>,
    taken: BTreeSet<String>,
    /// Ids that were used again, with the line of the second use.
    pub(super) repeated: Vec<(RequirementKey, u32)>,
}

impl Drafts {
    /// Whether an id is already in use.
    pub(super) fn is_taken(&self, key: &RequirementKey) -> bool {
        self.taken.contains(&key.as_str().to_ascii_uppercase())
    }

    /// Whether no more requirements are taken in.
    pub(super) fn is_full(&self) -> bool {
        self.drafts.len() >= REQUIREMENTS_MAX
    }

    /// How many requirements were found.
    pub(super) fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Whether the author numbered most of the requirements.
    pub(super) fn are_numbered(&self) -> bool {
        self.drafts.iter().filter(|draft| draft.key.is_some()).count() * 2 > self.drafts.len()
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Adds a requirement; an id that is in use already is dropped and noted.
    pub(super) fn push(&mut self, mut draft: Draft) -> usize {
        if let Some(key) = draft.key.take() {
            if self.taken.insert(key.as_str().to_ascii_uppercase()) {
                draft.key = Some(key);
            } else {
                self.repeated.push((key, draft.lines.first));
            }
        }
        self.drafts.push(draft);
        self.drafts.len() - 1
    }

    /// The requirement at an index that `push` gave.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut Draft {
        self.drafts.get_mut(index).expect("indices come from `push` and drafts are never removed")
    }

    /// Whether the requirement has an id from the source.
    pub(super) fn has_own_key(&self, index: usize) -> bool {
        self.drafts.get(index).is_some_and(|draft| draft.key.is_some())
    }

    /// Numbers what has no id, and links the parts to their wholes.
    pub(super) fn finish(self) -> Vec<Requirement> {
        let mut number = 0;
        let mut keys: Vec<RequirementKey> = Vec::with_capacity(self.drafts.len());
        for draft in &self.drafts {
            keys.push(draft.key.clone().unwrap_or_else(|| {
                loop {
                    number += 1;
                    let key = RequirementKey::numbered(number);
                    if !self.taken.contains(key.as_str()) {
                        break key;
                    }
                }
            }));
        }
        let mut requirements = Vec::with_capacity(self.drafts.len());
        for (index, draft) in self.drafts.into_iter().enumerate() {
            let id = keys.get(index).expect("there is one key per draft").clone();
            let mut title = draft.title;
            if title.is_empty() {
                title = phrase::title(&draft.text, 0);
            }
            if title.is_empty() {
                title = id.to_string();
            }
            requirements.push(Requirement {
                id,
                kind: draft.kind,
                text: if draft.text.is_empty() { title.clone() } else { draft.text },
                title,
                group: draft.group,
                parent: draft.parent.and_then(|parent| keys.get(parent).cloned()),
                priority: draft.priority,
                acceptance: draft.acceptance,
                lines: draft.lines,
            });
        }
        requirements
    }
}
