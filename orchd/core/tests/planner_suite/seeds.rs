//! The five documents that the product was asked for from: every requirement, by id and by line.

use super::{first_lines, ids, outline, read};
use orch_core::planner::{Extraction, RequirementKind};

pub(crate) const PLATFORM: &str = include_str!("../planner_fixtures/seeds/1-platform-requirements.md");
pub(crate) const CONTROL_PLANE: &str = include_str!("../planner_fixtures/seeds/2-control-plane-readme.md");
pub(crate) const SOP: &str = include_str!("../planner_fixtures/seeds/3-sop-orchestrator-prd.md");
pub(crate) const POOR_MAN: &str = include_str!("../planner_fixtures/seeds/4-poor-mans-orchestrator-prd.md");
pub(crate) const DELIVERY: &str = include_str!("../planner_fixtures/seeds/5-autonomous-delivery-design.md");

fn kinds(extraction: &Extraction, kind: RequirementKind) -> usize {
    extraction.requirements.iter().filter(|requirement| requirement.kind == kind).count()
}

fn lines_of(extraction: &Extraction) -> Vec<u32> {
    extraction.requirements.iter().map(|requirement| requirement.lines.first).collect()
}

#[test]
fn platform_keeps_every_id_at_its_line() {
    let platform = read(PLATFORM);
    let mut expected: Vec<String> = (1..=46).map(|number| format!("FR-{number}")).collect();
    expected.extend((1..=7).map(|number| format!("NFR-{number}")));
    expected.extend((1..=5).map(|number| format!("REQ-{number}")));
    assert_eq!(ids(&platform), expected);
    for requirement in platform.requirements.iter().filter(|requirement| !requirement.id.as_str().starts_with("REQ-")) {
        let at = usize::try_from(requirement.lines.first).expect("fits") - 1;
        let source = PLATFORM.lines().nth(at).expect("the line exists");
        assert!(source.starts_with(&format!("- {}: ", requirement.id)), "{source}");
        assert_eq!(requirement.lines.first, requirement.lines.last);
    }
    assert_eq!(kinds(&platform, RequirementKind::Functional), 51);
    assert_eq!(kinds(&platform, RequirementKind::NonFunctional), 7);
}

#[test]
fn platform_sections_go_to_their_lists() {
    let platform = read(PLATFORM);
    assert_eq!(platform.title, "Codex Orchestrator \u{2013} Requirements & Architecture");
    assert!(platform.summary.starts_with("A Docker-native"), "{}", platform.summary);
    assert_eq!(first_lines(&platform.goals), [8, 9, 10, 11, 12]);
    assert_eq!(first_lines(&platform.non_goals), [15, 16]);
    assert_eq!(first_lines(&platform.acceptance), [266, 267, 268, 269]);
    assert_eq!(first_lines(&platform.open_questions), [272, 273, 274]);
    assert_eq!(first_lines(&platform.milestones), [251, 252, 253, 254, 255, 256, 259, 260, 261, 262, 263]);
    // Targets, security model and the like are kept for the person who approves.
    for line in [189, 194, 206, 212, 217, 222, 227] {
        assert!(first_lines(&platform.unclassified).contains(&line), "line {line}");
    }
    let group = platform.requirements.get(8).expect("FR-9").group.as_deref();
    assert_eq!(group, Some("5) Functional requirements > 5.3 Agent team & execution"));
    let security = platform.requirements.iter().find(|requirement| requirement.id.as_str() == "NFR-1").expect("NFR-1");
    assert_eq!(security.title, "Security");
    assert!(security.text.starts_with("Security: Workspaces run with least-privilege"), "{}", security.text);
}

#[test]
fn control_plane_readme_is_read_loosely() {
    let readme = read(CONTROL_PLANE);
    assert!(readme.warnings.iter().any(|warning| warning.starts_with("no section is named as one of requirements")));
    let lines = lines_of(&readme);
    // Scaling and reliability, guardrails, and what is to come.
    for line in (276..=282).chain(207..=212).chain(307..=310).chain([302, 303, 304]) {
        assert!(lines.contains(&line), "line {line} is missing");
    }
    // How to run, configure and test it, and the scenarios' scripts.
    assert!(
        !lines.iter().any(|line| (42..=48).contains(line) || (96..=203).contains(line) || (221..=264).contains(line)),
        "{lines:?}"
    );
    assert_eq!(first_lines(&readme.goals), [99, 164]);
}

