//! What should run next, and why the rest waits. A pure function of a snapshot: the same one gives the same answer.
//!
//! Order: gates before work (they free a change that is nearly done), then priority, fairness by project, the longest
//! chain of open work behind the task, age, id. Nothing here is stored; the daemon's scheduler asks again when the
//! state changes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, TaskId};

use crate::entity::{Approval, Change, Project, Run, Task, Work};
use crate::graph::Graph;
use crate::state::approval::ApprovalState;
use crate::state::change::ChangeState;
use crate::state::project::ProjectState;
use crate::state::task::TaskState;

/// The state as far as scheduling looks at it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub projects: BTreeMap<ProjectId, Project>,
    /// All tasks that are not over, and those that they depend on.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Approvals that tasks or open changes name.
    pub approvals: BTreeMap<ApprovalId, Approval>,
    pub changes: BTreeMap<ChangeId, Change>,
    /// Runs under way.
    pub runs: Vec<Run>,
}

/// What the host and the configuration allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs at once, gates included.
    pub runs_max: u32,
    /// What keeps the memory of all runs together within bounds; none where the host does that itself.
    pub memory: Option<MemoryBudget>,
    /// Capabilities that a configured agent has.
    pub capabilities: BTreeSet<String>,
    /// Programs that were looked for and are not there, with the command that installs each.
    pub missing_tools: BTreeMap<String, String>,
    /// Secrets that tasks name and that nobody has set.
    pub missing_secrets: BTreeSet<String>,
    /// Isolation that the host gives, and that runs need.
    pub level: u8,
    pub level_required: u8,
    /// What to do about a level that is too low.
    pub level_fix: String,
    /// The daemon starts nothing new: it drains or cannot write.
    pub paused: Option<String>,
}

/// Memory that is given to runs by letting only so many start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// For all runs together, in bytes.
    pub total_bytes: u64,
    /// Bound of one run, in bytes.
    pub run_bytes: u64,
}

impl MemoryBudget {
    /// Runs that fit in at once; one always does.
    #[must_use]
    pub fn runs_max(self) -> u32 {
        u32::try_from(self.total_bytes / self.run_bytes.max(1)).unwrap_or(u32::MAX).max(1)
    }
}

impl Limits {
    /// Runs that may be under way at once, whatever bounds them.
    fn places(&self) -> u32 {
        self.memory.map_or(self.runs_max, |memory| memory.runs_max().min(self.runs_max))
    }
}

/// One thing to start, and why it and not another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub reason: String,
}

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An attempt at a task.
    Run(TaskId),
    /// The gates of a change, which is at the front of its project's merge queue.
    Check(ChangeId),
}

/// Why a task does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    Proposed,
    Held {
        reason: String,
    },
    /// Not Done yet.
    Dependency {
        task: TaskId,
        name: String,
        state: &'static str,
        hopeless: bool,
    },
    Approval {
        approval: ApprovalId,
        name: String,
        state: &'static str,
    },
    Agent {
        capability: String,
    },
    Tool {
        name: String,
        fix: String,
    },
    Secret {
        name: String,
    },
    Isolation {
        level: u8,
        required: u8,
        fix: String,
    },
    Backoff {
        ms: u64,
    },
    Project {
        name: String,
        state: &'static str,
    },
    Capacity {
        running: u32,
        max: u32,
        ahead: u32,
    },
    /// Another run would not fit into the memory that all of them may have.
    Memory {
        running: u32,
        budget: MemoryBudget,
        ahead: u32,
    },
    Paused {
        reason: String,
    },
    /// An earlier run of it, which was given up, has not ended yet.
    Run {
        name: String,
    },
}

/// Chooses what to start now.
#[must_use]
pub fn plan(snapshot: &Snapshot, now: Timestamp, limits: &Limits) -> Vec<Decision> {
    let running = u32::try_from(snapshot.runs.len()).unwrap_or(u32::MAX);
    let free = limits.places().saturating_sub(running) as usize;
    // Checks run what is in a change, so they need what tasks need.
    if limits.paused.is_some() || free == 0 || limits.level < limits.level_required {
        return Vec::new();
    }
    let mut decisions: Vec<Decision> = fronts(snapshot)
        .into_iter()
        .filter(|change| needs_check(change, now))
        .map(|change| Decision { action: Action::Check(change.id), reason: "front of the merge queue".into() })
        .collect();
    decisions.truncate(free);
    let mut active = active_by_project(snapshot);
    let mut ready = ready(snapshot, now, limits);
    while decisions.len() < free {
        // Fairness is looked at anew for each place: the project that has fewest runs goes first within a priority.
        let share = |task: &Task| active.get(&task.project).copied().unwrap_or(0);
        let best = ready.iter().enumerate().min_by_key(|(_, (task, tail))| {
            (Reverse(task.priority), share(task), Reverse(*tail), task.created_at, task.id)
        });
        let Some((at, _)) = best else { break };
        let (task, tail) = ready.remove(at);
        let reason = format!(
            "priority {}, {} of its project running, {} min of work behind it, {} ready after it",
            task.priority,
            share(task),
            tail,
            ready.len()
        );
        *active.entry(task.project).or_insert(0) += 1;
        decisions.push(Decision { action: Action::Run(task.id), reason });
    }
    decisions
}

