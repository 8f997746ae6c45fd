//! The plan for a Vision that names a blueprint.
//!
//! The blueprint's tasks are taken as they are; requirements are linked to those that serve them, by id first and by
//! words otherwise. What none serves becomes agent tasks behind the blueprint's first tasks.

use std::collections::{BTreeMap, BTreeSet};

use super::agent;
use super::graph;
use super::keyword;
use super::model::{BlueprintOutline, BlueprintTask, PlanError, PlanInput, PlannedTask, TaskKind};
use super::tree::{Place, Tree};
use crate::planner::model::{Requirement, RequirementKey};

/// A word that more than one in this many requirements share does not tell them apart.
const COMMON_WORD_SHARE: usize = 2;
/// Requirements below which no word counts as common.
const COMMON_WORD_REQUIREMENTS_MIN: usize = 6;

/// Plans the blueprint's tasks and what they leave over.
pub(super) fn plan(input: &PlanInput<'_>, outline: &BlueprintOutline, tree: &mut Tree) -> Result<(), PlanError> {
    check(outline)?;
    let linked = link(input.requirements, &outline.tasks);
    let mut served: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); outline.tasks.len()];
    let mut left: Vec<&Requirement> = Vec::new();
    for (at, requirement) in input.requirements.iter().enumerate() {
        match linked.get(at).filter(|tasks| !tasks.is_empty()) {
            Some(tasks) => {
                for &task in tasks {
                    served.get_mut(task).expect("links are positions of tasks").insert(at);
                }
            }
            None => left.push(requirement),
        }
    }
    inherit(outline, &mut served);
    for (task, served) in outline.tasks.iter().zip(&served) {
        let key = tree.claim(task.key.clone());
        if served.is_empty() && !input.requirements.is_empty() {
            tree.warnings.push(format!("blueprint task `{key}` serves no requirement of this vision"));
        }
        let requirements = served
            .iter()
            .filter_map(|&at| input.requirements.get(at))
            .map(|requirement| requirement.id.clone())
            .collect();
        tree.push(Place::new(&task.epic, &task.story), planned(task, key, requirements));
    }
    if !left.is_empty() {
        let ids: Vec<String> = left.iter().take(20).map(|requirement| format!("`{}`", requirement.id)).collect();
        let more = if left.len() > ids.len() { format!(" and {} more", left.len() - ids.len()) } else { String::new() };
        tree.warnings.push(format!(
            "blueprint `{}` does not serve {}{more}: agents are to do them",
            outline.name,
            ids.join(", ")
        ));
        let scaffold: Vec<String> =
            outline.tasks.iter().filter(|task| task.needs.is_empty()).map(|task| task.key.clone()).collect();
        agent::plan(&left, &scaffold, tree);
    }
    Ok(())
}

fn check(outline: &BlueprintOutline) -> Result<(), PlanError> {
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    for task in &outline.tasks {
        if !keys.insert(&task.key) {
            return Err(PlanError::DuplicateTask { key: task.key.clone() });
        }
    }
    for task in &outline.tasks {
        if let Some(need) = task.needs.iter().find(|need| !keys.contains(need.as_str())) {
            return Err(PlanError::UnknownNeed { task: task.key.clone(), need: need.clone() });
        }
    }
    graph::check_acyclic(outline.tasks.iter().map(|task| (task.key.as_str(), task.needs.as_slice())))
}

fn planned(task: &BlueprintTask, key: String, requirements: Vec<RequirementKey>) -> PlannedTask {
    PlannedTask {
        key,
        title: task.title.clone(),
        kind: TaskKind::Scripted { blueprint_task: task.key.clone() },
        needs: task.needs.clone(),
        requirements,
        acceptance: task.acceptance.clone(),
        estimate_minutes: task.estimate_minutes,
        risk: task.risk.clone(),
    }
}

