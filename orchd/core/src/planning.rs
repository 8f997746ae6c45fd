//! From a proposal of the planner to the content of a plan: every task gets the steps that do its work.
//!
//! The planner names who or what does a task; here that becomes a [`TaskSpec`], from the blueprint's steps, the
//! toolchain's commands or a capability. Pure.

use std::collections::BTreeMap;

use crate::blueprint::{Blueprint, ParameterError};
use crate::entity::{PlanBlueprint, PlanContent, PlanEpic, PlanStory, PlanTask, Project, RetryPolicy, TaskSpec, Work};
use crate::planner::{
    BlueprintOutline, BlueprintTask, Extraction, PlanError, PlanInput, PlannedTask, ProposedPlan, TaskKind,
    ToolchainAction, ToolchainOutline, propose_plan,
};
use crate::recipe::{Access, EnvName, Isolation, RunRecipe, Step};
use crate::toolchain::Toolchain;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanningError {
    /// The blueprint's parameters do not fit.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The planner found none.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The planner named work that there is not. A fault of the planner.
    #[error("task `{task}` names work that does not exist: {work}")]
    NoSuchWork { task: String, work: String },
}

/// Makes a plan for approved requirements, by the rules.
///
/// # Errors
/// When the blueprint does not fit the Vision, or the planner cannot plan.
pub fn make_plan(
    requirements: &Extraction,
    project: &Project,
    blueprint: Option<&Blueprint>,
) -> Result<PlanContent, PlanningError> {
    let proposed = proposed(requirements, project, blueprint)?;
    content(proposed, requirements, project, blueprint)
}

/// What the rules propose for approved requirements.
///
/// # Errors
/// When the planner cannot plan.
pub fn proposed(
    requirements: &Extraction,
    project: &Project,
    blueprint: Option<&Blueprint>,
) -> Result<ProposedPlan, PlanningError> {
    let outline = blueprint.map(outline);
    let toolchains: Vec<ToolchainOutline> = project.toolchains.iter().map(toolchain_outline).collect();
    Ok(propose_plan(&PlanInput {
        requirements: &requirements.requirements,
        acceptance: &requirements.acceptance,
        blueprint: outline.as_ref(),
        toolchains: &toolchains,
        empty_repository: project.toolchains.is_empty() && project.source == crate::entity::RepositorySource::Empty,
    })?)
}

/// The content of a plan from a proposal, whoever made it: every task gets the work that it names.
///
/// # Errors
/// When the blueprint does not fit the Vision, or there is no such work.
pub fn content(
    proposed: ProposedPlan,
    requirements: &Extraction,
    project: &Project,
    blueprint: Option<&Blueprint>,
) -> Result<PlanContent, PlanningError> {
    let parameters = match blueprint {
        Some(blueprint) => blueprint.resolve(&requirements.front_matter.parameters, &requirements.title)?,
        None => BTreeMap::new(),
    };
    let env = texts(&parameters);
    let mut tasks = Vec::new();
    for task in proposed.tasks() {
        let work = work(task, project, blueprint, &env)?;
        tasks.push(plan_task(task, work));
    }
    Ok(PlanContent {
        epics: epics(&proposed),
        tasks,
        blueprint: blueprint.map(|blueprint| PlanBlueprint {
            name: blueprint.name.to_string(),
            parameters: env,
            gates: blueprint.gates.clone(),
            protected_paths: blueprint.protected_paths.clone(),
        }),
        warnings: proposed.warnings,
    })
}

/// The work of a run recipe, as a person hands one in.
#[must_use]
pub fn recipe_work(recipe: &RunRecipe, file_name: &str) -> (Work, RetryPolicy) {
    let default = RetryPolicy::default();
    let retries = RetryPolicy {
        max_retries: recipe.retries.max_retries.unwrap_or(default.max_retries),
        backoff_base_ms: recipe.retries.backoff_base_ms.unwrap_or(default.backoff_base_ms),
        backoff_jitter_ms: recipe.retries.backoff_jitter_ms.unwrap_or(default.backoff_jitter_ms),
    };
    let mut env = BTreeMap::new();
    for tool in &recipe.tools {
        env.extend(texts(&tool.env));
    }
    env.extend(texts(&recipe.env));
    let work = Work::Steps {
        source: format!("recipe {file_name}"),
        steps: recipe.steps.clone(),
        env,
        tools: recipe.tools.iter().map(|tool| tool.request().to_string()).collect(),
        blueprint: None,
        artifacts: Vec::new(),
        keeps_changes: recipe.keeps_changes,
        access: recipe.access.clone(),
        starts_empty: recipe.starts_empty,
        isolation: recipe.isolation,
    };
    (work, retries)
}