/// Why a task does not run, the most telling first. Empty when it is under way or over.
#[must_use]
pub fn waits(snapshot: &Snapshot, task: &Task, now: Timestamp, limits: &Limits) -> Vec<Wait> {
    let mut waits = blockers(snapshot, task, now, limits);
    if !matches!(task.state, TaskState::Approved { .. }) || !waits.is_empty() {
        return waits;
    }
    if let Some(reason) = &limits.paused {
        waits.push(Wait::Paused { reason: reason.clone() });
        return waits;
    }
    let running = u32::try_from(snapshot.runs.len()).unwrap_or(u32::MAX);
    if running >= limits.places() {
        let ahead = ready(snapshot, now, limits)
            .iter()
            .filter(|(other, _)| other.id != task.id && goes_before(other, task))
            .count();
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        waits.push(match limits.memory {
            Some(memory) if running < limits.runs_max => Wait::Memory { running, budget: memory, ahead },
            _ => Wait::Capacity { running, max: limits.runs_max, ahead },
        });
    }
    waits
}

/// When the scheduler has to look again though nothing happened: the next retry that becomes due, of a task or of gates.
#[must_use]
pub fn next_due(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    let tasks = snapshot.tasks.values().filter_map(|task| match task.state {
        TaskState::Approved { not_before } => not_before,
        _ => None,
    });
    let changes = snapshot.changes.values().filter_map(|change| match change.state {
        ChangeState::Opened { not_before } => not_before,
        _ => None,
    });
    tasks.chain(changes).filter(|at| *at > now).min()
}

/// The change of each project whose turn it is: the oldest open one that does not wait for a person.
#[must_use]
pub fn fronts(snapshot: &Snapshot) -> Vec<&Change> {
    let mut fronts: BTreeMap<ProjectId, &Change> = BTreeMap::new();
    for change in snapshot.changes.values().filter(|change| change.state.is_open()) {
        let waits_for_person = matches!(change.state, ChangeState::Mergeable { .. }) && !is_approved(snapshot, change);
        if waits_for_person {
            continue;
        }
        let front = fronts.entry(change.project).or_insert(change);
        // What is checked or merged already keeps its place; among the rest the oldest goes first.
        if (Reverse(progress(change)), change.number) < (Reverse(progress(front)), front.number) {
            *front = change;
        }
    }
    fronts.into_values().collect()
}

/// Whether the change may merge as far as people are concerned.
#[must_use]
pub fn is_approved(snapshot: &Snapshot, change: &Change) -> bool {
    change
        .approval
        .is_none_or(|id| snapshot.approvals.get(&id).is_some_and(|approval| approval.grants(change.digest())))
}

const fn progress(change: &Change) -> u8 {
    match change.state {
        ChangeState::Queued { .. } => 3,
        ChangeState::Checking { .. } => 2,
        ChangeState::Mergeable { .. } => 1,
        _ => 0,
    }
}

/// Whether its gates can run now. While it waits after gates that were lost, its project's queue waits with it: the
/// reason is the host's, and the next in the queue would fare no better.
fn needs_check(change: &Change, now: Timestamp) -> bool {
    matches!(change.state, ChangeState::Opened { not_before } if not_before.is_none_or(|at| at <= now))
}

fn active_by_project(snapshot: &Snapshot) -> BTreeMap<ProjectId, u32> {
    let mut active = BTreeMap::new();
    for run in &snapshot.runs {
        *active.entry(run.project).or_insert(0) += 1;
    }
    active
}

/// Tasks that wait for nothing but a place, each with the minutes of the longest chain that begins with it.
fn ready<'s>(snapshot: &'s Snapshot, now: Timestamp, limits: &Limits) -> Vec<(&'s Task, u64)> {
    let tails = tails(snapshot);
    snapshot
        .tasks
        .values()
        .filter(|task| {
            matches!(task.state, TaskState::Approved { .. }) && blockers(snapshot, task, now, limits).is_empty()
        })
        .map(|task| (task, tails.get(&task.id).copied().unwrap_or(1)))
        .collect()
}

