//! Tables of projects, Visions, requirements and plans.

use std::collections::BTreeMap;

use orch_proto::view::{
    DocumentState, PlanNode, PlanView, ProjectState, ProjectView, RequirementView, RequirementsView, VisionView,
};

use super::{Resource, state_role};
use crate::fmt::color::Role;
use crate::fmt::duration::{age, band, bytes};
use crate::fmt::eta;
use crate::fmt::table::Show::{Flexible, OnDemand, Usual};
use crate::fmt::table::{Cell, Column};

/// The word for the state of a project.
#[must_use]
pub const fn project_state(state: &ProjectState) -> &'static str {
    match state {
        ProjectState::Preparing => "preparing",
        ProjectState::Ready => "ready",
        ProjectState::Failed { .. } => "failed",
        ProjectState::Archived => "archived",
    }
}

/// The word for the state of a version of requirements or of a plan.
#[must_use]
pub const fn document_state(state: DocumentState) -> &'static str {
    match state {
        DocumentState::Draft => "draft",
        DocumentState::Proposed => "proposed",
        DocumentState::Approved => "approved",
        DocumentState::Rejected => "rejected",
        DocumentState::Superseded => "superseded",
    }
}

fn document_cell(state: DocumentState) -> Cell {
    let role = match state {
        DocumentState::Approved => Role::Good,
        DocumentState::Rejected => Role::Bad,
        DocumentState::Proposed => Role::Warn,
        DocumentState::Draft => Role::Plain,
        DocumentState::Superseded => Role::Dim,
    };
    Cell::new(document_state(state), role)
}

fn version(number: Option<u32>) -> Cell {
    number.map_or_else(|| Cell::new("-", Role::Dim), |number| format!("v{number}").into())
}

impl Resource for ProjectView {
    const KIND: &'static str = "Project";
    const LIST_KIND: &'static str = "ProjectList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<ProjectView>; 11] = [
            Column { name: "name", show: Usual, cell: |project, _| project.name.as_str().into() },
            Column {
                name: "state",
                show: Usual,
                cell: |project, _| Cell::new(project_state(&project.state), state_role(project_state(&project.state))),
            },
            Column { name: "vision", show: Usual, cell: |project, _| version(project.vision_version) },
            Column { name: "requirements", show: Usual, cell: |project, _| version(project.requirements_version) },
            Column { name: "plan", show: Usual, cell: |project, _| version(project.plan_version) },
            Column { name: "toolchains", show: Flexible, cell: |project, _| toolchains(project).into() },
            Column { name: "branch", show: OnDemand, cell: |project, _| project.default_branch.as_str().into() },
            Column { name: "head", show: OnDemand, cell: |project, _| project.head.as_deref().into() },
            Column { name: "repository", show: OnDemand, cell: |project, _| project.repository.as_str().into() },
            Column { name: "age", show: Usual, cell: |project, now| age(project.created_at, now).into() },
            Column { name: "id", show: OnDemand, cell: |project, _| project.id.to_string().into() },
        ];
        &COLUMNS
    }
}

impl Resource for VisionView {
    const KIND: &'static str = "Vision";
    const LIST_KIND: &'static str = "VisionList";

    fn name(&self) -> String {
        format!("{}/V-{}", self.project, self.version)
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<VisionView>; 9] = [
            Column { name: "version", show: Usual, cell: |vision, _| version(Some(vision.version)) },
            Column { name: "title", show: Flexible, cell: |vision, _| vision.title.as_str().into() },
            Column { name: "file", show: Usual, cell: |vision, _| vision.file_name.as_str().into() },
            Column { name: "size", show: Usual, cell: |vision, _| bytes(vision.size_bytes).into() },
            Column { name: "blueprint", show: Usual, cell: |vision, _| vision.blueprint.as_deref().into() },
            Column { name: "by", show: Usual, cell: |vision, _| vision.submitted_by.as_str().into() },
            Column { name: "age", show: Usual, cell: |vision, now| age(vision.submitted_at, now).into() },
            Column { name: "digest", show: OnDemand, cell: |vision, _| vision.digest.as_str().into() },
            Column { name: "id", show: OnDemand, cell: |vision, _| vision.id.to_string().into() },
        ];
        &COLUMNS
    }
}

impl Resource for RequirementsView {
    const KIND: &'static str = "Requirements";
    const LIST_KIND: &'static str = "RequirementsList";

    fn name(&self) -> String {
        format!("{}/Q-{}", self.project, self.version)
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<RequirementsView>; 8] = [
            Column { name: "version", show: Usual, cell: |reqs, _| version(Some(reqs.version)) },
            Column { name: "state", show: Usual, cell: |reqs, _| document_cell(reqs.state) },
            Column { name: "vision", show: Usual, cell: |reqs, _| version(Some(reqs.vision_version)) },
            Column { name: "count", show: Usual, cell: |reqs, _| reqs.requirements.len().to_string().into() },
            Column { name: "reason", show: Flexible, cell: |reqs, _| reqs.reason.as_str().into() },
            Column { name: "by", show: Usual, cell: |reqs, _| reqs.created_by.as_str().into() },
            Column { name: "age", show: Usual, cell: |reqs, now| age(reqs.created_at, now).into() },
            Column { name: "digest", show: OnDemand, cell: |reqs, _| reqs.digest.as_str().into() },
        ];
        &COLUMNS
    }
}

