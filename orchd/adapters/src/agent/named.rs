//! Which files a text of people names. Knows no repository: whether there is such a file is for who has one.

use crate::git::RepoPath;

/// Most files that are looked for.
const NAMED_MAX: usize = 16;
/// Longest name that is one, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Longest ending of a file's name, in bytes.
const ENDING_BYTES_MAX: usize = 8;

/// What may be paths of files, in the order in which they are named, each once: what stands in backticks, and words with a
/// slash or an ending.
#[must_use]
pub fn named_files<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<RepoPath> {
    let mut found: Vec<RepoPath> = Vec::new();
    for text in texts {
        for (at, part) in text.split('`').enumerate() {
            let is_quoted = at % 2 == 1;
            let names = part.split(|char: char| char.is_whitespace() || "\"'()[]{}<>,;|".contains(char));
            for path in names.filter_map(|name| path_of(name, is_quoted)) {
                if !found.contains(&path) {
                    found.push(path);
                }
                if found.len() == NAMED_MAX {
                    return found;
                }
            }
        }
    }
    found
}

fn path_of(name: &str, is_quoted: bool) -> Option<RepoPath> {
    let name = name.trim_end_matches(['.', ':', '!', '?']);
    let name = name.strip_prefix("./").unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/+@".contains(&byte);
    if name.len() > NAME_BYTES_MAX || name.starts_with(['-', '/']) || !name.bytes().all(is_plain) {
        return None;
    }
    if !(is_quoted || name.contains('/') || has_ending(name)) {
        return None;
    }
    RepoPath::parse(name.as_bytes()).ok()
}

/// Whether a word ends like the name of a file: no version and no address does.
fn has_ending(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, ending)| {
        let is_ending = ending.len() <= ENDING_BYTES_MAX && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        !stem.is_empty() && is_ending && ending.bytes().any(|byte| byte.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        named_files([text]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_are_words_with_a_slash_or_an_ending_and_what_stands_in_backticks() {
        assert_eq!(
            named("Change src/app.rs, then README.md. Not 0.1.0, e.g. this."),
            ["src/app.rs", "README.md", "e.g"]
        );
        assert_eq!(
            named("`Makefile` and `./run.sh --fast` (see \"docs/a-b_c.md\")"),
            ["Makefile", "run.sh", "docs/a-b_c.md"]
        );
        assert_eq!(named("a.rs a.rs `a.rs`"), ["a.rs"]);
        assert_eq!(named("Makefile alone is a word"), Vec::<String>::new());
    }

    #[test]
    fn what_leads_out_of_the_repository_or_is_no_path_is_none() {
        for text in [
            "/etc/passwd",
            "`../../secret.txt`",
            "`.git/config`",
            "a//b.rs",
            "src/",
            "`-rf`",
            "caf\u{e9}/x.rs",
            "https://example.org/x.rs?y",
            "x/\u{1b}2J.rs",
            "``",
        ] {
            assert_eq!(named(text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(named(&format!("{}.rs", "x".repeat(300))), Vec::<String>::new());
        let many: String = (0..100).map(|at| format!("f{at}.rs ")).collect();
        assert_eq!(named(&many).len(), NAMED_MAX);
    }
}
