//! Judges choices of the scheduler by what is known, in the plainest way there is: everything is looked at anew each time.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::entity::{Asks, Condition, Join, LOSS_BACKOFF_MS_MAX, Task};
use orch_core::schedule::{AGING_MS, Freeze, Limits, Resource};
use orch_core::state::approval::ApprovalState;
use orch_core::state::change::ChangeState;
use orch_core::state::project::ProjectState;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::mirror::{Held, Mirror, day_of};

/// What there is and how much of it is taken.
#[derive(Debug, Default)]
struct Taken {
    runs: u32,
    of_project: BTreeMap<ProjectId, u32>,
    today: BTreeMap<ProjectId, u32>,
    of_resource: BTreeMap<Resource, u64>,
    /// Most memory that one of them has.
    largest: u64,
}

/// Looks at a choice made at `now`: these tasks start, and so many checks begin beside so many that are on their way.
pub(super) fn judge(
    mirror: &Mirror,
    limits: &Limits,
    now: Timestamp,
    starts: &[TaskId],
    (checks, on_their_way): (u32, u32),
) -> Held {
    let chosen: Vec<&Task> = starts.iter().filter_map(|task| mirror.tasks.get(task)).collect();
    let mut taken = Taken::by(mirror, now, limits);
    let begun = checks + on_their_way;
    taken.runs += begun;
    for (resource, amount) in amounts(limits, &Asks::default()) {
        *taken.of_resource.entry(resource).or_insert(0) += amount * u64::from(begun);
        taken.largest = taken.largest.max(if begun > 0 { amount } else { 0 });
    }
    if checks > 0 && (taken.runs > limits.runs_max || is_forbidden(limits)) {
        return Err(format!("{checks} checks are begun and there is no room"));
    }
    let mut names = BTreeSet::new();
    for task in &chosen {
        let name = format!("T-{} of {}", task.number, task.project);
        if !names.insert(task.id) {
            return Err(format!("{name} is chosen twice"));
        }
        if let Some(why) = hindrance(mirror, limits, now, task) {
            return Err(format!("{name} is chosen although {why}"));
        }
        if is_forbidden(limits) {
            return Err(format!("{name} is chosen although nothing may start"));
        }
        if let Some(why) = taken.full(mirror, limits, task) {
            return Err(format!("{name} is chosen although {why}"));
        }
        taken.add(limits, task.project, &task.terms.asks, true);
    }
    idle(mirror, limits, now, &chosen, &taken)
}

fn is_forbidden(limits: &Limits) -> bool {
    limits.paused.is_some() || limits.shortage.is_some() || limits.level < limits.level_required
}

/// What waits and could start must have a reason.
fn idle(mirror: &Mirror, limits: &Limits, now: Timestamp, chosen: &[&Task], taken: &Taken) -> Held {
    if is_forbidden(limits) {
        return Ok(());
    }
    let names: BTreeSet<TaskId> = chosen.iter().map(|task| task.id).collect();
    let ready: Vec<&Task> = mirror
        .tasks
        .values()
        .filter(|task| matches!(task.state, TaskState::Approved { .. }) && !names.contains(&task.id))
        .filter(|task| hindrance(mirror, limits, now, task).is_none())
        .collect();
    let is_bounded = limits.totals.memory_bytes.is_some();
    let checks_wait = mirror.changes.values().any(|change| matches!(change.state, ChangeState::Opened { .. }));
    // What waits for a resource may keep it from others.
    let wanted: BTreeSet<Resource> = ready
        .iter()
        .filter(|task| taken.full_but_places(mirror, limits, task).is_some())
        .flat_map(|task| amounts(limits, &task.terms.asks))
        .map(|(resource, _)| resource)
        .collect();
    for task in ready {
        let waits = taken.full_but_places(mirror, limits, task).is_some()
            || amounts(limits, &task.terms.asks).iter().any(|(resource, _)| wanted.contains(resource))
            || (checks_wait && is_bounded && taken.keeps_for_checks(limits, task));
        if waits {
            continue;
        }
        let name = format!("T-{} of {}", task.number, task.project);
        if taken.runs < limits.runs_max {
            return Err(format!("{name} is ready, and {} of {} places are taken", taken.runs, limits.runs_max));
        }
        let lower = chosen.iter().find(|other| other.priority < task.priority && is_young(mirror, other, now));
        if let Some(lower) = lower {
            return Err(format!(
                "{name} with priority {} waits, and T-{} of {} with {} is chosen",
                task.priority, lower.number, lower.project, lower.priority
            ));
        }
    }
    Ok(())
}

