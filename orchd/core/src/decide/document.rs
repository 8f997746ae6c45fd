//! Requirements: proposing, editing, commenting, and what an answer does to a version.

use orch_proto::EntityKind;
use orch_proto::id::{ProjectId, RequirementsId, VisionId};

use super::approval::{self, Question};
use super::bounds::{self, COMMENTS_BYTES_MAX, NAMED_MAX};
use super::{Context, DecideError, conflict, conflict_with_hint, info, project, text};
use crate::command::{Command, RequirementEdit};
use crate::digest::Digest;
use crate::entity::{ApprovalSubject, Project, Requirements, RequirementsEvent, Vision};
use crate::planner::{Extraction, Requirement, RequirementKey};
use crate::state::document::DocumentState;
use crate::view::{Filter, View};

/// What the rules read is proposed, and what is not said is asked.
pub(super) fn read<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::ProposeRequirements { project, vision, content, reason, questions } = command else {
        return Err(conflict("no requirements"));
    };
    propose(cx, *project, *vision, content, reason)?;
    info::ask_about(cx, *project, *vision, questions)
}

pub(super) fn propose<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    vision: VisionId,
    content: &Extraction,
    reason: &str,
) -> Result<(), DecideError> {
    project::in_use(&cx.get::<Project>(project)?)?;
    cx.get::<Vision>(vision)?;
    let newest = newest(cx, project)?;
    if let Some(newest) = &newest
        && newest.vision == vision
        && newest.content == *content
        && matches!(newest.state, DocumentState::Proposed | DocumentState::Approved)
    {
        cx.note(format!("version {} says the same already; nothing changes", newest.version));
        cx.touch(EntityKind::Requirements, newest.id);
        return Ok(());
    }
    draft(cx, project, vision, content.clone(), reason)
}

pub(super) fn edit<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    base_version: u32,
    (upsert, remove): (&[RequirementEdit], &[RequirementKey]),
    reason: &str,
) -> Result<(), DecideError> {
    project::in_use(&cx.get::<Project>(project)?)?;
    let Some(base) = newest(cx, project)? else {
        return Err(conflict_with_hint(
            "the project has no requirements yet",
            "derive them with `orchctl req propose`",
        ));
    };
    if base.version != base_version {
        return Err(DecideError::StaleDigest { kind: EntityKind::Requirements });
    }
    bounds::count("edits", upsert.len() + remove.len(), NAMED_MAX)?;
    let mut content = base.content.clone();
    for key in remove {
        let before = content.requirements.len();
        content.requirements.retain(|requirement| requirement.id != *key);
        if content.requirements.len() == before {
            return Err(DecideError::Invalid { field: "requirement", problem: format!("`{key}` does not exist") });
        }
        for requirement in &mut content.requirements {
            requirement.parent = requirement.parent.take().filter(|parent| parent != key);
        }
    }
    for edit in upsert {
        put(&mut content, edit)?;
    }
    if content == base.content {
        cx.note("the edit changes nothing");
        cx.touch(EntityKind::Requirements, base.id);
        return Ok(());
    }
    bounds::requirements(&content)?;
    draft(cx, project, base.vision, content, text("reason", reason)?)
}

pub(super) fn comment<V: View>(
    cx: &mut Context<'_, V>,
    id: RequirementsId,
    key: Option<&RequirementKey>,
    comment: &str,
) -> Result<(), DecideError> {
    let document: Requirements = cx.get(id)?;
    project::in_use(&cx.get::<Project>(document.project)?)?;
    if let Some(key) = key
        && !document.content.requirements.iter().any(|requirement| requirement.id == *key)
    {
        return Err(DecideError::Invalid { field: "requirement", problem: format!("`{key}` does not exist") });
    }
    if comment.trim().is_empty() {
        return Err(DecideError::Invalid { field: "comment", problem: "is empty".into() });
    }
    let text = text("comment", comment)?.to_owned();
    let before: usize = document.comments.iter().map(|comment| comment.text.len()).sum();
    bounds::bytes("text of all comments on this version", before + text.len(), COMMENTS_BYTES_MAX)?;
    cx.emit((id, RequirementsEvent::Commented { key: key.cloned(), text }));
    cx.touch(EntityKind::Requirements, id);
    Ok(())
}

