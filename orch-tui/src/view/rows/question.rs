//! Questions of runs, which a person answers field by field. Their words are those of the run.

use orch_proto::Timestamp;
use orch_proto::id::InfoRequestId;
use orch_proto::view::{FieldKind, FieldSpec, InfoRequestView};

use crate::text::SafeText;
use crate::view::filter::Filtered;

/// A question that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuestionRow {
    pub(crate) id: InfoRequestId,
    pub(crate) full_name: SafeText,
    pub(crate) project: SafeText,
    pub(crate) run: SafeText,
    /// What the run works on.
    pub(crate) task: SafeText,
    /// What is asked, line by line.
    pub(crate) asks: Vec<SafeText>,
    pub(crate) fields: Vec<FieldRow>,
    pub(crate) asked_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// One field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldRow {
    /// As the daemon names it, for requests only.
    pub(crate) name: String,
    pub(crate) title: SafeText,
    /// What it takes; choices are as the daemon gave them, and go back so.
    pub(crate) kind: FieldKind,
    pub(crate) is_required: bool,
}

impl From<InfoRequestView> for QuestionRow {
    fn from(view: InfoRequestView) -> Self {
        Self {
            id: view.id,
            full_name: SafeText::line(&view.name),
            project: SafeText::line(&view.project),
            run: SafeText::line(&view.run),
            task: SafeText::line(&format!("{} {}", view.task, view.task_title)),
            asks: view.text.lines().map(SafeText::line).collect(),
            fields: view.fields.into_iter().map(FieldRow::from).collect(),
            asked_at: view.asked_at,
            expires_at: view.expires_at,
        }
    }
}

impl From<FieldSpec> for FieldRow {
    fn from(spec: FieldSpec) -> Self {
        let title = SafeText::line(if spec.label.is_empty() { &spec.name } else { &spec.label });
        Self { title, name: spec.name, kind: spec.kind, is_required: spec.required }
    }
}

impl QuestionRow {
    /// The first line of what is asked.
    pub(crate) fn first_line(&self) -> SafeText {
        self.asks.first().cloned().unwrap_or_default()
    }
}

impl FieldRow {
    /// What it takes, for a person.
    pub(crate) fn takes(&self) -> SafeText {
        let kind = match &self.kind {
            FieldKind::Choice { choices } => choices.join(" | "),
            other => other.label().to_owned(),
        };
        SafeText::line(&if self.is_required { kind } else { format!("{kind}, need not be given") })
    }
}

impl Filtered for QuestionRow {
    fn haystack(&self) -> String {
        let asks: Vec<_> = self.asks.iter().map(SafeText::as_str).collect();
        [self.full_name.as_str(), self.run.as_str(), self.task.as_str(), &asks.join(" ")].join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "kind" => "question".to_owned(),
            "subject" => self.task.to_string(),
            "run" => self.run.to_string(),
            _ => return None,
        })
    }
}
