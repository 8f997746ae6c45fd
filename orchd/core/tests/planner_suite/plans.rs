//! Plans: with a blueprint, without one, and what does not become one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{read, seeds};
use orch_core::planner::{
    BlueprintOutline, BlueprintTask, Extraction, PlanError, PlanInput, PlannedTask, ProposedPlan, TaskKind,
    ToolchainOutline, propose_plan,
};

fn cargo() -> ToolchainOutline {
    ToolchainOutline {
        name: "cargo".to_owned(),
        root: String::new(),
        build: Some("cargo build".to_owned()),
        test: Some("cargo test".to_owned()),
        lint: Some("cargo clippy".to_owned()),
        vendored: true,
    }
}

fn input<'a>(extraction: &'a Extraction, toolchains: &'a [ToolchainOutline]) -> PlanInput<'a> {
    PlanInput {
        requirements: &extraction.requirements,
        acceptance: &extraction.acceptance,
        blueprint: None,
        toolchains,
        empty_repository: false,
    }
}

fn task(key: &str, needs: &[&str], covers: &[&str]) -> BlueprintTask {
    BlueprintTask {
        key: key.to_owned(),
        title: format!("Make {key}"),
        epic: "Service".to_owned(),
        story: "Skeleton".to_owned(),
        needs: needs.iter().map(|&need| need.to_owned()).collect(),
        covers: covers.iter().map(|&cover| cover.to_owned()).collect(),
        acceptance: vec!["it runs".to_owned()],
        estimate_minutes: (1, 2),
        risk: None,
    }
}

fn blueprint(tasks: Vec<BlueprintTask>) -> BlueprintOutline {
    BlueprintOutline { name: "web-api".to_owned(), tasks }
}

/// One line per epic, story and task.
fn show(plan: &ProposedPlan) -> String {
    let mut text = String::new();
    for epic in &plan.epics {
        writeln!(text, "{}", epic.key).expect("a string takes it");
        for story in &epic.stories {
            writeln!(text, "  {}", story.key).expect("a string takes it");
            for task in &story.tasks {
                writeln!(text, "    {}", show_task(task)).expect("a string takes it");
            }
        }
    }
    text
}

fn show_task(task: &PlannedTask) -> String {
    let kind = match &task.kind {
        TaskKind::Scripted { blueprint_task } => format!("script {blueprint_task}"),
        TaskKind::Toolchain { toolchain, action, .. } => format!("{toolchain} {action:?}"),
        TaskKind::Agent { capability } => capability.clone(),
    };
    let served: Vec<&str> = task.requirements.iter().map(|id| id.as_str()).collect();
    format!("{} ({kind}) after [{}] for [{}]", task.key, task.needs.join(" "), served.join(" "))
}

