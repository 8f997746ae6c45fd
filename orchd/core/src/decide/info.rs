//! Questions of runs and of the planner that people answer field by field: asking, answering, and what an answer must be.

use std::collections::BTreeMap;

use orch_proto::channel::FRAME_BYTES_MAX;
use orch_proto::id::{InfoRequestId, ProjectId, VisionId};
use orch_proto::{EntityKind, Timestamp};

use super::channel::{self, SAID_BYTES_MAX};
use super::{Context, DecideError, bounds, conflict, conflict_with_hint, text};
use crate::actor::Actor;
use crate::command::Command;
use crate::entity::{
    Asked, ChannelEvent, Entity as _, FieldKind, FieldValue, InfoField, InfoRequest, InfoRequestEvent, Run, Vision,
};
use crate::planner::asked::{Question, Topic};
use crate::state::info_request::InfoRequestState;
use crate::view::{Filter, ReadError, View};

/// Most fields of one question.
pub const FIELDS_MAX: usize = 16;
/// Most choices of one field.
pub const CHOICES_MAX: usize = 32;
/// Longest time for which a question waits, in milliseconds: 30 days.
pub const EXPIRES_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Longest name of a field, and of a question by its run, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Longest label and longest choice, in bytes.
const LABEL_BYTES_MAX: usize = 400;
/// Longest answer that is no secret, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Most bytes of all values of an answer, secrets included, as they are sent to the run: a frame, and room for what is around them.
const SENT_BYTES_MAX: usize = FRAME_BYTES_MAX - (4 << 10);

/// A run asks; by a name that it has used before, it asks the same again.
pub(super) fn ask<V: View>(
    cx: &mut Context<'_, V>,
    run: &Run,
    (named, question): (&str, &str),
    fields: &[InfoField],
    expires: Timestamp,
) -> Result<(), DecideError> {
    key(named)?;
    if let Some(asked) = channel::asked_info(cx.view, run, named)? {
        cx.touch(EntityKind::InfoRequest, asked.id);
        if (asked.text.as_str(), asked.fields.as_slice()) != (question, fields) {
            return Err(conflict(format!("`{named}` is another question of R-{}", run.number)));
        }
        cx.note("it was asked before");
        return Ok(());
    }
    check(question, fields)?;
    expiry(cx.now, expires)?;
    let known = channel::may_ask(cx, run)?;
    let id: InfoRequestId = cx.draw();
    let number = cx.number(EntityKind::InfoRequest, Some(run.project))?;
    let event = InfoRequestEvent::Asked {
        project: run.project,
        number,
        run: run.id,
        key: named.to_owned(),
        text: question.to_owned(),
        fields: fields.to_vec(),
        expires,
    };
    cx.emit((id, event));
    cx.touch(EntityKind::InfoRequest, id);
    let shown = format!("{}: {}", EntityKind::InfoRequest.short(number), channel::shown(question));
    let asked = Asked::Info { key: named.to_owned(), id };
    channel::waits(cx, run, (known, asked), ChannelEvent::InputRequested { question: shown });
    Ok(())
}

/// The run has the answer to what it asked by this name.
pub(super) fn taken<V: View>(cx: &mut Context<'_, V>, run: &Run, named: &str) -> Result<(), DecideError> {
    let Some(asked) = channel::asked_info(cx.view, run, named)? else {
        return Err(conflict(format!("R-{} has asked nothing by the name `{named}`", run.number)));
    };
    cx.touch(EntityKind::InfoRequest, asked.id);
    match asked.state {
        InfoRequestState::Answered { .. } if !asked.is_taken => {
            cx.emit((asked.id, InfoRequestEvent::Taken));
            Ok(())
        }
        InfoRequestState::Answered { .. } => {
            cx.note("it was taken before");
            Ok(())
        }
        state => Err(conflict(format!("`{named}` is {} and has no answer", state.label()))),
    }
}

/// A person answers.
/// A person answers, or says that nobody will.
pub(super) fn settle<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::AnswerInfo { info, answers } => answer(cx, *info, answers),
        Command::CancelInfo { info, reason } => cancel(cx, *info, reason),
        _ => Err(conflict("no word about a question")),
    }
}