/// Whether nothing of its class can have gained anything by waiting.
fn is_young(mirror: &Mirror, of: &Task, now: Timestamp) -> bool {
    let class = mirror.tasks.values().filter(|task| (task.project, task.priority) == (of.project, of.priority));
    class.into_iter().all(|task| now.ms_since(task.created_at) < AGING_MS)
}

/// Why a task may not start whatever there is room for; none when it may.
fn hindrance(mirror: &Mirror, limits: &Limits, now: Timestamp, task: &Task) -> Option<String> {
    let total = |resource: &Resource| limits_of(limits, resource);
    if amounts(limits, &task.terms.asks).iter().any(|(resource, asked)| total(resource).is_some_and(|it| *asked > it)) {
        return Some("it asks for more than there is".into());
    }
    let slug = mirror.projects.get(&task.project).map_or("", |project| project.slug.as_str());
    let of = |freeze: &&Freeze| freeze.projects.is_empty() || freeze.projects.contains(slug);
    if limits.freezes.iter().filter(of).any(|freeze| freeze.window.lasts_until(now).is_some()) {
        return Some("its project is frozen".into());
    }
    let granted = task.approval.and_then(|id| mirror.approvals.get(&id)?.decided_at);
    if granted.is_some_and(|at| at <= now && now < at.plus_ms(limits.hold_ms)) {
        return Some("its grant may be taken back yet".into());
    }
    obstacle(mirror, now, task)
}

/// The same of what is said of the task and its project alone.
pub(super) fn obstacle(mirror: &Mirror, now: Timestamp, task: &Task) -> Option<String> {
    let TaskState::Approved { not_before } = task.state else { return Some(format!("it is {}", task.state.label())) };
    // No wait between attempts is longer than that, whatever the clock says.
    let policy = &task.spec.retries;
    let longest_ms = policy.backoff_ms(task.failures).saturating_add(policy.backoff_jitter_ms).max(LOSS_BACKOFF_MS_MAX);
    let waits = |until: Timestamp| now < until && until.minus_ms(longest_ms) <= now;
    if not_before.is_some_and(waits) || task.terms.not_before.is_some_and(|at| now < at) {
        return Some("it is not to begin yet".into());
    }
    if task.terms.deadline.is_some_and(|at| at <= now) {
        return Some("its time is over".into());
    }
    if !dependencies_hold(mirror, task) {
        return Some("its dependencies do not hold".into());
    }
    let is_granted = |id| mirror.approvals.get(&id).is_some_and(|it| matches!(it.state, ApprovalState::Granted { .. }));
    if task.approval.is_some_and(|id| !is_granted(id)) {
        return Some("it is not approved".into());
    }
    if mirror.under_way().any(|run| run.task == task.id) {
        return Some("a run of it is under way".into());
    }
    let project = mirror.projects.get(&task.project)?;
    if project.state != ProjectState::Ready {
        return Some("its project is not ready".into());
    }
    let is_paused = project.pause.as_ref().is_some_and(|pause| pause.until.is_none_or(|until| now < until));
    is_paused.then(|| "its project is paused".into())
}

/// Whether what a task waits for lets it begin.
fn dependencies_hold(mirror: &Mirror, task: &Task) -> bool {
    let mut holding = task.depends_on.iter().map(|needed| {
        let Some(needed_task) = mirror.tasks.get(needed) else { return false };
        let condition = task.conditions.get(needed).copied().unwrap_or_default();
        match (condition, &needed_task.state) {
            (Condition::Done, TaskState::Done { .. }) | (Condition::Failed, TaskState::Failed { .. }) => true,
            (Condition::Ended, state) => state.is_final(),
            (Condition::Done | Condition::Failed, _) => false,
        }
    });
    match task.terms.join {
        Join::All => holding.all(|holds| holds),
        Join::Any => task.depends_on.is_empty() || holding.any(|holds| holds),
    }
}

fn amounts(limits: &Limits, asks: &Asks) -> Vec<(Resource, u64)> {
    let totals = &limits.totals;
    let memory = asks.memory_bytes.or(totals.memory_bytes.map(|total| totals.run_memory_bytes.min(total)));
    let mut amounts: Vec<(Resource, u64)> = Vec::new();
    amounts.extend(memory.map(|bytes| (Resource::Memory, bytes)));
    amounts.extend(asks.cpu_millis.map(|millis| (Resource::Cpu, millis)));
    amounts.extend(asks.disk_bytes.map(|bytes| (Resource::Disk, bytes)));
    amounts.extend(asks.semaphores.iter().map(|(name, units)| (Resource::Semaphore(name.clone()), u64::from(*units))));
    amounts
}

