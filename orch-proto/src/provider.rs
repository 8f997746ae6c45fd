//! What a provider, as a cloud, needs of people before the steps of a run begin, and how the steps get it.
//!
//! The daemon hands it to the program in the run that asks (`orchctl agent provide`). It has names and templates, no values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::view::FieldSpec;

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// As recipes name it.
    pub name: String,
    /// What people are asked.
    pub question: String,
    pub fields: Vec<FieldSpec>,
    /// Variables of the steps. Templates: `{FIELD}` is what was given for it.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default)]
    pub files: Vec<ProvidedFile>,
}

/// A file that the steps find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvidedFile {
    /// Below the provider's own directory.
    pub path: String,
    /// The variable that has its path.
    pub variable: String,
    /// A template likewise.
    pub content: String,
}

/// Fields that a template names.
pub fn fields_of(template: &str) -> impl Iterator<Item = &str> {
    pieces(template).filter_map(|(_, field)| field)
}

/// A template with what was given for its fields; a field for which nothing was given leaves nothing.
#[must_use]
pub fn fill(template: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(template.len());
    for (text, field) in pieces(template) {
        filled.push_str(text);
        filled.push_str(field.and_then(|field| values.get(field)).map_or("", String::as_str));
    }
    filled
}

/// Texts, each with the field that follows it. Braces around anything but a name stay.
fn pieces(template: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(template);
    std::iter::from_fn(move || {
        let all = rest?;
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut from = 0;
        while let Some(open) = all[from..].find('{').map(|at| from + at) {
            let named = all[open + 1..].split_once('}').filter(|(name, _)| is_name(name));
            if let Some((name, after)) = named {
                rest = Some(after);
                return Some((&all[..open], Some(name)));
            }
            from = open + 1;
        }
        rest = None;
        Some((all, None))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_take_values_as_they_are_and_once() {
        let values = BTreeMap::from([("A".to_owned(), "{B}".to_owned()), ("B".to_owned(), "b".to_owned())]);
        assert_eq!(fill("{A}-{B}{C}.{ A }{", &values), "{B}-b.{ A }{");
        assert_eq!(fill("{\"a\": \"{A}\"}", &values), "{\"a\": \"{B}\"}");
        assert_eq!(fill("", &values), "");
        assert_eq!(fields_of("{A}{{B}}{}").collect::<Vec<_>>(), ["A", "B"]);
    }
}
