//! Estimates: how long a task will take, and when the open tasks of a plan will be done.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::entity::{Condition, Join, Plan, PlanTask, Task, Work};
use orch_core::history::{Basis, Estimate, Estimator, Forecast, History, Left, Node, Subject, forecast};
use orch_core::schedule::Limits;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::Id as _;
use orch_proto::view::{EtaBasis, EtaView, PlanEtaView, StuckView};

/// Most tasks that are named as not going on by themselves.
const STUCK_MAX: usize = 20;

/// What estimates are made from, as of one moment.
#[derive(Debug)]
pub(crate) struct Outlook<'a> {
    estimator: Estimator<'a>,
    now: Timestamp,
    is_reading: bool,
}

/// What the host and the configuration allow tasks of a project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    pub(crate) limits: &'a Limits,
    /// Runs of the project at once, if it has a limit of its own.
    pub(crate) runs_max: Option<u32>,
    /// Nothing of the project begins at a person's wish.
    pub(crate) is_paused: bool,
}

/// A task of a plan and the task that stands for it, once there is one.
struct Planned<'a> {
    plan: &'a PlanTask,
    task: Option<&'a Task>,
    eta: Option<Estimate>,
}

impl<'a> Outlook<'a> {
    /// The moment.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) const fn new(history: &'a History, now: Timestamp, is_reading: bool) -> Self {
        Self { estimator: Estimator::new(history, now), now, is_reading }
    }

    /// How long the task will take; none when it is over or nothing is known.
    pub(crate) fn task(&mut self, task: &Task) -> Option<EtaView> {
        self.estimate(task).map(|estimate| self.view(&estimate))
    }

    fn estimate(&mut self, task: &Task) -> Option<Estimate> {
        if task.state.is_final() {
            return None;
        }
        self.estimator.estimate(&Subject {
            task: Some(task.id),
            project: task.project,
            work: &task.spec.work.label(),
            given_minutes: task.spec.estimate_minutes,
        })
    }

    fn view(&self, estimate: &Estimate) -> EtaView {
        EtaView {
            p50_ms: estimate.left.quantile(500),
            p90_ms: estimate.left.quantile(900),
            basis: match estimate.basis {
                Basis::LikeInProject => EtaBasis::LikeInProject,
                Basis::LikeAnywhere => EtaBasis::LikeAnywhere,
                Basis::Project => EtaBasis::Project,
                Basis::Everything => EtaBasis::Everything,
                Basis::Given => EtaBasis::Given,
            },
            samples: few(estimate.samples),
            elapsed_ms: estimate.begun_at.map(|begun| self.now.ms_since(begun)),
            overdue: estimate.left.is_overdue(),
            reading: self.is_reading,
        }
    }

    /// How long the tasks of the plan will take, by key, and when all that are open will be done. `tasks` are those that
    /// stand for its keys; `is_made` says that every one was made, so that one which is not there was cancelled.
    pub(crate) fn plan(
        &mut self,
        plan: &Plan,
        (tasks, is_made): (&BTreeMap<String, Task>, bool),
        room: Room<'_>,
    ) -> (BTreeMap<String, EtaView>, Option<PlanEtaView>) {
        let mut open: BTreeMap<&str, Planned<'_>> = BTreeMap::new();
        let mut stuck: BTreeMap<&str, String> = BTreeMap::new();
        for planned in &plan.content.tasks {
            let key = planned.key.as_str();
            let task = tasks.get(key);
            if task.is_none() && is_made {
                stuck.insert(key, "it was cancelled".to_owned());
                continue;
            }
            if task.is_some_and(|task| matches!(task.state, TaskState::Done { .. })) {
                continue;
            }
            let why = why_stuck(planned, task, room);
            stuck.extend(why.map(|why| (key, why)));
            let eta = match task {
                Some(task) => self.estimate(task),
                None => self.planned(plan, planned),
            };
            open.insert(key, Planned { plan: planned, task, eta });
        }
        let etas = open.iter().filter_map(|(key, planned)| Some(((*key).to_owned(), self.view(planned.eta.as_ref()?))));
        let etas = etas.collect();
        let needs: BTreeMap<&str, Vec<&str>> =
            open.iter().map(|(key, planned)| (*key, needs(planned, plan, tasks))).collect();
        spread(&open, (&needs, tasks), &mut stuck);
        let goes_on: Vec<&str> = open.keys().copied().filter(|key| !stuck.contains_key(key)).collect();
        stuck.retain(|key, _| open.contains_key(key));
        let eta = (!open.is_empty()).then(|| self.finish(&open, (&goes_on, &needs), &stuck, room));
        (etas, eta)
    }

    fn planned(&mut self, plan: &Plan, planned: &PlanTask) -> Option<Estimate> {
        self.estimator.estimate(&Subject {
            task: None,
            project: plan.project,
            work: &planned.spec.work.label(),
            given_minutes: planned.spec.estimate_minutes,
        })
    }

    fn finish(
        &self,
        open: &BTreeMap<&str, Planned<'_>>,
        (goes_on, needs): (&[&str], &BTreeMap<&str, Vec<&str>>),
        stuck: &BTreeMap<&str, String>,
        room: Room<'_>,
    ) -> PlanEtaView {
        let index: BTreeMap<&str, usize> = goes_on.iter().enumerate().map(|(index, key)| (*key, index)).collect();
        let mut unknown = 0;
        let node = |(at, key): (usize, &&str)| {
            let planned = open.get(key)?;
            unknown += u32::from(planned.eta.is_none());
            Some(Node {
                key: planned.task.map_or(at as u64, |task| task.id.uuid().as_u64_pair().1),
                needs: needs.get(key)?.iter().filter_map(|needed| index.get(needed).copied()).collect(),
                priority: planned.task.map_or(0, |task| task.priority),
                is_begun: planned
                    .task
                    .is_some_and(|task| matches!(task.state, TaskState::Running { .. } | TaskState::InReview { .. })),
                left: planned.eta.as_ref().map_or_else(Left::nothing, |eta| eta.left.clone()),
            })
        };
        let nodes: Vec<Node> = goes_on.iter().enumerate().filter_map(node).collect();
        let places = room.places();
        let Forecast { p50_ms, p90_ms, path, path_ms, rounds } = forecast(&nodes, places);
        let named = stuck.iter().take(STUCK_MAX);
        PlanEtaView {
            p50_ms,
            p90_ms,
            path: path.iter().filter_map(|at| goes_on.get(*at)).map(|key| (*key).to_owned()).collect(),
            path_ms,
            tasks: few(goes_on.len()),
            places,
            rounds: few(rounds),
            stuck: named.map(|(key, why)| StuckView { key: (*key).to_owned(), why: why.clone() }).collect(),
            stuck_count: few(stuck.len()),
            unknown,
            reading: self.is_reading,
        }
    }
}