fn answer<V: View>(
    cx: &mut Context<'_, V>,
    id: InfoRequestId,
    answers: &BTreeMap<String, FieldValue>,
) -> Result<(), DecideError> {
    let Actor::User { uid, name } = cx.actor else { return Err(DecideError::NotAPerson) };
    let (by, name) = (*uid, name.clone());
    let asked = pending(cx, id)?;
    for given in answers.keys() {
        if !asked.fields.iter().any(|field| field.name == *given) {
            let problem = format!("`{given}` is no field of {}", EntityKind::InfoRequest.short(asked.number));
            return Err(DecideError::Invalid { field: "answer", problem });
        }
    }
    may_be_sent(answers.iter().filter_map(|(name, value)| match value {
        FieldValue::Plain { text } => Some((name.as_str(), text.as_str())),
        FieldValue::Secret => None,
    }))?;
    for field in &asked.fields {
        let problem = match answers.get(&field.name) {
            None if field.is_required => Some("is needed".to_owned()),
            None => None,
            Some(FieldValue::Secret) if field.kind == FieldKind::Secret => None,
            Some(FieldValue::Secret) => Some("is no secret".to_owned()),
            Some(FieldValue::Plain { text }) => value_problem(&field.kind, text),
        };
        if let Some(problem) = problem {
            return Err(DecideError::Invalid { field: "answer", problem: format!("`{}` {problem}", field.name) });
        }
    }
    cx.emit((id, InfoRequestEvent::Answered { by, name, answers: answers.clone() }));
    decided(cx, &asked)
}

/// A person does not answer.
fn cancel<V: View>(cx: &mut Context<'_, V>, id: InfoRequestId, reason: &str) -> Result<(), DecideError> {
    let Actor::User { .. } = cx.actor else { return Err(DecideError::NotAPerson) };
    let asked = pending(cx, id)?;
    let reason = text("reason", reason)?.to_owned();
    cx.emit((id, InfoRequestEvent::Cancelled { reason }));
    decided(cx, &asked)
}

/// The run that waits for it, if one does, goes on.
fn decided<V: View>(cx: &mut Context<'_, V>, asked: &InfoRequest) -> Result<(), DecideError> {
    match asked.run {
        Some(run) => channel::decided(cx, run),
        None => Ok(()),
    }
}

/// The planner asks about a Vision what is not known yet: one question with a field for each topic, in the place of what it
/// asked before. Nothing waits for the answer.
pub(super) fn ask_about<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    vision: VisionId,
    questions: &[Question],
) -> Result<(), DecideError> {
    let known = answered(cx.view, project)?;
    let field = |question: &Question| InfoField {
        name: question.topic.word().to_owned(),
        label: match question.choices.as_slice() {
            [] => question.text.clone(),
            choices => format!("{} ({})", question.text, choices.join(" / ")),
        },
        kind: FieldKind::Text,
        is_required: false,
    };
    let new = questions.iter().filter(|question| !known.contains_key(&question.topic));
    let mut fields: Vec<InfoField> = new.map(field).collect();
    for field in &mut fields {
        let end = (0..=LABEL_BYTES_MAX.min(field.label.len())).rev().find(|at| field.label.is_char_boundary(*at));
        field.label.truncate(end.unwrap_or(0));
    }
    let is_asked = |open: &InfoRequest| {
        let lasts = matches!(open.state, InfoRequestState::Pending { expires } if expires > cx.now);
        lasts && open.vision == Some(vision) && open.fields == fields
    };
    if of_planner(cx.view, project)?.iter().any(is_asked) {
        return Ok(());
    }
    withdraw_of_planner(cx, project, "the planner was asked anew")?;
    if fields.is_empty() {
        return Ok(());
    }
    let text = "What is not said and would help to plan. Planning goes on without it.".to_owned();
    check(&text, &fields)?;
    let id: InfoRequestId = cx.draw();
    let number = cx.number(EntityKind::InfoRequest, Some(project))?;
    let expires = cx.now.plus_ms(EXPIRES_MS_MAX);
    let count = fields.len();
    cx.emit((id, InfoRequestEvent::AskedAbout { project, number, vision, text, fields, expires }));
    cx.touch(EntityKind::InfoRequest, id);
    let name = EntityKind::InfoRequest.short(number);
    cx.note(format!("{name} asks about {count} things that are not said; answered, they count in the next proposal"));
    Ok(())
}

