//! Names of hosts: parsed once into one strict form that is matched, resolved and dialled.
//!
//! What does not have this form is refused and never repaired, so that nobody downstream reads a name in another way.
//! **Invariant:** a [`HostName`] has 1-253 bytes of lower-case letters, digits, `-` and `.`, no empty label, no trailing
//! dot, and is no address in any spelling that a resolver would take for one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes (RFC 1035 section 2.3.4, without the root).
pub const NAME_BYTES_MAX: usize = 253;
/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Why something is no name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing, or a label that is nothing: a leading, doubled or trailing dot.
    #[error("name has an empty label")]
    EmptyLabel,
    /// More than [`NAME_BYTES_MAX`] bytes, or a label of more than 63.
    #[error("name or label is too long")]
    TooLong,
    /// A byte that is no letter, digit, `-` or `.`: NUL, `%`, `@`, a space, anything beyond ASCII.
    #[error("name has a character that is no letter, digit, `-` or `.`; write international names in punycode")]
    Character,
    /// A label that starts or ends with `-`.
    #[error("label starts or ends with `-`")]
    Hyphen,
    /// An IP address, also in short, octal, hexadecimal or decimal form.
    #[error("name is an address; only names can be reached")]
    Address,
}

/// Name of a host in its one form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Parses the bytes of a name; upper-case letters become lower-case ones.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        // Before the characters are judged, so that `[::1]` and `fe80::1%eth0` are called what they are.
        if bytes.contains(&b':') || bytes.starts_with(b"[") {
            return Err(NameError::Address);
        }
        for label in bytes.split(|byte| *byte == b'.') {
            check_label(label)?;
        }
        let last = bytes.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        if ends_an_address(last) {
            return Err(NameError::Address);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NameError::Character)?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn labels(&self) -> usize {
        self.0.split('.').count()
    }
}

fn check_label(label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
        return Err(NameError::Character);
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

/// Whether a resolver takes a name with this last label for an IPv4 address (the "ends in a number" rule of the WHATWG
/// URL standard): decimal or octal digits, or hexadecimal ones after `0x`.
fn ends_an_address(label: &[u8]) -> bool {
    let digits = |rest: &[u8]| rest.iter().all(u8::is_ascii_hexdigit);
    label.iter().all(u8::is_ascii_digit)
        || (label.len() >= 2 && label[..2].eq_ignore_ascii_case(b"0x") && digits(&label[2..]))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text.as_bytes())
    }
}

impl TryFrom<String> for HostName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

/// Why something cannot stand in a list of allowed names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// `*` alone, or where it is not the whole first label.
    #[error("`*` stands only for everything below a name, as in `*.example.com`: `{0}`")]
    Wildcard(String),
    /// A top-level domain, or everything below one.
    #[error("a name needs at least two labels, and so does what follows `*.`: `{0}`")]
    TopLevel(String),
    /// No name at all.
    #[error("`{}` cannot be allowed: {error}", text.escape_default())]
    Name {
        /// What was written.
        text: String,
        /// The rule that it breaks.
        error: NameError,
    },
}

/// One name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// This name only.
    Exact(HostName),
    /// Every name with at least one more label before this one; not the name itself.
    Below(HostName),
}

