//! Names that may reach a git command line: object ids and ref names, checked once.
//!
//! **Invariant:** a value of one of these types cannot be taken for an option, a revision expression or a path: ids are
//! hexadecimal, refs start with `refs/` and follow git's own rules and a few stricter ones.

use std::fmt;
use std::str::FromStr;

/// Longest ref name accepted, in bytes. Git's files would allow more, other tools and file systems not always.
const REF_BYTES_MAX: usize = 240;

/// A text that is no object id or ref name. Holds the escaped text, cut short.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not 40 or 64 lowercase hexadecimal digits.
    #[error("not an object id: `{0}`")]
    ObjectId(String),
    /// Not a ref name that git and the rules of this module accept.
    #[error("not an acceptable ref name, because of {reason}: `{name}`")]
    Ref { name: String, reason: &'static str },
}

/// Hash function of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectFormat {
    /// SHA-1, ids of 40 digits; what nearly every repository has.
    Sha1,
    /// SHA-256, ids of 64 digits.
    Sha256,
}

impl ObjectFormat {
    /// Name as git writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// Digits of an id.
    #[must_use]
    pub const fn digits(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
        }
    }

    /// Id of the tree without entries, which git knows without storing it.
    #[must_use]
    pub const fn empty_tree(self) -> &'static str {
        match self {
            Self::Sha1 => "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
            Self::Sha256 => "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
        }
    }

    /// The format with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256].into_iter().find(|format| format.as_str() == name)
    }
}

macro_rules! object_ids {
    ($($(#[$doc:meta])* $name:ident;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks that the text is 40 or 64 lowercase hexadecimal digits, not all zero.
            ///
            /// # Errors
            /// [`NameError::ObjectId`] for any other text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                let null = text.bytes().all(|byte| byte == b'0');
                if matches!(text.len(), 40 | 64) && hex && !null {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError::ObjectId(excerpt(text)))
                }
            }

            /// The digits.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }

            /// The hash function that an id of this length belongs to.
            #[must_use]
            pub fn format(&self) -> ObjectFormat {
                if self.0.len() == ObjectFormat::Sha1.digits() { ObjectFormat::Sha1 } else { ObjectFormat::Sha256 }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> { Self::parse(text) }
        }
    )+ };
}

object_ids! {
    /// Id of a commit.
    CommitId;
    /// Id of a tree.
    TreeId;
}

/// A full ref name, as `refs/heads/main`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

impl RefName {
    /// Checks a full name: git's rules, letters and digits of any script, and of the rest only printable ASCII.
    ///
    /// # Errors
    /// [`NameError::Ref`] naming the first rule that is broken.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match fault(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(NameError::Ref { name: excerpt(name), reason }),
        }
    }

    /// The branch with this short name, as `main`.
    ///
    /// # Errors
    /// [`NameError::Ref`] naming the first rule that is broken.
    pub fn branch(short: &str) -> Result<Self, NameError> {
        Self::parse(&format!("refs/heads/{short}"))
    }

    /// Where the result of a run is kept; `run` is any unique name, as `R-31` or a run id.
    ///
    /// # Errors
    /// [`NameError::Ref`] naming the first rule that is broken.
    pub fn run_result(run: &str) -> Result<Self, NameError> {
        Self::parse(&format!("refs/orch/runs/{run}"))
    }

    /// Where what runs kept of their workspaces is.
    pub const CHECKPOINTS: &'static str = "refs/orch/checkpoints/";

    /// Where that of a run is; `run` is its unique name, as `R-31`.
    ///
    /// # Errors
    /// [`NameError::Ref`] naming the first rule that is broken.
    pub fn checkpoint(run: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{}{run}", Self::CHECKPOINTS))
    }

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The short name of a branch or tag; for others the full name.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.strip_prefix("refs/heads/").or_else(|| self.0.strip_prefix("refs/tags/")).unwrap_or(&self.0)
    }

    /// Whether the ref is a branch.
    #[must_use]
    pub fn is_branch(&self) -> bool {
        self.0.starts_with("refs/heads/")
    }

    /// Whether the ref is a tag.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        self.0.starts_with("refs/tags/")
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RefName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

/// The rule that a ref name breaks.
fn fault(name: &str) -> Option<&'static str> {
    let Some(rest) = name.strip_prefix("refs/") else { return Some("a start other than `refs/`") };
    if name.len() > REF_BYTES_MAX {
        return Some("its length");
    }
    // As a branch it is a full name that has no short one.
    if rest == "heads/HEAD" {
        return Some("a name that git itself uses");
    }
    if !rest.contains('/') {
        return Some("a missing part after `refs/`");
    }
    // Scripts that are not ASCII are welcome, but not the invisible and direction-changing characters among them.
    if !name.chars().all(|c| c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric())) {
        return Some("a space, control or invisible character");
    }
    if name.contains(['~', '^', ':', '?', '*', '[', '\\', '"', '\'', '`', '$', ';', '&', '|', '<', '>', '(', ')', '!'])
    {
        return Some("a character with a meaning to git or a shell");
    }
    if name.contains("..") || name.contains("@{") {
        return Some("`..` or `@{`");
    }
    rest.split('/').find_map(|part| {
        if part.is_empty() {
            Some("an empty part")
        } else if part.starts_with(['.', '-']) {
            Some("a part that starts with `.` or `-`")
        } else if part.ends_with('.') || part.to_ascii_lowercase().ends_with(".lock") {
            Some("a part that ends with `.` or `.lock`")
        } else if part == "@" {
            Some("a part that is `@`")
        } else {
            None
        }
    })
}

/// The text, escaped and cut, for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ids_are_hexadecimal_and_not_null() {
        for good in ["4b825dc642cb6eb9a060e54bf8d69288fbee4904", ObjectFormat::Sha256.empty_tree()] {
            assert_eq!(CommitId::parse(good).unwrap().as_str(), good);
        }
        let null = "0".repeat(40);
        for bad in ["", "HEAD", "4B825DC642CB6EB9A060E54BF8D69288FBEE4904", "--output=x", null.as_str()] {
            assert!(CommitId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ref_names_cannot_be_options_expressions_or_paths_elsewhere() {
        for good in ["main", "feature/T-12-add-login", "v1.2", "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}", "a@b"] {
            assert!(RefName::branch(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "a/-x",
            "../../x",
            "a..b",
            "a/../b",
            ".hidden",
            "a.lock",
            "A.LOCK",
            "a/",
            "/a",
            "a//b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a@{1}",
            "@",
            "a.",
            "$(id)",
            "a;b",
            "HEAD",
            "a\u{202e}b",
            "\u{200b}",
        ] {
            assert!(RefName::branch(bad).is_err(), "{bad:?}");
        }
        assert!(RefName::parse("HEAD").is_err());
        assert!(RefName::parse("refs/x").is_err());
        assert!(RefName::branch(&"x".repeat(300)).is_err());
    }
}
