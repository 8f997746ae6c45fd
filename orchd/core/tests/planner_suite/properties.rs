//! What holds for every text: no panic, lines within the text, unique ids, nothing of a list lost, sound plans.

use std::collections::BTreeSet;

use super::plans;
use orch_core::planner::{Extraction, LineRange, PlanInput, Statement, extract, propose_plan};
use proptest::prelude::*;

/// Pieces that real documents are made of, and some that they are not.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "# Title",
        "## Functional requirements",
        "## Non-functional requirements",
        "## Features",
        "### FR-1: Login",
        "### Requirement 2",
        "#### Acceptance criteria",
        "**Acceptance criteria:**",
        "**FR-3**: pay",
        "- FR-4: sell",
        "- sell",
        "  - to members",
        "    - old ones",
        "1. WHEN asked THEN answer",
        "| ID | Requirement |",
        "|---|---|",
        "| FR-5 | count |",
        "As a user, I want to pay, so that I own it.",
        "The shop must close.",
        "Priority: P1",
        "**Priority:** high",
        "> quoted",
        "> - FR-6: quoted",
        "```",
        "---",
        "~~- gone~~",
        "- ~~gone~~",
        "## Milestones",
        "### Phase 1: Start",
        "## Goals",
        "## Constraints",
        "- CON-1: small",
        "",
        "",
        "\t- tab",
        "<b>x</b>",
        "<!-- c -->",
        "## Glossary",
        "Scope:",
        "- **Out of scope:** y",
        "[FR-7] text",
        "FR-8: one\nFR-9: two",
        "\u{fc}\u{20ac}\u{1f600}",
        "- a\r- b",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,30}", 1 => "\\PC{0,12}"]
}

fn document() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.join("\n"))
}

fn statements(extraction: &Extraction) -> Vec<&Statement> {
    let lists = [
        &extraction.goals,
        &extraction.non_goals,
        &extraction.constraints,
        &extraction.acceptance,
        &extraction.open_questions,
        &extraction.risks,
        &extraction.milestones,
        &extraction.unclassified,
    ];
    lists.into_iter().flatten().collect()
}

/// Forms that text takes inside a section of requirements; `@` stands for words that must not be lost.
fn form() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "- @",
        "- @",
        "  - @",
        "    - @",
        "- [ ] @",
        "1. @",
        "   1. @",
        "- **@**: @",
        "- **@:**",
        "- FR-%: @",
        "- **FR-%** @",
        "\n@\n",
        "\nThe shop must @\n",
        "\nAs a user, I want @\n",
        "\n**FR-%:** @\n",
        "\n[FR-%] @\n",
        "\n**@**\n",
        "\n**@:**\n",
        "\n@:\n",
        "\n> @\n",
        "\n```\n@\n```\n",
        "\n### @\n",
        "\n#### @\n",
        "\n### FR-%: @\n",
        "\n### Requirement %\n",
        "\n**Acceptance criteria:**\n",
        "\n#### Acceptance criteria\n",
        "- **Acceptance criteria:** @",
        "\n### Description\n",
        "\n**Description:** @\n",
        "\n### Notes\n",
        "\n### Security\n",
        "\n### Usage\n",
        "\n### Edge cases\n",
        "\n### Constraints\n",
        "\n### Open questions\n",
        "\n### Glossary\n",
        "\n### Out of scope\n",
        "\n### Must have\n",
        "\n| ID | Requirement |\n|---|---|\n| FR-% | @ |\n",
        "\n| @ | @ |\n|---|---|\n| @ | @ |\n",
        "\n| Area | Expectation |\n|---|---|\n| @ | @ |\n",
        "- ~~@~~",
        "  @",
        "\n**@:** @\n",
        "- As a user, I want @, so that @.",
        "<b>@</b>",
    ])
}

