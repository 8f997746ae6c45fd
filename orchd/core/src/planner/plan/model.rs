//! What a plan is made from and what it consists of.
//!
//! Data only. Invariants of a `ProposedPlan`: task keys are unique, `needs` names tasks of the same plan without a
//! cycle, and every requirement of the input is named by at least one task.

use serde::{Deserialize, Serialize};

use crate::planner::model::{Requirement, RequirementKey, Statement};

/// Most tasks of one plan.
pub const PLAN_TASKS_MAX: usize = 5_000;

/// Everything a plan depends on; the same input gives the same plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The approved requirements, in order.
    pub requirements: &'a [Requirement],
    /// Acceptance criteria of the whole product.
    pub acceptance: &'a [Statement],
    /// The blueprint, where the Vision names one.
    pub blueprint: Option<&'a BlueprintOutline>,
    /// The toolchains found in the repository.
    pub toolchains: &'a [ToolchainOutline],
    /// Whether the repository has no commit yet.
    pub empty_repository: bool,
}

/// The part of a blueprint that planning needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlueprintOutline {
    /// Its name.
    pub name: String,
    /// Its tasks, in the order of its file.
    pub tasks: Vec<BlueprintTask>,
}

/// A task of a blueprint; its steps are found later by `key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlueprintTask {
    /// Unique in the blueprint.
    pub key: String,
    /// One line.
    pub title: String,
    /// Title of its epic.
    pub epic: String,
    /// Title of its story.
    pub story: String,
    /// Keys of the tasks that come before.
    pub needs: Vec<String>,
    /// Requirement ids, and words or phrases of requirements that it serves.
    pub covers: Vec<String>,
    /// Acceptance criteria.
    pub acceptance: Vec<String>,
    /// Shortest and longest time, in minutes.
    pub estimate_minutes: (u32, u32),
    /// What can go wrong.
    pub risk: Option<String>,
}

/// The part of a detected toolchain that planning needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolchainOutline {
    /// Such as `cargo`.
    pub name: String,
    /// Its folder in the repository; empty for the top.
    pub root: String,
    /// The command that builds, where there is one.
    pub build: Option<String>,
    /// The command that tests, where there is one.
    pub test: Option<String>,
    /// The command that lints, where there is one.
    pub lint: Option<String>,
    /// False when it needs packages that are not in the repository.
    pub vendored: bool,
}

/// Epics, stories and tasks, with their dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedPlan {
    /// In the order in which a person should read them.
    pub epics: Vec<Epic>,
    /// What a person should look at before approving.
    pub warnings: Vec<String>,
}

impl ProposedPlan {
    /// All tasks, epic by epic.
    pub fn tasks(&self) -> impl Iterator<Item = &PlannedTask> {
        self.epics.iter().flat_map(|epic| &epic.stories).flat_map(|story| &story.tasks)
    }
}

/// A large part of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epic {
    /// Unique among epics, kebab case.
    pub key: String,
    /// The heading it comes from.
    pub title: String,
    /// Its stories.
    pub stories: Vec<Story>,
}

/// Tasks that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// Unique among stories, kebab case.
    pub key: String,
    /// The heading it comes from.
    pub title: String,
    /// The requirements that its tasks serve, in order, each once.
    pub requirements: Vec<RequirementKey>,
    /// Its tasks.
    pub tasks: Vec<PlannedTask>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Unique in the plan, kebab case, stable while the task's requirement stays.
    pub key: String,
    /// One line.
    pub title: String,
    /// Who or what does it.
    pub kind: TaskKind,
    /// Keys of the tasks that come before.
    pub needs: Vec<String>,
    /// The requirements it serves.
    pub requirements: Vec<RequirementKey>,
    /// When it is done.
    pub acceptance: Vec<String>,
    /// Shortest and longest time, in minutes.
    pub estimate_minutes: (u32, u32),
    /// What can go wrong.
    pub risk: Option<String>,
}

impl PlannedTask {
    /// Whether a blueprint has the steps of it.
    pub(in crate::planner) const fn is_scripted(&self) -> bool {
        matches!(self.kind, TaskKind::Scripted { .. })
    }
}

/// Who or what does a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The scripted steps of a blueprint's task.
    Scripted {
        /// Key of that task.
        blueprint_task: String,
    },
    /// A command of a toolchain.
    Toolchain {
        /// Name of the toolchain.
        toolchain: String,
        /// Its folder in the repository; empty for the top.
        root: String,
        /// Which command.
        action: ToolchainAction,
    },
    /// An agent.
    Agent {
        /// What it must be able to do: `developer`, `qa`, `infra`, `security` or `docs`.
        capability: String,
    },
}

/// Which command of a toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolchainAction {
    /// Build.
    Build,
    /// Test.
    Test,
    /// Lint.
    Lint,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two tasks of the blueprint have one key.
    #[error("blueprint has two tasks named `{key}`")]
    DuplicateTask {
        /// The key.
        key: String,
    },
    /// A task of the blueprint needs one that is not there.
    #[error("blueprint task `{task}` needs `{need}`, which does not exist")]
    UnknownNeed {
        /// The task.
        task: String,
        /// What it needs.
        need: String,
    },
    /// Tasks need each other.
    #[error("tasks need each other: {}", keys.join(" -> "))]
    Cycle {
        /// The tasks of the cycle, the first one again at the end.
        keys: Vec<String>,
    },
    /// Two requirements have one id.
    #[error("two requirements have the id `{id}`")]
    DuplicateRequirement {
        /// The id.
        id: RequirementKey,
    },
    /// There would be more tasks than a plan may have.
    #[error("plan would have {count} tasks, at most {max} are possible")]
    TooManyTasks {
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
}
