//! Checked text: strings that can only be built from a valid form.
//!
//! Each type here is a string with one rule, checked once at the edge, so that no later code asks again whether a path
//! leaves the workspace or a name is fit for an environment. Serde goes through the same check, therefore a stored
//! event cannot smuggle in what a recipe may not say. Knows no YAML and no recipe.

use serde::{Deserialize, Serialize};

/// Longest environment variable name, bytes.
pub const ENV_NAME_BYTES_MAX: usize = 128;
/// Longest path relative to a workspace, bytes.
pub const REL_PATH_BYTES_MAX: usize = 1024;
/// Longest host name, bytes (RFC 1035).
pub const DOMAIN_BYTES_MAX: usize = 253;
/// Longest name of a secret, bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 63;
/// Longest key of a task, story or epic, bytes.
pub const KEY_BYTES_MAX: usize = 48;

/// What is wrong with a checked text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    #[error("value is empty")]
    Empty,
    #[error("value has {bytes} bytes, more than {max}")]
    TooLong { bytes: usize, max: usize },
    #[error("path `{path}` is absolute")]
    AbsolutePath { path: String },
    #[error("path `{path}` leaves the workspace through `..`")]
    PathEscapes { path: String },
    #[error("path `{path}` contains a control character or a backslash")]
    PathCharacter { path: String },
    #[error("`{name}` is not an environment variable name")]
    EnvName { name: String },
    #[error("`{text}` is not a checksum")]
    Checksum { text: String },
    #[error("`{text}` is not a host name")]
    Domain { text: String },
    #[error("`{text}` is not a port")]
    Port { text: String },
    #[error("`{text}` is not the name of a secret")]
    SecretName { text: String },
    #[error("`{text}` is not a key")]
    Key { text: String },
    #[error("glob `{glob}` uses `{found}`, which is not supported")]
    GlobSyntax { glob: String, found: char },
    #[error("glob `{glob}` has `**` beside other characters in one segment")]
    GlobDoubleStar { glob: String },
}

impl TextError {
    /// Says what a right value looks like.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "give a value",
            Self::TooLong { .. } => "shorten the value",
            Self::AbsolutePath { .. } | Self::PathEscapes { .. } => {
                "use a path relative to the workspace and inside it, such as `./deploy`"
            }
            Self::PathCharacter { .. } => "use letters, digits, `.`, `_`, `-` and `/`",
            Self::EnvName { .. } => "use letters, digits and `_`, not starting with a digit",
            Self::Checksum { .. } => {
                "write `sha256:` and 64 lower-case hexadecimal digits, or `sha512-` and base64 as npm does"
            }
            Self::Domain { .. } => "use a lower-case host name such as `example.org`, or `*.example.org`",
            Self::Port { .. } => "ports are numbers from 1 to 65535, such as `443`",
            Self::SecretName { .. } => {
                "use 1 to 63 letters, digits, `_`, `-` and `.`, not starting with a dot; the value is set with `orchctl secret set`"
            }
            Self::Key { .. } => "use lower-case letters, digits and `-`, starting with a letter",
            Self::GlobSyntax { .. } => "use `*`, `?` and `**`",
            Self::GlobDoubleStar { .. } => "give `**` a segment of its own, such as `dist/**/*.whl`",
        }
    }
}

/// Defines a string newtype whose only constructor is `parse`.
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::recipe::TextError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(checked: $name) -> Self {
                checked.0
            }
        }
    };
}
pub(crate) use checked_text;

checked_text! {
    /// Name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
    EnvName
}

