//! A reply of the model before a protocol lays it out.

use serde_json::{Map, Value};

use super::conversation::Conversation;
use super::script::Usage;
use super::tool::Call;

/// What a request beside an agent's work is told.
const ASIDE: &str = "A title";

/// What a request is told that comes after the last turn.
const OVER: &str = "The script is over.";

/// Deepest level of a form that is followed.
const DEPTH_MAX: usize = 16;

/// What the model says in one reply.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// Number of the turn, for ids.
    pub(super) turn: usize,
    pub(super) model: String,
    pub(super) thought: Option<String>,
    pub(super) text: Option<String>,
    pub(super) calls: Vec<Call>,
    pub(super) usage: Usage,
    /// Whether a stream is to end with the usage, where that is to be asked for.
    pub(super) wants_usage: bool,
    /// Filler for every mark in the text, in bytes.
    pub(super) filler: u64,
}

impl Reply {
    /// One that says nothing yet.
    pub(super) fn to(conversation: &Conversation, turn: usize) -> Self {
        let Conversation { model, wants_usage, .. } = conversation;
        Self {
            turn,
            model: model.clone(),
            thought: None,
            text: None,
            calls: Vec::new(),
            usage: Usage::NONE,
            wants_usage: *wants_usage,
            filler: 0,
        }
    }

    /// A harmless one, in the form that is asked for.
    pub(super) fn aside(conversation: &Conversation) -> Self {
        let text = match &conversation.schema {
            Some(schema) => example(schema, 0).to_string(),
            None => ASIDE.to_owned(),
        };
        Self { text: Some(text), ..Self::to(conversation, 0) }
    }

    /// The one after the last turn.
    pub(super) fn over(conversation: &Conversation, turn: usize) -> Self {
        Self { text: Some(OVER.to_owned()), ..Self::to(conversation, turn) }
    }
}

/// A small value of the form that a JSON schema describes.
fn example(schema: &Value, depth: usize) -> Value {
    let at = |name: &str| schema.get(name).unwrap_or(&Value::Null);
    if let Some(first) = at("enum").as_array().and_then(|list| list.first()) {
        return first.clone();
    }
    match at("type").as_str() {
        Some("object") if depth < DEPTH_MAX => {
            let properties = at("properties").as_object().into_iter().flatten();
            let members = properties.map(|(name, schema)| (name.clone(), example(schema, depth + 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Some("object") => Value::Object(Map::new()),
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::from(false),
        _ => Value::from(ASIDE),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_example_has_the_form_of_its_schema() {
        let schema = json!({ "type": "object", "properties": {
            "title": { "type": "string" }, "new": { "type": "boolean" }, "tags": { "type": "array" },
            "kind": { "enum": ["a", "b"] }, "inner": { "type": "object", "properties": { "n": { "type": "integer" } } },
        } });
        let expected = json!({ "title": "A title", "new": false, "tags": [], "kind": "a", "inner": { "n": 0 } });
        assert_eq!(example(&schema, 0), expected);
    }

    #[test]
    fn a_form_without_an_end_has_one() {
        let mut schema = json!({ "type": "object" });
        for _ in 0..100 {
            schema = json!({ "type": "object", "properties": { "in": schema } });
        }
        let shown = example(&schema, 0).to_string();
        assert!(shown.len() < 1_000, "{shown}");
    }
}
