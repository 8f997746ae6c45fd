//! What can be wrong with a recipe file, and where.
//!
//! Every problem has a place, line and column counted from one, because a person fixes the file in an editor. Display
//! is one line without its source; `hint` is the next step. Text of the file is shown only in printable form.

use super::checked::{ENV_MAX, RECIPE_BYTES_MAX, STEP_TIMEOUT_MAX_MS, STEPS_MAX};
use super::text::TextError;

/// A place in a file, both numbers counted from one; columns are characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A recipe file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}:{}: {problem}", place.line, place.column)]
pub struct RecipeError {
    /// Name of the file as the caller gave it.
    pub file: String,
    /// Where the problem starts.
    pub place: Place,
    /// What it is. Not a `source`: it is already in Display.
    pub problem: Problem,
}

impl RecipeError {
    /// The next step for a person, if there is one beyond the message.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }
}

/// Kinds of problem of a recipe or blueprint file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("file has {bytes} bytes, more than {RECIPE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("yaml syntax: {message}")]
    Syntax { message: String },
    #[error("document is empty")]
    EmptyDocument,
    #[error("a second document starts here")]
    SecondDocument,
    #[error("nested deeper than {max} levels")]
    TooDeep { max: usize },
    #[error("more than {max} values in one file")]
    TooManyValues { max: usize },
    #[error("anchors and aliases are not allowed")]
    Anchor,
    #[error("tags are not allowed: `{tag}`")]
    Tag { tag: String },
    #[error("merge keys are not allowed")]
    MergeKey,
    #[error("key is not a plain text")]
    KeyNotText,
    #[error("duplicate key `{key}`, first given on line {first_line}")]
    DuplicateKey { key: String, first_line: usize },
    #[error("unknown key `{key}` in {context}")]
    UnknownKey { key: String, context: &'static str, nearest: Option<&'static str>, known: &'static [&'static str] },
    #[error("missing key `{key}` in {context}")]
    MissingKey { key: &'static str, context: &'static str },
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType { key: String, expected: &'static str, found: &'static str },
    #[error("`{key}` is empty")]
    EmptyValue { key: String },
    #[error("`{key}` has {bytes} bytes, more than {max}")]
    ValueTooLong { key: String, bytes: usize, max: usize },
    #[error("`{key}` contains a control character")]
    ControlCharacter { key: String },
    #[error("`{key}` is not a number: `{found}`")]
    NotANumber { key: String, found: String },
    #[error("`{key}` is negative: {found}")]
    Negative { key: String, found: String },
    #[error("`{key}` must be more than zero")]
    Zero { key: String },
    #[error("`{key}` is {found}, more than {max}")]
    TooBig { key: String, found: String, max: u64 },
    #[error("`{key}` has {found} entries, more than {max}")]
    TooMany { key: String, found: usize, max: usize },
    #[error("`{key}` is `{found}`, not one of {}", known.join(", "))]
    NotOneOf { key: String, found: String, known: &'static [&'static str] },
    #[error("variable `{name}` is reserved")]
    ReservedVariable { name: String },
    #[error("`{key}`: {error}")]
    Text { key: String, error: TextError },
    #[error("`{key}` is `{found}`, which a program would take for an option")]
    Option { key: String, found: String },
    #[error("version `{found}` is not a version")]
    Version { found: String },
    #[error("name `{found}` is not a tool name")]
    ToolName { found: String },
    #[error("url `{found}` is not an https address")]
    Url { found: String },
    #[error("path `{found}` of `filesystem` is not absolute")]
    PermissionPath { found: String },
    #[error("`{key}` is given twice: `{name}`")]
    DuplicateName { key: String, name: String },
    #[error("{kind} `{name}` does not exist")]
    Unresolved { kind: &'static str, name: String, nearest: Option<String> },
    #[error("tasks need each other in a circle: {}", path.join(" -> "))]
    Cycle { path: Vec<String> },
    #[error("`{key}` does not go with the rest: {why}")]
    Contradiction { key: &'static str, why: &'static str },
    #[error("default `{found}` of parameter `{name}` does not fit its pattern")]
    DefaultDoesNotFit { name: String, found: String },
}

impl Problem {
    /// The next step for a person, if there is one beyond the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownKey { nearest: None, known, .. } => Some(format!("known keys: {}", known.join(", "))),
            Self::Unresolved { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::Text { error, .. } => Some(error.hint().to_owned()),
            Self::Anchor | Self::MergeKey => Some("write the value out where it is used".to_owned()),
            Self::Tag { .. } => Some("leave the tag out; quote the value if it must be text".to_owned()),
            Self::TooLarge { .. } => Some("move long scripts into files of the repository".to_owned()),
            // The commonest slip of a recipe: `run: echo "a: b"` reads as a mapping inside of a value.
            Self::Syntax { message } if message.starts_with("mapping values are not allowed") => {
                Some("quote the value, or write it below a `|`, when it contains `: `".to_owned())
            }
            Self::SecondDocument => Some("put each recipe into its own file".to_owned()),
            Self::DuplicateKey { .. } => Some("keep one of the two".to_owned()),
            Self::TooMany { key, .. } if key == "steps" => Some(format!("at most {STEPS_MAX} steps")),
            Self::TooMany { key, .. } if key == "env" => Some(format!("at most {ENV_MAX} variables")),
            Self::TooBig { key, .. } if key == "timeout" => {
                Some(format!("timeouts are seconds, at most {}", STEP_TIMEOUT_MAX_MS / 1000))
            }
            Self::Negative { key, .. } | Self::Zero { key } | Self::NotANumber { key, .. } if key == "timeout" => {
                Some("timeouts are seconds, such as `60`".to_owned())
            }
            Self::ReservedVariable { .. } => Some("names starting with `ORCH_` are set by the daemon".to_owned()),
            Self::Version { .. } => Some("use an exact version such as `1.7.0`, or `2.17.x`, or `3.9+`".to_owned()),
            Self::ToolName { .. } => Some("use lower-case letters, digits, `-`, `_`, `.` and `+`".to_owned()),
            Self::Cycle { .. } => Some("take one of these `needs` out".to_owned()),
            _ => None,
        }
    }
}
