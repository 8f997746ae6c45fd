//! Which crate may depend on which, and what every crate of the workspace has in common.
//!
//! Build and test dependencies count: an edge for tests is an edge.

use serde_json::Value;

use super::Finding;

/// Each crate and the crates of the workspace that it may name.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("orch-proto", &[]),
    ("orch-core", &["orch-proto"]),
    ("orch-store", &["orch-core", "orch-proto"]),
    ("orch-sandbox", &[]),
    ("orch-adapters", &["orch-core", "orch-proto", "orch-sandbox"]),
    ("orchd", &["orch-adapters", "orch-core", "orch-proto", "orch-sandbox", "orch-store"]),
    ("orch-tui", &["orch-proto"]),
    ("xtask", &[]),
    ("orch-tests", &["orch-adapters", "orch-core", "orch-proto", "orch-sandbox", "orch-store", "orch-tui", "orchd"]),
];

/// Crates from the registry that only these crates of the workspace may know. The tests put a disk under the store.
const USERS: [(&str, &[&str]); 1] = [("rusqlite", &["orch-store", "orch-tests"])];

/// `metadata` is the answer of `cargo metadata`.
pub(super) fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in items(metadata, "packages") {
        let name = text(package, "name");
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            let message = format!("crate `{name}` has no place among the crate edges; see adr/0009 before adding one");
            findings.push(Finding::file("orchd/xtask/src/tidy/edges.rs", message));
            continue;
        };
        for dependency in items(package, "dependencies").map(|dependency| text(dependency, "name")) {
            let of_workspace = ALLOWED.iter().any(|(known, _)| *known == dependency);
            // A crate names itself to switch features on for its own tests.
            if of_workspace && dependency != name && !allowed.contains(&dependency) {
                findings.push(finding(name, &format!("must not depend on `{dependency}`")));
            }
            if USERS.iter().any(|(known, users)| *known == dependency && !users.contains(&name)) {
                findings.push(finding(name, &format!("must not know `{dependency}`")));
            }
        }
    }
    findings
}

fn finding(name: &str, what: &str) -> Finding {
    Finding::file("Cargo.toml", format!("crate `{name}` {what} (orchd/docs/ARCHITECTURE.md, crate edges)"))
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(name: &str, dependencies: &[&str]) -> Vec<String> {
        let dependencies: Vec<_> = dependencies.iter().map(|name| json!({ "name": name })).collect();
        let metadata = json!({ "packages": [{ "name": name, "dependencies": dependencies }] });
        check(&metadata).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn edges_against_the_grain_are_found() {
        assert_eq!(found("orch-store", &["orch-core", "rusqlite", "serde", "orch-store"]), [""; 0]);
        assert_eq!(found("orch-tests", &["orch-store", "rusqlite"]), [""; 0]);
        assert!(
            found("orch-core", &["orch-store"])[0].starts_with("crate `orch-core` must not depend on `orch-store`")
        );
        assert!(found("orch-tui", &["orchd"])[0].starts_with("crate `orch-tui` must not depend on `orchd`"));
        assert!(found("orchd", &["rusqlite"])[0].starts_with("crate `orchd` must not know `rusqlite`"));
        assert_eq!(found("orch-adapters", &["orch-store", "orch-tui"]).len(), 2);
    }

    #[test]
    fn a_crate_that_nobody_placed_is_found() {
        assert!(found("orch-extra", &[])[0].contains("has no place"));
    }
}