/// The version was approved: it takes the place of the one approved before.
pub(super) fn approved<V: View>(
    cx: &mut Context<'_, V>,
    id: RequirementsId,
    digest: Digest,
) -> Result<(), DecideError> {
    let document: Requirements = cx.get(id)?;
    if document.digest() != digest {
        return Err(DecideError::StaleDigest { kind: EntityKind::Requirements });
    }
    cx.emit((id, RequirementsEvent::Approved));
    for other in cx.view.list::<Requirements>(&Filter::of(document.project).open())? {
        if other.id != id && other.state == DocumentState::Approved {
            cx.emit((other.id, RequirementsEvent::Superseded));
        }
    }
    cx.touch(EntityKind::Requirements, id);
    Ok(())
}

pub(super) fn rejected<V: View>(cx: &mut Context<'_, V>, id: RequirementsId) -> Result<(), DecideError> {
    cx.get::<Requirements>(id)?;
    cx.emit((id, RequirementsEvent::Rejected));
    cx.touch(EntityKind::Requirements, id);
    Ok(())
}

fn newest<V: View>(cx: &Context<'_, V>, project: ProjectId) -> Result<Option<Requirements>, DecideError> {
    Ok(cx.view.last::<Requirements>(project)?)
}

/// Withdraws the version that waits for an answer, and its question.
pub(super) fn withdraw<V: View>(cx: &mut Context<'_, V>, project: ProjectId, reason: &str) -> Result<(), DecideError> {
    for other in cx.view.list::<Requirements>(&Filter::of(project).open())? {
        if matches!(other.state, DocumentState::Draft | DocumentState::Proposed) {
            cx.emit((other.id, RequirementsEvent::Superseded));
            if let Some(asked) = other.approval {
                approval::void(cx, asked, reason)?;
            }
        }
    }
    Ok(())
}

/// Makes a version, asks for its approval, and withdraws those that wait for one.
fn draft<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    vision: VisionId,
    content: Extraction,
    reason: &str,
) -> Result<(), DecideError> {
    withdraw(cx, project, "a newer version was proposed")?;
    let id: RequirementsId = cx.draw();
    let version = cx.number(EntityKind::Requirements, Some(project))?;
    let digest = Digest::of_json(&(&project, version, &content));
    let mut details = vec![
        format!("{} requirements from `{}`", content.requirements.len(), content.title),
        format!("{} open questions, {} warnings", content.open_questions.len(), content.warnings.len()),
    ];
    approval::remark(&mut details, "warning", content.warnings.iter().map(String::as_str));
    approval::remark(&mut details, "open question", content.open_questions.iter().map(|asked| asked.text.as_str()));
    approval::list(&mut details, content.requirements.iter().map(|found| format!("{} {}", found.id, found.title)));
    let event =
        RequirementsEvent::Drafted { project, version, vision, content: Box::new(content), reason: reason.to_owned() };
    cx.emit((id, event));
    cx.touch(EntityKind::Requirements, id);
    let asked = approval::ask(
        cx,
        Question {
            project,
            subject: ApprovalSubject::Requirements { id },
            action: format!("approve requirements version {version}"),
            details,
            rule: "requirements are approved before anything is planned",
            digest,
            choices: Vec::new(),
        },
    )?;
    cx.emit((id, RequirementsEvent::Proposed { approval: asked }));
    cx.touch(EntityKind::Approval, asked);
    Ok(())
}

/// Adds or replaces a requirement.
fn put(content: &mut Extraction, edit: &RequirementEdit) -> Result<(), DecideError> {
    let title = super::title("requirement title", &edit.content.title)?;
    let body = text("requirement text", &edit.content.text)?.to_owned();
    bounds::acceptance(&edit.content.acceptance)?;
    let existing = edit.key.as_ref().and_then(|key| content.requirements.iter_mut().find(|found| found.id == *key));
    if let Some(found) = existing {
        found.kind = edit.content.kind;
        found.title = title;
        found.text = body;
        found.acceptance.clone_from(&edit.content.acceptance);
        return Ok(());
    }
    let key = match &edit.key {
        Some(key) => key.clone(),
        None => next_key(content)?,
    };
    content.requirements.push(Requirement { id: key, title, text: body, ..edit.content.clone() });
    Ok(())
}

fn next_key(content: &Extraction) -> Result<RequirementKey, DecideError> {
    let used = |number: u32| content.requirements.iter().any(|found| found.id.as_str() == format!("REQ-{number}"));
    let free = (1..=u32::MAX).find(|number| !used(*number)).unwrap_or(u32::MAX);
    format!("REQ-{free}").parse().map_err(|_| conflict("there is no free requirement number"))
}