#[test]
fn sop_bullets_and_labelled_qualities() {
    let sop = read(SOP);
    assert_eq!(ids(&sop), (1..=12).map(|number| format!("REQ-{number}")).collect::<Vec<_>>());
    assert_eq!(lines_of(&sop), [40, 41, 42, 43, 44, 45, 46, 49, 50, 51, 52, 53]);
    let qualities: Vec<&str> = sop.requirements.iter().skip(7).map(|requirement| requirement.title.as_str()).collect();
    assert_eq!(qualities, ["Reliability", "Observability", "Scalability", "Usability", "Compliance"]);
    assert_eq!(kinds(&sop, RequirementKind::NonFunctional), 5);
    assert_eq!(first_lines(&sop.goals), [7, 10, 11, 12, 13, 14]);
    assert_eq!(first_lines(&sop.non_goals), [17, 18, 19]);
    assert_eq!(first_lines(&sop.constraints), [27, 28, 29, 30, 31]);
    assert_eq!(first_lines(&sop.acceptance), [62, 63, 64, 65]);
    assert_eq!(first_lines(&sop.risks), [68, 69, 70, 71]);
    assert_eq!(first_lines(&sop.open_questions), [74, 75]);
    assert_eq!(first_lines(&sop.unclassified), [56, 57, 58, 59]);
}

#[test]
fn poor_man_roles_hold_their_behaviours() {
    let poor_man = read(POOR_MAN);
    insta::assert_snapshot!(outline(&poor_man).lines().take(14).collect::<Vec<_>>().join("\n"), @r"
    66-66 F REQ-1: Planner (toggleable)
    68-68 F REQ-2 of REQ-1: Reads `docs/PRD.md`, emits milestones and task hints (M2+)
    69-69 F REQ-3: Taskmaster (required)
    71-71 F REQ-4 of REQ-3: Creates/updates Markdown tasks under `/tasks/`, one task ? 1 day, each with...
    72-72 F REQ-5 of REQ-3: Won?t duplicate queued tasks
    73-73 F REQ-6: Developer (required)
    75-75 F REQ-7 of REQ-6: Claims first `status: queued`, creates `feature/{task-id}-{slug}`, applies...
    76-76 F REQ-8: Reviewer (required)
    78-78 F REQ-9 of REQ-8: On PR `opened/synchronize`, posts an automated checklist comment (CI...
    79-79 F REQ-10 of REQ-8: Never merges
    80-80 F REQ-11: Integrator (required)
    82-82 F REQ-12 of REQ-11: On PR `closed (merged:true)`, flips task `in_review ? done` with a commit...
    86-86 F REQ-13: Fields
    87-87 F REQ-14: States
    ");
    assert_eq!(poor_man.requirements.len(), 46);
    assert_eq!(kinds(&poor_man, RequirementKind::NonFunctional), 13);
    assert_eq!(first_lines(&poor_man.goals), [20, 21, 22, 23, 24]);
    assert_eq!(first_lines(&poor_man.non_goals), [28, 29, 30, 31]);
    assert_eq!(first_lines(&poor_man.milestones), [185, 193, 203, 213]);
    assert_eq!(first_lines(&poor_man.acceptance), [190, 191, 198, 199, 200, 201, 208, 209, 210, 211, 218, 219, 220]);
    assert_eq!(first_lines(&poor_man.risks), [226, 227, 228, 229]);
    assert_eq!(first_lines(&poor_man.open_questions), [235, 236, 237, 238]);
}

#[test]
fn delivery_numbered_list_and_table() {
    let delivery = read(DELIVERY);
    assert_eq!(ids(&delivery), (1..=12).map(|number| format!("REQ-{number}")).collect::<Vec<_>>());
    assert_eq!(lines_of(&delivery), [22, 23, 24, 25, 26, 27, 28, 34, 35, 36, 37, 38]);
    let qualities: Vec<&str> =
        delivery.requirements.iter().skip(7).map(|requirement| requirement.title.as_str()).collect();
    assert_eq!(qualities, ["Reliability", "Observability", "Security", "Cost", "Extensibility"]);
    let cost = delivery.requirements.get(10).expect("the fourth row");
    assert_eq!(cost.kind, RequirementKind::NonFunctional);
    assert!(cost.text.starts_with("Autoscale agents"), "{}", cost.text);
    assert_eq!(first_lines(&delivery.goals), [18]);
    assert_eq!(first_lines(&delivery.open_questions), [263, 264, 265, 266]);
    assert_eq!(first_lines(&delivery.milestones), [229, 233, 238, 241, 244, 247, 251, 252]);
}
