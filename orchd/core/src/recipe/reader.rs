//! Typed reading of a YAML tree: known keys, needed keys, texts, numbers, lists.
//!
//! Each function returns a checked value or the fault with its place. Knows the kinds of values a recipe is made of,
//! but no recipe.

use std::collections::BTreeMap;

use super::checked::{ENV_MAX, ENV_VALUE_BYTES_MAX};
use super::problem::{Place, Problem};
use super::text::{EnvName, TextError, printable};
use super::yaml::{Entry, Fault, Node, Value};

/// Longest one-line text, such as a title.
pub(crate) const LINE_BYTES_MAX: usize = 500;
/// Longest key that is compared with the known ones for a suggestion.
const SUGGEST_BYTES_MAX: usize = 64;

impl Node {
    pub(crate) fn fault(&self, problem: Problem) -> Fault {
        Fault { place: self.place, problem }
    }
}

/// The entries of one mapping, all of them known.
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
    context: &'static str,
    place: Place,
}

impl<'n> Fields<'n> {
    /// Takes a mapping whose keys are all in `known`.
    pub(crate) fn of(node: &'n Node, context: &'static str, known: &'static [&'static str]) -> Result<Self, Fault> {
        let Value::Map(entries) = &node.value else {
            return Err(wrong_type(node, context, "a mapping"));
        };
        if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            let nearest = nearest(&entry.key, known.iter().copied());
            let problem = Problem::UnknownKey { key: printable(&entry.key), context, nearest, known };
            return Err(Fault { place: entry.key_place, problem });
        }
        Ok(Self { entries, context, place: node.place })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(crate) fn need(&self, key: &'static str) -> Result<&'n Node, Fault> {
        let missing = || Fault { place: self.place, problem: Problem::MissingKey { key, context: self.context } };
        self.get(key).ok_or_else(missing)
    }

    /// Reads an optional key.
    pub(crate) fn opt<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Node, &str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.get(key).map(|node| read(node, key)).transpose()
    }

    /// Reads a key that must be there.
    pub(crate) fn req<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Node, &str) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        read(self.need(key)?, key)
    }
}

/// The known name that `found` most probably meant.
pub(crate) fn nearest<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    const LIKENESS_MIN: f64 = 0.8;
    if found.len() > SUGGEST_BYTES_MAX {
        return None;
    }
    let scored = known.map(|name| (strsim::jaro_winkler(&found.to_ascii_lowercase(), name), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

pub(crate) fn wrong_type(node: &Node, key: &str, expected: &'static str) -> Fault {
    let found = match &node.value {
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
        Value::Scalar { text, plain: true } => plain_kind(text),
        Value::Scalar { plain: false, .. } => "text",
    };
    node.fault(Problem::WrongType { key: key.to_owned(), expected, found })
}

/// What a scalar without quotes is, by the core schema of YAML 1.2.
fn plain_kind(text: &str) -> &'static str {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => "nothing",
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => "a boolean",
        _ if text.parse::<f64>().is_ok() && text.bytes().any(|b| b.is_ascii_digit()) => "a number",
        _ => "text",
    }
}

/// Any scalar but nothing, as written: for versions and variables, where `1.10` and `true` are texts.
pub(crate) fn scalar(node: &Node, key: &str) -> Result<String, Fault> {
    match &node.value {
        Value::Scalar { text, plain } if !plain || plain_kind(text) != "nothing" => Ok(text.clone()),
        _ => Err(wrong_type(node, key, "text")),
    }
}

/// Text of any number of lines, not empty.
pub(crate) fn text(node: &Node, key: &str, bytes_max: usize) -> Result<String, Fault> {
    let text = match &node.value {
        Value::Scalar { text, plain } if !plain || plain_kind(text) == "text" => text,
        _ => return Err(wrong_type(node, key, "text")),
    };
    if text.trim().is_empty() {
        return Err(node.fault(Problem::EmptyValue { key: key.to_owned() }));
    }
    if text.len() > bytes_max {
        return Err(node.fault(Problem::ValueTooLong { key: key.to_owned(), bytes: text.len(), max: bytes_max }));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(node.fault(Problem::ControlCharacter { key: key.to_owned() }));
    }
    Ok(text.clone())
}

/// One line of text for people.
pub(crate) fn line(node: &Node, key: &str) -> Result<String, Fault> {
    let text = text(node, key, LINE_BYTES_MAX)?;
    if text.trim().contains('\n') {
        return Err(node.fault(Problem::ControlCharacter { key: key.to_owned() }));
    }
    Ok(text.trim().to_owned())
}

