//! The list of tasks that Claude Code keeps with tools of its own: it is told piece by piece, and a plan is told whole.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::tools::plan_status;
use crate::agent::event::{PlanItem, PlanStatus, RunEvent};
use crate::agent::wire::{Str, inside};

pub(super) const CREATE: &str = "TaskCreate";
pub(super) const UPDATE: &str = "TaskUpdate";

/// Most tasks that are remembered; later ones are not in the plan. Every small change of one tells all of them again, so
/// they are few, and a line tells them once.
const TASKS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// With their ids, in the order in which they came.
    items: Vec<(String, PlanItem)>,
    is_changed: bool,
}

/// What the program says when a task was made.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Created<'a> {
    #[serde(borrow)]
    task: NewTask<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NewTask<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    subject: Str<'a>,
}

/// What the model says that a task is now.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Change<'a> {
    #[serde(borrow)]
    task_id: Str<'a>,
    status: Str<'a>,
    subject: Str<'a>,
}

impl Tasks {
    pub(super) fn create(&mut self, made: Option<&RawValue>) {
        let Some(Created { task }) = made.and_then(inside) else { return };
        if self.items.len() < TASKS_MAX && !task.id.is_empty() {
            let item = PlanItem { text: task.subject.name(), status: PlanStatus::Pending };
            self.items.push((task.id.name(), item));
            self.is_changed = true;
        }
    }

    pub(super) fn update(&mut self, input: Option<&RawValue>) {
        let Some(Change { task_id, status, subject }) = input.and_then(inside) else { return };
        let Some(place) = self.items.iter().position(|(id, _)| id == task_id.as_str()) else { return };
        if status.as_str() == "deleted" {
            self.items.remove(place);
        } else if let Some((_, item)) = self.items.get_mut(place) {
            if !status.is_empty() {
                item.status = plan_status(status.as_str());
            }
            if !subject.is_empty() {
                item.text = subject.name();
            }
        }
        self.is_changed = true;
    }

    /// Tells the plan when it is another one than was told.
    pub(super) fn tell_changes(&mut self, sink: &mut dyn FnMut(RunEvent)) {
        if std::mem::take(&mut self.is_changed) {
            sink(RunEvent::Plan { items: self.items.iter().map(|(_, item)| item.clone()).collect() });
        }
    }
}
