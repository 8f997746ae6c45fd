//! Small documents of our own in the styles that real ones are written in.

use super::{first_lines, outline, read};
use orch_core::planner::RequirementKind;

#[test]
fn numbered_headings_with_user_stories() {
    let stories = read(include_str!("../planner_fixtures/styles/stories.md"));
    insta::assert_snapshot!(outline(&stories), @r"
    14-21 F REQ-1: reserve a tool +2
    23-29 F REQ-2: Reminders +1
    ");
    assert_eq!(first_lines(&stories.open_questions), [33]);
    let first = stories.requirements.first().expect("there are two");
    assert_eq!(first.acceptance.len(), 2);
    assert!(first.acceptance.iter().all(|criterion| criterion.starts_with("WHEN ")));
}

#[test]
fn feature_specification_with_scenarios() {
    let scenarios = read(include_str!("../planner_fixtures/styles/scenarios.md"));
    insta::assert_snapshot!(outline(&scenarios), @r"
    8-19 F US-1: See today's count [P1] +2
    23-25 F US-2: Export a month [P2]
    35-35 F FR-001: System MUST count every passage once
    36-36 F FR-002: System MUST keep counts for two years
    ");
    assert_eq!(first_lines(&scenarios.acceptance), [46]);
    // Edge cases and entities are no requirements, and are not lost.
    assert_eq!(first_lines(&scenarios.unclassified), [29, 40]);
}

#[test]
fn ids_in_bold_paragraphs() {
    let paragraphs = read(include_str!("../planner_fixtures/styles/paragraphs.md"));
    insta::assert_snapshot!(outline(&paragraphs), @r"
    5-5 F FR1: The kiosk shall print a ticket
    7-9 F FR2: The kiosk shall accept the following coins
    13-13 N NFR1: A ticket is printed within two seconds
    ");
    let coins = paragraphs.requirements.get(1).expect("FR2");
    assert_eq!(coins.text, "The kiosk shall accept the following coins:\n- 1 euro\n- 2 euro");
}

#[test]
fn tables_with_and_without_ids() {
    let table = read(include_str!("../planner_fixtures/styles/table.md"));
    insta::assert_snapshot!(outline(&table), @r"
    17-17 F DOOR-001: The door shall close after 30 seconds [Must]
    18-18 F DOOR-002: The door shall stop at an obstacle [Must]
    24-24 F AL-001: An alarm shall sound above 8 degrees +1
    25-25 F AL-002: An alarm shall be logged +1
    31-31 N REQ-1: Availability
    32-32 N REQ-2: Safety
    ");
    let door = table.requirements.first().expect("DOOR-001");
    assert_eq!(door.text, "The door shall close after 30 seconds.\nRationale: Energy");
    let alarm = table.requirements.get(2).expect("AL-001");
    assert_eq!(alarm.acceptance, ["Verification Method: Test"]);
}

#[test]
fn bracketed_ids_keep_their_examples() {
    let brackets = read(include_str!("../planner_fixtures/styles/brackets.md"));
    insta::assert_snapshot!(outline(&brackets), @r"
    13-15 F SRS-001: The builder shall read all files of a folder
    17-22 F SRS-004: The builder shall skip hidden files
    26-26 F SRS-002: The builder shall write one index
    ");
    assert_eq!(brackets.title, "Index Builder SRS");
}

#[test]
fn a_roadmap_is_read_where_there_is_nothing_else() {
    let roadmap = read(include_str!("../planner_fixtures/styles/roadmap.md"));
    insta::assert_snapshot!(outline(&roadmap), @r"
    8-8 F REQ-1: Runtime
    9-9 F REQ-2 of REQ-1: version 3.9 or newer
    15-15 F REQ-3: Board
    16-16 F REQ-4 of REQ-3: Show the pieces
    17-17 F REQ-5 of REQ-3: Move a piece
    18-18 F REQ-6: Rules
    19-19 F REQ-7 of REQ-6: Refuse illegal moves
    23-23 F REQ-8: Clock
    24-24 F REQ-9 of REQ-8: Count down
    ");
    assert!(roadmap.warnings.iter().any(|warning| warning.contains("items of the milestones")));
}

#[test]
fn features_with_priorities_constraints_and_strokes() {
    let mixed = read(include_str!("../planner_fixtures/styles/mixed.md"));
    insta::assert_snapshot!(outline(&mixed), @r"
    20-20 F REQ-1: Beds [P0]
    21-21 F REQ-2 of REQ-1: with a name [must have]
    22-22 F REQ-3 of REQ-1: with a size [must have]
    29-29 F REQ-4: a reminder
    39-39 N REQ-5: Plans are private by default
    43-43 C CON-1: Runs in a browser
    ");
    assert_eq!(first_lines(&mixed.goals), [11]);
    assert_eq!(first_lines(&mixed.non_goals), [14]);
    assert_eq!(first_lines(&mixed.constraints), [43, 44]);
    assert_eq!(first_lines(&mixed.open_questions), [48]);
    assert!(mixed.warnings.iter().any(|warning| warning.contains("line 23 is struck out")));
}

#[test]
fn a_plain_text_gives_its_bullets_and_demands() {
    let plain = read(include_str!("../planner_fixtures/styles/plain.md"));
    insta::assert_snapshot!(outline(&plain), @r"
    3-3 F REQ-1: The shop must show prices with tax
    5-5 F REQ-2: customers can search for goods
    6-6 F REQ-3: customers can pay
    7-7 F REQ-4 of REQ-3: by card
    8-8 F REQ-5 of REQ-3: by invoice
    ");
    assert_eq!(plain.title, "Make me a small shop");
}

#[test]
fn plain_words_head_sections_too() {
    let text = "# Units\n\n## What people need\n\n- Convert metres to feet\n- Convert kilos to pounds\n\n\
                ## Requirements\n\n- Answer in a millisecond\n\n## Not now\n\n- A web page\n\n\
                ## Done when\n\n- All tests pass\n";
    let units = read(text);
    assert_eq!(units.requirements.len(), 3, "{}", outline(&units));
    assert_eq!((first_lines(&units.non_goals), first_lines(&units.acceptance)), (vec![14], vec![18]));
}

#[test]
fn front_matter_is_read_and_unknown_keys_are_kept() {
    let text = "---\ntitle: Shop\nblueprint: web-api\nparameters:\n  port: 8080\n  name: shop\nconstraints:\n  - python only\nowner: me\n---\n# Other\n\n## Features\n- FR-1: list goods\n";
    let shop = read(text);
    assert_eq!(shop.title, "Shop");
    assert_eq!(shop.front_matter.blueprint.as_deref(), Some("web-api"));
    assert_eq!(shop.front_matter.parameters.get("port").map(String::as_str), Some("8080"));
    assert_eq!(shop.front_matter.unknown.get("owner").map(String::as_str), Some("me"));
    assert_eq!(shop.constraints.first().map(|constraint| constraint.text.as_str()), Some("python only"));
    assert!(shop.warnings.iter().any(|warning| warning.contains("`owner`")));
    let goods = shop.requirements.first().expect("there is one");
    assert_eq!((goods.id.as_str(), goods.lines.first), ("FR-1", 14));
}

#[test]
fn an_id_that_is_used_twice_is_reported() {
    let twice = read("# A\n\n## Requirements\n- FR-1: one\n- FR-1: two\n- three\n");
    assert_eq!(super::ids(&twice), ["FR-1", "REQ-1", "REQ-2"]);
    assert!(twice.warnings.iter().any(|warning| warning.contains("id `FR-1` is used again in line 5")));
}

#[test]
fn numbers_of_the_source_are_not_given_again() {
    let taken = read("# A\n\n## Requirements\n- one\n- REQ-1: two\n- three\n");
    assert_eq!(super::ids(&taken), ["REQ-2", "REQ-1", "REQ-3"]);
}

#[test]
fn words_that_look_like_ids_are_text() {
    let text =
        "# A\n\n## Functional requirements\n- SHA-256: hashes of files\n- S3: storage\n- P0: fast\n- OAuth2 login\n";
    let words = read(text);
    assert_eq!(super::ids(&words), ["REQ-1", "REQ-2", "REQ-3", "REQ-4"]);
}

#[test]
fn a_series_of_the_author_is_believed() {
    let series = read("# A\n\n## Requirements\n- SHOP-1: sell\n- SHOP-2: buy\n");
    assert_eq!(super::ids(&series), ["SHOP-1", "SHOP-2"]);
}

#[test]
fn a_traceability_matrix_defines_nothing() {
    let text = "# A\n\n## Functional requirements\n- FR-1: sell\n\n## Requirements traceability matrix\n\n| ID | Test |\n|---|---|\n| FR-1 | t1 |\n";
    assert_eq!(super::ids(&read(text)), ["FR-1"]);
}

#[test]
fn qualities_count_where_no_section_is_named_so() {
    let text = "# A\n\n## Features\n- sell\n\n## Performance\n- answers in 50 ms\n";
    let qualities = read(text);
    let kinds: Vec<RequirementKind> = qualities.requirements.iter().map(|requirement| requirement.kind).collect();
    assert_eq!(kinds, [RequirementKind::Functional, RequirementKind::NonFunctional]);
}