/// A scalar that a checked text accepts.
pub(crate) fn checked<T>(node: &Node, key: &str, parse: impl FnOnce(&str) -> Result<T, TextError>) -> Result<T, Fault> {
    let written = scalar(node, key)?;
    parse(&written).map_err(|error| node.fault(Problem::Text { key: key.to_owned(), error }))
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node, key: &str) -> Result<bool, Fault> {
    match &node.value {
        Value::Scalar { text, plain: true } if plain_kind(text) == "a boolean" => Ok(text.eq_ignore_ascii_case("true")),
        _ => Err(wrong_type(node, key, "`true` or `false`")),
    }
}

/// A whole number from zero to `max`.
pub(crate) fn count(node: &Node, key: &str, max: u64) -> Result<u64, Fault> {
    let written = number(node, key)?;
    let Ok(count) = written.parse::<u64>() else {
        let key = key.to_owned();
        let digits = written.bytes().all(|b| b.is_ascii_digit());
        let found = printable(written);
        return Err(node.fault(if digits {
            Problem::TooBig { key, found, max }
        } else {
            Problem::NotANumber { key, found }
        }));
    };
    if count > max {
        return Err(node.fault(Problem::TooBig { key: key.to_owned(), found: written.to_owned(), max }));
    }
    Ok(count)
}

/// Seconds with at most three decimals, as milliseconds from zero to `max_ms`.
pub(crate) fn seconds_ms(node: &Node, key: &str, max_ms: u64) -> Result<u64, Fault> {
    decimal(node, key, 3, max_ms)
}

/// A number with at most `places` decimals, in units of the last of them, from zero to `max` of those.
pub(crate) fn decimal(node: &Node, key: &str, places: usize, max: u64) -> Result<u64, Fault> {
    let written = number(node, key)?;
    let (whole, decimals) = written.split_once('.').unwrap_or((written, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > places {
        return Err(node.fault(Problem::NotANumber { key: key.to_owned(), found: printable(written) }));
    }
    let units = u32::try_from(places).ok().and_then(|places| 10_u64.checked_pow(places)).unwrap_or(u64::MAX);
    let parts: u64 = format!("{decimals:0<places$}").parse().unwrap_or(0);
    let amount =
        whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(units)).and_then(|it| it.checked_add(parts));
    match amount {
        Some(amount) if amount <= max => Ok(amount),
        _ => {
            let found = printable(written);
            Err(node.fault(Problem::TooBig { key: key.to_owned(), found, max: max / units }))
        }
    }
}

/// The text of a number that is not negative.
fn number<'n>(node: &'n Node, key: &str) -> Result<&'n str, Fault> {
    let Value::Scalar { text, plain: true } = &node.value else {
        return Err(wrong_type(node, key, "a number"));
    };
    if plain_kind(text) != "a number" {
        let known_kind = plain_kind(text) != "text";
        return Err(if known_kind {
            wrong_type(node, key, "a number")
        } else {
            node.fault(Problem::NotANumber { key: key.to_owned(), found: printable(text) })
        });
    }
    if text.starts_with('-') {
        return Err(node.fault(Problem::Negative { key: key.to_owned(), found: printable(text) }));
    }
    Ok(text)
}

/// A list of at most `max` items.
pub(crate) fn list<'n>(node: &'n Node, key: &str, max: usize) -> Result<&'n [Node], Fault> {
    let Value::List(items) = &node.value else {
        return Err(wrong_type(node, key, "a list"));
    };
    if items.len() > max {
        return Err(node.fault(Problem::TooMany { key: key.to_owned(), found: items.len(), max }));
    }
    Ok(items)
}

/// A list of which every item is read by `read`.
pub(crate) fn list_of<T>(
    node: &Node,
    key: &str,
    max: usize,
    mut read: impl FnMut(&Node, &str) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    list(node, key, max)?.iter().map(|item| read(item, key)).collect()
}

/// Variables of a recipe. Names of the daemon (`ORCH_*`) are refused: a recipe may not forge what a step is told.
pub(crate) fn env(node: &Node, key: &str) -> Result<BTreeMap<EnvName, String>, Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(wrong_type(node, key, "a mapping"));
    };
    if entries.len() > ENV_MAX {
        return Err(node.fault(Problem::TooMany { key: key.to_owned(), found: entries.len(), max: ENV_MAX }));
    }
    let mut variables = BTreeMap::new();
    for entry in entries {
        let at_key = |problem| Fault { place: entry.key_place, problem };
        let name = EnvName::parse(&entry.key).map_err(|error| at_key(Problem::Text { key: key.to_owned(), error }))?;
        if name.as_str().starts_with("ORCH_") {
            return Err(at_key(Problem::ReservedVariable { name: name.to_string() }));
        }
        let value = scalar(&entry.node, name.as_str())?;
        if value.len() > ENV_VALUE_BYTES_MAX {
            let problem = Problem::ValueTooLong { key: name.into(), bytes: value.len(), max: ENV_VALUE_BYTES_MAX };
            return Err(entry.node.fault(problem));
        }
        variables.insert(name, value);
    }
    Ok(variables)
}
