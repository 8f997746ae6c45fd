//! A project: one repository, what builds it, what guards it.

use orch_proto::id::{ProjectId, RunId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::budget::{self, Budget, BudgetEvent, BudgetKey, BudgetUse};
use super::patience::Patience;
use super::planning::{Planning, PlanningEvent};
use super::undone::ProjectPart;
use super::{ApplyError, Entity, Meta, absent, existing};
use crate::recipe::{Glob, Step};
use crate::state::project::{ProjectState, ProjectStep};
use crate::toolchain::Toolchain;

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    pub number: u32,
    /// Unique name of lower-case letters, digits and `-`.
    pub slug: String,
    pub source: RepositorySource,
    pub state: ProjectState,
    /// Short name of the branch that changes merge into.
    pub default_branch: String,
    /// Newest known commit of that branch; none while it is empty.
    pub head: Option<String>,
    /// Found in the tree of `head`.
    pub toolchains: Vec<Toolchain>,
    /// Gates set by a blueprint; without them those of the toolchains hold.
    pub blueprint_gates: Option<Vec<Step>>,
    /// A change of a path that fits one of these needs an approval.
    pub protected_paths: Vec<Glob>,
    /// Name of the blueprint and values of its parameters that the approved plan was made with.
    pub blueprint: Option<(String, std::collections::BTreeMap<String, String>)>,
    pub created_at: Timestamp,
    /// Its part of the host.
    #[serde(default, skip_serializing_if = "Share::is_default")]
    pub share: Share,
    /// A person wants nothing of it to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// When a person let it go on the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
    /// How long its tasks may wait, and its runs be silent.
    #[serde(default, skip_serializing_if = "Patience::is_default")]
    pub patience: Patience,
    /// What its runs may use, and have used, in the order of their keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// What a model does for its planner, or did the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planning: Option<Planning>,
}

/// While it lasts no attempt, no check and no merge of a project begins. What is under way goes on, unless it was paused, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub reason: String,
    /// It is over by itself then; otherwise when a person says so.
    pub until: Option<Timestamp>,
    /// Everything was paused, and so is a project that is made in the meantime.
    pub is_of_all: bool,
}

impl Pause {
    /// Whether it lasts.
    #[must_use]
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Largest weight of a project.
pub const WEIGHT_MAX: u32 = 1_000;

/// What a project may have of the host beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Under load a project gets the host in proportion to this, 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Runs at once. Gates count and are not held back: they end what was begun.
    pub runs_max: Option<u32>,
    /// Attempts at tasks that are started in a day (UTC). Gates are not counted: they end what was begun.
    pub runs_per_day: Option<u32>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, runs_max: None, runs_per_day: None }
    }
}

impl Share {
    /// Whether nobody has said anything about it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the repository came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RepositorySource {
    Empty,
    Import { path: String },
}

/// What is to be run on a tree before it becomes the branch, and what it would take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatesOn {
    /// The gates of the project, as the tree has them.
    pub run: Vec<Step>,
    /// Gates of the project that the tree has no more or has otherwise, in words for a person.
    pub lost: Vec<String>,
}

/// What can happen to a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ProjectEvent {
    Created {
        number: u32,
        slug: String,
        source: RepositorySource,
        protected_paths: Vec<Glob>,
    },
    Prepared {
        default_branch: String,
        head: Option<String>,
        toolchains: Vec<Toolchain>,
    },
    PreparationFailed {
        reason: String,
    },
    /// It is asked for again, perhaps from elsewhere.
    Retried {
        source: RepositorySource,
        protected_paths: Vec<Glob>,
    },
    /// The default branch moved and its tree was looked at again.
    Inspected {
        head: String,
        toolchains: Vec<Toolchain>,
    },
    /// An approved plan brought a blueprint.
    BlueprintSet {
        name: String,
        parameters: std::collections::BTreeMap<String, String>,
        gates: Vec<Step>,
        protected_paths: Vec<Glob>,
    },
    Archived,
    /// Its part of the host was set.
    ShareSet {
        share: Share,
    },
    Paused {
        pause: Pause,
    },
    /// Of versions that did not keep when that was.
    Resumed,
    /// A person lets it go on.
    WentOn,
    /// How long its tasks may wait and its runs be silent was set.
    PatienceSet {
        patience: Patience,
    },
    /// Something happened to one of its budgets.
    Budget {
        key: BudgetKey,
        event: BudgetEvent,
    },
    /// A run that is over used something of its budgets.
    BudgetUsed {
        run: RunId,
        uses: Vec<BudgetUse>,
    },
    /// Something happened to a planning by a model.
    Planning {
        number: u32,
        event: Box<PlanningEvent>,
    },
    /// What the operation that began with event number `operation` changed of it is as it was before.
    Undone {
        operation: u64,
        parts: Vec<ProjectPart>,
    },
}

