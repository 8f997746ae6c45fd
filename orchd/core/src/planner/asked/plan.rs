//! From a model's answer to a plan: its tasks are for agents, and stand beside what the repository or the blueprint brings.
//!
//! **Invariant:** the result is what the rules could have made: keys are unique, there is no cycle, nothing is named that does
//! not exist, and of every requirement some task does the work.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{self, Found, PlanAnswer, Problems, TaskAnswer};
use crate::decide::bounds::{self, NAMED_MAX};
use crate::planner::model::{Requirement, RequirementKey};
use crate::planner::plan::graph::check_acyclic;
use crate::planner::plan::tree::{Place, Tree};
use crate::planner::plan::{PlannedTask, ProposedPlan, TaskKind};

/// Most tasks that are taken from a model: more is nothing that a person reads before approving.
pub const TASKS_OF_MODEL_MAX: usize = 500;
/// Longest key of a task, in bytes.
const KEY_BYTES_MAX: usize = 64;
/// Longest time that a task can be said to take, in minutes: a week of work, day and night.
const MINUTES_MAX: u32 = 7 * 24 * 60;

/// Reads an answer. `ruled` is what the rules made: their tasks that no agent does stay as they are.
///
/// # Errors
/// What is wrong with it, for the model to mend.
pub fn plan_of(
    text: &str,
    ruled: &ProposedPlan,
    requirements: &[Requirement],
    capabilities: &BTreeSet<String>,
) -> Result<ProposedPlan, Problems> {
    let answer: PlanAnswer = answer::read(text)?;
    let stories = || answer.epics.iter().flat_map(|epic| epic.stories.iter().map(move |story| (epic, story)));
    let count: usize = stories().map(|(_, story)| story.tasks.len()).sum();
    if count > TASKS_OF_MODEL_MAX || stories().count() > TASKS_OF_MODEL_MAX || answer.epics.len() > TASKS_OF_MODEL_MAX {
        return Err(Problems::one(format!(
            "there are {count} tasks; at most {TASKS_OF_MODEL_MAX} tasks, stories and epics are accepted"
        )));
    }
    let fixed = Fixed::of(ruled);
    let mut found = Found::default();
    let mut checked = Vec::with_capacity(count);
    for (epic, story) in stories() {
        let mut name = |what: &str, text: &str| {
            found.check(what, bounds::title("title", &answer::plain_line(text))).unwrap_or_default()
        };
        let place = Place::new(&name("epics", &epic.title), &name("stories", &story.title));
        for task in &story.tasks {
            let planned = task_of(task, (requirements, capabilities), &mut found);
            checked.push((place.clone(), planned));
        }
    }
    linked(&fixed, &checked, &mut found);
    served(&fixed, &checked, requirements, &mut found);
    found.finish()?;
    let plan = fixed.with(checked, ruled);
    check_acyclic(plan.tasks().map(|task| (task.key.as_str(), task.needs.as_slice())))
        .map_err(|cycle| Problems::one(cycle.to_string()))?;
    Ok(plan)
}

/// A task as a plan has it; what is wrong with it is said.
fn task_of(task: &TaskAnswer, known: (&[Requirement], &BTreeSet<String>), found: &mut Found) -> PlannedTask {
    let (requirements, capabilities) = known;
    let key: String = task.key.chars().take(KEY_BYTES_MAX).collect();
    let place = |part: &str| format!("task `{key}`: {part}");
    if !is_key(&task.key) {
        found.say(format!("{} is not words of a-z and 0-9 joined by `-`, at most {KEY_BYTES_MAX} bytes", place("key")));
    }
    let title = found.check(&place("title"), bounds::title("title", &answer::plain_line(&task.title)));
    if !capabilities.contains(&task.capability) {
        let all: Vec<&str> = capabilities.iter().map(String::as_str).take(40).collect();
        found.say(format!("{} `{}` is none of {}", place("capability"), task.capability, all.join(", ")));
    }
    found.check(&place("needs"), bounds::count("needs", task.needs.len(), NAMED_MAX));
    found.check(&place("requirements"), bounds::count("requirements", task.requirements.len(), NAMED_MAX));
    let mut keys: Vec<RequirementKey> = Vec::new();
    for named in task.requirements.iter().take(NAMED_MAX) {
        match requirements.iter().find(|requirement| requirement.id.as_str() == named) {
            Some(requirement) if keys.contains(&requirement.id) => {}
            Some(requirement) => keys.push(requirement.id.clone()),
            None => found.say(format!("{}: there is no `{named}`", place("requirements"))),
        }
    }
    let acceptance: Vec<String> =
        task.acceptance.iter().map(|line| answer::plain_line(line)).filter(|line| !line.is_empty()).collect();
    if acceptance.is_empty() {
        found.say(format!("{} has no line: say when it is done", place("acceptance")));
    }
    found.check(&place("acceptance"), bounds::acceptance(&acceptance));
    if task.minutes_low == 0 || task.minutes_low > task.minutes_high || task.minutes_high > MINUTES_MAX {
        found.say(format!("{} do not rise from 1 to {MINUTES_MAX} at most", place("minutes_low and minutes_high")));
    }
    let risk = task.risk.as_deref().map(answer::plain_line).filter(|risk| !risk.is_empty());
    found.check(&place("risk"), bounds::text("risk", risk.as_deref().unwrap_or_default()));
    let mut needs = task.needs.clone();
    needs.truncate(NAMED_MAX);
    needs.sort();
    needs.dedup();
    PlannedTask {
        key: task.key.clone(),
        title: title.unwrap_or_default(),
        kind: TaskKind::Agent { capability: task.capability.clone() },
        needs,
        requirements: keys,
        acceptance,
        estimate_minutes: (task.minutes_low, task.minutes_high),
        risk,
    }
}

