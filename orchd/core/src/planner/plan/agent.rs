//! Agent tasks: one for each requirement with its parts.
//!
//! A requirement with few parts is one task together with them; one with many is a task per part. Knows nothing of
//! blueprints and toolchains. Invariant: every requirement that is given is served by a task that is made.

use std::collections::BTreeMap;

use super::capability;
use super::model::{PlannedTask, TaskKind};
use super::slug;
use super::tree::{Place, Tree};
use crate::planner::model::{Requirement, RequirementKey, RequirementKind};

/// Most requirements that one agent task serves.
const TASK_REQUIREMENTS_MAX: usize = 8;

/// Makes the tasks for `requirements`, each behind `needs`; gives the keys of the tasks.
pub(super) fn plan(requirements: &[&Requirement], needs: &[String], tree: &mut Tree) -> Vec<String> {
    let units = units(requirements);
    // By id in capitals, because references are not always written like the id.
    let mut key_of: BTreeMap<String, String> = BTreeMap::new();
    let mut keys: Vec<String> = Vec::with_capacity(units.len());
    for unit in &units {
        let key = tree.claim(key(unit.lead));
        for requirement in std::iter::once(&unit.lead).chain(&unit.others) {
            key_of.entry(requirement.id.as_str().to_ascii_uppercase()).or_insert_with(|| key.clone());
        }
        let mut needs = needs.to_vec();
        for named in named_needs(unit.lead) {
            // Only an earlier requirement can come first, so there is no cycle.
            if let Some(before) =
                key_of.get(&named.to_ascii_uppercase()).filter(|before| **before != key && !needs.contains(before))
            {
                needs.push(before.clone());
            }
        }
        tree.push(Place::of_group(unit.lead.group.as_deref()), task(unit, key.clone(), needs));
        keys.push(key);
    }
    keys
}

/// Requirements that one task serves; `lead` names it.
struct Unit<'a> {
    lead: &'a Requirement,
    others: Vec<&'a Requirement>,
}

/// Puts the parts of a requirement with it where they are few, else makes each part a unit that also serves the whole.
fn units<'a>(requirements: &[&'a Requirement]) -> Vec<Unit<'a>> {
    let mut root_of: BTreeMap<&RequirementKey, &RequirementKey> = BTreeMap::new();
    let mut families: BTreeMap<&RequirementKey, Vec<&'a Requirement>> = BTreeMap::new();
    // A part stands behind its whole, so the root of the whole is known when the part is met.
    for requirement in requirements {
        let root =
            requirement.parent.as_ref().and_then(|parent| root_of.get(parent).copied()).unwrap_or(&requirement.id);
        root_of.insert(&requirement.id, root);
        families.entry(root).or_default().push(requirement);
    }
    let mut units = Vec::new();
    for requirement in requirements {
        let Some(family) = families.get(&requirement.id) else { continue };
        let Some((lead, parts)) = family.split_first() else { continue };
        if family.len() <= TASK_REQUIREMENTS_MAX {
            units.push(Unit { lead, others: parts.to_vec() });
        } else {
            units.extend(parts.iter().map(|part| Unit { lead: part, others: vec![lead] }));
        }
    }
    units
}

fn task(unit: &Unit<'_>, key: String, needs: Vec<String>) -> PlannedTask {
    let all = || std::iter::once(&unit.lead).chain(&unit.others);
    let mut acceptance: Vec<String> = all().flat_map(|requirement| requirement.acceptance.iter().cloned()).collect();
    let criteria = acceptance.len();
    if acceptance.is_empty() {
        acceptance.push(default_criterion(unit.lead));
    }
    PlannedTask {
        key,
        title: unit.lead.title.clone(),
        kind: TaskKind::Agent { capability: capability::capability(unit.lead).to_owned() },
        needs,
        requirements: all().map(|requirement| requirement.id.clone()).collect(),
        acceptance,
        estimate_minutes: capability::estimate_minutes(unit.others.len(), criteria),
        risk: all().find_map(|requirement| capability::risk(requirement)),
    }
}

fn default_criterion(requirement: &Requirement) -> String {
    match requirement.kind {
        RequirementKind::Functional => {
            format!("a test shows what `{}` asks for, and all other tests pass", requirement.id)
        }
        RequirementKind::NonFunctional => format!("a check that can be repeated shows that `{}` holds", requirement.id),
        RequirementKind::Constraint => format!("a check shows that `{}` is kept", requirement.id),
    }
}

/// The key stays while the id of the source stays; numbers that the planner gave move, so the title names those.
fn key(requirement: &Requirement) -> String {
    let id = requirement.id.as_str();
    if id.starts_with("REQ-") {
        slug::slug(&requirement.title, &id.to_lowercase())
    } else {
        slug::slug(id, "requirement")
    }
}

/// Ids on lines such as `Dependencies: FR-1, FR-2` or `Depends on FR-1`.
fn named_needs(requirement: &Requirement) -> Vec<String> {
    let mut ids = Vec::new();
    for line in requirement.text.lines() {
        let line = line.trim_start_matches(['-', '*', ' ']);
        let Some(rest) =
            ["Dependencies:", "Depends on", "Dependency:", "Requires:"].iter().find_map(|word| line.strip_prefix(word))
        else {
            continue;
        };
        let words = rest.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        ids.extend(
            words
                .map(|word| word.trim_matches('.').to_owned())
                .filter(|word| word.len() > 1 && word.contains(|c: char| c.is_ascii_digit())),
        );
    }
    ids
}
