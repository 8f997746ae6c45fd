//! Arbitrary and almost-right files: the parsers and the detection answer, with a place inside of the file, and never
//! panic. Built from pieces that YAML, recipes and manifests are made of, so that most cases get past the first line.

use orch_core::recipe::{Glob, RecipeError};
use orch_core::toolchain::{RepoFile, detect};
use orch_core::{blueprint, recipe};
use proptest::prelude::*;

const PIECES: &[&str] = &[
    "steps",
    "tools",
    "name",
    "version",
    "run",
    "timeout",
    "env",
    "cwd",
    "tasks",
    "needs",
    "key",
    "gates",
    "verify",
    ":",
    ": ",
    "- ",
    "-",
    "? ",
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "\t",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "!x",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "\\",
    "#",
    "---",
    "...",
    "%YAML 1.2",
    "<<: ",
    "0",
    "-1",
    "1e9",
    "~",
    "true",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\0",
    "\r",
    "\r\n",
    "\u{e9}",
    "sha256:",
    "../x",
    "/x",
    "**",
];

fn yamlish() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

/// A right recipe with some bytes cut out or replaced.
fn damaged() -> impl Strategy<Value = String> {
    let good =
        "tools:\n  - name: a\n    env: { B: c }\nsteps:\n  - run: |\n      x\n    timeout: 5\n    cwd: ./d\n  - 'y'\n";
    (0..good.len(), 0..8usize, prop::sample::select(PIECES)).prop_map(move |(at, cut, piece)| {
        let (before, rest) = good.split_at(at);
        format!("{before}{piece}{}", rest.get(cut..).unwrap_or_default())
    })
}

fn check<T>(text: &str, result: Result<T, RecipeError>) -> Result<(), TestCaseError> {
    if let Err(error) = result {
        // A scanner may stop on the line after the last one, and counts every kind of line break.
        let lines = text.chars().filter(|c| "\n\r\u{85}\u{2028}\u{2029}".contains(*c)).count() + 2;
        prop_assert!((1..=lines).contains(&error.place.line), "{error} in {text:?}");
        prop_assert!(error.place.column >= 1);
        let message = error.to_string();
        prop_assert!(!message.chars().any(char::is_control), "{message:?}");
        prop_assert!(error.hint().is_none_or(|hint| !hint.chars().any(char::is_control)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_answer(text in prop_oneof![yamlish(), damaged(), any::<String>()]) {
        check(&text, recipe::parse(&text, "r"))?;
        check(&text, recipe::parse_policy(&text, "p"))?;
        check(&text, blueprint::parse(&text, "b"))?;
    }

    #[test]
    fn what_parses_can_be_stored_and_read_back(text in damaged()) {
        if let Ok(recipe) = recipe::parse(&text, "r") {
            let stored = serde_json::to_string(&recipe).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<recipe::Recipe>(&stored).expect("reads back"), recipe);
        }
    }

    #[test]
    fn detection_answers(
        name in prop::sample::select(&[
            "Cargo.toml", "package.json", "pyproject.toml", "go.mod", "Makefile", "composer.json", "deno.json",
            "setup.cfg", "pom.xml", "x.csproj",
        ][..]),
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(prop::sample::select(&["[", "]", "{", "}", "=", ":", ",", "\"", "a", "workspace",
                "scripts", "test", "\n", "1", "dependencies", "[[package]]\n"][..]), 0..40)
                .prop_map(|pieces| pieces.concat().into_bytes()),
        ],
        dir in "[a-z/.]{0,12}",
    ) {
        let listing = [RepoFile { path: format!("{dir}{name}"), size: bytes.len() as u64 }];
        let found = detect(&listing, &|_| Some(bytes.clone()));
        prop_assert!(found.iter().all(|toolchain| !toolchain.evidence.is_empty()));
    }

    /// The fast matcher agrees with the definition.
    #[test]
    fn globs_match_as_defined(pattern in "[ab*?]{1,5}(/([ab?*]|\\*\\*){1,3}){0,3}", path in "[ab]{1,3}(/[ab]{1,3}){0,4}") {
        if let Ok(glob) = Glob::parse(&pattern) {
            let segments: Vec<&str> = glob.as_str().split('/').collect();
            let parts: Vec<&str> = path.split('/').collect();
            prop_assert_eq!(glob.matches(&path), by_definition(&segments, &parts), "{} on {}", pattern, path);
        }
    }
}

fn by_definition(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|skip| by_definition(rest, &path[skip..])),
        Some((first, rest)) => path.split_first().is_some_and(|(segment, more)| {
            segment_by_definition(first.as_bytes(), segment.as_bytes()) && by_definition(rest, more)
        }),
    }
}

fn segment_by_definition(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| segment_by_definition(rest, &text[skip..])),
        Some((first, rest)) => text
            .split_first()
            .is_some_and(|(c, more)| (*first == b'?' || first == c) && segment_by_definition(rest, more)),
    }
}

/// The largest file of one repeated piece is read or refused in linear time; with a quadratic scanner this test would take
/// minutes instead of two seconds.
#[test]
fn largest_files_are_not_slow() {
    let more = ["a: b\n", "- a\n", "'a' ", "a ", "[a, ", "{a: ", "\"\\\n", "\n ", "- - ", "# x\n", "|\n "];
    for piece in PIECES.iter().copied().chain(more) {
        let text = piece.repeat((recipe::RECIPE_BYTES_MAX - 16) / piece.len());
        for prefix in ["", "steps: ["] {
            let text = format!("{prefix}{text}");
            check(&text, recipe::parse(&text, "r")).expect("a place and a clean message");
        }
    }
}
