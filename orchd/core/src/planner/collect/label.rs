//! What the beginning of a text says about it: a label such as `Priority:`, or an id.

use super::Walk;
use super::lists::List;
use super::mode::{Context, Mode};
use crate::planner::ids::{self, FoundId};
use crate::planner::outline::{Block, BlockKind};
use crate::planner::phrase::{self, Labelled};
use crate::planner::section::{self, Class, Reading};

impl Walk<'_> {
    /// A line whose label says what it is: `**Acceptance criteria:** ...`, `- **Out of scope:** ...`, `Priority: P1`.
    pub(super) fn labelled(&mut self, block: &Block, label: Labelled<'_>, above: Context) -> Option<Context> {
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
        let mode = self.reach.mode_of(class, owner.filter(|_| in_requirements));
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
    pub(super) fn id_in(&self, block: &Block, mode: Mode) -> Option<FoundId> {
        ids::find(&block.text, block.bold_len).filter(|id| self.may_define(id, mode))
    }

    /// Whether an id that opens a block defines a requirement there, or only speaks of one.
    pub(super) fn may_define(&self, id: &FoundId, mode: Mode) -> bool {
        // `Story 2` in a list of epics is a piece of work; `FR-2` is a requirement wherever it stands.
        let stands_alone = id.is_known() && id.marked && !id.in_words && !self.found.drafts.is_taken(&id.key);
        match mode {
            Mode::Requirements(_) | Mode::Loose => self.series.believes(id),
            Mode::Statements(List::Constraints) => self.series.believes(id) && !self.found.drafts.is_taken(&id.key),
            Mode::Statements(List::Unclassified | List::Goals) | Mode::Ignore | Mode::Summary => stands_alone,
            Mode::Accept(_) | Mode::Detail(_) => stands_alone && id.series != "US",
            Mode::Statements(_) => false,
        }
    }
}