/// Takes back what the planner asks.
pub(super) fn withdraw_of_planner<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    reason: &str,
) -> Result<(), DecideError> {
    for asked in of_planner(cx.view, project)? {
        cx.emit((asked.id, InfoRequestEvent::Cancelled { reason: reason.to_owned() }));
    }
    Ok(())
}

/// What the planner asks at the moment.
fn of_planner(view: &impl View, project: ProjectId) -> Result<Vec<InfoRequest>, ReadError> {
    let mut open = view.list::<InfoRequest>(&Filter::of(project).open())?;
    open.retain(|asked| asked.run.is_none());
    Ok(open)
}

/// What people have answered to the planner of a project, the newest word on each topic.
///
/// # Errors
/// When the state cannot be read.
pub fn answered(view: &impl View, project: ProjectId) -> Result<BTreeMap<Topic, String>, ReadError> {
    // A project has few Visions, and can have any number of runs that ask.
    let mut about = Vec::new();
    for vision in view.list::<Vision>(&Filter::of(project))? {
        about.extend(view.list::<InfoRequest>(&Filter::under(vision.id))?);
    }
    about.sort_by_key(|asked| asked.number);
    let mut known = BTreeMap::new();
    for asked in &about {
        for (name, value) in &asked.answers {
            if let (Some(topic), FieldValue::Plain { text }) = (Topic::of(name), value)
                && !text.trim().is_empty()
            {
                known.insert(topic, text.trim().to_owned());
            }
        }
    }
    Ok(known)
}

fn pending<V: View>(cx: &mut Context<'_, V>, id: InfoRequestId) -> Result<InfoRequest, DecideError> {
    let asked: InfoRequest = cx.get(id)?;
    cx.touch(EntityKind::InfoRequest, id);
    let name = EntityKind::InfoRequest.short(asked.number);
    match asked.state {
        InfoRequestState::Pending { expires } if expires <= cx.now => {
            Err(conflict_with_hint(format!("{name} has expired"), "its run was told so, and may ask anew"))
        }
        InfoRequestState::Pending { .. } => Ok(asked),
        _ => Err(conflict(format!("{name} is {} and cannot be answered any more", asked.state_label()))),
    }
}

/// Why a text is no value for a field, as a person is told; none when it is one. Values of secrets are never checked here.
#[must_use]
pub fn value_problem(kind: &FieldKind, value: &str) -> Option<String> {
    if value.len() > ANSWER_BYTES_MAX {
        return Some(format!("has {} bytes; {ANSWER_BYTES_MAX} are accepted", value.len()));
    }
    match kind {
        FieldKind::Text => None,
        FieldKind::Number if value.parse::<f64>().is_ok_and(f64::is_finite) => None,
        FieldKind::Number => Some("is no number".to_owned()),
        FieldKind::Bool if matches!(value, "true" | "false") => None,
        FieldKind::Bool => Some("is neither `true` nor `false`".to_owned()),
        FieldKind::Choice { choices } if choices.iter().any(|choice| choice == value) => None,
        FieldKind::Choice { choices } => Some(format!("is none of {}", choices.join(", "))),
        FieldKind::Secret => Some("is a secret and was given as a text".to_owned()),
    }
}

/// Checks that all values of an answer, by the names of their fields, can be sent to the run at once.
///
/// # Errors
/// With how much it is, and what to do.
pub fn may_be_sent<'v>(values: impl Iterator<Item = (&'v str, &'v str)>) -> Result<(), DecideError> {
    let sent: usize = values.map(|(name, value)| sent_bytes(name) + sent_bytes(value) + 2).sum();
    if sent <= SENT_BYTES_MAX {
        return Ok(());
    }
    let problem = format!(
        "has {sent} bytes as the run is sent it; {SENT_BYTES_MAX} are accepted: give less, and put what is large where the run finds it"
    );
    Err(DecideError::TooLarge { field: "answer", problem })
}

/// Bytes of a text in JSON.
fn sent_bytes(text: &str) -> usize {
    let of_char = |character: char| match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    };
    2 + text.chars().map(of_char).sum::<usize>()
}

