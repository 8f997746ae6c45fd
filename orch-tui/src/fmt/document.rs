//! The machine formats: JSON, JSON lines and YAML of views, in an envelope that names their kind.
//!
//! `{"apiVersion":"orch/v1","kind":"TaskList","items":[...]}`; a single thing carries its fields beside the kind.
//! Additive only within `v1`. JSON is escaped so far that no terminal obeys it, which changes no value.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::text::is_deceptive;

/// Version of the shape of the machine formats.
pub const API_VERSION: &str = "orch/v1";

/// One thing with its kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Single<'a, T> {
    api_version: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    item: &'a T,
}

impl<'a, T> Single<'a, T> {
    /// Names the kind of the thing.
    pub const fn new(kind: &'a str, item: &'a T) -> Self {
        Self { api_version: API_VERSION, kind, item }
    }
}

/// A list with its kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<'a, T> {
    api_version: &'static str,
    kind: &'a str,
    items: &'a [T],
}

impl<'a, T> List<'a, T> {
    /// Names the kind of the list, as `TaskList`.
    pub const fn new(kind: &'a str, items: &'a [T]) -> Self {
        Self { api_version: API_VERSION, kind, items }
    }
}

/// JSON on one line, without the newline.
///
/// # Errors
/// When a value has no form in JSON.
pub fn json_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    write_json(value, Escaping(CompactFormatter))
}

/// JSON over several lines, without a newline at the end.
///
/// # Errors
/// When a value has no form in JSON.
pub fn json_pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    write_json(value, Escaping(PrettyFormatter::new()))
}

fn write_json<F: Formatter>(value: &impl Serialize, formatter: F) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

/// Adds escapes for what JSON may hold as it is but a terminal would obey or hide.
struct Escaping<F>(F);

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, char)) = rest.char_indices().find(|&(_, char)| is_deceptive(char) || char == '\x7f') {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + char.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Escaping changes no value and leaves nothing that a terminal obeys.
        #[test]
        fn json_survives_and_is_harmless(text in ".*", pretty in any::<bool>()) {
            let value = vec![text, "\u{9b}31m\u{202e}\x7f\u{e0041}".to_owned()];
            let json = if pretty { json_pretty(&value).unwrap() } else { json_line(&value).unwrap() };
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), value);
            prop_assert!(!json.chars().any(|char| is_deceptive(char) || char.is_control() && char != '\n'), "{}", json);
        }
    }

    #[test]
    fn envelopes_name_version_and_kind() {
        #[derive(Serialize)]
        struct Thing {
            name: &'static str,
        }
        let thing = Thing { name: "a" };
        assert_eq!(
            json_line(&Single::new("Thing", &thing)).unwrap(),
            r#"{"apiVersion":"orch/v1","kind":"Thing","name":"a"}"#
        );
        let list = json_line(&List::new("ThingList", &[thing])).unwrap();
        assert_eq!(list, r#"{"apiVersion":"orch/v1","kind":"ThingList","items":[{"name":"a"}]}"#);
        let yaml = serde_saphyr::to_string(&Single::new("Thing", &Thing { name: "yes: no" })).unwrap();
        assert_eq!(yaml, "apiVersion: orch/v1\nkind: Thing\nname: \"yes: no\"\n");
    }
}
