//! Questions of runs.

use orch_core::entity::{FieldKind as Kind, FieldValue, InfoField, InfoRequest, Run, Task, Vision};
use orch_core::state::info_request::InfoRequestState as State;
use orch_core::view::{ReadError, View};
use orch_proto::view::{FieldKind, FieldSpec, InfoRequestState, InfoRequestView};

use super::{name_by_id, name_of, slug};

/// Who asks about a Vision.
const PLANNER: &str = "the planner";

/// A question.
pub(crate) fn info_request_view(view: &impl View, asked: &InfoRequest) -> Result<InfoRequestView, ReadError> {
    let run = asked.run.map(|run| view.get::<Run>(run)).transpose()?.flatten();
    let task = run.map(|run| view.get::<Task>(run.task)).transpose()?.flatten();
    let vision = asked.vision.map(|vision| view.get::<Vision>(vision)).transpose()?.flatten();
    let (of, of_title) = match (&task, &vision) {
        (Some(task), _) => (name_of(view, task)?, task.title.clone()),
        (None, Some(vision)) => (name_of(view, vision)?, vision.title.clone()),
        (None, None) => Default::default(),
    };
    let value = |value: &FieldValue| match value {
        FieldValue::Plain { text } => Some(text.clone()),
        FieldValue::Secret => None,
    };
    Ok(InfoRequestView {
        id: asked.id,
        project: slug(view, asked.project)?,
        number: asked.number,
        name: name_of(view, asked)?,
        state: match &asked.state {
            State::Pending { .. } => InfoRequestState::Pending,
            State::Answered { .. } => InfoRequestState::Answered,
            State::Expired => InfoRequestState::Expired,
            State::Cancelled { reason } => InfoRequestState::Cancelled { reason: reason.clone() },
        },
        run: match asked.run {
            Some(run) => name_by_id::<Run>(view, run)?,
            None => PLANNER.to_owned(),
        },
        task: of,
        task_title: of_title,
        text: asked.text.clone(),
        fields: asked.fields.iter().map(spec).collect(),
        answers: asked.answers.iter().map(|(name, given)| (name.clone(), value(given))).collect(),
        answered_by: asked.answered_by.clone(),
        taken: asked.is_taken,
        asked_at: asked.asked_at,
        expires_at: match asked.state {
            State::Pending { expires } => Some(expires),
            _ => None,
        },
        decided_at: asked.decided_at,
    })
}

/// A field as a run asks for it.
pub(crate) fn field(spec: FieldSpec) -> InfoField {
    let kind = match spec.kind {
        FieldKind::Text => Kind::Text,
        FieldKind::Number => Kind::Number,
        FieldKind::Bool => Kind::Bool,
        FieldKind::Choice { choices } => Kind::Choice { choices },
        FieldKind::Secret => Kind::Secret,
    };
    InfoField { name: spec.name, label: spec.label, kind, is_required: spec.required }
}

fn spec(field: &InfoField) -> FieldSpec {
    let kind = match &field.kind {
        Kind::Text => FieldKind::Text,
        Kind::Number => FieldKind::Number,
        Kind::Bool => FieldKind::Bool,
        Kind::Choice { choices } => FieldKind::Choice { choices: choices.clone() },
        Kind::Secret => FieldKind::Secret,
    };
    FieldSpec { name: field.name.clone(), label: field.label.clone(), kind, required: field.is_required }
}
