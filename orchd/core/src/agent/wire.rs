//! How values of JSON are taken from lines of agents: borrowed where they can be, bounded where they are many, and forgiving
//! where programs differ.
//!
//! Nothing here recurses: the types of a protocol have a fixed depth, and `serde_json` skips what nobody asked for without
//! recursion, at the cost of one byte for each level of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::event::{RawReason, RunEvent};
use super::text::{self, NAME_BYTES_MAX, Text};

/// Most elements of a list that are looked at; an `Unknown` event says that there were more.
pub const LIST_MAX: usize = 1024;

/// A string, cut at `TEXT_BYTES_MAX`; `null` is an empty one. Neither bytes that are not UTF-8 nor half of a surrogate pair
/// make it unreadable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Str<'a> {
    text: Cow<'a, str>,
    dropped_bytes: u64,
}

impl Str<'_> {
    pub(super) fn from_static(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), dropped_bytes: 0 }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The start of it, as an id or a name.
    pub(super) fn name(&self) -> String {
        name(&self.text).to_owned()
    }

    pub(super) fn start(&self, bytes_max: usize) -> String {
        text::start(&self.text, bytes_max).to_owned()
    }
}

impl From<Str<'_>> for Text {
    fn from(from: Str<'_>) -> Self {
        Self::new(from.text, from.dropped_bytes)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(StrVisitor)
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E>(self) -> Result<Str<'de>, E> {
        Ok(Str::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Str<'de>, D::Error> {
        // As bytes, because as a string `serde_json` refuses half of a surrogate pair.
        deserializer.deserialize_bytes(self)
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Str<'de>, E> {
        let (text, dropped_bytes) = text::lossy(bytes);
        Ok(Str { text, dropped_bytes })
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Str<'de>, E> {
        let (text, dropped_bytes) = text::lossy(bytes);
        Ok(Str { text: Cow::Owned(text.into_owned()), dropped_bytes })
    }
}

/// A whole number that is not negative; none for anything else, so that no number makes a line unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Number::deserialize(deserializer)?.0.filter(|number| *number >= 0.0).map(|number| number as u64)))
    }
}

/// A number; none for anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Number(pub(super) Option<f64>);

