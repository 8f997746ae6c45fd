//! What is no Vision, and Visions that want to do harm.

use orch_core::planner::{
    ExtractError, PLAN_TASKS_MAX, PlanInput, REQUIREMENTS_MAX, VISION_BYTES_MAX, extract, propose_plan,
};

#[test]
fn blank_texts_are_empty() {
    for blank in ["", " \n\t\r\n", "\u{feff}", "\u{feff}\n"] {
        assert_eq!(extract(blank.as_bytes()), Err(ExtractError::EmptyVision), "{blank:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_offset() {
    assert_eq!(extract(b"# A\n\0"), Err(ExtractError::NotText { offset: 4 }));
    assert_eq!(extract(b"ab\xff\xfe"), Err(ExtractError::NotText { offset: 2 }));
    // UTF-16 with a byte order mark.
    assert_eq!(extract(b"\xff\xfe#\0 \0"), Err(ExtractError::NotText { offset: 3 }));
}

#[test]
fn one_byte_too_many_is_refused_before_it_is_read() {
    let fits = vec![b'a'; VISION_BYTES_MAX];
    assert!(extract(&fits).is_ok());
    let much = vec![0; VISION_BYTES_MAX + 1];
    let refused = ExtractError::TooLarge { size_bytes: VISION_BYTES_MAX + 1, max_bytes: VISION_BYTES_MAX };
    assert_eq!(extract(&much), Err(refused.clone()));
    assert_eq!(refused.to_string(), "vision is too large: 1048577 bytes, at most 1048576 are read");
}

#[test]
fn a_text_without_requirements_is_one_goal() {
    let text = "# Thoughts\n\nIt is a fine day.\n\nTomorrow too.\n";
    let extraction = extract(text.as_bytes()).expect("it is text");
    assert!(extraction.requirements.is_empty());
    assert_eq!(extraction.goals.len(), 1);
    let goal = extraction.goals.first().expect("there is one");
    assert_eq!((goal.text.as_str(), goal.lines.first, goal.lines.last), (text.trim(), 1, 5));
    assert!(extraction.warnings.iter().any(|warning| warning.contains("the whole text is taken as one goal")));
}

#[test]
fn control_characters_do_not_reach_the_output() {
    let text = "# A\u{1b}[31m\n\n## Features\n- red\u{1b}]0;x\u{7} \u{202e}text\n";
    let json = serde_json::to_string(&extract(text.as_bytes()).expect("it is text")).expect("it is data");
    assert!(!json.contains("\\u001b") && !json.contains("\\u0007") && !json.contains('\u{202e}'), "{json}");
}

#[test]
fn broken_front_matter_is_text() {
    for text in ["---\na: [\n---\n# A\n- b\n", "---\n- a\n---\n# A\n- b\n", "---\nno end\n- b\n"] {
        let extraction = extract(text.as_bytes()).expect("it is text");
        assert_eq!(extraction.front_matter.lines, None, "{text:?}");
        assert!(extraction.requirements.iter().any(|requirement| requirement.text == "b"), "{text:?}");
    }
}

#[test]
fn hostile_markdown_is_read_to_its_end() {
    let size = VISION_BYTES_MAX / 32;
    let deep: String = (0..400).map(|depth| format!("{}- a\n", "  ".repeat(depth))).collect();
    let wide = format!("# Features\n|{}\n|{}\n{}", "a|".repeat(2_000), "-|".repeat(2_000), "|a\n".repeat(5_000));
    let long = format!("# Features\n## {}\n{}", "a ".repeat(size / 4), "- b\n".repeat(size / 8));
    let repeated =
        ["[", "*", "> ", "- ", "`", "<", "![", "**a:**\n\n", "# a\n", "~~", "|", "1. ", "\\", "<!--", "(FR-1) "];
    let texts = repeated.iter().map(|part| part.repeat(size / part.len())).chain([deep, wide, long]);
    for text in texts {
        let extraction = extract(text.as_bytes()).expect("it is text");
        assert!(extraction.requirements.len() <= orch_core::planner::REQUIREMENTS_MAX);
    }
}

/// Of a Vision that would be a hundred thousand tasks a plan is made that one command can make into tasks, and the rest is kept and
/// named with the next step.
#[test]
fn more_requirements_than_fit_are_kept_as_unclassified() {
    for count in [2_100, 100_000] {
        let text = format!("# A\n\n## Features\n{}", "- sell\n".repeat(count));
        let extraction = extract(text.as_bytes()).expect("it is text");
        assert_eq!(extraction.requirements.len(), REQUIREMENTS_MAX);
        assert_eq!(extraction.unclassified.len(), count - REQUIREMENTS_MAX);
        let says = |words: &str| extraction.warnings.iter().any(|warning| warning.contains(words));
        assert!(says("only the first 2000 requirements") && says("another project"), "{:?}", extraction.warnings);
        let (requirements, acceptance) = (&extraction.requirements, &extraction.acceptance);
        let (blueprint, toolchains, empty_repository) = (None, &[][..], true);
        let input = PlanInput { requirements, acceptance, blueprint, toolchains, empty_repository };
        let plan = propose_plan(&input).expect("it can be planned");
        assert!(plan.tasks().count() <= PLAN_TASKS_MAX);
    }
}

/// YAML writes any character with printable ones; none of those that steer or turn text reaches a title.
#[test]
fn titles_of_the_front_matter_are_harmless() {
    let text = "---\ntitle: \"a\\e[2J\\u202Eb\\u061C\\u2067c\"\n---\n\n## Functional requirements\n\n- FR-1: x\u{61c}\u{202e}y\n";
    let read = orch_core::planner::extract(text.as_bytes()).unwrap();
    let title = &read.requirements[0].title;
    for text in [&read.title, title] {
        assert!(!text.chars().any(orch_core::printable::misleads), "{text:?}");
    }
    assert!(read.title.starts_with('a') && read.title.ends_with('c'), "{}", read.title);
}
