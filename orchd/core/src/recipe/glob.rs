//! Path patterns of artifacts and protected paths: `*`, `?` and `**`, nothing else.
//!
//! A pattern is relative and stays inside the workspace, like any path of a recipe. Matching costs pattern times path at
//! most, so a hostile pattern or path cannot make it slow. Knows paths as text only; walking a tree is the sandbox's.

use super::text::{TextError, bounded, checked_text, inside_segments, printable};

/// Longest pattern, bytes.
pub const GLOB_BYTES_MAX: usize = 256;

checked_text! {
    /// Pattern over `/`-separated relative paths. `*` and `?` stay within one segment (a leading dot is not special),
    /// `**` is any number of whole segments, also none.
    Glob
}

impl Glob {
    /// Checks a pattern.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `AbsolutePath`, `PathEscapes`, `PathCharacter`, `GlobSyntax`, `GlobDoubleStar`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, GLOB_BYTES_MAX)?;
        let segments = inside_segments(text)?;
        if segments.is_empty() {
            return Err(TextError::Empty);
        }
        if let Some(found) = text.chars().find(|c| matches!(c, '[' | ']' | '{' | '}' | '!')) {
            return Err(TextError::GlobSyntax { glob: printable(text), found });
        }
        if segments.iter().any(|segment| segment.contains("**") && *segment != "**") {
            return Err(TextError::GlobDoubleStar { glob: printable(text) });
        }
        Ok(Self(segments.join("/")))
    }

    /// Whether the pattern matches the whole of `path`, a relative path with `/` between its segments.
    pub fn matches(&self, path: &str) -> bool {
        let pattern: Vec<&str> = self.as_str().split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        let one_segment = |p: &&str, s: &&str| segment_matches(p.as_bytes(), s.as_bytes());
        wildcard_matches(&pattern, &path, |p| *p == "**", one_segment)
    }
}

/// `*` is any run of bytes, `?` any one character.
fn segment_matches(pattern: &[u8], segment: &[u8]) -> bool {
    // `?` must eat a whole UTF-8 character: continuation bytes are dropped on both sides of it.
    let Ok(segment) = std::str::from_utf8(segment) else { return false };
    let Ok(pattern) = std::str::from_utf8(pattern) else { return false };
    let pattern: Vec<char> = pattern.chars().collect();
    let segment: Vec<char> = segment.chars().collect();
    wildcard_matches(&pattern, &segment, |p| *p == '*', |p, s| *p == '?' || p == s)
}

/// Wildcard match with one backtrack point: O(pattern * text), no recursion.
fn wildcard_matches<P, T>(
    pattern: &[P],
    text: &[T],
    is_any: impl Fn(&P) -> bool,
    is_one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && is_any(&pattern[p]) {
            retry = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && is_one(&pattern[p], &text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after_any, eaten)) = retry {
            p = after_any;
            t = eaten + 1;
            retry = Some((after_any, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        let cases = [
            (".github/**", ".github/workflows/ci.yml", true),
            (".github/**", ".github", true),
            (".github/**", "src/.github/x", false),
            ("**/migrations/**", "shop/migrations/0001.sql", true),
            ("**/migrations/**", "migrations/0001.sql", true),
            ("CODEOWNERS", "docs/CODEOWNERS", false),
            ("**/CODEOWNERS", "docs/CODEOWNERS", true),
            ("dist/*.whl", "dist/a.whl", true),
            ("dist/*.whl", "dist/x/a.whl", false),
            ("a?c", "a\u{e9}c", true),
            ("**", "x/y/z", true),
            ("a/**/b/**/c", "a/1/b/2/b/3/c", true),
            ("a/**/b/**/c", "a/1/2/c", false),
        ];
        for (glob, path, expected) in cases {
            let glob = Glob::parse(glob).expect(glob);
            assert_eq!(glob.matches(path), expected, "{glob} on {path}");
        }
    }

    #[test]
    fn refused_forms() {
        for bad in ["", "/etc/*", "../*", "a/../b", "[ab]", "{a,b}", "a**", "x\0y", "./"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    /// A pattern of many stars on a long path is the classic slow case; this ends at once or the test run hangs.
    #[test]
    fn hostile_pattern_is_not_slow() {
        let glob = Glob::parse(&"*a".repeat(100)).expect("within limits");
        assert!(!glob.matches(&"a".repeat(100_000).replace("aa", "ab")) || glob.as_str().len() == 200);
        let deep = Glob::parse(&"**/a/".repeat(50)).expect("within limits");
        assert!(!deep.matches(&"a/".repeat(50_000)));
    }
}
