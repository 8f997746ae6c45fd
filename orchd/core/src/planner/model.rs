//! What the planner reads out of a Vision: statements and requirements, each with the lines it came from.
//!
//! Data only. Invariants: keys are unique within one `Extraction`; every `LineRange` lies within the source and
//! `first <= last`; the order is the order of the document.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest requirement key, in bytes.
pub const REQUIREMENT_KEY_BYTES_MAX: usize = 64;

/// Lines of the source, both counted from one and both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineRange {
    /// First line.
    pub first: u32,
    /// Last line.
    pub last: u32,
}

impl LineRange {
    /// Grows the range so that it also holds `other`.
    pub(super) fn extend(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// The stable name of a requirement, such as `FR-12`, `NFR-1` or `REQ-7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequirementKey(String);

/// A text that is no requirement key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "requirement key `{key}` is not 1 to {REQUIREMENT_KEY_BYTES_MAX} letters, digits, `-`, `_` or `.` that begin with a letter"
)]
pub struct RequirementKeyError {
    /// The text that was refused.
    pub key: String,
}

impl RequirementKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key that a requirement without one of its own gets.
    pub(super) fn numbered(number: u32) -> Self {
        Self(format!("REQ-{number}"))
    }
}

impl FromStr for RequirementKey {
    type Err = RequirementKeyError;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let starts_well = key.starts_with(|c: char| c.is_ascii_alphabetic());
        let chars_fit = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if starts_well && chars_fit && key.len() <= REQUIREMENT_KEY_BYTES_MAX {
            Ok(Self(key.to_owned()))
        } else {
            Err(RequirementKeyError { key: key.to_owned() })
        }
    }
}

impl TryFrom<String> for RequirementKey {
    type Error = RequirementKeyError;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        key.parse()
    }
}

impl AsRef<str> for RequirementKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<RequirementKey> for String {
    fn from(key: RequirementKey) -> Self {
        key.0
    }
}

impl fmt::Display for RequirementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One sentence, bullet or row of the Vision that is not a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Plain text: inline markup removed, code kept in backticks, control characters replaced.
    pub text: String,
    /// Where it stands.
    pub lines: LineRange,
}

/// What a requirement asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequirementKind {
    /// Something the product does.
    Functional,
    /// A quality the product has.
    NonFunctional,
    /// A limit on how the product is made.
    Constraint,
}

/// One requirement, with everything the document says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The id of the source, or `REQ-n` in the order of the document.
    pub id: RequirementKey,
    /// What it asks for.
    pub kind: RequirementKind,
    /// A short name, at most `TITLE_CHARS_MAX` characters.
    pub title: String,
    /// The whole text, with the details that stand under it.
    pub text: String,
    /// The headings above it, outermost first, joined by ` > `; the document's title is left out.
    pub group: Option<String>,
    /// The requirement that this one is a part of.
    pub parent: Option<RequirementKey>,
    /// The priority as the document writes it, such as `P1`, `Must` or `High`.
    pub priority: Option<String>,
    /// Acceptance criteria that stand with the requirement.
    pub acceptance: Vec<String>,
    /// Where it stands, with its details.
    pub lines: LineRange,
}

/// The YAML block that may open a Vision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontMatter {
    /// `title`: takes the place of the first heading.
    pub title: Option<String>,
    /// `blueprint`: name of the blueprint to plan with.
    pub blueprint: Option<String>,
    /// `parameters`: values for the blueprint.
    pub parameters: BTreeMap<String, String>,
    /// `constraints`: also listed in `Extraction::constraints`.
    pub constraints: Vec<String>,
    /// `toolchain`: name of the toolchain to build with.
    pub toolchain: Option<String>,
    /// Keys that the planner does not know, as JSON text. Each has a warning.
    pub unknown: BTreeMap<String, String>,
    /// The lines of the block, fences included; absent where there is none.
    pub lines: Option<LineRange>,
}

/// Everything that was read out of one Vision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extraction {
    /// Title: front matter, else the first heading, else the first words.
    pub title: String,
    /// The text of the summary, overview or introduction; empty where there is none.
    pub summary: String,
    /// The YAML block at the top.
    pub front_matter: FrontMatter,
    /// What the product is for.
    pub goals: Vec<Statement>,
    /// What is out of scope.
    pub non_goals: Vec<Statement>,
    /// Constraints and assumptions.
    pub constraints: Vec<Statement>,
    /// Acceptance and success criteria of the whole product.
    pub acceptance: Vec<Statement>,
    /// Questions that the document leaves open.
    pub open_questions: Vec<Statement>,
    /// Risks, with their mitigation.
    pub risks: Vec<Statement>,
    /// Milestones, phases and what is planned for later.
    pub milestones: Vec<Statement>,
    /// The requirements, in the order of the document.
    pub requirements: Vec<Requirement>,
    /// Text of sections that look like requirements which became no requirement.
    pub unclassified: Vec<Statement>,
    /// What a person should look at before approving.
    pub warnings: Vec<String>,
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// There is no text.
    #[error("vision is empty")]
    EmptyVision,
    /// There is a NUL, or a byte that is not UTF-8.
    #[error("vision is not UTF-8 text: byte {offset}")]
    NotText {
        /// Offset of the first such byte.
        offset: usize,
    },
    /// There is more text than is read.
    #[error("vision is too large: {size_bytes} bytes, at most {max_bytes} are read")]
    TooLarge {
        /// Its size, in bytes.
        size_bytes: usize,
        /// The limit, in bytes.
        max_bytes: usize,
    },
}
