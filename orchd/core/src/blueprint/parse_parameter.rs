//! Reads one parameter of a blueprint and its pattern.

use super::parameter::{CharClass, PARAMETER_BYTES_MAX, Parameter, ParameterSource, Pattern};
use crate::recipe::reader::{Fields, checked, count, line, list_of, scalar, wrong_type};
use crate::recipe::text::printable;
use crate::recipe::yaml::{Fault, Node};
use crate::recipe::{Key, Problem};

const KEYS: &[&str] = &["name", "description", "default", "pattern", "from"];
const PATTERN_KEYS: &[&str] = &["chars", "first", "length_max", "one_of", "number"];
const NUMBER_KEYS: &[&str] = &["min", "max"];
const CLASS_NAMES: &[&str] = &["lower", "upper", "digit", "dash", "underscore", "dot", "space"];
const CHOICES_MAX: usize = 50;
/// Prefix of a source that names a key of the front matter's `parameters`.
const FRONT_MATTER: &str = "front_matter.";

pub(super) fn parameter(node: &Node, _key: &str) -> Result<Parameter, Fault> {
    let fields = Fields::of(node, "a parameter", KEYS)?;
    let name = fields.req("name", |node, key| checked(node, key, Key::parse))?;
    let pattern = fields.req("pattern", pattern)?;
    let default = fields.req("default", scalar)?;
    if !pattern.accepts(&default) {
        let problem = Problem::DefaultDoesNotFit { name: name.to_string(), found: printable(&default) };
        return Err(fields.need("default")?.fault(problem));
    }
    // Without `from` a parameter is read from the front matter under its own name, with `_` for `-`.
    let own_name = || vec![ParameterSource::FrontMatter(name.as_str().replace('-', "_"))];
    let from = fields.opt("from", |node, key| list_of(node, key, CHOICES_MAX, source))?.unwrap_or_else(own_name);
    Ok(Parameter { description: fields.req("description", line)?, name, default, pattern, from })
}

fn source(node: &Node, key: &str) -> Result<ParameterSource, Fault> {
    let written = line(node, key)?;
    if written == "title" {
        return Ok(ParameterSource::Title);
    }
    match written.strip_prefix(FRONT_MATTER) {
        Some(name) if !name.is_empty() => Ok(ParameterSource::FrontMatter(name.to_owned())),
        _ => {
            let known = &["title", "front_matter.<key>"];
            Err(node.fault(Problem::NotOneOf { key: key.to_owned(), found: printable(&written), known }))
        }
    }
}

fn pattern(node: &Node, _key: &str) -> Result<Pattern, Fault> {
    let fields = Fields::of(node, "`pattern`", PATTERN_KEYS)?;
    let choices = fields.opt("one_of", |node, key| list_of(node, key, CHOICES_MAX, scalar))?;
    let number = fields.opt("number", number)?;
    match (choices, number) {
        (Some(texts), _) => Ok(Pattern::OneOf(texts)),
        (None, Some(number)) => Ok(number),
        (None, None) => {
            let chars = fields.req("chars", classes)?;
            let first = fields.opt("first", classes)?.unwrap_or_else(|| chars.clone());
            let max = u64::try_from(PARAMETER_BYTES_MAX).unwrap_or(u64::MAX);
            let length = fields.req("length_max", |node, key| count(node, key, max))?;
            Ok(Pattern::Chars { chars, first, length_max: usize::try_from(length).unwrap_or(PARAMETER_BYTES_MAX) })
        }
    }
}

fn number(node: &Node, key: &str) -> Result<Pattern, Fault> {
    let fields = Fields::of(node, "`number`", NUMBER_KEYS)?;
    let bound = |node: &Node, key: &str| count(node, key, u64::from(u32::MAX));
    let (min, max) = (fields.req("min", bound)?, fields.req("max", bound)?);
    if min > max {
        return Err(wrong_type(node, key, "a range with `min` not above `max`"));
    }
    Ok(Pattern::Number { min, max })
}

fn classes(node: &Node, key: &str) -> Result<Vec<CharClass>, Fault> {
    list_of(node, key, CLASS_NAMES.len(), |node, key| {
        let name = line(node, key)?;
        let class = CharClass::BY_NAME.iter().find(|(known, _)| *known == name).map(|(_, class)| *class);
        let unknown = || Problem::NotOneOf { key: key.to_owned(), found: printable(&name), known: CLASS_NAMES };
        class.ok_or_else(|| node.fault(unknown()))
    })
}
