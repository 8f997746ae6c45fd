//! How people name things: `T-12`, `shop/T-12`, `@latest`, or a full id. Parsed here, resolved by the daemon.

use std::fmt;
use std::str::FromStr as _;

use serde::{Deserialize, Serialize};

/// The kinds of things that a person can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    Project,
    Vision,
    Requirements,
    Plan,
    Task,
    Run,
    Approval,
    Change,
    InfoRequest,
}

impl EntityKind {
    /// Letter of the short number, as the `T` of `T-12`; none for a project, which is named by its slug.
    #[must_use]
    pub const fn letter(self) -> Option<&'static str> {
        match self {
            Self::Project => None,
            Self::Vision => Some("V"),
            Self::Requirements => Some("Q"),
            Self::Plan => Some("P"),
            Self::Task => Some("T"),
            Self::Run => Some("R"),
            Self::Approval => Some("A"),
            Self::Change => Some("C"),
            Self::InfoRequest => Some("I"),
        }
    }

    /// Name in messages, as `task`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Vision => "vision",
            Self::Requirements => "requirements",
            Self::Plan => "plan",
            Self::Task => "task",
            Self::Run => "run",
            Self::Approval => "approval",
            Self::Change => "change",
            Self::InfoRequest => "info_request",
        }
    }

    /// The short name that people see, as `T-12` (or the slug of a project).
    #[must_use]
    pub fn short(self, number: u32) -> String {
        self.letter().map_or_else(|| number.to_string(), |letter| format!("{letter}-{number}"))
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What a user wrote to name a thing. Resolved by the daemon, which knows what exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ref(pub String);

impl From<&str> for Ref {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Ref {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The forms that a [`Ref`] can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefForm {
    /// `T-12` or `shop/T-12`.
    Number { project: Option<String>, letter: String, number: u32 },
    /// `@latest` or `shop/@latest`: the newest of the kind.
    Latest { project: Option<String> },
    /// Anything else: a full id or a slug, and with a project in front a name within it.
    Name { project: Option<String>, name: String },
}

impl Ref {
    /// Splits the text into its form. Never fails: what fits no other form is a name.
    #[must_use]
    pub fn form(&self) -> RefForm {
        let (project, rest) = match self.0.split_once('/') {
            Some((project, rest)) => (Some(project.to_owned()), rest),
            None => (None, self.0.as_str()),
        };
        if rest == "@latest" {
            return RefForm::Latest { project };
        }
        if let Some((letter, digits)) = rest.split_once('-')
            && letter.len() == 1
            && let Ok(number) = u32::from_str(digits)
        {
            return RefForm::Number { project, letter: letter.to_ascii_uppercase(), number };
        }
        RefForm::Name { project, name: rest.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let number = |project: Option<&str>, number| RefForm::Number {
            project: project.map(str::to_owned),
            letter: "T".into(),
            number,
        };
        assert_eq!(Ref::from("T-12").form(), number(None, 12));
        assert_eq!(Ref::from("shop/t-3").form(), number(Some("shop"), 3));
        assert_eq!(Ref::from("@latest").form(), RefForm::Latest { project: None });
        assert_eq!(Ref::from("web-api").form(), RefForm::Name { project: None, name: "web-api".into() });
        assert_eq!(Ref::from("").form(), RefForm::Name { project: None, name: String::new() });
    }
}
