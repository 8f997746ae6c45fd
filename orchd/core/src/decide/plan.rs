//! Plans: proposing, editing, and turning an approved plan into tasks.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::EntityKind;
use orch_proto::id::{PlanId, ProjectId, RequirementsId};

use super::approval::{self, Question};
use super::bounds::{self, NAMED_MAX};
use super::{Context, DecideError, conflict, conflict_with_hint, project, replan, text};
use crate::command::PlanEdit;
use crate::digest::Digest;
use crate::entity::{ApprovalSubject, Plan, PlanContent, PlanEvent, PlanTask, Project, ProjectEvent, Requirements};
use crate::graph::{Analysis, Graph};
use crate::planner::{PLAN_TASKS_MAX, RequirementKey};
use crate::state::document::DocumentState;
use crate::view::{Filter, View};

/// What a new plan would do to the tasks of the approved one, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanDelta {
    pub added: Vec<String>,
    pub dropped: Vec<String>,
    pub kept: Vec<String>,
}

impl PlanContent {
    /// Checks keys and graph, and orders it. Weights are the high estimates in minutes, at least 1.
    ///
    /// # Errors
    /// When there are more than [`PLAN_TASKS_MAX`], a key is there twice, a task needs one that is not there, or there is a cycle.
    pub fn analyse(&self) -> Result<Analysis<String>, DecideError> {
        let invalid = |problem| DecideError::Invalid { field: "plan", problem };
        // They are made by one command, for which everybody who writes waits.
        bounds::count("plan", self.tasks.len(), PLAN_TASKS_MAX)?;
        let mut graph = Graph::new();
        let mut weights = BTreeMap::new();
        for task in &self.tasks {
            let minutes = task.spec.estimate_minutes.map_or(1, |(_, high)| u64::from(high.max(1)));
            if weights.insert(task.key.clone(), minutes).is_some() {
                return Err(invalid(format!("has two tasks `{}`", task.key)));
            }
            graph.node(task.key.clone());
        }
        for task in &self.tasks {
            for needed in &task.needs {
                if !weights.contains_key(needed) {
                    return Err(invalid(format!("has no task `{needed}`, which `{}` needs", task.key)));
                }
                graph.edge(task.key.clone(), needed.clone());
            }
        }
        Ok(graph.analyse(|key| weights[key])?)
    }

    /// What it adds, drops and keeps against the plan before it.
    #[must_use]
    pub fn delta(&self, before: Option<&Self>) -> PlanDelta {
        let keys = |content: &Self| content.tasks.iter().map(|task| task.key.clone()).collect::<BTreeSet<_>>();
        let (new, old) = (keys(self), before.map(keys).unwrap_or_default());
        PlanDelta {
            added: new.difference(&old).cloned().collect(),
            dropped: old.difference(&new).cloned().collect(),
            kept: new.intersection(&old).cloned().collect(),
        }
    }
}

pub(super) fn propose<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    requirements: RequirementsId,
    content: &PlanContent,
    reason: &str,
) -> Result<(), DecideError> {
    project::in_use(&cx.get::<Project>(project)?)?;
    approved_requirements(cx, requirements)?;
    if let Some(newest) = cx.view.last::<Plan>(project)?
        && newest.requirements == requirements
        && newest.content == *content
        && matches!(newest.state, DocumentState::Proposed | DocumentState::Approved)
    {
        cx.note(format!("plan version {} says the same already; nothing changes", newest.version));
        cx.touch(EntityKind::Plan, newest.id);
        return Ok(());
    }
    draft(cx, project, requirements, content.clone(), reason)
}

/// Requirements that a plan can be made for.
pub(super) fn approved_requirements<V: View>(
    cx: &Context<'_, V>,
    id: RequirementsId,
) -> Result<Requirements, DecideError> {
    let document: Requirements = cx.get(id)?;
    if document.state == DocumentState::Approved {
        return Ok(document);
    }
    Err(conflict_with_hint(
        format!("requirements version {} is {} and not approved", document.version, document.state.label()),
        "approve them with `orchctl req approve`, or reject and edit them",
    ))
}

pub(super) fn edit<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    base_version: u32,
    edits: &[PlanEdit],
    reason: &str,
) -> Result<(), DecideError> {
    project::in_use(&cx.get::<Project>(project)?)?;
    let Some(base) = cx.view.last::<Plan>(project)? else {
        return Err(conflict_with_hint("the project has no plan yet", "make one with `orchctl plan propose`"));
    };
    if base.version != base_version {
        return Err(DecideError::StaleDigest { kind: EntityKind::Plan });
    }
    bounds::count("edits", edits.len(), NAMED_MAX)?;
    let mut content = base.content.clone();
    for edit in edits {
        apply_edit(&mut content, edit)?;
    }
    if content == base.content {
        cx.note("the edit changes nothing");
        cx.touch(EntityKind::Plan, base.id);
        return Ok(());
    }
    let left = worked_on(&content);
    let unserved: Vec<String> = worked_on(&base.content).difference(&left).map(ToString::to_string).collect();
    if !unserved.is_empty() {
        let warning = format!("nothing is done for {} any more", unserved.join(", "));
        cx.note(&warning);
        content.warnings.push(warning);
    }
    draft(cx, project, base.requirements, content, text("reason", reason)?)
}