/// Checks how long a question may wait.
pub(super) fn expiry(now: Timestamp, expires: Timestamp) -> Result<(), DecideError> {
    if expires > now && expires.ms_since(now) <= EXPIRES_MS_MAX {
        return Ok(());
    }
    Err(DecideError::Invalid { field: "expiry", problem: "is over, or more than 30 days ahead".into() })
}

/// Checks a run's own name for a question.
pub(super) fn key(key: &str) -> Result<(), DecideError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&key.len()) && key.bytes().all(is_plain) {
        return Ok(());
    }
    Err(DecideError::Invalid { field: "key", problem: format!("has not 1 to {NAME_BYTES_MAX} of `a-zA-Z0-9-_.`") })
}

/// Most bytes of the words of all fields of a question: a run may ask many.
const FIELDS_BYTES_MAX: usize = 8 << 10;

fn check(question: &str, fields: &[InfoField]) -> Result<(), DecideError> {
    bounds::bytes("question", question.len(), SAID_BYTES_MAX)?;
    if question.trim().is_empty() || fields.is_empty() {
        return Err(DecideError::Invalid { field: "question", problem: "has no text, or no fields".into() });
    }
    bounds::count("fields", fields.len(), FIELDS_MAX)?;
    for (at, field) in fields.iter().enumerate() {
        check_field(field)?;
        if fields[..at].iter().any(|earlier| earlier.name == field.name) {
            return Err(DecideError::Invalid { field: "fields", problem: format!("has `{}` twice", field.name) });
        }
    }
    let of_field = |field: &InfoField| match &field.kind {
        FieldKind::Choice { choices } => field.label.len() + choices.iter().map(String::len).sum::<usize>(),
        _ => field.label.len(),
    };
    bounds::bytes("fields", fields.iter().map(of_field).sum(), FIELDS_BYTES_MAX)
}

fn check_field(field: &InfoField) -> Result<(), DecideError> {
    let wrong = |problem: &str| Err(DecideError::Invalid { field: "field", problem: problem.to_owned() });
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_well = field.name.starts_with(|first: char| first.is_ascii_alphabetic());
    if !starts_well || field.name.len() > NAME_BYTES_MAX || !field.name.bytes().all(is_plain) {
        return wrong("is not named with a letter and up to 62 letters, digits and `_`");
    }
    bounds::bytes("label", field.label.len(), LABEL_BYTES_MAX)?;
    let FieldKind::Choice { choices } = &field.kind else { return Ok(()) };
    bounds::count("choices", choices.len(), CHOICES_MAX)?;
    choices.iter().try_for_each(|choice| bounds::bytes("choice", choice.len(), LABEL_BYTES_MAX))?;
    if choices.is_empty() { wrong("has no choices") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen fields of the largest size are more than a frame has, and what is escaped grows.
    #[test]
    fn an_answer_can_be_sent_at_once_or_is_refused() {
        let names: Vec<String> = (0..FIELDS_MAX).map(|at| format!("field{at}")).collect();
        let all = |value: &str| may_be_sent(names.iter().map(|name| (name.as_str(), value)));
        all(&"x".repeat(ANSWER_BYTES_MAX - 300)).unwrap();
        for large in ["x".repeat(ANSWER_BYTES_MAX), "\u{1}".repeat(ANSWER_BYTES_MAX / 5)] {
            let refused = all(&large).unwrap_err().to_string();
            assert!(refused.contains("are accepted: give less"), "{refused}");
        }
        for text in ["", "a\"b\\c\nd", "\u{0}\u{1f}\u{8}\u{c}\r\t", "\u{e4}\u{1f600}\u{2028}\u{7f}/"] {
            assert_eq!(sent_bytes(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }

    #[test]
    fn a_value_fits_its_field_or_says_why_not() {
        let choices = FieldKind::Choice { choices: vec!["eu".into(), "us".into()] };
        for (kind, fits, not) in [
            (&FieldKind::Number, "-1.5e3", "NaN"),
            (&FieldKind::Bool, "true", "yes"),
            (&choices, "eu", "EU"),
            (&FieldKind::Text, "any\nthing", &*"x".repeat(ANSWER_BYTES_MAX + 1)),
        ] {
            assert_eq!(value_problem(kind, fits), None);
            assert!(value_problem(kind, not).is_some(), "{kind:?}");
        }
        assert!(value_problem(&FieldKind::Secret, "told to everybody").is_some());
    }
}
