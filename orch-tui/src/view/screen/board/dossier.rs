//! All that is known of a task, as a text to read, with what people said to it.

use orch_proto::id::TaskId;

use crate::text::SafeText;
use crate::view::canvas::{Line, text};
use crate::view::doc::Doc;
use crate::view::model::Model;
use crate::view::msg::Query;
use crate::view::rows::{MessageRow, TaskRow};
use crate::view::theme::Role;
use crate::view::when;
use crate::view::words;

/// The dossier of a task, as far as it is there.
pub(crate) fn dossier(model: &Model, id: TaskId) -> Doc {
    let Some(task) = model.task(id) else {
        return Doc::new().item("-", SafeText::literal("the task is not there any more"), Role::Dim);
    };
    let doc = facts(task);
    let doc = waits(doc, task).list("Is done when", &task.acceptance);
    said(doc, model, task)
}

fn facts(task: &TaskRow) -> Doc {
    let optional = |text: &Option<SafeText>| text.clone().unwrap_or_default();
    let estimate = task.estimate_minutes.map(|(low, high)| text(format_args!("{low}-{high} min")));
    Doc::new()
        .head(words::task(task).line())
        .field("title", task.title.clone())
        .field("work", task.work.clone())
        .field("plan key", optional(&task.key))
        .field("serves", task.requirements.clone())
        .field("needs", task.depends_on.clone())
        .field("attempts", text(format_args!("{} of {}", task.attempts, task.attempts_max)))
        .field("priority", text(format_args!("{}", task.priority)))
        .field("estimate", estimate.unwrap_or_default())
        .field("eta", task.eta.as_ref().map(|(_, sentence)| sentence.clone()).unwrap_or_default())
        .field("run", optional(&task.run_name))
        .field("change", optional(&task.change_name))
        .field_as("approval", optional(&task.approval_name), Role::Warn)
        .field_as("commit", optional(&task.commit), Role::Good)
        .field_as("failed", optional(&task.last_failure), Role::Bad)
}

fn waits(mut doc: Doc, task: &TaskRow) -> Doc {
    if task.waits.is_empty() {
        return doc;
    }
    doc = doc.gap().head(Line::of("Waits for", Role::Heading));
    for wait in &task.waits {
        doc = doc.item("-", text(format_args!("{}: {}", wait.code, wait.text)), Role::Text);
        if let Some(hint) = &wait.hint {
            doc = doc.item("    hint:", hint.clone(), Role::Key);
        }
    }
    doc
}

/// What people said to it, who was told, and what was answered.
fn said(doc: Doc, model: &Model, task: &TaskRow) -> Doc {
    let messages = model.data.thread.as_ref().filter(|thread| thread.task == task.id).map(|thread| &thread.messages);
    if !task.has_agent && messages.is_none_or(Vec::is_empty) {
        return doc;
    }
    let mut doc = doc.gap().head(Line::of("Said", Role::Heading));
    let Some(messages) = messages else {
        return match model.loader.fault(&Query::Task(task.id)) {
            Some(fault) => doc.item("x", fault.line_text(), Role::Bad),
            None => doc.item("-", SafeText::literal("loading"), Role::Dim),
        };
    };
    if messages.is_empty() {
        doc = doc.item("-", SafeText::literal("nothing so far"), Role::Dim);
    }
    for message in messages {
        let told = told(message);
        let head = text(format_args!("{} at {}, {told}", message.from, when::time_of_day(message.at)));
        doc = doc.item("-", head, Role::Dim);
        for line in &message.says {
            doc = doc.item(" ", line.clone(), Role::Text);
        }
        if let Some((says, at)) = &message.reply {
            let who = message.run.clone().unwrap_or_else(|| SafeText::literal("its agent"));
            doc = doc.item("-", text(format_args!("{who} at {}, in answer", when::time_of_day(*at))), Role::Dim);
            for line in says {
                doc = doc.item(" ", line.clone(), Role::Text);
            }
        }
    }
    doc
}

fn told(message: &MessageRow) -> SafeText {
    match (&message.run, message.told_at) {
        (Some(run), Some(at)) => text(format_args!("{run} was told at {}", when::time_of_day(at))),
        (Some(run), None) => text(format_args!("{run} is not told yet")),
        (None, _) => SafeText::literal("told with each attempt after it"),
    }
}
