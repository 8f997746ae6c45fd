//! Requirements, their differences, and what serves them.

use std::collections::BTreeMap;

use orch_core::entity::{Change, Requirements, Run, Task, Vision};
use orch_core::planner::{LineRange, Requirement, RequirementKind, Statement};
use orch_core::state::change::ChangeState;
use orch_core::state::document::DocumentState as State;
use orch_core::view::{Filter, ReadError, View};
use orch_proto::view::{
    CommentView, DocumentState, RequirementView, RequirementsDiff, RequirementsView, StatementView, TraceTask,
    TraceView,
};

use super::{name_of, slug, task};

/// A version of requirements.
pub(crate) fn requirements_view(view: &impl View, document: &Requirements) -> Result<RequirementsView, ReadError> {
    let content = &document.content;
    Ok(RequirementsView {
        id: document.id,
        project: slug(view, document.project)?,
        version: document.version,
        state: state(document.state),
        vision_version: view.get::<Vision>(document.vision)?.map_or(0, |vision| vision.version),
        title: content.title.clone(),
        summary: content.summary.clone(),
        goals: statements(&content.goals),
        non_goals: statements(&content.non_goals),
        constraints: statements(&content.constraints),
        acceptance: statements(&content.acceptance),
        risks: statements(&content.risks),
        milestones: statements(&content.milestones),
        open_questions: statements(&content.open_questions),
        unclassified: statements(&content.unclassified),
        requirements: content.requirements.iter().map(requirement).collect(),
        warnings: content.warnings.clone(),
        comments: document.comments.iter().map(comment).collect(),
        digest: document.digest().to_string(),
        approval: document.approval,
        reason: document.reason.clone(),
        created_by: document.created_by.to_string(),
        created_at: document.created_at,
    })
}

/// What changed from one version to another.
#[must_use]
pub(crate) fn requirements_diff(from: &Requirements, to: &Requirements) -> RequirementsDiff {
    let by_key = |document: &Requirements| -> BTreeMap<_, _> {
        document.content.requirements.iter().map(|found| (found.id.clone(), found.clone())).collect()
    };
    let (old, new) = (by_key(from), by_key(to));
    let mut diff = RequirementsDiff {
        from: from.version,
        to: to.version,
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        unchanged: 0,
    };
    for (key, after) in &new {
        match old.get(key) {
            None => diff.added.push(requirement(after)),
            Some(before) if before == after => diff.unchanged += 1,
            Some(before) => diff.changed.push((requirement(before), requirement(after))),
        }
    }
    diff.removed =
        old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, before)| requirement(before)).collect();
    diff
}

/// From a requirement of the document to tasks, runs and commits.
pub(crate) fn trace_view(
    view: &impl View,
    document: &Requirements,
    found: &Requirement,
) -> Result<TraceView, ReadError> {
    let mut tasks = Vec::new();
    for serving in view.list::<Task>(&Filter::of(document.project))? {
        if !serving.spec.requirements.contains(&found.id) {
            continue;
        }
        let runs = view.list::<Run>(&Filter::under(serving.id))?;
        let mut named = Vec::with_capacity(runs.len());
        for run in &runs {
            named.push((name_of(view, run)?, run.state.label().to_owned()));
        }
        let change = match serving.last_change {
            Some(id) => view.get::<Change>(id)?,
            None => None,
        };
        tasks.push(TraceTask {
            task: name_of(view, &serving)?,
            title: serving.title.clone(),
            state: task::state(&serving.state),
            runs: named,
            commit: change.and_then(|change| match change.state {
                ChangeState::Merged { commit } => Some(commit),
                _ => None,
            }),
        });
    }
    Ok(TraceView {
        requirement: requirement(found),
        requirements_version: document.version,
        vision_version: view.get::<Vision>(document.vision)?.map_or(0, |vision| vision.version),
        tasks,
    })
}

/// State of a version of requirements or of a plan.
pub(super) const fn state(state: State) -> DocumentState {
    match state {
        State::Draft => DocumentState::Draft,
        State::Proposed => DocumentState::Proposed,
        State::Approved => DocumentState::Approved,
        State::Rejected => DocumentState::Rejected,
        State::Superseded => DocumentState::Superseded,
    }
}

fn statements(statements: &[Statement]) -> Vec<StatementView> {
    statements.iter().map(|found| StatementView { text: found.text.clone(), lines: Some(lines(found.lines)) }).collect()
}

fn requirement(found: &Requirement) -> RequirementView {
    let kind = match found.kind {
        RequirementKind::Functional => "functional",
        RequirementKind::NonFunctional => "non_functional",
        RequirementKind::Constraint => "constraint",
    };
    RequirementView {
        key: found.id.to_string(),
        kind: kind.into(),
        title: found.title.clone(),
        text: found.text.clone(),
        group: found.group.clone(),
        parent: found.parent.as_ref().map(ToString::to_string),
        priority: found.priority.clone(),
        acceptance: found.acceptance.clone(),
        // Line 0 stands for a requirement that a person added: it is in no Vision.
        lines: (found.lines.first > 0).then(|| lines(found.lines)),
    }
}

const fn lines(range: LineRange) -> (u32, u32) {
    (range.first, range.last)
}

fn comment(comment: &orch_core::entity::Comment) -> CommentView {
    CommentView {
        key: comment.key.as_ref().map(ToString::to_string),
        by: comment.by.to_string(),
        at: comment.at,
        text: comment.text.clone(),
    }
}
