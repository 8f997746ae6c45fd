//! Paths inside a repository: bytes, as git has them, and a text form that loses nothing and shows nothing raw.
//!
//! Knows no file system: a [`RepoPath`] is never joined to a host path here.

use std::fmt;

/// Longest path accepted, in bytes (`PATH_MAX` of Linux).
const PATH_BYTES_MAX: usize = 4096;

/// Bytes that are no path of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a path inside a repository: `{0}`")]
pub struct PathError(pub String);

/// A path inside a repository: relative, without empty, `.`, `..` and `.git` parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// Checks the bytes.
    ///
    /// # Errors
    /// [`PathError`] with the escaped bytes.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.eq_ignore_ascii_case(b".git");
        if path.len() <= PATH_BYTES_MAX && !path.contains(&0) && path.split(|&byte| byte == b'/').all(plain) {
            Ok(Self(path.to_vec()))
        } else {
            Err(PathError(escape(path.get(..80).unwrap_or(path))))
        }
    }

    /// The bytes as git has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as text, if it is UTF-8; still not safe to show raw, [`fmt::Display`] is.
    #[must_use]
    pub fn as_utf8(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as text for people: letters and printable ASCII as they are, `\\`, `\n`, `\xff` and `\u{202e}` for the rest.
///
/// Different bytes always give different texts.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                ' ' | '!'..='~' => text.push(c),
                _ if !c.is_ascii() && c.is_alphanumeric() => text.push(c),
                _ => text.extend(c.escape_default()),
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_is_readable_and_loses_nothing() {
        assert_eq!(escape(b"src/main.rs"), "src/main.rs");
        assert_eq!(escape("na\u{ef}ve".as_bytes()), "na\u{ef}ve");
        assert_eq!(escape(b"a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(escape(b"\xff\\xff"), "\\xff\\\\xff");
        assert_eq!(escape("\u{202e}".as_bytes()), "\\u{202e}");
    }

    #[test]
    fn only_plain_relative_paths_are_accepted() {
        for good in [&b"a"[..], b"a/b", b"-rf", b"a\nb", b"\xff", b".gitignore"] {
            assert!(RepoPath::parse(good).is_ok(), "{}", escape(good));
        }
        for bad in [&b""[..], b"/a", b"a/", b"a//b", b"../a", b"a/./b", b".git/config", b"a/.GIT", b"a\0b"] {
            assert!(RepoPath::parse(bad).is_err(), "{}", escape(bad));
        }
    }
}
