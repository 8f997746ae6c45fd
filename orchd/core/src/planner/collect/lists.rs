//! The lists that statements go to.
//!
//! Data only.

use crate::planner::model::Statement;

/// The lists that statements go to.
#[derive(Debug, Default)]
pub(in crate::planner) struct Lists {
    pub(in crate::planner) goals: Vec<Statement>,
    pub(in crate::planner) non_goals: Vec<Statement>,
    pub(in crate::planner) constraints: Vec<Statement>,
    pub(in crate::planner) acceptance: Vec<Statement>,
    pub(in crate::planner) questions: Vec<Statement>,
    pub(in crate::planner) risks: Vec<Statement>,
    pub(in crate::planner) milestones: Vec<Statement>,
    pub(in crate::planner) unclassified: Vec<Statement>,
}

impl Lists {
    pub(super) fn of(&mut self, list: List) -> &mut Vec<Statement> {
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

/// Which list a statement goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Goals,
    NonGoals,
    Constraints,
    Acceptance,
    Questions,
    Risks,
    Milestones,
    Unclassified,
}