impl Number {
    /// As an exit code; none for what is none.
    pub(super) fn exit_code(self) -> Option<i32> {
        let is_code =
            |number: &f64| number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(number);
        self.0.filter(is_code).map(|number| number as i32)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
        Ok(Number(Some(number as f64)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
        Ok(Number(Some(number as f64)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
        Ok(Number(Some(number)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Number(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Number(None))
    }
}

/// The first `MAX` elements of a list; `null` is an empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<T, const MAX: usize = LIST_MAX> {
    pub(super) items: Vec<T>,
    /// How many more there were.
    pub(super) dropped: usize,
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self { items: Vec::new(), dropped: 0 }
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    pub(super) fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error>
    where
        T: Deserialize<'de>,
    {
        let mut list = Self::default();
        while list.items.len() < MAX
            && let Some(item) = seq.next_element()?
        {
            list.items.push(item);
        }
        while list.items.len() == MAX && seq.next_element::<IgnoredAny>()?.is_some() {
            list.dropped += 1;
        }
        Ok(list)
    }

    /// Says that there was more, when there was.
    pub(super) fn tell_dropped(&self, sink: &mut dyn FnMut(RunEvent)) {
        if self.dropped > 0 {
            sink(RunEvent::Unknown { kind: Some(format!("{} more in a list", self.dropped)) });
        }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<List<T, MAX>, E> {
        Ok(List::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<List<T, MAX>, A::Error> {
        List::from_seq(seq)
    }
}

/// A string, or a list of things that hold one: what Anthropic's and MCP's contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content<'a, T, const MAX: usize = LIST_MAX> {
    Text(Str<'a>),
    List(List<T, MAX>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Content<'a, T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `serde_json` gives strings as bytes here and lists as lists.
        deserializer.deserialize_bytes(ContentVisitor(PhantomData))
    }
}

struct ContentVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ContentVisitor<T, MAX> {
    type Value = Content<'de, T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        StrVisitor.visit_borrowed_bytes(bytes).map(Content::Text)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        StrVisitor.visit_bytes(bytes).map(Content::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        List::from_seq(seq).map(Content::List)
    }
}

/// A value of another form than expected is none, and its line is read all the same. Read twice, so for small things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(inside(<&RawValue>::deserialize(deserializer)?)))
    }
}

/// What `raw` holds, when it has the form of a `T`.
pub(super) fn inside<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// The text of a value as the agent wrote it; a string is its content, nothing is nothing.
pub(super) fn shown(raw: Option<&RawValue>) -> Text {
    let Some(raw) = raw else { return Text::default() };
    match raw.get() {
        text if text.starts_with('"') => inside::<Str<'_>>(raw).map_or_else(|| text.into(), Text::from),
        text => text.into(),
    }
}

/// The string under `key` of the object in `line`, when there is one. Reads no further, so that what follows may be
/// anything. The first of several counts.
pub(super) fn text_at<'a>(line: &'a [u8], key: &str) -> Option<Str<'a>> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    // Where the search ends early `serde_json` misses the rest of the object; that is not asked here.
    let _ended_early = Probe { key, found: &mut found }.deserialize(&mut deserializer);
    found
}

struct Probe<'f, 'de> {
    key: &'f str,
    found: &'f mut Option<Str<'de>>,
}

impl<'de> DeserializeSeed<'de> for Probe<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Str<'_>>()? {
            if key.as_str() == self.key {
                *self.found = Some(map.next_value()?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// A line that has the form of a `T`.
pub(super) fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

/// Takes a line that is known and says nothing: any JSON will do.
pub(super) fn pass(line: &[u8]) -> Option<()> {
    read::<IgnoredAny>(line).map(|_| ())
}

/// The start of a text, as an id or a name.
pub(super) fn name(text: &str) -> &str {
    text::start(text, NAME_BYTES_MAX)
}

/// A part of a line that means nothing here: what it is part of, and what it calls itself.
pub(super) fn unknown(of: &str, kind: &str) -> RunEvent {
    RunEvent::Unknown { kind: Some(name(&format!("{of}/{kind}")).to_owned()) }
}

/// What is told of a line that has not the form which its `kind` should have.
pub(super) fn unread(line: &[u8], kind: &str) -> RunEvent {
    if pass(line).is_some() {
        let kind = name(kind);
        return RunEvent::Unknown { kind: (!kind.is_empty()).then(|| kind.to_owned()) };
    }
    let why = if std::str::from_utf8(line).is_err() { RawReason::NotUtf8 } else { RawReason::NotJson };
    RunEvent::Raw { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
        super::read(json.as_bytes())
    }

    #[test]
    fn numbers_of_any_form_are_read() {
        let counts = ["7", "7.9", "-1", "null", "\"7\"", "[1,[2]]", "{\"a\":{}}", "true", "1e300"];
        let counts = counts.map(|json| read::<Count>(json).and_then(|count| count.0));
        assert_eq!(counts, [Some(7), Some(7), None, None, None, None, None, None, Some(u64::MAX)]);
    }

    #[test]
    fn lists_are_read_up_to_their_bound() {
        let list: List<Count, 2> = read("[1,2,3,{\"a\":[]}]").unwrap();
        assert_eq!((list.items.len(), list.dropped), (2, 2));
        assert_eq!(read::<List<Count>>("null"), Some(List::default()));
        assert_eq!(read::<List<Count>>("{}"), None);
    }

    #[test]
    fn half_of_a_surrogate_pair_is_read() {
        assert_eq!(read::<Str<'_>>(r#""a\ud83d""#).unwrap().as_str(), "a\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(read::<Str<'_>>(r#""\ud83d\ude00\n""#).unwrap().as_str(), "\u{1f600}\n");
        assert_eq!(super::read::<Str<'_>>(b"\"a\xff\"").unwrap().as_str(), "a\u{fffd}");
        assert_eq!((read::<Str<'_>>("null"), read::<Str<'_>>("7")), (Some(Str::default()), None));
    }

    #[test]
    fn a_string_is_found_wherever_it_stands() {
        assert_eq!(text_at(br#"{"a":{"type":"x"},"type":"y","type":"z"}"#, "type").unwrap().as_str(), "y");
        assert_eq!(text_at(br#"{"type":"y", and so on"#, "type").unwrap().as_str(), "y");
        assert_eq!(text_at(br#"{"type":7}"#, "type"), None);
        assert_eq!(text_at(br#"["type"]"#, "type"), None);
    }

    #[test]
    fn values_are_shown_as_they_are() {
        assert_eq!(shown(read(r#"{"a":[1]}"#)).text, r#"{"a":[1]}"#);
        assert_eq!(shown(read(r#""a\nb""#)).text, "a\nb");
    }
}
