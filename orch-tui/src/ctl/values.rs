//! Values that a person gives for fields: from files and from standard input, never from arguments, which others can see.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orch_proto::ErrorCode;
use orch_proto::request::Bytes;
use serde_json::Value;

use super::failure::Failure;
use super::input;
use super::session::Session;

/// Largest value that is read, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Largest file of several values, in bytes.
const VALUES_BYTES_MAX: usize = 256 << 10;

/// By the names of their fields.
pub(crate) type Values = BTreeMap<String, Bytes>;

/// Where values come from.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Of one value each, by the names of their fields.
    pub(crate) files: Vec<(String, String)>,
    /// Of several, with the names of their fields.
    pub(crate) of_several: Option<PathBuf>,
}

impl Sources {
    /// Reads them all. `knows` refuses the name of a field that there is not.
    pub(crate) fn read(
        &self,
        session: &Session,
        knows: impl Fn(&str) -> Result<(), Failure>,
    ) -> Result<Values, Failure> {
        let files = self.files.iter().map(|(_, file)| Path::new(file)).chain(self.of_several.as_deref());
        if files.filter(|file| file.as_os_str() == "-").count() > 1 {
            return Err(Failure::usage("standard input was named more than once; it can be read once"));
        }
        let mut found = Vec::new();
        if let Some(file) = &self.of_several {
            let (name, text) = input::read_text(session, file, VALUES_BYTES_MAX)?;
            found.extend(several(&name, &text)?);
        }
        for (field, file) in &self.files {
            knows(field)?;
            found.push((field.clone(), of_file(session, Path::new(file))?));
        }
        let mut values = Values::new();
        for (field, value) in found {
            knows(&field)?;
            if values.insert(field.clone(), Bytes(value)).is_some() {
                return Err(Failure::usage(format!("`{field}` was given more than once")));
            }
        }
        Ok(values)
    }
}

/// What a file holds, without the newline that ends a last line.
fn of_file(session: &Session, file: &Path) -> Result<Vec<u8>, Failure> {
    let mut value = input::read(session, file, VALUE_BYTES_MAX)?.bytes;
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(value)
}

/// The values of a JSON object, or of lines of `FIELD=VALUE`. What is wrong is told by its place, and not by what stands there.
fn several(file: &str, text: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    if text.trim_start().starts_with('{') {
        return object(file, text);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let pair = |(index, line): (usize, &str)| -> Result<(String, Vec<u8>), Failure> {
        let (field, value) = line.split_once('=').ok_or_else(|| {
            let hint = "write `FIELD=VALUE`, or one JSON object; a value of several lines needs the latter";
            Failure::new(ErrorCode::Usage, format!("line {} of `{file}` has no `=`", index + 1), hint)
        })?;
        Ok((field.trim().to_owned(), value.as_bytes().to_vec()))
    };
    lines.map(pair).collect()
}

fn object(file: &str, text: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let values: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Failure::usage(format!("`{file}` is no JSON object: {place}"))
    })?;
    let text = |(field, value): (String, Value)| match value {
        Value::String(text) => Ok((field, text.into_bytes())),
        Value::Bool(_) | Value::Number(_) => Ok((field, value.to_string().into_bytes())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(Failure::usage(format!("`{field}` in `{file}` is no text, no number, and neither `true` nor `false`")))
        }
    };
    values.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let found = several("answers", text).unwrap();
        found.into_iter().map(|(field, value)| (field, String::from_utf8(value).unwrap())).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn several_values_are_lines_or_an_object() {
        let lines = "# for I-3\r\nregion=eu\r\n\n token = a=b \nempty=\n";
        assert_eq!(pairs(lines), owned(&[("region", "eu"), ("token", " a=b "), ("empty", "")]));
        let json = r#" {"token": "two\nlines", "count": 3, "sure": true} "#;
        assert_eq!(pairs(json), owned(&[("count", "3"), ("sure", "true"), ("token", "two\nlines")]));
        assert_eq!(pairs(""), owned(&[]));
    }

    #[test]
    fn what_is_wrong_is_told_without_its_words() {
        for (text, place) in [
            ("region=eu\nhunter2\n", "line 2 of `answers`"),
            (r#"{"a": "hunter2""#, "line 1, column"),
            (r#"{"a": ["hunter2"]}"#, "`a` in `answers`"),
            (r#"{"a": null}"#, "`a` in `answers`"),
            (r#"{"a": "b"} hunter2"#, "line 1, column"),
        ] {
            let said = several("answers", text).unwrap_err().to_string();
            assert!(said.contains(place) && !said.contains("hunter2"), "{text}: {said}");
        }
    }
}