fn limits_of(limits: &Limits, resource: &Resource) -> Option<u64> {
    match resource {
        Resource::Memory => limits.totals.memory_bytes,
        Resource::Cpu => limits.totals.cpu_millis,
        Resource::Disk => limits.totals.disk_bytes,
        Resource::Semaphore(name) => Some(limits.totals.semaphores.get(name).copied().unwrap_or(1).into()),
        // No agents are played.
        Resource::Agent(_) | Resource::Role(_) => None,
    }
}

impl Taken {
    fn by(mirror: &Mirror, now: Timestamp, limits: &Limits) -> Self {
        let mut taken = Self::default();
        for run in mirror.under_way() {
            taken.add(limits, run.project, &run.asks, false);
        }
        // What was begun on a day that the clock has been put back from counts, too.
        for ((project, day), count) in &mirror.attempts {
            if *day >= day_of(now) {
                taken.today.insert(*project, *count);
            }
        }
        taken
    }

    fn add(&mut self, limits: &Limits, project: ProjectId, asks: &Asks, is_new: bool) {
        self.runs += 1;
        *self.of_project.entry(project).or_insert(0) += 1;
        if is_new {
            *self.today.entry(project).or_insert(0) += 1;
        }
        for (resource, amount) in amounts(limits, asks) {
            if resource == Resource::Memory {
                self.largest = self.largest.max(amount);
            }
            *self.of_resource.entry(resource).or_insert(0) += amount;
        }
    }

    /// Whether gates that there is no room for would not have it when the largest run is over, if this task began.
    fn keeps_for_checks(&self, limits: &Limits, task: &Task) -> bool {
        let memory = |asks: &Asks| {
            let all = amounts(limits, asks).into_iter();
            all.filter(|(resource, _)| *resource == Resource::Memory).map(|(_, amount)| amount).sum::<u64>()
        };
        let (own, need) = (memory(&task.terms.asks), memory(&Asks::default()));
        let total = limits.totals.memory_bytes.unwrap_or(u64::MAX);
        let free = total.saturating_sub(self.of_resource.get(&Resource::Memory).copied().unwrap_or(0));
        own > 0 && own.saturating_add(need) > free.saturating_add(self.largest)
    }

    fn full(&self, mirror: &Mirror, limits: &Limits, task: &Task) -> Option<String> {
        if self.runs >= limits.runs_max {
            return Some(format!("{} of {} places are taken", self.runs, limits.runs_max));
        }
        self.full_but_places(mirror, limits, task)
    }

    fn full_but_places(&self, mirror: &Mirror, limits: &Limits, task: &Task) -> Option<String> {
        let share = mirror.projects.get(&task.project)?.share;
        let has = |of: &BTreeMap<ProjectId, u32>| of.get(&task.project).copied().unwrap_or(0);
        if share.runs_max.is_some_and(|max| has(&self.of_project) >= max) {
            return Some("its project has as many runs as it may".into());
        }
        if share.runs_per_day.is_some_and(|max| has(&self.today) >= max) {
            return Some("its project has used up the day".into());
        }
        amounts(limits, &task.terms.asks).into_iter().find_map(|(resource, amount)| {
            let total = limits_of(limits, &resource)?;
            let taken = self.of_resource.get(&resource).copied().unwrap_or(0);
            (taken.saturating_add(amount) > total).then(|| format!("{taken} of {total} {resource:?} are taken"))
        })
    }
}

/// Why a task that is not over may stay so when everything has come to rest; none when it may not.
pub(super) fn excuse(mirror: &Mirror, limits: &Limits, now: Timestamp, task: &Task) -> Option<String> {
    match task.state {
        TaskState::Approved { .. } => {}
        _ => return None,
    }
    let is_over = |id: &TaskId| mirror.tasks.get(id).is_some_and(|task| task.state.is_final());
    // Before what passes with time: a wait between attempts counts for nothing again and again after the clock was put back.
    if !dependencies_hold(mirror, task) {
        // Those that it waits for must have an excuse themselves.
        return task
            .depends_on
            .iter()
            .filter(|id| !is_over(id))
            .all(|id| mirror.tasks.get(id).is_some_and(|task| excuse(mirror, limits, now, task).is_some()))
            .then(|| "its dependencies do not hold".into());
    }
    let why = hindrance(mirror, limits, now, task)?;
    match why.as_str() {
        "it asks for more than there is" | "its project is not ready" | "it is not approved" => Some(why),
        _ => None,
    }
}
