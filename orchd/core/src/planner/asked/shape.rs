//! Types with their JSON schema: one declaration gives both, so that what a model is asked for is what is read.
//!
//! Knows as much of JSON Schema as servers of models agree on: objects without further members, all of which are there, lists,
//! texts, whole numbers, words of a list, and `null`. Lengths and numbers of entries are no part of it: servers turn a schema
//! into a grammar, which grows with them. They are checked when an answer is read.

use serde_json::Value;

/// A type that a model can be asked to fill in.
pub(super) trait Shape {
    /// What of JSON it is.
    fn schema() -> Value;
}

impl Shape for String {
    fn schema() -> Value {
        serde_json::json!({"type": "string"})
    }
}

impl Shape for u32 {
    fn schema() -> Value {
        serde_json::json!({"type": "integer"})
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn schema() -> Value {
        serde_json::json!({"type": "array", "items": T::schema()})
    }
}

impl<T: Shape> Shape for Option<T> {
    fn schema() -> Value {
        serde_json::json!({"anyOf": [T::schema(), {"type": "null"}]})
    }
}

/// The schema with what the model is told of it.
pub(super) fn described(mut schema: Value, lines: &[&str]) -> Value {
    if let Value::Object(members) = &mut schema {
        let text: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        members.insert("description".to_owned(), Value::from(text.join(" ")));
    }
    schema
}

/// An object, whose documentation is what the model is told of each member.
macro_rules! shape {
    ($(#[$meta:meta])* struct $name:ident { $( $(#[doc = $doc:literal])+ $field:ident: $type:ty, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name { $( $(#[doc = $doc])+ pub(super) $field: $type, )+ }

        impl $crate::planner::asked::shape::Shape for $name {
            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                $( properties.insert(
                    stringify!($field).to_owned(),
                    $crate::planner::asked::shape::described(
                        <$type as $crate::planner::asked::shape::Shape>::schema(), &[$($doc),+],
                    ),
                ); )+
                serde_json::json!({
                    "type": "object",
                    "properties": properties,
                    "required": [$( stringify!($field) ),+],
                    "additionalProperties": false,
                })
            }
        }
    };
}

/// One word of a few.
macro_rules! words {
    ($(#[$meta:meta])* $view:vis enum $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        $view enum $name { $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+ }

        impl $crate::planner::asked::shape::Shape for $name {
            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": [$( $word ),+]})
            }
        }
    };
}

pub(super) use shape;
pub(super) use words;