/// For every requirement, the tasks that serve it.
fn link(requirements: &[Requirement], tasks: &[BlueprintTask]) -> Vec<BTreeSet<usize>> {
    let texts: Vec<BTreeSet<String>> = requirements
        .iter()
        .map(|requirement| keyword::stems(&format!("{} {}", requirement.title, requirement.text)))
        .collect();
    let ids: BTreeSet<String> = requirements.iter().map(|requirement| requirement.id.as_str().to_lowercase()).collect();
    let is_common = |word: &str| {
        let count = texts.iter().filter(|text| keyword::speaks_of(text, word)).count();
        texts.len() >= COMMON_WORD_REQUIREMENTS_MIN && count * COMMON_WORD_SHARE > texts.len()
    };
    // Every word is judged once, however many tasks name it.
    let mut telling: BTreeMap<&str, bool> = BTreeMap::new();
    for word in tasks.iter().flat_map(|task| &task.covers) {
        telling.entry(word).or_insert_with(|| !ids.contains(&word.to_lowercase()) && !is_common(word));
    }
    let mut linked = Vec::with_capacity(requirements.len());
    for (requirement, text) in requirements.iter().zip(&texts) {
        let by_id: BTreeSet<usize> = (0..tasks.len()).filter(|&at| names(tasks, at, &requirement.id)).collect();
        linked.push(if by_id.is_empty() { best_by_words(tasks, text, &telling) } else { by_id });
    }
    // A part that no task serves by itself is served by the tasks of its whole.
    let at_of: BTreeMap<&RequirementKey, usize> =
        requirements.iter().enumerate().map(|(at, requirement)| (&requirement.id, at)).collect();
    for (at, requirement) in requirements.iter().enumerate() {
        let whole = requirement
            .parent
            .as_ref()
            .and_then(|parent| at_of.get(parent))
            .and_then(|&parent| linked.get(parent))
            .cloned();
        if let (Some(own), Some(whole)) = (linked.get_mut(at).filter(|own| own.is_empty()), whole) {
            *own = whole;
        }
    }
    linked
}

fn names(tasks: &[BlueprintTask], at: usize, id: &RequirementKey) -> bool {
    tasks.get(at).is_some_and(|task| task.covers.iter().any(|cover| cover.eq_ignore_ascii_case(id.as_str())))
}

/// The tasks that share the most words with the text.
fn best_by_words(tasks: &[BlueprintTask], text: &BTreeSet<String>, telling: &BTreeMap<&str, bool>) -> BTreeSet<usize> {
    let score = |task: &BlueprintTask| {
        let words = task.covers.iter().filter(|word| telling.get(word.as_str()).copied().unwrap_or(false));
        words.filter(|word| keyword::speaks_of(text, word)).count()
    };
    let scores: Vec<usize> = tasks.iter().map(score).collect();
    let best = scores.iter().copied().max().unwrap_or(0);
    scores.iter().enumerate().filter(|&(_, &score)| best > 0 && score == best).map(|(at, _)| at).collect()
}

/// A task without requirements of its own serves those of the tasks behind it, else those of the tasks before it.
fn inherit(outline: &BlueprintOutline, served: &mut [BTreeSet<usize>]) {
    let at_of: BTreeMap<&str, usize> =
        outline.tasks.iter().enumerate().map(|(at, task)| (task.key.as_str(), at)).collect();
    let needs: Vec<Vec<usize>> = outline
        .tasks
        .iter()
        .map(|task| task.needs.iter().filter_map(|need| at_of.get(need.as_str()).copied()).collect())
        .collect();
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        for &need in needs {
            behind.get_mut(need).expect("needs are positions of tasks").push(at);
        }
    }
    let own = served.to_vec();
    for (at, served) in served.iter_mut().enumerate().filter(|(_, served)| served.is_empty()) {
        *served = reached(at, &behind, &own);
        if served.is_empty() {
            *served = reached(at, &needs, &own);
        }
    }
}

/// The requirements of all tasks that can be reached from `start`.
fn reached(start: usize, edges: &[Vec<usize>], own: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        found.extend(own.get(at).into_iter().flatten().copied());
        open.extend(edges.get(at).into_iter().flatten().copied().filter(|&next| seen.insert(next)));
    }
    found
}