impl HostPattern {
    /// Whether `name` is meant. Labels are compared whole, so `notexample.com` is not below `example.com`.
    pub fn matches(&self, name: &HostName) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Below(suffix) => {
                name.as_str().strip_suffix(suffix.as_str()).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix("*.").unwrap_or(text);
        if rest.contains('*') {
            return Err(PatternError::Wildcard(text.to_owned()));
        }
        let name: HostName = rest.parse().map_err(|error| PatternError::Name { text: text.to_owned(), error })?;
        if name.labels() < 2 {
            return Err(PatternError::TopLevel(text.to_owned()));
        }
        Ok(if rest.len() == text.len() { Self::Exact(name) } else { Self::Below(name) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> String {
        HostName::parse(bytes).map_or_else(|error| format!("{error:?}"), |name| name.to_string())
    }

    /// N6 and N7: what is refused, and as what.
    #[test]
    fn names_have_one_form() {
        let long_label = [b'a'; 64];
        let long_name = [b"a.".repeat(126), b"aa".to_vec()].concat();
        let longest = [b"a.".repeat(126), b"a".to_vec()].concat();
        assert_eq!(longest.len(), 253);
        assert_eq!(parsed(&longest).len(), 253);
        let cases: &[(&[u8], &str)] = &[
            (b"example.com", "example.com"),
            (b"EXAMPLE.Com", "example.com"),
            (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
            (b"localhost", "localhost"),
            (b"1.example.c0", "1.example.c0"),
            (b"0xg.example.0xg", "0xg.example.0xg"),
            (b"", "EmptyLabel"),
            (b".", "EmptyLabel"),
            (b"example.com.", "EmptyLabel"),
            (b".example.com", "EmptyLabel"),
            (b"a..b", "EmptyLabel"),
            (b"evil.test\0.example.com", "Character"),
            (b"example.com\0", "Character"),
            (b"a@example.com", "Character"),
            (b"example.com%zone", "Character"),
            (b"example.com\r\nHost", "Character"),
            (b"example.com ", "Character"),
            (b"exa_mple.com", "Character"),
            ("ex\u{430}mple.com".as_bytes(), "Character"),
            (b"\xff.com", "Character"),
            (b"-a.com", "Hyphen"),
            (b"a-.com", "Hyphen"),
            (b"127.0.0.1", "Address"),
            (b"127.1", "Address"),
            (b"0x7f.1", "Address"),
            (b"0x7f000001", "Address"),
            (b"0X7F.0X1", "Address"),
            (b"0x", "Address"),
            (b"017700000001", "Address"),
            (b"2130706433", "Address"),
            (b"0", "Address"),
            (b"example.1", "Address"),
            (b"[::1]", "Address"),
            (b"::1", "Address"),
            (b"fe80::1%eth0", "Address"),
            (b"::ffff:127.0.0.1", "Address"),
            (&long_label, "TooLong"),
            (&long_name, "TooLong"),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(parsed(bytes), *wanted, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn patterns_are_names_or_what_is_below_one() {
        let said = |text: &str| text.parse::<HostPattern>().map_or_else(|error| error.to_string(), |ok| ok.to_string());
        assert_eq!(said("Example.com"), "example.com");
        assert_eq!(said("*.Example.com"), "*.example.com");
        for (text, start) in [
            ("*", "`*` stands only"),
            ("*.*.com", "`*` stands only"),
            ("a*.example.com", "`*` stands only"),
            ("example.*", "`*` stands only"),
            ("com", "a name needs at least two"),
            ("*.com", "a name needs at least two"),
            ("localhost", "a name needs at least two"),
            ("10.0.0.1", "`10.0.0.1` cannot be allowed: name is an address"),
            ("*.0.0.1", "`*.0.0.1` cannot be allowed: name is an address"),
            ("::1", "`::1` cannot be allowed: name is an address"),
            ("a\0.example.com", "`a\\u{0}.example.com` cannot be allowed"),
            ("", "`` cannot be allowed: name has an empty"),
            ("*.", "`*.` cannot be allowed: name has an empty"),
        ] {
            assert!(said(text).starts_with(start), "{text}: {}", said(text));
        }
    }

    /// N8: suffixes are labels, not bytes.
    #[test]
    fn patterns_match_whole_labels() {
        let matches = |pattern: &str, name: &str| {
            pattern.parse::<HostPattern>().unwrap().matches(&HostName::parse(name.as_bytes()).unwrap())
        };
        assert!(matches("example.com", "EXAMPLE.com"));
        assert!(matches("*.example.com", "a.example.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        for name in ["example.com", "notexample.com", "example.com.evil.test", "a.example.org", "xexample.com"] {
            assert!(!matches("*.example.com", name), "{name}");
        }
        assert!(!matches("example.com", "a.example.com"));
    }
}