impl Room<'_> {
    /// Runs of the project that may be under way at once.
    fn places(&self) -> u32 {
        let totals = &self.limits.totals;
        let of_memory = totals.memory_bytes.map_or(u64::MAX, |bytes| bytes / totals.run_memory_bytes.max(1));
        let of_memory = u32::try_from(of_memory).unwrap_or(u32::MAX);
        self.limits.runs_max.min(of_memory).min(self.runs_max.unwrap_or(u32::MAX)).max(1)
    }
}

/// Why a task does not go on by itself, if it does not.
fn why_stuck(planned: &PlanTask, task: Option<&Task>, room: Room<'_>) -> Option<String> {
    match task.map(|task| &task.state) {
        Some(TaskState::Failed { .. }) => return Some("it failed".to_owned()),
        Some(TaskState::Cancelled { .. }) => return Some("it was cancelled".to_owned()),
        Some(TaskState::Paused { .. }) => return Some("it is held".to_owned()),
        Some(TaskState::Proposed) => return Some("it is not in the queue".to_owned()),
        Some(TaskState::Running { .. } | TaskState::InReview { .. }) => return None,
        Some(TaskState::Approved { .. } | TaskState::Done { .. }) | None => {}
    }
    if room.is_paused {
        return Some("its project is paused".to_owned());
    }
    let limits = room.limits;
    match &task.map_or(&planned.spec, |task| &task.spec).work {
        Work::Agent { capability } if !limits.capabilities.contains(capability) => {
            Some(format!("needs an agent with the capability `{capability}`"))
        }
        Work::Agent { .. } => None,
        Work::Steps { tools, .. } => {
            let missing = tools.iter().find(|tool| limits.missing_tools.contains_key(*tool));
            missing.map(|tool| format!("needs `{tool}`, which is not installed"))
        }
    }
}

/// Keys of what the task waits for: of a task that is there, what people made of it.
fn needs<'a>(planned: &Planned<'a>, plan: &'a Plan, tasks: &BTreeMap<String, Task>) -> Vec<&'a str> {
    let Some(task) = planned.task else { return planned.plan.needs.iter().map(String::as_str).collect() };
    let is_needed = |key: &&str| tasks.get(*key).is_some_and(|needed| task.depends_on.contains(&needed.id));
    let of_plan = plan.content.tasks.iter().map(|other| other.key.as_str());
    // What was cancelled is in no table of tasks any more, and is still waited for.
    let gone = planned.plan.needs.iter().map(String::as_str).filter(|key| !tasks.contains_key(*key));
    if task.depends_on.is_empty() { Vec::new() } else { of_plan.filter(is_needed).chain(gone).collect() }
}

/// What waits for the success of something that is stuck is stuck as well.
fn spread<'a>(
    open: &BTreeMap<&'a str, Planned<'a>>,
    (needs, tasks): (&BTreeMap<&'a str, Vec<&'a str>>, &BTreeMap<String, Task>),
    stuck: &mut BTreeMap<&'a str, String>,
) {
    let condition = |key: &str, needed: &str| {
        let task = open.get(key).and_then(|planned| planned.task);
        let condition = task.zip(tasks.get(needed)).map(|(task, needed)| task.condition(needed.id));
        (condition.unwrap_or_default(), task.map_or(Join::All, |task| task.terms.join))
    };
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, needed) in needs.iter().flat_map(|(key, needs)| needs.iter().map(move |needed| (*key, *needed))) {
        match condition(key, needed) {
            (Condition::Done, Join::All) => dependents.entry(needed).or_default().push(key),
            (Condition::Failed, Join::All) if !stuck.contains_key(needed) => {
                stuck.insert(key, format!("begins only when {needed} fails"));
            }
            (Condition::Done | Condition::Ended | Condition::Failed, Join::All | Join::Any) => {}
        }
    }
    let mut next: BTreeSet<&str> = stuck.keys().copied().collect();
    while let Some(key) = next.pop_first() {
        for dependent in dependents.get(key).into_iter().flatten() {
            if !stuck.contains_key(dependent) {
                stuck.insert(dependent, format!("needs {key}"));
                next.insert(dependent);
            }
        }
    }
}

fn few(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