impl Project {
    /// What the daemon runs on a tree before it becomes the branch: the blueprint's gates, or build and test of the
    /// toolchains. Lint is left to tasks: an imported repository may never have been free of lint.
    #[must_use]
    pub fn gates(&self) -> Vec<Step> {
        match &self.blueprint_gates {
            Some(gates) => gates.clone(),
            None => toolchain_gates(&self.toolchains),
        }
    }

    /// The gates for a tree that would become the branch, in which `found` are the toolchains.
    #[must_use]
    pub fn gates_on(&self, found: &[Toolchain]) -> GatesOn {
        if let Some(gates) = &self.blueprint_gates {
            return GatesOn { run: gates.clone(), lost: Vec::new() };
        }
        let (before, after) = (self.gates(), toolchain_gates(found));
        let same = |one: &Step, other: &Step| one.name == other.name && one.cwd == other.cwd;
        let lost = before.iter().filter(|gate| !after.contains(gate)).map(|gate| {
            let shown = |step: &Step| format!("`{}` in `{}`", step.run, step.cwd.as_str());
            match after.iter().find(|other| same(gate, other)) {
                Some(other) if other.run != gate.run => format!("{} becomes {}", shown(gate), shown(other)),
                Some(_) => format!("{} runs with other settings", shown(gate)),
                None => format!("{} is gone", shown(gate)),
            }
        });
        let lost = lost.collect();
        // A gate that is new is for the changes after this one: what it needs may not be there yet.
        GatesOn { run: after.into_iter().filter(|gate| before.iter().any(|other| same(gate, other))).collect(), lost }
    }

    /// One that was just asked for.
    fn made(
        id: ProjectId,
        (number, slug): (u32, &str),
        (source, protected_paths): (&RepositorySource, &[Glob]),
        at: Timestamp,
    ) -> Result<Self, ApplyError> {
        Ok(Self {
            id,
            number,
            slug: slug.to_owned(),
            source: source.clone(),
            state: ProjectState::next(None, &ProjectStep::Created)?,
            default_branch: "main".into(),
            head: None,
            toolchains: Vec::new(),
            blueprint_gates: None,
            protected_paths: protected_paths.to_vec(),
            blueprint: None,
            created_at: at,
            share: Share::default(),
            pause: None,
            resumed_at: None,
            patience: Patience::default(),
            budgets: Vec::new(),
            planning: None,
        })
    }

    /// Takes in what happened to a planning, with what it used of budgets.
    fn plans(&mut self, number: u32, event: &PlanningEvent, meta: Meta<'_>) -> Result<(), ApplyError> {
        if let PlanningEvent::ModelAnswered { uses, .. } = event {
            budget::count(&mut self.budgets, uses);
        }
        Ok(Planning::apply(&mut self.planning, number, event, (meta.at, meta.actor))?)
    }

    /// Programs that the gates need.
    #[must_use]
    pub fn gate_tools(&self) -> Vec<String> {
        let mut tools: Vec<String> = self.toolchains.iter().flat_map(|found| found.tools.iter().cloned()).collect();
        tools.sort();
        tools.dedup();
        tools
    }
}

fn toolchain_gates(toolchains: &[Toolchain]) -> Vec<Step> {
    toolchains.iter().flat_map(|found| [&found.build, &found.test]).flatten().cloned().collect()
}

