//! The optional YAML block at the top of a Vision.
//!
//! Never an error: a block that cannot be read, a value of the wrong form and an unknown key are warnings, because the
//! text below the block is still a Vision. Knows nothing of Markdown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::FrontMatter;
use super::source::Source;

/// Longest block, in bytes; a longer one is read as text.
const FRONT_MATTER_BYTES_MAX: usize = 64 * 1024;

/// The block, the offset at which the Markdown begins, and what to warn of.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) front_matter: FrontMatter,
    pub(super) body_start: usize,
    pub(super) warnings: Vec<String>,
}

/// Reads the block if the text opens with one.
pub(super) fn read(source: &Source<'_>) -> Read {
    let mut read = Read { front_matter: FrontMatter::default(), body_start: 0, warnings: Vec::new() };
    let Some((yaml, body_start)) = split(source.text) else { return read };
    if yaml.len() > FRONT_MATTER_BYTES_MAX {
        read.warnings.push(format!("front matter is longer than {FRONT_MATTER_BYTES_MAX} bytes and was read as text"));
        return read;
    }
    match serde_saphyr::from_str::<BTreeMap<String, Value>>(yaml) {
        Ok(map) => {
            read.body_start = body_start;
            read.front_matter.lines = Some(source.lines(0..body_start));
            for (key, value) in map {
                take(&mut read, key, value);
            }
        }
        // A rule at the top of a document is legal Markdown, so the block stays part of the text.
        Err(_) => read.warnings.push(format!(
            "the block in lines 1 to {} is no YAML map and was read as text",
            source.line(body_start.saturating_sub(1))
        )),
    }
    read
}

/// Splits `---\n<yaml>\n---\n` off the top; gives the YAML and the offset behind the closing fence.
fn split(text: &str) -> Option<(&str, usize)> {
    let mut lines = text.split_inclusive('\n');
    let opening = lines.next().filter(|line| line.trim_end() == "---")?;
    let mut at = opening.len();
    for line in lines {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((text.get(opening.len()..at)?, at + line.len()));
        }
        at += line.len();
    }
    None
}

fn take(read: &mut Read, key: String, value: Value) {
    let front = &mut read.front_matter;
    match (key.as_str(), value) {
        (_, Value::Null) => {}
        ("title", value) if scalar(&value).is_some() => front.title = scalar(&value),
        ("blueprint", value) if scalar(&value).is_some() => front.blueprint = scalar(&value),
        ("toolchain", value) if scalar(&value).is_some() => front.toolchain = scalar(&value),
        ("parameters", Value::Object(map)) => {
            for (name, value) in map {
                match scalar(&value) {
                    Some(text) => drop(front.parameters.insert(name, text)),
                    None => read
                        .warnings
                        .push(format!("front matter parameter `{name}` is not a single value and was ignored")),
                }
            }
        }
        ("constraints", Value::Array(items)) => front.constraints.extend(items.iter().map(as_text)),
        ("constraints", value) if scalar(&value).is_some() => front.constraints.extend(scalar(&value)),
        ("title" | "blueprint" | "toolchain" | "parameters" | "constraints", value) => {
            read.warnings
                .push(format!("front matter key `{key}` does not have the form that is expected and was ignored"));
            front.unknown.insert(key, as_text(&value));
        }
        (_, value) => {
            read.warnings.push(format!("front matter key `{key}` is not known to the planner and was kept as it is"));
            front.unknown.insert(key, as_text(&value));
        }
    }
}

/// The text of a string, number or boolean.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn as_text(value: &Value) -> String {
    scalar(value).unwrap_or_else(|| value.to_string())
}