/// Requirements that some task does work for. One that is for all of them checks and does not do.
fn worked_on(content: &PlanContent) -> BTreeSet<&RequirementKey> {
    let all: BTreeSet<&RequirementKey> = content.tasks.iter().flat_map(|task| &task.spec.requirements).collect();
    let is_work = |task: &&PlanTask| {
        task.spec.work.keeps_changes() && (task.spec.requirements.len() < all.len() || all.len() == 1)
    };
    content.tasks.iter().filter(is_work).flat_map(|task| &task.spec.requirements).collect()
}

/// The plan was approved: what it adds becomes tasks, what it drops is cancelled unless it is done.
pub(super) fn approved<V: View>(cx: &mut Context<'_, V>, id: PlanId, digest: Digest) -> Result<(), DecideError> {
    let plan: Plan = cx.get(id)?;
    if plan.digest() != digest {
        return Err(DecideError::StaleDigest { kind: EntityKind::Plan });
    }
    cx.emit((id, PlanEvent::Approved));
    cx.touch(EntityKind::Plan, id);
    let previous = current(cx, plan.project)?;
    if let Some(previous) = &previous {
        cx.emit((previous.id, PlanEvent::Superseded));
    }
    if let Some(blueprint) = &plan.content.blueprint {
        let event = ProjectEvent::BlueprintSet {
            name: blueprint.name.clone(),
            parameters: blueprint.parameters.clone(),
            gates: blueprint.gates.clone(),
            protected_paths: blueprint.protected_paths.clone(),
        };
        cx.emit((plan.project, event));
    }
    replan::apply(cx, &plan, previous.as_ref())
}

pub(super) fn rejected<V: View>(cx: &mut Context<'_, V>, id: PlanId) -> Result<(), DecideError> {
    cx.get::<Plan>(id)?;
    cx.emit((id, PlanEvent::Rejected));
    cx.touch(EntityKind::Plan, id);
    Ok(())
}

/// The plan that tasks are made from at present.
fn current<V: View>(cx: &Context<'_, V>, project: ProjectId) -> Result<Option<Plan>, DecideError> {
    let open = cx.view.list::<Plan>(&Filter::of(project).open())?;
    Ok(open.into_iter().find(|plan| plan.state == DocumentState::Approved))
}

/// Withdraws the version that waits for an answer, and its question.
pub(super) fn withdraw<V: View>(cx: &mut Context<'_, V>, project: ProjectId, reason: &str) -> Result<(), DecideError> {
    for other in cx.view.list::<Plan>(&Filter::of(project).open())? {
        if other.state != DocumentState::Approved {
            cx.emit((other.id, PlanEvent::Superseded));
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
    requirements: RequirementsId,
    content: PlanContent,
    reason: &str,
) -> Result<(), DecideError> {
    let analysis = content.analyse()?;
    withdraw(cx, project, "a newer version was proposed")?;
    let approved = current(cx, project)?.map(|plan| plan.content);
    let delta = content.delta(approved.as_ref());
    let id: PlanId = cx.draw();
    let version = cx.number(EntityKind::Plan, Some(project))?;
    let digest = Digest::of_json(&(&project, version, &content));
    let mut details = vec![
        format!(
            "{} tasks on {} levels",
            content.tasks.len(),
            analysis.level.values().max().map_or(0, |level| level + 1)
        ),
        format!("adds {}, drops {}, keeps {}", delta.added.len(), delta.dropped.len(), delta.kept.len()),
        format!("critical path: {}", analysis.critical_path.join(" > ")),
    ];
    approval::remark(&mut details, "warning", content.warnings.iter().map(String::as_str));
    let listed = content.tasks.iter().map(|task| format!("{} ({})", task.title, task.spec.work.label()));
    approval::list(&mut details, listed);
    let event =
        PlanEvent::Drafted { project, version, requirements, content: Box::new(content), reason: reason.to_owned() };
    cx.emit((id, event));
    cx.touch(EntityKind::Plan, id);
    let asked = approval::ask(
        cx,
        Question {
            project,
            subject: ApprovalSubject::Plan { id },
            action: format!("approve plan version {version}; its tasks start by themselves"),
            details,
            rule: "a plan is approved before its tasks are queued",
            digest,
            choices: Vec::new(),
        },
    )?;
    cx.emit((id, PlanEvent::Proposed { approval: asked }));
    cx.touch(EntityKind::Approval, asked);
    Ok(())
}

fn apply_edit(content: &mut PlanContent, edit: &PlanEdit) -> Result<(), DecideError> {
    let (PlanEdit::Link { task: key, .. } | PlanEdit::Unlink { task: key, .. } | PlanEdit::Drop { task: key }) = edit;
    let Some(at) = content.tasks.iter().position(|task| task.key == *key) else {
        return Err(DecideError::Invalid { field: "plan", problem: format!("has no task `{key}`") });
    };
    match edit {
        PlanEdit::Link { needs, .. } => {
            if !content.tasks[at].needs.contains(needs) {
                content.tasks[at].needs.push(needs.clone());
            }
        }
        PlanEdit::Unlink { needs, .. } => {
            let before = content.tasks[at].needs.len();
            content.tasks[at].needs.retain(|needed| needed != needs);
            if content.tasks[at].needs.len() == before {
                return Err(conflict(format!("`{key}` does not need `{needs}`")));
            }
        }
        PlanEdit::Drop { .. } => {
            content.tasks.remove(at);
            for task in &mut content.tasks {
                task.needs.retain(|needed| needed != key);
            }
            for story in content.epics.iter_mut().flat_map(|epic| &mut epic.stories) {
                story.tasks.retain(|task| task != key);
            }
        }
    }
    Ok(())
}
