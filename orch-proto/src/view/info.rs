//! Questions of runs that people answer field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::InfoRequestId;
use crate::time::Timestamp;

/// What a field takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FieldKind {
    #[default]
    Text,
    Number,
    /// `true` or `false`.
    Bool,
    /// One of these.
    Choice {
        choices: Vec<String>,
    },
    /// A text that nobody but the run is shown.
    Secret,
}

impl FieldKind {
    /// The word for it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Choice { .. } => "choice",
            Self::Secret => "secret",
        }
    }
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSpec {
    /// Unique in its question: a letter, then up to 62 letters, digits and `_`.
    pub name: String,
    /// What a person reads; the name where it is empty.
    #[serde(default)]
    pub label: String,
    #[serde(flatten)]
    pub kind: FieldKind,
    /// Without it the question is not answered.
    #[serde(default = "yes")]
    pub required: bool,
}

const fn yes() -> bool {
    true
}

/// State of an info request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InfoRequestState {
    /// Its run waits.
    Pending,
    Answered,
    /// Nobody answered in time.
    Expired,
    /// A person declined to answer, or its run is over.
    Cancelled {
        reason: String,
    },
}

impl InfoRequestState {
    /// The word for it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// A question of a run. Text, labels and choices are the run's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoRequestView {
    pub id: InfoRequestId,
    pub project: String,
    pub number: u32,
    /// `shop/I-3`.
    pub name: String,
    #[serde(flatten)]
    pub state: InfoRequestState,
    /// Who asks, as `shop/R-31`, and what it works on.
    pub run: String,
    pub task: String,
    pub task_title: String,
    pub text: String,
    pub fields: Vec<FieldSpec>,
    /// By the names of the fields; none for a secret, which is shown to nobody.
    #[serde(default)]
    pub answers: BTreeMap<String, Option<String>>,
    pub answered_by: Option<String>,
    /// The run has its answer.
    pub taken: bool,
    pub asked_at: Timestamp,
    /// While it waits.
    pub expires_at: Option<Timestamp>,
    pub decided_at: Option<Timestamp>,
}

/// Which info requests to list. Empty fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoRequestFilter {
    pub project: Option<crate::Ref>,
    /// Only those that wait.
    pub pending: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_written_in_few_words() {
        let field: FieldSpec = serde_json::from_str(r#"{"name":"region","kind":"choice","choices":["eu"]}"#).unwrap();
        assert_eq!(field.kind, FieldKind::Choice { choices: vec!["eu".into()] });
        assert!(field.required && field.label.is_empty());
        let json = serde_json::to_string(&field).unwrap();
        assert_eq!(serde_json::from_str::<FieldSpec>(&json).unwrap(), field);
    }
}
