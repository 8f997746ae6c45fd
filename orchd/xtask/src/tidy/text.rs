//! What may stand in a file, whatever its language: characters, marks for later, paths and hosts of one machine.

use super::Finding;
use super::source::{Source, words};
use super::tree::Tree;

/// Endings of what a compiler or an interpreter reads.
const SOURCES: [&str; 9] = [".rs", ".toml", ".py", ".sh", ".sql", ".yaml", ".yml", "Makefile", ".ci/run"];

/// The one place that crates come from.
const CRATES: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// People of examples, and the home that runs have inside their sandbox.
const HOMES: [&str; 4] = ["alice", "bob", "run", "u"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.text() {
        if SOURCES.iter().any(|end| path.ends_with(end)) {
            findings.extend(foreign_characters(path, text));
            findings.extend(marks(path, text));
        }
        findings.extend(machine_paths(path, text));
        findings.extend(registries(path, text));
    }
    findings
}

/// Only ASCII: a letter that only looks like another one hides what code does.
fn foreign_characters(path: &str, text: &str) -> Vec<Finding> {
    let line = text.lines().enumerate().find(|(_, line)| !line.is_ascii());
    line.map(|(at, _)| Finding::at(path, at, "is not ASCII; write it as an escape")).into_iter().collect()
}

/// What is left for later names the issue that it is left to.
fn marks(path: &str, text: &str) -> Vec<Finding> {
    let comments = if path.ends_with(".rs") { Source::new(path, text, &[]).comments } else { text.to_owned() };
    let mut findings = Vec::new();
    for (at, line) in comments.lines().enumerate() {
        for mark in ["TODO", "FIXME", "XXX", "HACK"] {
            let bad = |start: usize| !names_issue(&line[start + mark.len()..]) || mark != "TODO";
            if words(line, mark).any(bad) && !path.ends_with("tidy/text.rs") {
                findings.push(Finding::at(path, at, format!("`{mark}` must be a `TODO(#N)` that names its issue")));
            }
        }
    }
    findings
}

fn names_issue(rest: &str) -> bool {
    let number = rest.strip_prefix("(#").and_then(|rest| rest.split_once(')')).map(|(number, _)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Nothing names a directory of the machine that somebody worked on.
fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let names = |prefix: &str, allowed: &dyn Fn(&str) -> bool| {
            line.match_indices(prefix).any(|(start, _)| {
                let before = line[..start].chars().next_back();
                let is_start = !before.is_some_and(|c| c.is_ascii_alphanumeric() || "._-}/*".contains(c));
                let name = line[start + prefix.len()..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next();
                is_start && name.is_some_and(|name| !allowed(name))
            })
        };
        // Inside a sandbox the workspace has this name, which is for the sandbox and its callers to say.
        let is_sandbox = ["sandbox/", "orchd/adapters/", "orchd/src/host.rs"].iter().any(|own| path.starts_with(own));
        let found = names("/root/", &|_| false)
            || names("/home/", &|name| name.is_empty() || HOMES.contains(&name))
            || (!is_sandbox && names("/work/", &str::is_empty));
        if found && !path.ends_with("tidy/text.rs") {
            findings.push(Finding::at(path, at, "names a directory of one machine"));
        }
    }
    findings
}

/// Crates come from the public registry and from nowhere else.
fn registries(path: &str, text: &str) -> Vec<Finding> {
    let bad = |line: &str| match path {
        "Cargo.lock" => line.starts_with("source = ") && line != CRATES,
        ".cargo/config.toml" => {
            let line = line.trim_start();
            ["[source", "[registr", "replace-with", "registry"].iter().any(|start| line.starts_with(start))
        }
        _ => false,
    };
    let lines = text.lines().enumerate().filter(|(_, line)| bad(line));
    lines.map(|(at, _)| Finding::at(path, at, "crates come from the public registry only")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn only_ascii_in_sources() {
        assert_eq!(found("orchd/src/a.rs", "let a = 'x';\n"), 0);
        assert_eq!(found("orchd/src/a.rs", "let a = '\u{e4}';\n"), 1);
        assert_eq!(found("README.md", "\u{2500}\n"), 0);
    }

    #[test]
    fn marks_name_their_issue() {
        assert_eq!(found("orchd/src/a.rs", "// TODO(#12): more\n"), 0);
        assert_eq!(found("orchd/src/a.rs", "// TODO: more\n"), 1);
        assert_eq!(found("orchd/src/a.rs", "// TODO(soon)\n"), 1);
        assert_eq!(found("orchd/src/a.rs", "// FIXME(#12)\n"), 1);
        assert_eq!(found("orchd/src/a.rs", "let word = \"TODO\";\n"), 0);
        assert_eq!(found(".ci/run", "# TODO later\n"), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(found("README.md", "in /home/alice/x and /proc/self/root/etc and $HOME/work/x\n"), 0);
        assert_eq!(found("README.md", "in /home/mary/x\n"), 1);
        assert_eq!(found("README.md", "`/root/.cargo`\n"), 1);
        assert_eq!(found("README.md", "`/root/orch`\n"), 1);
        assert_eq!(found("README.md", "`/work/brief`\n"), 1);
        assert_eq!(found("sandbox/src/spec.rs", "// `/work/x`\n"), 0);
    }

    #[test]
    fn crates_from_elsewhere_are_found() {
        assert_eq!(found("Cargo.lock", &format!("{CRATES}\n")), 0);
        assert_eq!(found("Cargo.lock", "source = \"git+https://example.org/x\"\n"), 1);
        assert_eq!(found(".cargo/config.toml", "[alias]\n"), 0);
        assert_eq!(found(".cargo/config.toml", "[source.crates-io]\nreplace-with = \"x\"\n"), 2);
    }
}