impl EnvName {
    /// Checks a variable name.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `EnvName`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, ENV_NAME_BYTES_MAX)?;
        let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits || text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(TextError::EnvName { name: printable(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

checked_text! {
    /// Path relative to a workspace, normalised: no leading `./`, no empty or `.` segment, never `..`; the workspace
    /// itself is `.`.
    RelPath
}

impl RelPath {
    /// Checks and normalises a path.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `AbsolutePath`, `PathEscapes`, `PathCharacter`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, REL_PATH_BYTES_MAX)?;
        let segments = inside_segments(text)?;
        if segments.is_empty() { Ok(Self::workspace()) } else { Ok(Self(segments.join("/"))) }
    }

    /// The workspace itself, `.`.
    pub fn workspace() -> Self {
        Self(".".to_owned())
    }

    /// The path below the workspace; empty for the workspace itself.
    pub fn below(&self) -> &str {
        if self.0 == "." { "" } else { &self.0 }
    }
}

checked_text! {
    /// Host that a tool may reach: a lower-case name, or `*.` and a name for all hosts below it. Never an address.
    Domain
}

impl Domain {
    /// Checks a host name.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `Domain`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, DOMAIN_BYTES_MAX)?;
        let host = text.strip_prefix("*.").unwrap_or(text);
        let labels: Vec<&str> = host.split('.').collect();
        let label_fits = |label: &&str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A numeric last label makes an IPv4 address: those would go around the egress proxy's name rules.
        let last_is_name = labels.last().is_some_and(|label| label.bytes().any(|b| b.is_ascii_lowercase()));
        if labels.len() < 2 || !labels.iter().all(label_fits) || !last_is_name {
            return Err(TextError::Domain { text: printable(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl Domain {
    /// Whether every host that `other` means is meant here, too.
    pub fn covers(&self, other: &Self) -> bool {
        match self.0.strip_prefix("*.") {
            None => self == other,
            Some(below) => {
                let name = other.0.strip_prefix("*.");
                // `*.a` means nothing but what is below `a`, of which `*.a` and `*.b.a` are parts.
                let is_part = |name: &str| name.strip_suffix(below).is_some_and(|head| head.ends_with('.'));
                name.map_or_else(|| is_part(&other.0), |name| name == below || is_part(name))
            }
        }
    }
}

checked_text! {
    /// Name of a secret: 1-63 of `A-Z`, `a-z`, `0-9`, `_`, `-` and `.`, not starting with a dot. Fit for a file name.
    SecretName
}

impl SecretName {
    /// Checks the name of a secret.
    ///
    /// # Errors
    /// `Empty`, `SecretName`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !fits || text.starts_with('.') || text.len() > SECRET_NAME_BYTES_MAX {
            return Err(TextError::SecretName { text: printable(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

checked_text! {
    /// Stable key of something a person wrote: lower-case letters, digits and single `-`, starting with a letter.
    Key
}

impl Key {
    /// Checks a key.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `Key`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, KEY_BYTES_MAX)?;
        let fits = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !fits || !starts || text.ends_with('-') || text.contains("--") {
            return Err(TextError::Key { text: printable(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

/// How far a step may reach out of its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Loopback only. The default.
    #[default]
    None,
    /// These hosts, through the egress proxy.
    Domains(std::collections::BTreeSet<Domain>),
    /// Any public host, through the egress proxy. Written as `network: true`.
    Any,
}

/// Splits a relative path into its segments, refusing whatever could name something outside.
pub(super) fn inside_segments(text: &str) -> Result<Vec<&str>, TextError> {
    if text.starts_with('/') {
        return Err(TextError::AbsolutePath { path: printable(text) });
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(TextError::PathCharacter { path: printable(text) });
    }
    let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty() && *segment != ".").collect();
    if segments.contains(&"..") {
        return Err(TextError::PathEscapes { path: printable(text) });
    }
    Ok(segments)
}

pub(super) fn bounded(text: &str, max: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > max {
        return Err(TextError::TooLong { bytes: text.len(), max });
    }
    Ok(())
}

/// Makes hostile text fit for a one-line message: no control characters, at most 60 characters.
pub(crate) fn printable(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(|c| c.escape_debug()).collect();
    if text.chars().count() > CHARS_MAX {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_stay_inside() {
        let parsed = |text: &str| RelPath::parse(text).map(String::from);
        assert_eq!(parsed("./deploy//x/."), Ok("deploy/x".into()));
        assert_eq!(parsed("."), Ok(".".into()));
        assert_eq!(parsed("/etc"), Err(TextError::AbsolutePath { path: "/etc".into() }));
        assert_eq!(parsed("a/../../b"), Err(TextError::PathEscapes { path: "a/../../b".into() }));
        assert!(matches!(parsed("a\0b"), Err(TextError::PathCharacter { .. })));
        assert!(matches!(parsed("a\\..\\b"), Err(TextError::PathCharacter { .. })));
        assert_eq!(parsed(""), Err(TextError::Empty));
        assert!(matches!(parsed(&"x".repeat(2000)), Err(TextError::TooLong { .. })));
    }

    #[test]
    fn names_keys_and_hosts() {
        for good in ["A", "_x9", "aws_REGION"] {
            assert!(EnvName::parse(good).is_ok(), "{good}");
        }
        for bad in ["9A", "A-B", "A=B", "", "\u{e9}"] {
            assert!(EnvName::parse(bad).is_err(), "{bad}");
        }
        for good in ["example.org", "*.example.org", "s3.amazonaws.com"] {
            assert!(Domain::parse(good).is_ok(), "{good}");
        }
        for bad in ["localhost", "10.0.0.1", "*.com.", "Example.org", "a..b", "-a.org", "*", "ex_ample.org"] {
            assert!(Domain::parse(bad).is_err(), "{bad}");
        }
        for good in ["http-layer", "a1"] {
            assert!(Key::parse(good).is_ok(), "{good}");
        }
        for bad in ["Http", "1a", "a--b", "a-", "a_b"] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stored_text_is_checked_again() {
        assert!(serde_json::from_str::<RelPath>("\"../x\"").is_err());
        assert_eq!(serde_json::from_str::<RelPath>("\"./x\"").map(String::from).ok(), Some("x".into()));
    }
}
