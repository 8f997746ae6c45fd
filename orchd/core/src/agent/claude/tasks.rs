//! The list of tasks that Claude Code keeps with tools of its own: it is told piece by piece, and a plan is told whole.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::tools::plan_status;
use crate::agent::event::{PlanItem, PlanStatus, RunEvent};
use crate::agent::text::PATH_BYTES_MAX;
use crate::agent::wire::{Str, inside};

pub(super) const CREATE: &str = "TaskCreate";
pub(super) const UPDATE: &str = "TaskUpdate";

/// Most tasks that are remembered; later ones are not in the plan.
const TASKS_MAX: usize = 256;

/// The tasks with their ids, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Tasks(Vec<(String, PlanItem)>);

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
    pub(super) fn create(&mut self, made: Option<&RawValue>, sink: &mut dyn FnMut(RunEvent)) {
        let Some(Created { task }) = made.and_then(inside) else { return };
        if self.0.len() < TASKS_MAX && !task.id.is_empty() {
            let item = PlanItem { text: task.subject.start(PATH_BYTES_MAX), status: PlanStatus::Pending };
            self.0.push((task.id.name(), item));
            self.tell(sink);
        }
    }

    pub(super) fn update(&mut self, input: Option<&RawValue>, sink: &mut dyn FnMut(RunEvent)) {
        let Some(Change { task_id, status, subject }) = input.and_then(inside) else { return };
        let Some(place) = self.0.iter().position(|(id, _)| id == task_id.as_str()) else { return };
        if status.as_str() == "deleted" {
            self.0.remove(place);
        } else if let Some((_, item)) = self.0.get_mut(place) {
            if !status.is_empty() {
                item.status = plan_status(status.as_str());
            }
            if !subject.is_empty() {
                item.text = subject.start(PATH_BYTES_MAX);
            }
        }
        self.tell(sink);
    }

    fn tell(&self, sink: &mut dyn FnMut(RunEvent)) {
        sink(RunEvent::Plan { items: self.0.iter().map(|(_, item)| item.clone()).collect() });
    }
}