impl Resource for RequirementView {
    const KIND: &'static str = "Requirement";
    const LIST_KIND: &'static str = "RequirementList";

    fn name(&self) -> String {
        self.key.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<RequirementView>; 7] = [
            Column { name: "key", show: Usual, cell: |item, _| item.key.as_str().into() },
            Column { name: "kind", show: Usual, cell: |item, _| item.kind.as_str().into() },
            Column { name: "title", show: Flexible, cell: |item, _| item.title.as_str().into() },
            Column { name: "priority", show: OnDemand, cell: |item, _| item.priority.as_deref().into() },
            Column { name: "group", show: OnDemand, cell: |item, _| item.group.as_deref().into() },
            Column { name: "text", show: OnDemand, cell: |item, _| item.text.as_str().into() },
            Column {
                name: "lines",
                show: Usual,
                cell: |item, _| item.lines.map_or("-".into(), |(from, to)| format!("{from}-{to}").into()),
            },
        ];
        &COLUMNS
    }
}

impl Resource for PlanView {
    const KIND: &'static str = "Plan";
    const LIST_KIND: &'static str = "PlanList";

    fn name(&self) -> String {
        format!("{}/P-{}", self.project, self.version)
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<PlanView>; 11] = [
            Column { name: "version", show: Usual, cell: |plan, _| version(Some(plan.version)) },
            Column { name: "state", show: Usual, cell: |plan, _| document_cell(plan.state) },
            Column { name: "requirements", show: Usual, cell: |plan, _| version(Some(plan.requirements_version)) },
            Column { name: "tasks", show: Usual, cell: |plan, _| plan.nodes.len().to_string().into() },
            Column { name: "critical", show: Usual, cell: |plan, _| band(plan.critical_minutes).into() },
            Column {
                name: "eta",
                show: OnDemand,
                cell: |plan, _| plan.eta.as_ref().map_or("-".into(), |eta| eta::span(eta.p50_ms, eta.p90_ms).into()),
            },
            Column { name: "parallel", show: OnDemand, cell: |plan, _| plan.parallel_max.to_string().into() },
            Column { name: "reason", show: Flexible, cell: |plan, _| plan.reason.as_str().into() },
            Column { name: "by", show: Usual, cell: |plan, _| plan.created_by.as_str().into() },
            Column { name: "age", show: Usual, cell: |plan, now| age(plan.created_at, now).into() },
            Column { name: "digest", show: OnDemand, cell: |plan, _| plan.digest.as_str().into() },
        ];
        &COLUMNS
    }
}

impl Resource for PlanNode {
    const KIND: &'static str = "PlanTask";
    const LIST_KIND: &'static str = "PlanTaskList";

    fn name(&self) -> String {
        self.key.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<PlanNode>; 10] = [
            Column { name: "critical", show: OnDemand, cell: |node, _| if node.critical { "*" } else { "" }.into() },
            Column { name: "key", show: Usual, cell: |node, _| node.key.as_str().into() },
            Column { name: "task", show: OnDemand, cell: |node, _| node.task.as_deref().into() },
            Column { name: "title", show: Flexible, cell: |node, _| node.title.as_str().into() },
            Column { name: "work", show: Flexible, cell: |node, _| node.work.as_str().into() },
            Column { name: "needs", show: Flexible, cell: |node, _| node.needs.join(",").into() },
            Column { name: "estimate", show: Usual, cell: |node, _| band(node.estimate_minutes).into() },
            Column {
                name: "eta",
                show: OnDemand,
                cell: |node, _| node.eta.as_ref().map_or("-".into(), |eta| eta::band(eta).into()),
            },
            Column { name: "requirements", show: OnDemand, cell: |node, _| node.requirements.join(",").into() },
            Column { name: "level", show: OnDemand, cell: |node, _| node.level.to_string().into() },
        ];
        &COLUMNS
    }
}

/// Each toolchain once, with where it is unless that is the root: `cargo, npm (web)`; of more than a few places how many.
fn toolchains(project: &ProjectView) -> String {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tool in &project.toolchains {
        places.entry(&tool.name).or_default().push(&tool.root);
    }
    let shown = places.into_iter().map(|(name, roots)| match roots.as_slice() {
        [""] => name.to_owned(),
        [root] => format!("{name} ({root})"),
        many => format!("{name} ({} places)", many.len()),
    });
    shown.collect::<Vec<_>>().join(", ")
}
