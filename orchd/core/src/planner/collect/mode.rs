//! What the blocks of a section become, by the section's class and by how broadly the document is read.
//!
//! Decides from classes alone; knows no block.

use super::lists::List;
use crate::planner::model::RequirementKind;
use crate::planner::section::Class;

/// Which sections may hold requirements beside those that are named so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::planner) struct Reach {
    /// Those named after a quality: for documents without a section of non-functional requirements.
    pub(in crate::planner) qualities: bool,
    /// Milestones and phases: for documents whose only list of features is their roadmap.
    pub(in crate::planner) milestones: bool,
    /// All that are not about something else: for documents that name no requirements.
    pub(in crate::planner) everywhere: bool,
}

/// What the blocks of a section become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
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
pub(super) struct Context {
    pub(super) mode: Mode,
    /// The requirement that a heading or a paragraph opened.
    pub(super) owner: Option<usize>,
    /// Whether items under the owner are requirements of their own.
    pub(super) parts: bool,
    /// The requirement of the list item above.
    pub(super) item: Option<usize>,
    /// The statement of the list item above.
    pub(super) statement: Option<(List, usize)>,
    /// The heading above.
    pub(super) heading: Option<usize>,
}

impl Reach {
    /// What a section of this class becomes, `owner` being the requirement it belongs to.
    pub(super) fn mode_of(self, class: Class, owner: Option<usize>) -> Mode {
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
            (Class::Milestones, _) if self.milestones => functional,
            (Class::Milestones, _) => Mode::Statements(List::Milestones),
            (Class::Summary, None) => Mode::Summary,
            (Class::Quality, _) if self.qualities || self.everywhere => non_functional,
            (Class::EdgeCases, Some(owner)) => Mode::Detail(owner),
            (Class::Described | Class::EdgeCases, _) if self.everywhere => functional,
            (Class::Quality | Class::Described | Class::EdgeCases, _) => Mode::Statements(List::Unclassified),
            (Class::Unknown | Class::Detail, _) if self.everywhere => Mode::Loose,
            (Class::Unknown | Class::Detail, _) => Mode::Ignore,
            (Class::Aside | Class::Manual, None) => Mode::Ignore,
        }
    }
}