/// The invariants that hold for every plan.
pub(crate) fn check(plan: &ProposedPlan, extraction: &Extraction) {
    let keys: BTreeSet<&str> = plan.tasks().map(|task| task.key.as_str()).collect();
    assert_eq!(keys.len(), plan.tasks().count(), "keys are unique");
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < keys.len() {
        let before = done.len();
        for task in plan.tasks() {
            if task.needs.iter().all(|need| done.contains(need.as_str())) {
                done.insert(&task.key);
            }
        }
        assert!(done.len() > before, "needs are known and without a cycle: {:?}", keys.difference(&done));
    }
    let served: BTreeSet<&str> = plan.tasks().flat_map(|task| &task.requirements).map(|id| id.as_str()).collect();
    let asked: BTreeSet<&str> = extraction.requirements.iter().map(|requirement| requirement.id.as_str()).collect();
    assert_eq!(served, asked, "every requirement is served, and nothing else");
    for task in plan.tasks() {
        assert!(!task.acceptance.is_empty(), "`{}` has no acceptance criterion", task.key);
        assert!(task.estimate_minutes.0 <= task.estimate_minutes.1);
        assert!(asked.is_empty() || !task.requirements.is_empty(), "`{}` names no requirement", task.key);
        assert!(task.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", task.key);
    }
}

const SHOP: &str = "# Shop\n\n## Functional requirements\n### Goods\n- FR-1: Customers can list goods\n- FR-2: Customers can search goods\n  - Depends on FR-1\n### Paying\n- FR-3: Customers can pay\n\n## Non-functional requirements\n- NFR-1: Performance: answers in 50 ms\n\n## Acceptance criteria\n- A customer can buy\n";

#[test]
fn a_repository_is_checked_built_upon_and_verified() {
    let shop = read(SHOP);
    let plan = propose_plan(&input(&shop, &[cargo()])).expect("it can be planned");
    check(&plan, &shop);
    insta::assert_snapshot!(show(&plan), @r"
    baseline
      cargo
        baseline-cargo-build (cargo Build) after [] for [FR-1 FR-2 FR-3 NFR-1]
        baseline-cargo-test (cargo Test) after [baseline-cargo-build] for [FR-1 FR-2 FR-3 NFR-1]
        baseline-cargo-lint (cargo Lint) after [baseline-cargo-build] for [FR-1 FR-2 FR-3 NFR-1]
    functional-requirements
      goods
        fr-1 (developer) after [baseline-cargo-test baseline-cargo-lint] for [FR-1]
        fr-2 (developer) after [baseline-cargo-test baseline-cargo-lint fr-1] for [FR-2]
      paying
        fr-3 (developer) after [baseline-cargo-test baseline-cargo-lint] for [FR-3]
    non-functional-requirements
      non-functional-requirements
        nfr-1 (qa) after [verify-features] for [NFR-1]
    verification
      test-all-features-together
        verify-features (cargo Test) after [fr-1 fr-2 fr-3] for [FR-1 FR-2 FR-3]
      verify-the-whole
        verify-all (cargo Test) after [nfr-1] for [FR-1 FR-2 FR-3 NFR-1]
    ");
    let last = plan.tasks().last().expect("there are tasks");
    assert_eq!(last.acceptance, ["`cargo test` succeeds", "A customer can buy"]);
}

#[test]
fn packages_that_are_not_there_are_a_risk_of_the_first_step() {
    let shop = read(SHOP);
    let away = ToolchainOutline { vendored: false, ..cargo() };
    let plan = propose_plan(&input(&shop, &[away])).expect("it can be planned");
    let risky = |plan: &ProposedPlan| -> Vec<String> {
        let baseline = plan.tasks().filter(|task| task.key.starts_with("baseline") && task.risk.is_some());
        baseline.map(|task| task.key.clone()).collect()
    };
    assert_eq!(risky(&plan), ["baseline-cargo-build"]);
    let plan = propose_plan(&input(&shop, &[cargo()])).expect("it can be planned");
    assert!(risky(&plan).is_empty());
}

#[test]
fn an_empty_repository_is_scaffolded_first() {
    let shop = read(SHOP);
    let plan = propose_plan(&PlanInput { empty_repository: true, ..input(&shop, &[]) }).expect("it can be planned");
    check(&plan, &shop);
    insta::assert_snapshot!(show(&plan), @r"
    baseline
      scaffold
        scaffold (developer) after [] for [FR-1 FR-2 FR-3 NFR-1]
    functional-requirements
      goods
        fr-1 (developer) after [scaffold] for [FR-1]
        fr-2 (developer) after [scaffold fr-1] for [FR-2]
      paying
        fr-3 (developer) after [scaffold] for [FR-3]
    non-functional-requirements
      non-functional-requirements
        nfr-1 (qa) after [verify-features] for [NFR-1]
    verification
      test-all-features-together
        verify-features (qa) after [fr-1 fr-2 fr-3] for [FR-1 FR-2 FR-3]
      verify-the-whole
        verify-all (qa) after [nfr-1] for [FR-1 FR-2 FR-3 NFR-1]
    ");
}

#[test]
fn a_blueprint_serves_by_id_and_by_words() {
    let shop = read(SHOP);
    let outline = blueprint(vec![
        task("scaffold", &[], &[]),
        task("catalogue", &["scaffold"], &["listing", "searched"]),
        task("fast", &["scaffold"], &["nfr-1"]),
        task("release", &["catalogue", "fast"], &[]),
    ]);
    let plan = propose_plan(&PlanInput { blueprint: Some(&outline), ..input(&shop, &[]) }).expect("it can be planned");
    check(&plan, &shop);
    insta::assert_snapshot!(show(&plan), @r"
    service
      skeleton
        scaffold (script scaffold) after [] for [FR-1 FR-2 NFR-1]
        catalogue (script catalogue) after [scaffold] for [FR-1 FR-2]
        fast (script fast) after [scaffold] for [NFR-1]
        release (script release) after [catalogue fast] for [FR-1 FR-2 NFR-1]
    functional-requirements
      paying
        fr-3 (developer) after [scaffold] for [FR-3]
    ");
    assert!(
        plan.warnings
            .iter()
            .any(|warning| warning == "blueprint `web-api` does not serve `FR-3`: agents are to do them")
    );
}

#[test]
fn a_contradictory_blueprint_is_refused() {
    let shop = read(SHOP);
    let refused = |tasks: Vec<BlueprintTask>| {
        let outline = blueprint(tasks);
        propose_plan(&PlanInput { blueprint: Some(&outline), ..input(&shop, &[]) }).expect_err("it cannot be planned")
    };
    let cycle = refused(vec![task("a", &["c"], &[]), task("b", &["a"], &[]), task("c", &["b"], &[])]);
    assert_eq!(cycle.to_string(), "tasks need each other: a -> c -> b -> a");
    assert_eq!(refused(vec![task("a", &["a"], &[])]).to_string(), "tasks need each other: a -> a");
    let unknown = refused(vec![task("a", &["x"], &[])]);
    assert_eq!(unknown, PlanError::UnknownNeed { task: "a".to_owned(), need: "x".to_owned() });
    let twice = refused(vec![task("a", &[], &[]), task("a", &[], &[])]);
    assert_eq!(twice, PlanError::DuplicateTask { key: "a".to_owned() });
}

#[test]
fn two_requirements_with_one_id_are_refused() {
    let mut shop = read(SHOP);
    let first = shop.requirements.first().expect("FR-1").clone();
    shop.requirements.push(first);
    let refused = propose_plan(&input(&shop, &[])).expect_err("it cannot be planned");
    assert_eq!(refused.to_string(), "two requirements have the id `FR-1`");
}

#[test]
fn no_requirement_leaves_what_the_repository_brings() {
    let nothing = read("A fine day.\n");
    let plan = propose_plan(&input(&nothing, &[cargo()])).expect("it can be planned");
    check(&plan, &nothing);
    assert_eq!(plan.tasks().count(), 3);
    assert!(plan.warnings.iter().any(|warning| warning.starts_with("there are no requirements")));
}

/// An edit of one requirement, own id or not, must leave the keys of all other tasks as they are.
#[test]
fn an_edit_changes_only_its_own_task() {
    let keys = |text: &str| -> BTreeSet<String> {
        let extraction = read(text);
        let plan = propose_plan(&input(&extraction, &[cargo()])).expect("it can be planned");
        plan.tasks().map(|task| task.key.clone()).collect()
    };
    let before = keys(SHOP);
    assert_eq!(keys(&SHOP.replace("can pay", "can pay by card")), before);
    let bullets = "# A\n\n## Features\n- sell\n- buy\n- return goods\n";
    let (first, edited, added) =
        (keys(bullets), keys(&bullets.replace("buy", "rent")), keys(&bullets.replace("- buy", "- lend\n- buy")));
    assert_eq!(first.difference(&edited).collect::<Vec<_>>(), ["buy"]);
    assert_eq!(edited.difference(&first).collect::<Vec<_>>(), ["rent"]);
    assert_eq!(added.difference(&first).collect::<Vec<_>>(), ["lend"]);
    assert!(first.is_subset(&added));
}

#[test]
fn every_seed_becomes_a_plan() {
    for seed in [seeds::PLATFORM, seeds::CONTROL_PLANE, seeds::SOP, seeds::POOR_MAN, seeds::DELIVERY] {
        let extraction = read(seed);
        for empty_repository in [true, false] {
            for toolchains in [&[][..], &[cargo()][..]] {
                let plan = propose_plan(&PlanInput { empty_repository, ..input(&extraction, toolchains) })
                    .expect("it can be planned");
                check(&plan, &extraction);
            }
        }
    }
}
