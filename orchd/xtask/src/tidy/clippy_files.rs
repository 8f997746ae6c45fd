//! A nested `.clippy.toml` replaces the one of the root, so it has to say all that the root says.
//!
//! Compares thresholds as lines and bans as paths; a ban may give another reason.

use super::Finding;
use super::tree::Tree;

const ROOT: &str = ".clippy.toml";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(Some(root)) = tree.files.get(ROOT) else {
        return vec![Finding::file(ROOT, "is not there")];
    };
    let wanted = statements(root);
    tree.ending("clippy.toml")
        .filter(|(path, _)| *path != ROOT)
        .flat_map(|(path, text)| {
            let said = statements(text);
            let left_out: Vec<_> = wanted.iter().filter(|wanted| !said.contains(wanted)).cloned().collect();
            left_out.into_iter().map(move |what| Finding::file(path, format!("leaves out `{what}` of the root's file")))
        })
        .collect()
}

/// Each threshold, and each banned path with the list that it is in.
fn statements(text: &str) -> Vec<String> {
    let mut list = "";
    let mut statements = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((_, rest)) = line.split_once("path = \"") {
            let path = rest.split('"').next().unwrap_or_default();
            statements.push(format!("{list}: {path}"));
        } else if let Some((name, "[")) = line.split_once(" = ") {
            list = name;
        } else if line != "]" {
            statements.push(line.to_owned());
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT_TEXT: &str = "a = 70\nb = [\n    { path = \"x::y\", reason = \"r\" },\n]\n";

    fn found(nested: &str) -> Vec<String> {
        let tree = Tree::of(&[(ROOT, ROOT_TEXT), ("orchd/core/.clippy.toml", nested)]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_a_nested_file_leaves_out_is_found() {
        assert_eq!(
            found("a = 70\nb = [\n    { path = \"x::y\", reason = \"other\" },\n    { path = \"z\" },\n]\n"),
            [""; 0]
        );
        assert_eq!(found("b = [\n    { path = \"x::y\" },\n]\n"), ["leaves out `a = 70` of the root's file"]);
        assert_eq!(found("a = 71\nc = [\n    { path = \"x::y\" },\n]\n").len(), 2);
    }
}