fn is_key(key: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    key.len() <= KEY_BYTES_MAX && key.split('-').all(is_word)
}

/// Keys are there once, and what a task needs is there.
fn linked(fixed: &Fixed<'_>, checked: &[(Place, PlannedTask)], found: &mut Found) {
    let mut keys: BTreeSet<&str> = fixed.all().map(|(_, task)| task.key.as_str()).collect();
    for (_, task) in checked {
        if !keys.insert(&task.key) {
            found.say(format!("task `{}`: its key is that of another task, too", task.key));
        }
    }
    let last: BTreeSet<&str> = fixed.last.iter().map(|(_, task)| task.key.as_str()).collect();
    for (_, task) in checked {
        for need in &task.needs {
            if last.contains(need.as_str()) {
                found.say(format!("task `{}`: nothing comes behind `{need}`", task.key));
            } else if !keys.contains(need.as_str()) {
                found.say(format!("task `{}`: it needs `{need}`, which does not exist", task.key));
            }
        }
    }
}

/// Some task does the work of every requirement.
fn served(fixed: &Fixed<'_>, checked: &[(Place, PlannedTask)], requirements: &[Requirement], found: &mut Found) {
    let scripted =
        fixed.first.iter().map(|(_, task)| *task).filter(|task| matches!(task.kind, TaskKind::Scripted { .. }));
    let tasks = checked.iter().map(|(_, task)| task).chain(scripted);
    let served: BTreeSet<&RequirementKey> = tasks.flat_map(|task| &task.requirements).collect();
    for requirement in requirements.iter().filter(|requirement| !served.contains(&requirement.id)) {
        found.say(format!("no task serves `{}`", requirement.id));
    }
}

/// Tasks of the rules that no agent does, with their place: those that come first, and those that come last.
pub(super) struct Fixed<'a> {
    pub(super) first: Vec<(Place, &'a PlannedTask)>,
    pub(super) last: Vec<(Place, &'a PlannedTask)>,
}

impl<'a> Fixed<'a> {
    pub(super) fn of(ruled: &'a ProposedPlan) -> Self {
        let all: BTreeMap<&str, &PlannedTask> = ruled.tasks().map(|task| (task.key.as_str(), task)).collect();
        let is_agents = |task: &PlannedTask| matches!(task.kind, TaskKind::Agent { .. });
        // The rules list what is needed before what needs it, but for what they move to the end.
        let mut behind: BTreeSet<&str> =
            all.values().filter(|task| is_agents(task)).map(|task| task.key.as_str()).collect();
        loop {
            let more: Vec<&str> = all
                .values()
                .filter(|task| !behind.contains(task.key.as_str()))
                .filter(|task| task.needs.iter().any(|need| behind.contains(need.as_str())))
                .map(|task| task.key.as_str())
                .collect();
            if more.is_empty() {
                break;
            }
            behind.extend(more);
        }
        let needed: BTreeSet<&str> = all.values().flat_map(|task| &task.needs).map(String::as_str).collect();
        let places = ruled
            .epics
            .iter()
            .flat_map(|epic| epic.stories.iter().map(|story| (Place::new(&epic.title, &story.title), story)));
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (place, story) in places {
            for task in story.tasks.iter().filter(|task| !is_agents(task)) {
                if !behind.contains(task.key.as_str()) {
                    first.push((place.clone(), task));
                } else if !needed.contains(task.key.as_str()) {
                    last.push((place.clone(), task));
                }
            }
        }
        Self { first, last }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &(Place, &'a PlannedTask)> {
        self.first.iter().chain(&self.last)
    }

    /// The plan with these tasks between them.
    fn with(self, tasks: Vec<(Place, PlannedTask)>, ruled: &ProposedPlan) -> ProposedPlan {
        let mut tree = Tree::default();
        let needed: BTreeSet<String> = tasks.iter().flat_map(|(_, task)| task.needs.iter().cloned()).collect();
        let mut ends: Vec<String> =
            tasks.iter().map(|(_, task)| task.key.clone()).filter(|key| !needed.contains(key)).collect();
        if ends.is_empty() {
            ends = self.first.iter().map(|(_, task)| task.key.clone()).collect();
        }
        for (place, task) in &self.first {
            tree.push(place.clone(), (*task).clone());
        }
        for (place, task) in tasks {
            tree.push(place, task);
        }
        for (place, task) in &self.last {
            tree.push(place.clone(), PlannedTask { needs: ends.clone(), ..(*task).clone() });
        }
        tree.warnings.extend(ruled.warnings.iter().cloned());
        tree.finish()
    }
}