fn outline(blueprint: &Blueprint) -> BlueprintOutline {
    let epic_title =
        |key: &str| blueprint.epics.iter().find(|epic| epic.key.as_str() == key).map(|epic| epic.title.clone());
    let story_title =
        |key: &str| blueprint.stories.iter().find(|story| story.key.as_str() == key).map(|story| story.title.clone());
    let tasks = blueprint.tasks.iter().map(|task| BlueprintTask {
        key: task.key.to_string(),
        title: task.title.clone(),
        epic: epic_title(task.epic.as_str()).unwrap_or_else(|| task.epic.to_string()),
        story: story_title(task.story.as_str()).unwrap_or_else(|| task.story.to_string()),
        needs: task.needs.iter().map(ToString::to_string).collect(),
        covers: task.covers.clone(),
        acceptance: task.acceptance.clone(),
        // The blueprint gives one figure; the low end is what its steps take when nothing goes wrong.
        estimate_minutes: ((task.estimate_minutes / 2).max(1), task.estimate_minutes.max(1)),
        risk: task.risk.clone(),
    });
    BlueprintOutline { name: blueprint.name.to_string(), tasks: tasks.collect() }
}

fn toolchain_outline(toolchain: &Toolchain) -> ToolchainOutline {
    let command = |step: &Option<Step>| step.as_ref().map(|step| step.run.clone());
    ToolchainOutline {
        name: toolchain.name.clone(),
        root: toolchain.root.below().to_owned(),
        build: command(&toolchain.build),
        test: command(&toolchain.test),
        vendored: toolchain.vendored,
        lint: command(&toolchain.lint),
    }
}

fn work(
    task: &PlannedTask,
    project: &Project,
    blueprint: Option<&Blueprint>,
    env: &BTreeMap<String, String>,
) -> Result<Work, PlanningError> {
    let missing = |work: String| PlanningError::NoSuchWork { task: task.key.clone(), work };
    match &task.kind {
        TaskKind::Agent { capability } => Ok(Work::Agent { capability: capability.clone() }),
        TaskKind::Scripted { blueprint_task } => {
            let found = blueprint.and_then(|blueprint| {
                let task = blueprint.tasks.iter().find(|task| task.key.as_str() == blueprint_task)?;
                Some((blueprint, task))
            });
            let (blueprint, scripted) = found.ok_or_else(|| missing(blueprint_task.clone()))?;
            Ok(Work::Steps {
                source: format!("blueprint {}/{}", blueprint.name, scripted.key),
                steps: scripted.steps.clone(),
                env: env.clone(),
                tools: Vec::new(),
                blueprint: Some(blueprint.name.to_string()),
                artifacts: scripted.artifacts.clone(),
                keeps_changes: true,
                access: Access::default(),
                starts_empty: false,
                isolation: Isolation::Sandbox,
            })
        }
        TaskKind::Toolchain { toolchain, root, action } => {
            let fits = |found: &&Toolchain| found.name == *toolchain && found.root.below() == root;
            let found = project.toolchains.iter().find(fits).ok_or_else(|| missing(toolchain.clone()))?;
            let (verb, step) = match action {
                ToolchainAction::Build => ("build", &found.build),
                ToolchainAction::Test => ("test", &found.test),
                ToolchainAction::Lint => ("lint", &found.lint),
            };
            let mut tools = found.tools.clone();
            if *action == ToolchainAction::Lint {
                tools.extend(found.lint_tools.iter().cloned());
            }
            let step = step.clone().ok_or_else(|| missing(format!("{toolchain} {verb}")))?;
            Ok(Work::Steps {
                source: format!("{toolchain} {verb}"),
                steps: vec![step],
                env: BTreeMap::new(),
                tools,
                blueprint: None,
                artifacts: Vec::new(),
                keeps_changes: false,
                access: Access::default(),
                starts_empty: false,
                isolation: Isolation::Sandbox,
            })
        }
    }
}

fn plan_task(task: &PlannedTask, work: Work) -> PlanTask {
    PlanTask {
        key: task.key.clone(),
        title: task.title.clone(),
        needs: task.needs.clone(),
        spec: TaskSpec {
            work,
            requirements: task.requirements.clone(),
            acceptance: task.acceptance.clone(),
            retries: RetryPolicy::default(),
            estimate_minutes: Some(task.estimate_minutes),
            risk: task.risk.clone(),
            timeout_ms: None,
        },
    }
}

fn epics(proposed: &ProposedPlan) -> Vec<PlanEpic> {
    let story = |story: &crate::planner::Story| PlanStory {
        key: story.key.clone(),
        title: story.title.clone(),
        requirements: story.requirements.iter().map(ToString::to_string).collect(),
        tasks: story.tasks.iter().map(|task| task.key.clone()).collect(),
    };
    let epic = |epic: &crate::planner::Epic| PlanEpic {
        key: epic.key.clone(),
        title: epic.title.clone(),
        stories: epic.stories.iter().map(story).collect(),
    };
    proposed.epics.iter().map(epic).collect()
}

fn texts(env: &BTreeMap<EnvName, String>) -> BTreeMap<String, String> {
    env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}
