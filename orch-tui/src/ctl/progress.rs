//! Progress of tasks on standard error: one line per change of state, with the time since the watching began.

use std::collections::BTreeMap;

use orch_proto::view::{TaskState, TaskView};
use tokio::time::Instant;

use super::session::Session;
use crate::fmt::duration::short;
use crate::fmt::resource::{state_role, task_detail};
use crate::text::SafeText;

/// What was said of each task, so that only changes are said.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    session: &'a Session,
    began: Instant,
    /// State, attempt, and the code of what it waits for: texts of waits count down and would each be a line.
    said: BTreeMap<String, (TaskState, u32, Option<String>)>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, began: Instant::now(), said: BTreeMap::new() }
    }

    /// Says which tasks have changed since the last call.
    pub(crate) fn tasks(&mut self, tasks: &[TaskView]) {
        for task in tasks {
            // What waits for a place only waits for it or not many times a second.
            let wait = if task.ready { None } else { task.waits.first().map(|wait| wait.code.clone()) };
            let now = (task.state, task.attempts, wait);
            if self.said.get(&task.name) == Some(&now) {
                continue;
            }
            if !self.session.options.quiet {
                self.session.console.say(&self.line(task));
            }
            self.said.insert(task.name.clone(), now);
        }
    }

    fn line(&self, task: &TaskView) -> String {
        let detail = task_detail(task);
        let elapsed = short(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let state = format!("{:<9}", task.state.label());
        let state = self.session.paint_messages().apply(state_role(task.state.label()), &SafeText::line(&state));
        let attempt = if task.attempts > 1 { format!(" (attempt {})", task.attempts) } else { String::new() };
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        let rest = SafeText::line(&format!("{}{attempt}{detail}", task.title));
        format!("{elapsed:>7}  {:<10} {state} {}", SafeText::line(&task.name), rest.clip(100))
    }
}
