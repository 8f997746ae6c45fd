//! The plan for a repository without a blueprint.
//!
//! First what the repository can already do (build, test, lint) or a scaffold, then the functional requirements in
//! parallel, then a test of the whole, then the qualities and constraints, then the final verification. The two
//! verifications also keep the number of edges linear in the number of requirements.

use std::collections::BTreeMap;

use super::agent;
use super::capability;
use super::model::{PlanInput, PlannedTask, TaskKind, ToolchainAction, ToolchainOutline};
use super::slug;
use super::tree::{Place, Tree};
use crate::planner::model::{Requirement, RequirementKey, RequirementKind};

/// Title of the epic that holds what comes before the requirements.
const BASELINE: &str = "Baseline";
/// Title of the epic that holds what comes behind them.
const VERIFICATION: &str = "Verification";

/// What may go wrong where packages come from elsewhere.
const NOT_VENDORED: &str = "needs packages that are not in the repository; runs have no network, so it may fail";

/// Plans the whole repository.
pub(super) fn plan(input: &PlanInput<'_>, tree: &mut Tree) {
    let all: Vec<RequirementKey> = input.requirements.iter().map(|requirement| requirement.id.clone()).collect();
    let ready = baseline(input, &all, tree);
    let is_functional = functional(input.requirements);
    let pick = |wanted: bool| -> Vec<&Requirement> {
        input
            .requirements
            .iter()
            .zip(&is_functional)
            .filter(|(_, is)| **is == wanted)
            .map(|(requirement, _)| requirement)
            .collect()
    };
    let (functional, other) = (pick(true), pick(false));
    let mut before = ready;
    let built = agent::plan(&functional, &before, tree);
    if !built.is_empty() && !other.is_empty() {
        let served = functional.iter().map(|requirement| requirement.id.clone()).collect();
        before = verify(
            input,
            Verification { key: "verify-features", title: "Test all features together", needs: built, served },
            tree,
        );
    } else if !built.is_empty() {
        before = built;
    }
    let checked = agent::plan(&other, &before, tree);
    if !input.requirements.is_empty() {
        let needs = if checked.is_empty() { before } else { checked };
        verify(input, Verification { key: "verify-all", title: "Verify the whole", needs, served: all }, tree);
        tree.move_last(VERIFICATION);
    }
}

/// For every requirement, whether the outermost one that it is a part of is functional: a family stays together.
fn functional(requirements: &[Requirement]) -> Vec<bool> {
    let mut roots: BTreeMap<&RequirementKey, bool> = BTreeMap::new();
    for requirement in requirements {
        let own = requirement.kind == RequirementKind::Functional;
        let of_root = requirement.parent.as_ref().and_then(|parent| roots.get(parent).copied()).unwrap_or(own);
        roots.insert(&requirement.id, of_root);
    }
    requirements.iter().map(|requirement| roots.get(&requirement.id).copied().unwrap_or(true)).collect()
}

/// The tasks that the repository needs before any requirement; gives the keys of the last ones.
fn baseline(input: &PlanInput<'_>, all: &[RequirementKey], tree: &mut Tree) -> Vec<String> {
    let mut ready = Vec::new();
    if input.empty_repository {
        let key = tree.claim("scaffold".to_owned());
        let task = PlannedTask {
            key: key.clone(),
            title: "Set up the repository: layout, build and a first test".to_owned(),
            kind: TaskKind::Agent { capability: "developer".to_owned() },
            needs: Vec::new(),
            requirements: all.to_vec(),
            acceptance: vec!["the repository builds and its first test passes".to_owned()],
            estimate_minutes: capability::estimate_minutes(0, 1),
            risk: None,
        };
        tree.push(Place::new(BASELINE, "Scaffold"), task);
        ready.push(key);
    } else if input.toolchains.is_empty() {
        tree.warnings.push(
            "no toolchain was found in the repository: the plan has no build, test or lint of its own".to_owned(),
        );
    }
    let mut last = Vec::new();
    for toolchain in input.toolchains {
        last.extend(toolchain_tasks(toolchain, all, &ready, tree));
    }
    if last.is_empty() { ready } else { last }
}

