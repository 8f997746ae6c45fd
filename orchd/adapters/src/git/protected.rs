//! Protected paths: which changed paths fall under a project's globs.
//!
//! Pure. Errs on the side of asking: letters match whatever their case, a pattern that names a folder also means the
//! folder itself (which a change can replace by a link), and what cannot be parsed as a pattern is an error.

use super::path::RepoPath;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 500;

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a path pattern, because of {reason}: `{pattern}`")]
pub struct PatternError {
    pattern: String,
    reason: &'static str,
}

/// A checked path pattern.
///
/// `*` and `?` match within one part of a path, `**` any number of parts. A pattern without `/` matches at any depth,
/// like `CODEOWNERS`; one that ends with `/`, or that names a folder, matches everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any number of parts, also none.
    Any,
    /// One part that matches this glob, in lowercase.
    One(Vec<u8>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for one that is empty or too long, has `.` or `..` parts, or `[`, `{`, `!`, `\` or a control
    /// character: these mean different things to different tools, so that a person could think a path is protected.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let error =
            |reason| PatternError { pattern: text.chars().take(80).flat_map(char::escape_default).collect(), reason };
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(error("its length"));
        }
        if text.contains(['[', ']', '{', '}', '!', '\\']) || text.chars().any(char::is_control) {
            return Err(error("a character that is not supported"));
        }
        let mut parts = Vec::new();
        if !text.starts_with('/') && !inner.contains('/') {
            parts.push(Part::Any);
        }
        for part in inner.split('/') {
            match part {
                "" | "." | ".." => return Err(error("an empty, `.` or `..` part")),
                "**" => {
                    if parts.last() != Some(&Part::Any) {
                        parts.push(Part::Any);
                    }
                }
                _ => parts.push(Part::One(part.to_ascii_lowercase().into_bytes())),
            }
        }
        // Whatever is below a match is protected with it; `a/**` thereby also means `a`.
        if parts.last() != Some(&Part::Any) {
            parts.push(Part::Any);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a path falls under the pattern.
    #[must_use]
    pub fn matches(&self, path: &RepoPath) -> bool {
        let lower = path.as_bytes().to_ascii_lowercase();
        let path: Vec<&[u8]> = lower.split(|&byte| byte == b'/').collect();
        matches_parts(&self.parts, &path)
    }
}

/// A changed path and the pattern that protects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The path.
    pub path: RepoPath,
    /// The first pattern that matches.
    pub pattern: String,
}

/// The paths that fall under one of the patterns, in the order given.
#[must_use]
pub fn touched<'a>(paths: impl IntoIterator<Item = &'a RepoPath>, patterns: &[Pattern]) -> Vec<Touched> {
    let protect = |path: &RepoPath| {
        let pattern = patterns.iter().find(|pattern| pattern.matches(path))?;
        Some(Touched { path: path.clone(), pattern: pattern.text.clone() })
    };
    paths.into_iter().filter_map(protect).collect()
}

/// Matches with one point of return, the last `**`: time is at most the product of both lengths.
fn matches_parts(pattern: &[Part], path: &[&[u8]]) -> bool {
    let (mut at_pattern, mut at_path, mut back) = (0, 0, None);
    while at_path < path.len() {
        match pattern.get(at_pattern) {
            Some(Part::Any) => {
                back = Some((at_pattern, at_path));
                at_pattern += 1;
            }
            Some(Part::One(glob)) if path.get(at_path).is_some_and(|part| matches_part(glob, part)) => {
                at_pattern += 1;
                at_path += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                at_pattern = star + 1;
                at_path = from + 1;
            }
        }
    }
    pattern.iter().skip(at_pattern).all(|part| *part == Part::Any)
}

/// Matches `*` and `?` within one part; `?` is one character of UTF-8 or one byte that is none.
fn matches_part(glob: &[u8], part: &[u8]) -> bool {
    let (mut at_glob, mut at_part, mut back) = (0, 0, None);
    while at_part < part.len() {
        match glob.get(at_glob) {
            Some(b'*') => {
                back = Some((at_glob, at_part));
                at_glob += 1;
            }
            Some(b'?') => {
                at_glob += 1;
                at_part += character_len(part.get(at_part..).unwrap_or_default());
            }
            Some(byte) if part.get(at_part) == Some(byte) => {
                at_glob += 1;
                at_part += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                at_glob = star + 1;
                at_part = from + 1;
            }
        }
    }
    glob.iter().skip(at_glob).all(|&byte| byte == b'*')
}

/// Bytes of the first character.
fn character_len(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()).map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::parse(pattern).unwrap();
        let matches = |path: &&str| pattern.matches(&RepoPath::parse(path.as_bytes()).unwrap());
        let wrong: Vec<_> =
            yes.iter().filter(|path| !matches(path)).chain(no.iter().filter(|path| matches(path))).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", pattern.as_str());
    }

    #[test]
    fn patterns_match_what_they_name() {
        check(
            ".github/**",
            &[".github/workflows/ci.yml", ".github", ".GitHub/x"],
            &["a/.github/x", ".githubx/a", "github/a"],
        );
        check("infra/", &["infra/a/b", "infra", "x/infra/y"], &["infrastructure/a"]);
        check("/infra", &["infra/a", "infra"], &["x/infra/y"]);
        check("CODEOWNERS", &["CODEOWNERS", "docs/codeowners"], &["CODEOWNERS.md"]);
        check(
            "**/migrations/**",
            &["migrations/1.sql", "a/b/migrations/c/1.sql", "a/migrations"],
            &["a/migrations2/x"],
        );
        check("*.lock", &["Cargo.lock", "a/b/x.lock"], &["Cargo.lock2"]);
        check("src/*.rs", &["src/a.rs"], &["src/a/b.rs", "a/src/b.rs"]);
        check("a/**/z", &["a/z", "a/b/z", "a/b/c/z", "a/b/z/q"], &["a/b", "z"]);
        check("a/?.txt", &["a/b.txt", "a/\u{e4}.txt"], &["a/bb.txt", "a/.txt"]);
        check("**", &["anything", "a/b"], &[]);
    }

    #[test]
    fn hostile_names_neither_match_by_accident_nor_hide() {
        let pattern = [Pattern::parse("secrets/**").unwrap()];
        let paths = [&b"secrets/a\nb"[..], b"secrets/\xff\xfe", b"public\nsecrets/x", b"-rf"]
            .map(|p| RepoPath::parse(p).unwrap());
        let hit: Vec<_> = touched(&paths, &pattern).into_iter().map(|touched| touched.path.to_string()).collect();
        assert_eq!(hit, ["secrets/a\\nb", "secrets/\\xff\\xfe"]);
    }

    #[test]
    fn patterns_that_tools_read_differently_are_refused() {
        for bad in ["", "/", "!a", "[ab]", "a/../b", "./a", "a//b", "{a,b}", "a\\b", "a\nb"] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// Patterns with many stars must not take exponential time.
    #[test]
    fn many_stars_are_quick() {
        let pattern = Pattern::parse(&"a*".repeat(200)).unwrap();
        let path =
            RepoPath::parse(format!("{}b/{}", "a".repeat(190), "a/".repeat(1000).trim_end_matches('/')).as_bytes())
                .unwrap();
        assert!(!pattern.matches(&path));
    }
}
