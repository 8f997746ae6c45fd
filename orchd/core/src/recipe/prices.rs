//! What models cost, as data: a table that ships, and that an operator can replace.

use std::collections::BTreeMap;

use super::problem::{Problem, RecipeError};
use super::reader::{Fields, decimal, line, list_of};
use super::yaml::{self, Fault, Node};
use crate::entity::Price;

const KEYS: &[&str] = &["description", "models"];
const MODEL_KEYS: &[&str] = &["name", "input", "cached", "cache_written", "output"];
const MODELS_MAX: usize = 1_000;
/// Largest price, in millionths of a dollar for a million tokens: a hundred times what the dearest model costs.
const PRICE_MAX: u64 = 100_000 * 1_000_000;

/// Prices by the names of models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// The price of a model, by the name that its server gives it: that name, or the longest known one that a date or a
    /// variant is put behind, as in `name-2026-09-22`, `name-20260922` and `name[1m]`. What a gateway of models puts in
    /// front of it, as `vendor/name`, does not count.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Price> {
        let own = model.rsplit('/').next().unwrap_or(model);
        let fits = |name: &String| own.strip_prefix(name.as_str()).is_some_and(is_variant);
        let longest = self.0.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len());
        longest.map(|(_, price)| price)
    }
}

/// Whether it says which edition of a model is meant, and not which model.
fn is_variant(rest: &str) -> bool {
    let mut bytes = rest.bytes();
    match bytes.next() {
        None | Some(b'[' | b'@' | b':') => true,
        // A date: of anything else one digit may be another model.
        Some(b'-') => bytes.clone().count() >= 4 && bytes.all(|byte| byte.is_ascii_digit() || byte == b'-'),
        Some(_) => false,
    }
}

/// Reads the text of a table. `file` is only used to name it in an error.
///
/// # Errors
/// The first problem of the file, with its place.
pub fn parse_prices(text: &str, file: &str) -> Result<Prices, RecipeError> {
    let in_file = |fault: Fault| RecipeError { file: file.to_owned(), place: fault.place, problem: fault.problem };
    yaml::read(text).and_then(|node| prices(&node)).map_err(in_file)
}

fn prices(node: &Node) -> Result<Prices, Fault> {
    let fields = Fields::of(node, "a table of prices", KEYS)?;
    fields.opt("description", line)?;
    let mut table = BTreeMap::new();
    let list =
        |node: &Node, key: &str| list_of(node, key, MODELS_MAX, |node, _| model(node).map(|found| (found, node.place)));
    for ((name, price), place) in fields.req("models", list)? {
        if table.insert(name.clone(), price).is_some() {
            return Err(Fault { place, problem: Problem::DuplicateName { key: "models".into(), name } });
        }
    }
    Ok(Prices(table))
}

fn model(node: &Node) -> Result<(String, Price), Fault> {
    let fields = Fields::of(node, "a price", MODEL_KEYS)?;
    let dollars = |node: &Node, key: &str| decimal(node, key, 6, PRICE_MAX);
    let input = fields.req("input", dollars)?;
    let price = Price {
        input,
        cached: fields.opt("cached", dollars)?.unwrap_or(input),
        cache_written: fields.opt("cache_written", dollars)?.unwrap_or(input),
        output: fields.req("output", dollars)?,
    };
    Ok((fields.req("name", line)?, price))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "models:\n\
        - { name: big-5, input: 3, cached: 0.3, cache_written: 3.75, output: 15 }\n\
        - { name: big-5-mini, input: 0.000001, output: 2 }\n";

    #[test]
    fn a_model_is_found_by_its_name_with_a_date_or_a_variant() {
        let prices = parse_prices(TABLE, "prices.yaml").unwrap();
        let big = Price { input: 3_000_000, cached: 300_000, cache_written: 3_750_000, output: 15_000_000 };
        let mini = Price { input: 1, cached: 1, cache_written: 1, output: 2_000_000 };
        for (name, price) in [
            ("big-5", Some(&big)),
            ("big-5-20260922", Some(&big)),
            ("big-5-2026-09-22", Some(&big)),
            ("big-5[1m]", Some(&big)),
            ("vendor/big-5@20260922", Some(&big)),
            ("big-5-mini", Some(&mini)),
            ("big-5-mini-2026-09-22", Some(&mini)),
            ("big-5-5", None),
            ("big-5-max", None),
            ("big-50", None),
            ("big", None),
            ("", None),
        ] {
            assert_eq!(prices.of(name), price, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, line) in [
            ("models:\n- { name: a, input: 1 }\n", 2),
            ("models:\n- { name: a, input: -1, output: 1 }\n", 2),
            ("models:\n- { name: a, input: 1.2345678, output: 1 }\n", 2),
            ("models:\n- { name: a, input: 200000, output: 1 }\n", 2),
            ("models:\n- { name: a, input: 1, output: 1 }\n- { name: a, input: 1, output: 1 }\n", 3),
            ("model: []\n", 1),
        ] {
            assert_eq!(parse_prices(text, "prices.yaml").unwrap_err().place.line, line, "{text}");
        }
    }
}
