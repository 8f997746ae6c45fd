//! How a history takes in that something was taken back. What was counted stays counted: it happened.

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ProjectId, TaskId};

use super::kinds::label_of;
use super::open::OpenQuestion;
use super::story::History;
use crate::entity::{ApprovalSubject, TaskPart};
use crate::state::approval::ApprovalState;
use crate::state::task::TaskState;

impl History {
    /// A part of a task is as it was. Its state is taken in like any other that it comes into.
    pub(super) fn put_back(&mut self, id: TaskId, part: &TaskPart, at: Timestamp) {
        match part {
            TaskPart::Spec { spec } => self.respecified(id, &spec.work.label()),
            TaskPart::Edge { depends_on, condition: Some(condition) } => {
                self.open.link(id, (*depends_on, *condition), at);
            }
            TaskPart::Edge { depends_on, condition: None } => self.open.unlink(id, *depends_on, at),
            TaskPart::Terms { terms } => {
                if let Some(task) = self.open.tasks.get_mut(&id) {
                    task.needs.join = terms.join;
                    task.terms_not_before = terms.not_before;
                }
            }
            TaskPart::Approval { approval } => {
                if let Some(task) = self.open.tasks.get_mut(&id) {
                    task.asked = approval.map(|approval| (approval, None));
                }
            }
            TaskPart::State { state, .. } => {
                let TaskState::Approved { not_before } = state else { return };
                if let Some(task) = self.open.tasks.get_mut(&id) {
                    task.not_before = *not_before;
                }
            }
            TaskPart::Priority { .. } | TaskPart::Rank { .. } | TaskPart::Tries { .. } | TaskPart::Plan { .. } => {}
        }
    }

    pub(super) fn respecified(&mut self, id: TaskId, label: &str) {
        let label = self.open.label(label_of(label));
        let old = match self.open.tasks.get_mut(&id) {
            Some(task) => std::mem::replace(&mut task.label, label),
            None => label,
        };
        self.open.drop_label(&old);
    }

    /// An answer was taken back, or given again with what it was about.
    pub(super) fn reopened(
        &mut self,
        id: ApprovalId,
        (project, subject): (ProjectId, &ApprovalSubject),
        state: &ApprovalState,
        (asked_at, decided_at): (Timestamp, Option<Timestamp>),
    ) {
        self.open.questions.remove(&id);
        let task = match subject {
            ApprovalSubject::Task { id } => Some(*id),
            _ => None,
        };
        if matches!(state, ApprovalState::Pending { .. }) {
            self.open.questions.insert(id, OpenQuestion { project, task, state: state.clone(), asked_at });
        }
        let asked = task.and_then(|task| self.open.tasks.get_mut(&task)).and_then(|task| task.asked.as_mut());
        if let Some((asked, granted)) = asked
            && *asked == id
        {
            *granted = decided_at.filter(|_| matches!(state, ApprovalState::Granted { .. }));
        }
    }
}