/// Lines of a text as Markdown counts them.
fn line_count(text: &str) -> usize {
    text.replace("\r\n", "\n").replace('\r', "\n").lines().count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let read = extract(&bytes);
        prop_assert_eq!(read, extract(&bytes));
    }

    #[test]
    fn lines_lie_within_the_text_and_ids_are_unique(text in document()) {
        let Ok(extraction) = extract(text.as_bytes()) else { return Ok(()) };
        let last = u32::try_from(line_count(&text)).expect("the text is short");
        let fits = |lines: LineRange| lines.first >= 1 && lines.first <= lines.last && lines.last <= last;
        for requirement in &extraction.requirements {
            prop_assert!(fits(requirement.lines), "{:?} of {last}: {text:?}", requirement.lines);
            prop_assert!(!requirement.title.is_empty() && !requirement.text.is_empty());
        }
        for statement in statements(&extraction) {
            prop_assert!(fits(statement.lines), "{:?} of {last}: {text:?}", statement.lines);
        }
        let ids: BTreeSet<_> = extraction.requirements.iter().map(|requirement| &requirement.id).collect();
        prop_assert_eq!(ids.len(), extraction.requirements.len());
        for requirement in &extraction.requirements {
            prop_assert!(requirement.parent.iter().all(|parent| ids.contains(parent) && *parent != requirement.id));
        }
    }

    #[test]
    fn every_bullet_of_a_requirements_section_is_somewhere(bullets in prop::collection::vec("[a-z]{3,8}( [a-z]{3,8}){0,4}", 1..20), depths in prop::collection::vec(0_usize..3, 20)) {
        let mut text = "# T\n\n## Functional requirements\n\n".to_owned();
        let mut depth = 0;
        for (bullet, wanted) in bullets.iter().zip(&depths) {
            depth = (*wanted).min(depth + 1);
            text.push_str(&format!("{}- {bullet}\n", "  ".repeat(if text.ends_with("\n\n") { 0 } else { depth })));
        }
        let extraction = extract(text.as_bytes()).expect("it is text");
        for line in 5..=line_count(&text) {
            let line = u32::try_from(line).expect("the text is short");
            let holds = |lines: LineRange| lines.first <= line && line <= lines.last;
            let in_requirement = extraction.requirements.iter().any(|requirement| holds(requirement.lines));
            let stated = statements(&extraction).iter().any(|statement| holds(statement.lines));
            prop_assert!(in_requirement || stated, "line {line} of {text:?}");
        }
    }

    /// Words of list items, paragraphs, rows and code under a heading of requirements come out somewhere.
    #[test]
    fn no_words_of_a_requirements_section_are_lost(forms in prop::collection::vec(form(), 1..25)) {
        let mut text = "# T\n\n## Functional requirements\n".to_owned();
        let mut words = Vec::new();
        for (number, form) in forms.iter().enumerate() {
            let is_header = form.starts_with("\n| @");
            let is_heading = form.starts_with("\n#") || form.starts_with("\n**@") || form == &"\n@:\n";
            for (at, part) in form.replace('%', &number.to_string()).split('@').enumerate() {
                if at > 0 {
                    let word = format!("word{number}x{at}");
                    text.push_str(&word);
                    // Names of columns and headings are not text of the section.
                    if !(is_heading || is_header && at <= 2) {
                        words.push(word);
                    }
                }
                text.push_str(part);
            }
            text.push('\n');
        }
        let extraction = extract(text.as_bytes()).expect("it is text");
        let json = serde_json::to_string(&extraction).expect("it is data");
        for word in words {
            prop_assert!(json.contains(&word), "{word} is lost:\n{text}\n{json}");
        }
    }

    #[test]
    fn plans_are_sound_and_repeatable(text in document(), empty_repository: bool) {
        let Ok(extraction) = extract(text.as_bytes()) else { return Ok(()) };
        let input = PlanInput {
            requirements: &extraction.requirements,
            acceptance: &extraction.acceptance,
            blueprint: None,
            toolchains: &[],
            empty_repository,
        };
        let plan = propose_plan(&input).expect("requirements that were read can be planned");
        plans::check(&plan, &extraction);
        prop_assert_eq!(plan, propose_plan(&input).expect("it was planned before"));
    }

    #[test]
    fn data_survives_its_json(text in document()) {
        let Ok(extraction) = extract(text.as_bytes()) else { return Ok(()) };
        let json = serde_json::to_string(&extraction).expect("it is data");
        prop_assert_eq!(extraction, serde_json::from_str(&json).expect("it is its own JSON"));
    }
}
