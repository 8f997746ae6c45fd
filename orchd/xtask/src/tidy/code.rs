//! What code of a crate may name: invariants I1 and I8, where `unsafe` is, and that no test waits for time to pass.

use super::Finding;
use super::source::{Source, test_modules, words};
use super::tree::Tree;

/// The core does none of this (I1).
const IMPURE_MODULES: [&str; 5] = ["env", "fs", "net", "process", "thread"];
const IMPURE_NAMES: [&str; 5] = ["tokio", "rand", "SystemTime", "Instant", "rusqlite"];

/// Words of the orchestrator that the sandbox does not know (I8). Not `task`, which is the kernel's word, too.
const ORCHESTRATOR_WORDS: [&str; 14] = [
    "approval",
    "approvals",
    "blueprint",
    "blueprints",
    "epic",
    "epics",
    "orchctl",
    "orchestrator",
    "planner",
    "project",
    "projects",
    "requirements",
    "vision",
    "visions",
];

/// Where `unsafe` may be: the sandbox's system calls, its programs and tests that attack it, and SQLite's way to the
/// simulated disk.
const UNSAFE_PLACES: [&str; 3] = ["sandbox/src/sys/", "sandbox/tests/", "tests/tests/sim/disk/vfs.rs"];

/// Plays a server, which can be slow.
const SLOW_PLACE: &str = "tests/src/model_server/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let modules: Vec<String> = tree.ending(".rs").flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        if !text.starts_with("//! ") {
            findings.push(Finding::file(path, "must open with `//!` and its purpose"));
        }
        let source = Source::new(path, text, &modules);
        findings.extend(sleeps(path, &source));
        findings.extend(unsafe_code(path, &source));
        if path.starts_with("orchd/core/src/") {
            findings.extend(impure(path, &source));
        }
        if path.starts_with("sandbox/src/") {
            findings.extend(orchestrator_words(path, text));
        }
    }
    findings
}

fn sleeps(path: &str, source: &Source) -> Vec<Finding> {
    if path.starts_with(SLOW_PLACE) {
        return Vec::new();
    }
    let calls = |line: &str| words(line, "sleep").any(|at| line[at..].starts_with("sleep("));
    let lines = source.test_lines().filter(|(_, line)| calls(line) && !line.contains("fn sleep("));
    lines.map(|(at, _)| Finding::at(path, at, "a test waits for a state, with a bound, never for a time")).collect()
}

fn unsafe_code(path: &str, source: &Source) -> Vec<Finding> {
    if UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let lines = source.code.lines().enumerate().filter(|(_, line)| words(line, "unsafe").next().is_some());
    lines.map(|(at, _)| Finding::at(path, at, "`unsafe` is in `sandbox/src/sys` only")).collect()
}

/// I1, where clippy's list of functions has gaps: names of whole modules.
fn impure(path: &str, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.product_lines() {
        let module = IMPURE_MODULES.iter().find(|module| names_of_std(line).any(|name| name == **module));
        let name = IMPURE_NAMES.iter().find(|name| words(line, name).next().is_some());
        if let Some(name) = module.or(name) {
            findings.push(Finding::at(path, at, format!("I1: the core does not know `{name}`")));
        }
    }
    findings
}

/// What a line takes from `std`: the word after `std::`, or each that begins an item of `std::{...}`.
fn names_of_std(line: &str) -> impl Iterator<Item = &str> {
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    words(line, "std").filter_map(|at| line[at..].strip_prefix("std::")).flat_map(move |rest| {
        let group = rest.strip_prefix('{').map(|group| group.trim_end_matches([';', '}']));
        let items: Vec<&str> = group.map_or_else(|| vec![rest], |group| group.split(',').collect());
        items.into_iter().map(str::trim).map(move |item| &item[..word(item)])
    })
}

fn orchestrator_words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(word) = parts_of_words(line).into_iter().find(|word| ORCHESTRATOR_WORDS.contains(&word.as_str())) {
            findings.push(Finding::at(path, at, format!("I8: the sandbox does not know `{word}`")));
        }
    }
    findings
}

/// Words in lower case, names taken apart: `ProjectId` and `project_id` are `project` and `id`.
fn parts_of_words(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut last = ' ';
    for c in line.chars() {
        if !c.is_ascii_alphabetic() || (c.is_ascii_uppercase() && last.is_ascii_lowercase()) {
            parts.push(String::new());
        }
        if c.is_ascii_alphabetic()
            && let Some(part) = parts.last_mut()
        {
            part.push(c.to_ascii_lowercase());
        }
        last = c;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let text = format!("//! Purpose.\n{text}\n");
        check(&Tree::of(&[(path, &text)])).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn every_file_says_what_it_is_for() {
        let findings = check(&Tree::of(&[("orchd/src/a.rs", "fn a() {}\n")]));
        assert_eq!(findings[0].message, "must open with `//!` and its purpose");
    }

    #[test]
    fn a_test_that_sleeps_is_found() {
        assert_eq!(found("tests/tests/a.rs", "std::thread::sleep(x);").len(), 1);
        assert_eq!(found("orchd/src/a.rs", "#[cfg(test)]\nmod tests {\n    tokio::time::sleep(x).await;\n}").len(), 1);
        assert_eq!(found("tests/src/model_server/a.rs", "tokio::time::sleep(x).await;").len(), 0);
        assert_eq!(found("orchd/src/a.rs", "tokio::time::sleep(x).await;").len(), 0);
        assert_eq!(found("tests/tests/a.rs", "shell(\"sleep(9)\"); sleeper(1); // sleep(1)").len(), 0);
    }

    #[test]
    fn unsafe_code_in_another_place_is_found() {
        assert_eq!(found("orchd/src/a.rs", "unsafe { f() }").len(), 1);
        assert_eq!(found("sandbox/src/sys/a.rs", "unsafe { f() }").len(), 0);
        assert_eq!(found("orchd/src/a.rs", "// unsafe\nlet a = \"unsafe\";").len(), 0);
    }

    #[test]
    fn a_core_that_is_not_pure_is_found() {
        let core = |text| found("orchd/core/src/a.rs", text);
        assert_eq!(core("use std::fs::File;")[0], "I1: the core does not know `fs`");
        assert_eq!(core("use std::{fmt, env, io};")[0], "I1: the core does not know `env`");
        assert_eq!(core("let now = Instant::now();").len(), 1);
        assert_eq!(core("use std::time::Duration; use std::collections::BTreeMap;").len(), 0);
        assert_eq!(core("#[cfg(test)]\nuse std::fs;").len(), 0);
        assert_eq!(found("orchd/store/src/a.rs", "use std::fs;").len(), 0);
    }

    #[test]
    fn a_sandbox_that_knows_its_caller_is_found() {
        let sandbox = |text| found("sandbox/src/a.rs", text);
        assert_eq!(sandbox("struct ProjectId;")[0], "I8: the sandbox does not know `project`");
        assert_eq!(sandbox("// for the planner").len(), 1);
        assert_eq!(sandbox("let tasks = \"/proc/1/task\"; projected();").len(), 0);
    }
}
