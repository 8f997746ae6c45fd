//! YAML with places: a small tree in which every key and value knows its line and column.
//!
//! Only the plain part of YAML is taken: one document of mappings, lists and scalars. Anchors, aliases, tags and merge
//! keys are refused where they stand, so there is nothing that could grow; size, depth and count are bounded. Scalars
//! keep their text as written (`1.10` stays `1.10`): what a value means is up to its reader, not to YAML.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

use super::checked::RECIPE_BYTES_MAX;
use super::problem::{Place, Problem};
use super::text::printable;

/// Deepest nesting of a recipe file.
pub(crate) const DEPTH_MAX: usize = 16;
/// Most values (mappings, lists, scalars, keys) in one file.
pub(crate) const VALUES_MAX: usize = 20_000;

/// A problem at a place, before it is known in which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) problem: Problem,
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Text as written; `plain` when it had no quotes and no block style, so that it may also be a number.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping, in the order written. Keys of one mapping are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// Reads the one document of `text`.
pub(crate) fn read(text: &str) -> Result<Node, Fault> {
    let start = Place { line: 1, column: 1 };
    if text.len() > RECIPE_BYTES_MAX {
        return Err(Fault { place: start, problem: Problem::TooLarge { bytes: text.len() } });
    }
    // The scanner takes a NUL for the end of the file and would silently ignore the rest.
    if let Some(place) = place_of_nul(text) {
        return Err(Fault { place, problem: Problem::Syntax { message: "file contains a NUL character".into() } });
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), values: 0 };
    let node = loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd | Event::DocumentEnd, _) => {
                return Err(Fault { place: start, problem: Problem::EmptyDocument });
            }
            (event, place) => break reader.node(event, place, 1)?,
        }
    };
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(node),
            (Event::DocumentEnd | Event::Nothing, _) => {}
            (_, place) => return Err(Fault { place, problem: Problem::SecondDocument }),
        }
    }
}

fn place_of_nul(text: &str) -> Option<Place> {
    let before = text.split_once('\0')?.0;
    let line_start = before.rsplit('\n').next().unwrap_or(before);
    Some(Place { line: before.matches('\n').count() + 1, column: line_start.chars().count() + 1 })
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            Some(Err(error)) => Err(Fault {
                place: place(error.marker()),
                problem: Problem::Syntax { message: error.info().to_owned() },
            }),
            None => Ok((Event::StreamEnd, Place::default())),
        }
    }

    /// Builds the value that starts with `event`. Recursion is bounded by `DEPTH_MAX`.
    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Fault> {
        let fault = |problem| Err(Fault { place, problem });
        self.values += 1;
        if self.values > VALUES_MAX {
            return fault(Problem::TooManyValues { max: VALUES_MAX });
        }
        if depth > DEPTH_MAX {
            return fault(Problem::TooDeep { max: DEPTH_MAX });
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.as_ref().map(ToString::to_string))
            }
            _ => (1, None),
        };
        if anchor != 0 {
            return fault(Problem::Anchor);
        }
        if let Some(tag) = tag {
            return fault(Problem::Tag { tag: printable(&tag) });
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            _ => return fault(Problem::Anchor),
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        loop {
            let (event, key_place) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, _) => return Ok(entries),
                start => start,
            };
            let key = match self.node(event, key_place, depth + 1)?.value {
                Value::Scalar { text, .. } if !text.is_empty() => text,
                _ => return Err(Fault { place: key_place, problem: Problem::KeyNotText }),
            };
            if key == "<<" {
                return Err(Fault { place: key_place, problem: Problem::MergeKey });
            }
            if let Some(first_line) = seen.insert(key.clone(), key_place.line) {
                let problem = Problem::DuplicateKey { key: printable(&key), first_line };
                return Err(Fault { place: key_place, problem });
            }
            let (event, place) = self.next()?;
            // An absent value has no place of its own; its key is where a person looks.
            let empty = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, 0, None) if text.is_empty());
            let node = self.node(event, if empty { key_place } else { place }, depth + 1)?;
            entries.push(Entry { key, key_place, node });
        }
    }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (usize, usize, Problem) {
        let fault = read(text).expect_err(text);
        (fault.place.line, fault.place.column, fault.problem)
    }

    #[test]
    fn places_of_keys_and_values() {
        let node = read("# c\na:\n  - x: 1.10\n    y: \"q\"\n").expect("good");
        let Value::Map(top) = &node.value else { panic!("{node:?}") };
        assert_eq!((top[0].key.as_str(), top[0].key_place), ("a", Place { line: 2, column: 1 }));
        let Value::List(items) = &top[0].node.value else { panic!("{node:?}") };
        let Value::Map(item) = &items[0].value else { panic!("{node:?}") };
        assert_eq!(item[0].key_place, Place { line: 3, column: 5 });
        assert_eq!(item[0].node.place, Place { line: 3, column: 8 });
        assert_eq!(item[0].node.value, Value::Scalar { text: "1.10".into(), plain: true });
        assert_eq!(item[1].node.value, Value::Scalar { text: "q".into(), plain: false });
    }

    #[test]
    fn what_could_grow_is_refused_where_it_stands() {
        assert_eq!(fault("a: 1\nb: &x [1]\n"), (2, 4, Problem::Anchor));
        assert_eq!(fault("a: 1\n<<: {b: 1}\n"), (2, 1, Problem::MergeKey));
        assert!(matches!(fault("a: !!str 1\n"), (1, _, Problem::Tag { .. })));
        assert_eq!(fault("a: 1\nb: 2\na: 3\n"), (3, 1, Problem::DuplicateKey { key: "a".into(), first_line: 1 }));
        assert!(matches!(fault("a: 1\n---\nb: 1\n"), (2, 1, Problem::SecondDocument)));
        assert_eq!(fault("").2, Problem::EmptyDocument);
        assert!(matches!(fault("a: 1\nb: \0c\n"), (2, 4, Problem::Syntax { .. })));
        assert!(matches!(fault(&"[".repeat(200)).2, Problem::TooDeep { .. }));
        assert!(matches!(fault(&"[".repeat(200_000)).2, Problem::TooDeep { .. } | Problem::Syntax { .. }));
        assert!(matches!(fault(&"- a\n".repeat(30_000)).2, Problem::TooManyValues { .. }));
        assert!(matches!(fault(&"x".repeat(300_000)).2, Problem::TooLarge { .. }));
    }
}
