//! JSON of a request, looked at without a tree of it in memory: the members of an object are a bounded list, and what they
//! stand for stays the bytes that it was until somebody asks.
//!
//! Stricter than JSON where servers differ: a name stands once, in whatever case, so that none of them sees another value
//! than this did. How deep a text nests is bounded by whoever looks into it; what nobody looks into is skipped without
//! recursion.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most members of an object that is looked at.
const MEMBERS_MAX: usize = 512;

/// The members of an object, in their order.
#[derive(Debug)]
pub(super) struct Members<'a> {
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Where each is, by its name in small letters.
    places: BTreeMap<String, usize>,
}

/// A string, without a copy where its text needs none.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    /// Those of the object that `bytes` are.
    ///
    /// # Errors
    /// When they are no object, or one that servers may read in different ways.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// Those of the object that `value` is.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn in_value(value: &'a RawValue) -> Result<Self, String> {
        Self::of(value.get().as_bytes())
    }

    /// What stands under `name`, if that is more than `null`.
    ///
    /// # Errors
    /// When it stands there in another case: some servers read it, and some do not.
    pub(super) fn get(&self, name: &str) -> Result<Option<&'a RawValue>, String> {
        let Some((exact, value)) = self.places.get(name).and_then(|at| self.list.get(*at)) else { return Ok(None) };
        if exact != name {
            return Err(format!("`{}` has to be written `{name}`", exact.escape_debug()));
        }
        Ok(Some(*value).filter(|value| !is_null(value)))
    }

    /// The text under `name`.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, String> {
        self.get(name)?.map(|value| text(value).ok_or_else(|| format!("`{name}` is no text"))).transpose()
    }

    /// Whether `true` stands under `name`.
    ///
    /// # Errors
    /// When it is something else than a truth value.
    pub(super) fn is_set(&self, name: &str) -> Result<bool, String> {
        match self.get(name)?.map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(format!("`{name}` is neither `true` nor `false`")),
        }
    }

    /// All that are more than `null`.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.list.iter().map(|(name, value)| (name.as_ref(), *value)).filter(|(_, value)| !is_null(value))
    }

    /// The object again, with `value` under `name`.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let size: usize = self.list.iter().map(|(name, value)| name.len() + value.get().len() + 8).sum();
        let mut out = String::with_capacity(size + name.len() + value.len() + 8);
        out.push('{');
        for (at, kept) in self.list.iter().filter(|(at, _)| at != name) {
            out.push_str(&serde_json::Value::from(at.as_ref()).to_string());
            out.push(':');
            out.push_str(kept.get());
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(name).to_string());
        out.push(':');
        out.push_str(value);
        out.push('}');
        out
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut list, mut places) = (Vec::new(), BTreeMap::new());
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if list.len() == MEMBERS_MAX {
                        return Err(A::Error::custom(format!("an object has more than {MEMBERS_MAX} members")));
                    }
                    if places.insert(name.to_lowercase(), list.len()).is_some() {
                        let name = name.chars().take(80).collect::<String>();
                        return Err(A::Error::custom(format!("`{}` stands twice", name.escape_debug())));
                    }
                    list.push((name, value));
                }
                Ok(Members { list, places })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Tells `look` of every element of the list that `value` is, with its index.
///
/// # Errors
/// When it is no list, and the first of `look`.
pub(super) fn each<'a>(
    value: &'a RawValue,
    look: &mut dyn FnMut(usize, &'a RawValue) -> Result<(), String>,
) -> Result<(), String> {
    struct Elements<'f, 'a> {
        look: &'f mut dyn FnMut(usize, &'a RawValue) -> Result<(), String>,
        refused: &'f mut Option<String>,
    }
    impl<'de: 'a, 'a> Visitor<'de> for Elements<'_, 'a> {
        type Value = ();

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            let mut at = 0;
            while let Some(element) = elements.next_element::<&'de RawValue>()? {
                if let Err(reason) = (self.look)(at, element) {
                    *self.refused = Some(reason);
                    return Err(A::Error::custom("refused"));
                }
                at += 1;
            }
            Ok(())
        }
    }
    impl<'de: 'a, 'a> DeserializeSeed<'de> for Elements<'_, 'a> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    let seen = Elements { look, refused: &mut refused }.deserialize(&mut deserializer);
    match (seen, refused) {
        (_, Some(reason)) => Err(reason),
        (Err(error), None) => Err(error.to_string()),
        (Ok(()), None) => Ok(()),
    }
}

/// The text that a value is.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|Text(text)| text)
}

pub(super) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

pub(super) fn is_list(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_whatever_its_case_and_however_it_is_written() {
        for twice in [r#"{"a":1,"a":2}"#, r#"{"tools":[],"Tools":[]}"#, r#"{"store":false,"\u0073tore":true}"#] {
            assert!(Members::of(twice.as_bytes()).unwrap_err().contains("twice"), "{twice}");
        }
        let odd = Members::of(br#"{"Store":false}"#).unwrap();
        assert!(odd.get("store").unwrap_err().contains("has to be written `store`"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "7", "\"a\"", "null", "", "{", "{}x", "{\"a\":}"] {
            assert!(Members::of(text.as_bytes()).is_err(), "{text}");
        }
        let many: Vec<String> = (0..=MEMBERS_MAX).map(|number| format!("\"{number}\":0")).collect();
        assert!(Members::of(format!("{{{}}}", many.join(",")).as_bytes()).unwrap_err().contains("more than"));
        // Nothing of it is parsed any further, and nothing recurses.
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(Members::of(deep.as_bytes()).unwrap().get("a").unwrap().is_some());
    }

    #[test]
    fn a_value_is_put_in_its_place_and_all_else_stays() {
        let members = Members::of(br#" { "a\"b" : [1, 2] , "c":"x", "d": null } "#).unwrap();
        assert_eq!(members.with("c", "true"), r#"{"a\"b":[1, 2],"d":null,"c":true}"#);
        assert!(members.get("d").unwrap().is_none());
        assert_eq!(members.text("c").unwrap().as_deref(), Some("x"));
        assert!(members.is_set("c").is_err() && members.is_set("d") == Ok(false));
    }

    #[test]
    fn elements_are_seen_one_by_one_up_to_the_first_that_is_refused() {
        let list = RawValue::from_string("[1,2,3]".into()).unwrap();
        let mut seen = Vec::new();
        let ended = each(&list, &mut |at, value| {
            seen.push((at, value.get().to_owned()));
            if at == 1 { Err("enough".to_owned()) } else { Ok(()) }
        });
        assert_eq!((ended, seen.len()), (Err("enough".to_owned()), 2));
        let none = RawValue::from_string("{}".into()).unwrap();
        assert!(each(&none, &mut |_, _| Ok(())).is_err());
    }
}
