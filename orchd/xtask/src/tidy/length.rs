//! How long a file may be. Lines of tests do not count.

use super::Finding;
use super::source::{Source, test_modules};
use super::tree::Tree;

/// From here on a file is warned about.
const LINES_SOFT_MAX: usize = 400;
/// Longer than this it has to be split.
const LINES_HARD_MAX: usize = 600;

/// Files that are too long, and those that soon will be.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    pub(super) over: Vec<Finding>,
    pub(super) near: Vec<Finding>,
}

pub(super) fn check(tree: &Tree) -> Lengths {
    let modules: Vec<String> = tree.ending(".rs").flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut found = Lengths::default();
    for (path, text) in tree.ending(".rs") {
        let lines = Source::new(path, text, &modules).product_lines().count();
        if lines > LINES_HARD_MAX {
            let message = format!("has {lines} lines without its tests; {LINES_HARD_MAX} are the most");
            found.over.push(Finding::file(path, message));
        } else if lines > LINES_SOFT_MAX {
            let message = format!("has {lines} lines without its tests; split it before it has {LINES_HARD_MAX}");
            found.near.push(Finding::file(path, message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> (usize, usize) {
        let found = check(&Tree::of(&[("orchd/src/a.rs", text)]));
        (found.over.len(), found.near.len())
    }

    #[test]
    fn long_files_are_warned_about_and_longer_ones_refused() {
        assert_eq!(lengths(&"a();\n".repeat(LINES_SOFT_MAX)), (0, 0));
        assert_eq!(lengths(&"a();\n".repeat(LINES_SOFT_MAX + 1)), (0, 1));
        assert_eq!(lengths(&"a();\n".repeat(LINES_HARD_MAX + 1)), (1, 0));
    }

    #[test]
    fn tests_do_not_count() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "a();\n".repeat(LINES_HARD_MAX));
        assert_eq!(lengths(&tests), (0, 0));
    }
}
