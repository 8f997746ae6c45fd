//! What lies where: the top level, names of modules, the index of decisions, lints in every crate.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

/// The top level beside dotfiles, which tools bring.
const TOP_LEVEL: [&str; 11] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "orch-proto",
    "orch-tui",
    "orchd",
    "recipes",
    "sandbox",
    "tests",
];

/// Names that say nothing of what is inside.
const BANNED_MODULES: [&str; 7] = ["common", "helper", "helpers", "manager", "misc", "util", "utils"];

const DECISIONS: &str = "orchd/docs/adr/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    [top_level(tree), modules(tree), decisions(tree), manifests(tree)].concat()
}

fn top_level(tree: &Tree) -> Vec<Finding> {
    let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = tree.files.keys().map(first).collect();
    let fits = |name: &String| name.starts_with('.') || TOP_LEVEL.contains(&name.as_str());
    names
        .into_iter()
        .filter(|name| !fits(name))
        .map(|name| Finding::file(&name, "the top level is fixed; documents belong into orchd/docs, data into recipes"))
        .collect()
}

fn modules(tree: &Tree) -> Vec<Finding> {
    let banned = |path: &str| {
        let mut names = path.trim_end_matches(".rs").split('/');
        names.find(|name| BANNED_MODULES.contains(name)).map(str::to_owned)
    };
    tree.ending(".rs")
        .filter_map(|(path, _)| {
            let name = banned(path)?;
            Some(Finding::file(path, format!("`{name}` says nothing; name what is inside")))
        })
        .collect()
}

/// Decisions are numbered without gaps, and the index names each.
fn decisions(tree: &Tree) -> Vec<Finding> {
    let index_path = format!("{DECISIONS}README.md");
    let index = tree.files.get(&index_path).and_then(Option::as_deref).unwrap_or_default();
    let files: Vec<&str> = tree.files.keys().filter_map(|path| path.strip_prefix(DECISIONS)).collect();
    let mut findings = Vec::new();
    let records = files.iter().filter(|file| **file != "README.md");
    for (place, file) in records.enumerate() {
        let path = format!("{DECISIONS}{file}");
        if !file.starts_with(&format!("{:04}-", place + 1)) {
            findings.push(Finding::file(&path, format!("is number {:04} of the decisions", place + 1)));
        }
        if !index.contains(&format!("({file})")) {
            findings.push(Finding::file(&index_path, format!("does not name `{file}`")));
        }
    }
    for (line, text) in index.lines().enumerate() {
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let gone = linked.filter(|link| link.starts_with(|c: char| c.is_ascii_digit()) && !files.contains(link));
        findings.extend(gone.map(|link| Finding::at(&index_path, line, format!("there is no `{link}`"))));
    }
    findings
}

/// Every crate takes the lints of the workspace.
fn manifests(tree: &Tree) -> Vec<Finding> {
    tree.ending("/Cargo.toml")
        .filter(|(_, text)| text.contains("[package]") && !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| Finding::file(path, "needs `[lints]` with `workspace = true`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_new_name_at_the_top_is_found() {
        assert_eq!(found(&[("README.md", ""), (".github/x.yml", ""), ("orchd/src/lib.rs", "")]), [""; 0]);
        assert!(found(&[("notes.txt", "")])[0].starts_with("notes.txt: the top level is fixed"));
        assert!(found(&[("docs/a.md", "")])[0].starts_with("docs: the top level is fixed"));
    }

    #[test]
    fn modules_that_say_nothing_are_found() {
        assert_eq!(found(&[("orchd/src/utils.rs", "")]).len(), 1);
        assert_eq!(found(&[("orchd/src/common/x.rs", "")]).len(), 1);
        assert_eq!(found(&[("orchd/src/commons.rs", "")]).len(), 0);
    }

    #[test]
    fn decisions_and_index_agree() {
        let first = ("orchd/docs/adr/0001-a.md", "");
        let index = |text| ("orchd/docs/adr/README.md", text);
        assert_eq!(found(&[first, index("[0001](0001-a.md)")]), [""; 0]);
        assert!(found(&[first, index("")])[0].contains("does not name `0001-a.md`"));
        assert!(found(&[first, index("[1](0001-a.md) [2](0002-b.md)")])[0].contains("there is no `0002-b.md`"));
        let gap = ("orchd/docs/adr/0003-c.md", "");
        assert!(found(&[first, gap, index("(0001-a.md) (0003-c.md)")])[0].contains("is number 0002"));
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert_eq!(found(&[("orchd/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n")]), [""; 0]);
        assert_eq!(found(&[("orchd/Cargo.toml", "[package]\n")]).len(), 1);
    }
}