/// Build, then test and lint side by side; gives the keys of those that nothing of them stands behind.
fn toolchain_tasks(
    toolchain: &ToolchainOutline,
    all: &[RequirementKey],
    needs: &[String],
    tree: &mut Tree,
) -> Vec<String> {
    let mut before = needs.to_vec();
    let mut last = Vec::new();
    let steps = [
        (ToolchainAction::Build, &toolchain.build, (1, 10)),
        (ToolchainAction::Test, &toolchain.test, (1, 15)),
        (ToolchainAction::Lint, &toolchain.lint, (1, 5)),
    ];
    for (action, command, estimate_minutes) in steps {
        let Some(command) = command else { continue };
        let key = tree.claim(slug::slug(&format!("baseline {} {}", place_name(toolchain), verb(action)), "baseline"));
        let task = PlannedTask {
            key: key.clone(),
            title: format!("{} as it is ({})", capitalised(action), place_name(toolchain)),
            kind: kind(toolchain, action),
            needs: before.clone(),
            requirements: all.to_vec(),
            acceptance: vec![format!("`{command}` succeeds on the repository as it is")],
            estimate_minutes,
            // Said once: the others stand behind the first.
            risk: (!toolchain.vendored && last.is_empty()).then(|| NOT_VENDORED.to_owned()),
        };
        tree.push(Place::new(BASELINE, &place_name(toolchain)), task);
        if action == ToolchainAction::Build {
            before = vec![key.clone()];
            last = vec![key];
        } else {
            last.retain(|key| !before.contains(key));
            last.push(key);
        }
    }
    last
}

struct Verification {
    key: &'static str,
    title: &'static str,
    needs: Vec<String>,
    served: Vec<RequirementKey>,
}

/// Tests of every toolchain behind `needs`, or one agent task where there is no toolchain that tests.
fn verify(input: &PlanInput<'_>, what: Verification, tree: &mut Tree) -> Vec<String> {
    let is_final = what.key == "verify-all";
    let mut acceptance: Vec<String> =
        input.acceptance.iter().filter(|_| is_final).map(|statement| statement.text.clone()).collect();
    let testing: Vec<&ToolchainOutline> =
        input.toolchains.iter().filter(|toolchain| toolchain.test.is_some()).collect();
    let mut keys = Vec::new();
    for toolchain in &testing {
        let base =
            if testing.len() == 1 { what.key.to_owned() } else { format!("{} {}", what.key, place_name(toolchain)) };
        let command = toolchain.test.as_deref().unwrap_or_default();
        acceptance.insert(0, format!("`{command}` succeeds"));
        keys.push(push_verification(
            &what,
            base,
            kind(toolchain, ToolchainAction::Test),
            std::mem::take(&mut acceptance),
            tree,
        ));
    }
    if keys.is_empty() {
        if acceptance.is_empty() {
            acceptance.push("every requirement named here is shown by a check that can be repeated".to_owned());
        }
        let agent = TaskKind::Agent { capability: "qa".to_owned() };
        keys.push(push_verification(&what, what.key.to_owned(), agent, acceptance, tree));
    }
    keys
}

fn push_verification(
    what: &Verification,
    key: String,
    kind: TaskKind,
    acceptance: Vec<String>,
    tree: &mut Tree,
) -> String {
    let key = tree.claim(slug::slug(&key, "verify"));
    let task = PlannedTask {
        key: key.clone(),
        title: what.title.to_owned(),
        kind,
        needs: what.needs.clone(),
        requirements: what.served.clone(),
        acceptance,
        estimate_minutes: (1, 15),
        risk: None,
    };
    tree.push(Place::new(VERIFICATION, what.title), task);
    key
}

fn kind(toolchain: &ToolchainOutline, action: ToolchainAction) -> TaskKind {
    TaskKind::Toolchain { toolchain: toolchain.name.clone(), root: toolchain.root.clone(), action }
}

/// The toolchain's name, with its folder where it has one.
fn place_name(toolchain: &ToolchainOutline) -> String {
    if toolchain.root.is_empty() { toolchain.name.clone() } else { format!("{} in {}", toolchain.name, toolchain.root) }
}

fn verb(action: ToolchainAction) -> &'static str {
    match action {
        ToolchainAction::Build => "build",
        ToolchainAction::Test => "test",
        ToolchainAction::Lint => "lint",
    }
}

fn capitalised(action: ToolchainAction) -> &'static str {
    match action {
        ToolchainAction::Build => "Build",
        ToolchainAction::Test => "Test",
        ToolchainAction::Lint => "Lint",
    }
}