impl Entity for Project {
    type Id = ProjectId;
    type Event = ProjectEvent;
    const KIND: EntityKind = EntityKind::Project;

    fn apply(current: Option<Self>, id: ProjectId, event: &ProjectEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        if let ProjectEvent::Created { number, slug, source, protected_paths } = event {
            absent(current.as_ref(), event)?;
            return Self::made(id, (*number, slug), (source, protected_paths), meta.at);
        }
        let mut project = existing(current, event)?;
        match event {
            ProjectEvent::Created { .. } => {}
            ProjectEvent::Prepared { default_branch, head, toolchains } => {
                project.state = ProjectState::next(Some(&project.state), &ProjectStep::Prepared)?;
                project.default_branch.clone_from(default_branch);
                project.head.clone_from(head);
                project.toolchains.clone_from(toolchains);
            }
            ProjectEvent::PreparationFailed { reason } => {
                let step = ProjectStep::PreparationFailed { reason: reason.clone() };
                project.state = ProjectState::next(Some(&project.state), &step)?;
            }
            ProjectEvent::Retried { source, protected_paths } => {
                project.state = ProjectState::next(Some(&project.state), &ProjectStep::Retried)?;
                project.source = source.clone();
                project.protected_paths.clone_from(protected_paths);
            }
            ProjectEvent::Inspected { head, toolchains } => {
                project.head = Some(head.clone());
                project.toolchains.clone_from(toolchains);
            }
            ProjectEvent::BlueprintSet { name, parameters, gates, protected_paths } => {
                project.blueprint = Some((name.clone(), parameters.clone()));
                project.blueprint_gates = Some(gates.clone());
                for glob in protected_paths {
                    if !project.protected_paths.contains(glob) {
                        project.protected_paths.push(glob.clone());
                    }
                }
            }
            ProjectEvent::ShareSet { share } => project.share = *share,
            ProjectEvent::Paused { pause } => project.pause = Some(pause.clone()),
            ProjectEvent::Resumed => project.pause = None,
            ProjectEvent::WentOn => {
                project.pause = None;
                project.resumed_at = Some(meta.at);
            }
            ProjectEvent::PatienceSet { patience } => project.patience = *patience,
            ProjectEvent::Budget { key, event } => budget::apply(&mut project.budgets, *key, event, meta.at),
            ProjectEvent::BudgetUsed { uses, .. } => budget::count(&mut project.budgets, uses),
            ProjectEvent::Planning { number, event } => project.plans(*number, event, meta)?,
            ProjectEvent::Undone { parts, .. } => parts.iter().for_each(|part| project.put_back(part, meta.at)),
            ProjectEvent::Archived => {
                project.state = ProjectState::next(Some(&project.state), &ProjectStep::Archived)?;
            }
        }
        Ok(project)
    }

    fn id(&self) -> ProjectId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.id
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn parent(&self) -> Option<String> {
        // Looked up by name like things are looked up by what they hang on.
        Some(self.slug.clone())
    }

    fn is_open(&self) -> bool {
        matches!(self.state, ProjectState::Preparing | ProjectState::Ready)
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &ProjectEvent) -> &'static str {
        match event {
            ProjectEvent::Created { .. } => "created",
            ProjectEvent::Prepared { .. } => "prepared",
            ProjectEvent::PreparationFailed { .. } => "preparation_failed",
            ProjectEvent::Retried { .. } => "retried",
            ProjectEvent::Inspected { .. } => "inspected",
            ProjectEvent::BlueprintSet { .. } => "blueprint_set",
            ProjectEvent::Archived => "archived",
            ProjectEvent::ShareSet { .. } => "share_set",
            ProjectEvent::Paused { .. } => "paused",
            ProjectEvent::Resumed | ProjectEvent::WentOn => "resumed",
            ProjectEvent::PatienceSet { .. } => "patience_set",
            ProjectEvent::Budget { event, .. } => event.label(),
            ProjectEvent::BudgetUsed { .. } => "budget_used",
            ProjectEvent::Planning { event, .. } => event.label(),
            ProjectEvent::Undone { .. } => "undone",
        }
    }
}