fn tails(snapshot: &Snapshot) -> BTreeMap<TaskId, u64> {
    let open = || snapshot.tasks.values().filter(|task| !task.state.is_final());
    let mut graph = Graph::new();
    for task in open() {
        graph.node(task.id);
        for needed in &task.depends_on {
            if snapshot.tasks.get(needed).is_some_and(|needed| !needed.state.is_final()) {
                graph.edge(task.id, *needed);
            }
        }
    }
    let minutes = |id: &TaskId| {
        let estimate = snapshot.tasks.get(id).and_then(|task| task.spec.estimate_minutes);
        estimate.map_or(1, |(_, high)| u64::from(high.max(1)))
    };
    // Commands refuse cycles; should there be one all the same, chains weigh nothing rather than everything.
    graph.analyse(minutes).map(|analysis| analysis.tail).unwrap_or_default()
}

fn goes_before(other: &Task, task: &Task) -> bool {
    (Reverse(other.priority), other.created_at, other.id) < (Reverse(task.priority), task.created_at, task.id)
}

/// What keeps a task from being ready.
fn blockers(snapshot: &Snapshot, task: &Task, now: Timestamp, limits: &Limits) -> Vec<Wait> {
    let mut waits = Vec::new();
    match &task.state {
        TaskState::Proposed => waits.push(Wait::Proposed),
        TaskState::Paused { reason } => waits.push(Wait::Held { reason: reason.clone() }),
        TaskState::Approved { not_before } => {
            if let Some(at) = not_before
                && *at > now
            {
                waits.push(Wait::Backoff { ms: at.ms_since(now).max(1) });
            }
        }
        TaskState::Running { .. }
        | TaskState::InReview { .. }
        | TaskState::Done { .. }
        | TaskState::Failed { .. }
        | TaskState::Cancelled { .. } => return waits,
    }
    if let Some(project) = snapshot.projects.get(&task.project)
        && project.state != ProjectState::Ready
    {
        waits.push(Wait::Project { name: project.slug.clone(), state: project.state.label() });
    }
    waits.extend(dependencies(snapshot, task));
    waits.extend(approval(snapshot, task));
    waits.extend(needs(task, limits));
    let under_way = snapshot.runs.iter().filter(|run| run.task == task.id);
    waits.extend(under_way.map(|run| Wait::Run { name: format!("R-{}", run.number) }));
    waits
}

fn dependencies(snapshot: &Snapshot, task: &Task) -> Vec<Wait> {
    let unmet = task.depends_on.iter().filter_map(|id| match snapshot.tasks.get(id) {
        None => Some(Wait::Dependency { task: *id, name: id.to_string(), state: "absent", hopeless: true }),
        Some(needed) if matches!(needed.state, TaskState::Done { .. }) => None,
        Some(needed) => Some(Wait::Dependency {
            task: *id,
            name: format!("T-{}", needed.number),
            state: needed.state.label(),
            hopeless: matches!(needed.state, TaskState::Failed { .. } | TaskState::Cancelled { .. }),
        }),
    });
    unmet.collect()
}

fn approval(snapshot: &Snapshot, task: &Task) -> Option<Wait> {
    let id = task.approval?;
    match snapshot.approvals.get(&id) {
        Some(approval) if matches!(approval.state, ApprovalState::Granted { .. }) => None,
        Some(approval) => {
            Some(Wait::Approval { approval: id, name: format!("A-{}", approval.number), state: approval.state.label() })
        }
        None => Some(Wait::Approval { approval: id, name: id.to_string(), state: "absent" }),
    }
}

fn needs(task: &Task, limits: &Limits) -> Vec<Wait> {
    let mut waits = Vec::new();
    match &task.spec.work {
        Work::Agent { capability } if !limits.capabilities.contains(capability) => {
            waits.push(Wait::Agent { capability: capability.clone() });
        }
        Work::Agent { .. } => {}
        Work::Steps { tools, access, .. } => {
            let secrets = access.secrets.iter().filter(|secret| limits.missing_secrets.contains(secret.name.as_str()));
            waits.extend(secrets.map(|secret| Wait::Secret { name: secret.name.to_string() }));
            let missing = tools.iter().filter_map(|tool| limits.missing_tools.get_key_value(tool));
            waits.extend(missing.map(|(name, fix)| Wait::Tool { name: name.clone(), fix: fix.clone() }));
        }
    }
    if limits.level < limits.level_required {
        let fix = limits.level_fix.clone();
        waits.push(Wait::Isolation { level: limits.level, required: limits.level_required, fix });
    }
    waits
}
