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

    /// Whether the pattern guards `path`: it matches the path or a directory above it, also where the two differ only
    /// in ways that some file system does not tell apart (case, Unicode normalisation, characters that are ignored).
    ///
    /// It errs on the side of guarding: all letters beyond ASCII count as one.
    pub fn guards(&self, path: &str) -> bool {
        // `**` also stands for no segment at all.
        Self(folded(self.as_str()) + "/**").matches(&folded(path))
    }
}

/// Stands for a run of characters beyond ASCII, of which normalisation makes now one, now several.
const BEYOND_ASCII: char = '\u{fffd}';

/// A text in which what file systems may hold for equal is equal.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let cases = text.chars().filter(|c| !is_ignored(*c)).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    for c in cases {
        if c.is_ascii() {
            folded.push(c);
            continue;
        }
        // An accent may come alone behind its letter, or as one character with it.
        if matches!(c, '\u{300}'..='\u{36f}') && folded.ends_with(|last: char| last.is_ascii() && last != '/') {
            folded.pop();
        }
        if !folded.ends_with(BEYOND_ASCII) {
            folded.push(BEYOND_ASCII);
        }
    }
    folded
}

/// Characters without a look of their own, which some file systems leave out of names.
const fn is_ignored(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{e0000}'..='\u{e0fff}'
    )
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
    fn what_is_guarded() {
        let cases = [
            (".github/**", ".github/workflows/ci.yml", true),
            (".github/**", ".GitHub/Workflows", true),
            (".github/**", ".git\u{200c}hub/x", true),
            (".github/**", "github/x", false),
            ("secrets/**", "\u{17f}ecrets/x", true),
            ("secrets/**", "secrets/a\nb", true),
            ("secrets/**", "public\nsecrets/x", false),
            ("CODEOWNERS", "codeowners/now/a/directory", true),
            ("CODEOWNERS", "CODEOWNERS.md", false),
            ("caf\u{e9}/*", "cafe\u{301}/x", true),
            ("cafe\u{301}/*", "CAF\u{c9}/x", true),
            ("caf\u{e9}/*", "cafe/x", false),
            ("\u{ac00}/*", "\u{1100}\u{1161}/x", true),
            ("infra/**", "infra/\u{fffd}", true),
        ];
        for (glob, path, expected) in cases {
            let glob = Glob::parse(glob).expect(glob);
            assert_eq!(glob.guards(path), expected, "{glob} on {path:?}");
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
        assert!(!glob.guards(&"b/".repeat(50_000)));
    }
}
