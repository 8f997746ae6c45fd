//! The filter behind `/`: words that all must be found, `key=value`, `key~part`, and `!` before what must not be.
//!
//! `state=running agent !docs` keeps the rows whose state is `running`, that contain `agent` and not `docs`.

/// What a filter can look at.
pub(crate) trait Filtered {
    /// All texts of the row, for plain words.
    fn haystack(&self) -> String;
    /// One named field, as `state`.
    fn field(&self, name: &str) -> Option<String>;
}

/// A parsed filter. The default keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Contains(String),
    FieldIs(String, String),
    FieldContains(String, String),
}

impl Filter {
    /// Reads a filter. Every text is one.
    pub(crate) fn parse(text: &str) -> Self {
        Self { terms: text.split_whitespace().filter_map(parse_term).collect() }
    }

    /// Whether the row is kept.
    pub(crate) fn keeps(&self, row: &impl Filtered) -> bool {
        if self.terms.is_empty() {
            return true;
        }
        let haystack = row.haystack().to_lowercase();
        self.terms.iter().all(|term| {
            let held = match &term.test {
                Test::Contains(word) => haystack.contains(word),
                Test::FieldIs(name, value) => row.field(name).is_some_and(|field| field.to_lowercase() == *value),
                Test::FieldContains(name, part) => {
                    row.field(name).is_some_and(|field| field.to_lowercase().contains(part))
                }
            };
            held != term.negated
        })
    }
}

fn parse_term(word: &str) -> Option<Term> {
    let (negated, word) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
    let word = word.to_lowercase();
    if word.is_empty() {
        return None;
    }
    let split = |at: char| word.split_once(at).filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let test = if let Some((name, value)) = split('=') {
        Test::FieldIs(name.to_owned(), value.to_owned())
    } else if let Some((name, part)) = split('~') {
        Test::FieldContains(name.to_owned(), part.to_owned())
    } else {
        Test::Contains(word)
    };
    Some(Term { negated, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row;
    impl Filtered for Row {
        fn haystack(&self) -> String {
            "T-12 HTTP layer".into()
        }
        fn field(&self, name: &str) -> Option<String> {
            (name == "state").then(|| "running".into())
        }
    }

    #[test]
    fn terms_must_all_hold() {
        for (text, kept) in [
            ("", true),
            ("http", true),
            ("http docs", false),
            ("!docs", true),
            ("state=running", true),
            ("state=run", false),
            ("state~run", true),
            ("!state=running", false),
            ("owner=me", false),
            ("! =x", false),
        ] {
            assert_eq!(Filter::parse(text).keeps(&Row), kept, "{text}");
        }
    }
}
