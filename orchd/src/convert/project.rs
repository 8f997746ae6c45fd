//! Projects and Visions.

use orch_core::entity::{Project, Vision};
use orch_core::state::project::ProjectState as State;
use orch_core::view::{ReadError, View};
use orch_proto::EntityKind;
use orch_proto::view::{PauseView, ProjectState, ProjectView, ToolchainView, VisionView};

use super::planning::planning_view;
use super::{budget, patience, slug};

/// A project; `repository` is where it is on the daemon's disk.
pub(crate) fn project_view(view: &impl View, project: &Project, repository: String) -> Result<ProjectView, ReadError> {
    let now = crate::clock::now();
    let newest = |kind| -> Result<Option<u32>, ReadError> {
        Ok(Some(view.last_number(kind, Some(project.id))?).filter(|number| *number > 0))
    };
    Ok(ProjectView {
        id: project.id,
        name: project.slug.clone(),
        state: match &project.state {
            State::Preparing => ProjectState::Preparing,
            State::Ready => ProjectState::Ready,
            State::Failed { reason } => ProjectState::Failed { reason: reason.clone() },
            State::Archived => ProjectState::Archived,
        },
        repository,
        default_branch: project.default_branch.clone(),
        head: project.head.clone(),
        toolchains: project.toolchains.iter().map(toolchain).collect(),
        gates: project.gates().into_iter().map(|gate| gate.run).collect(),
        protected_paths: project.protected_paths.iter().map(ToString::to_string).collect(),
        vision_version: newest(EntityKind::Vision)?,
        requirements_version: newest(EntityKind::Requirements)?,
        plan_version: newest(EntityKind::Plan)?,
        created_at: project.created_at,
        weight: project.share.weight,
        runs_max: project.share.runs_max,
        runs_per_day: project.share.runs_per_day,
        pause: project
            .pause
            .as_ref()
            .filter(|pause| pause.lasts(now))
            .map(|pause| PauseView { reason: pause.reason.clone(), until: pause.until }),
        queue_timeout: project.patience.queue.map(patience::timeout),
        silence_timeout: project.patience.silence.map(patience::timeout),
        budgets: budget::views(view, project, now)?,
        planning: project.planning.as_ref().map(planning_view),
    })
}

/// A version of a Vision, with its text when that was asked for.
pub(crate) fn vision_view(view: &impl View, vision: &Vision, text: Option<String>) -> Result<VisionView, ReadError> {
    Ok(VisionView {
        id: vision.id,
        project: slug(view, vision.project)?,
        version: vision.version,
        title: vision.title.clone(),
        file_name: vision.file_name.clone(),
        size_bytes: vision.size_bytes,
        digest: vision.text.to_string(),
        blueprint: vision.blueprint.clone(),
        submitted_by: vision.submitted_by.to_string(),
        submitted_at: vision.submitted_at,
        text,
    })
}

fn toolchain(found: &orch_core::toolchain::Toolchain) -> ToolchainView {
    let command = |step: &Option<orch_core::recipe::Step>| step.as_ref().map(|step| step.run.clone());
    ToolchainView {
        name: found.name.clone(),
        root: found.root.below().to_owned(),
        evidence: found.evidence.clone(),
        build: command(&found.build),
        test: command(&found.test),
        lint: command(&found.lint),
        vendored: found.vendored,
    }
}
