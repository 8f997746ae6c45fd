//! What a run asks for when it names a tool: the name, and where wanted a version and what it is made from.
//!
//! One text, so that tasks of older versions, which kept names alone, say the same.

use std::fmt;

use super::checksum::Checksum;
use super::text::printable;

/// A tool as a run asks for it: `opentofu`, `opentofu@1.7.x`, `opentofu@1.7.0#sha256:...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRequest {
    pub name: String,
    pub version: Option<String>,
    pub checksum: Option<Checksum>,
}

impl ToolRequest {
    /// Reads what [`fmt::Display`] wrote. What has another form is a name that nothing has.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let plain = || Self { name: text.to_owned(), version: None, checksum: None };
        let (rest, checksum) = match text.split_once('#') {
            Some((rest, checksum)) => match Checksum::parse(checksum) {
                Ok(checksum) => (rest, Some(checksum)),
                Err(_) => return plain(),
            },
            None => (text, None),
        };
        match rest.split_once('@') {
            Some((name, version)) => Self { name: name.to_owned(), version: Some(version.to_owned()), checksum },
            None => Self { name: rest.to_owned(), version: None, checksum },
        }
    }

    /// Whether only what a recipe says of it will do: whatever has the name is not enough.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.version.is_some() || self.checksum.is_some()
    }

    /// Whether a version is one that was asked for.
    #[must_use]
    pub fn takes(&self, version: &str) -> bool {
        self.version.as_deref().is_none_or(|wanted| fits(wanted, version))
    }
}

impl fmt::Display for ToolRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(out, "@{version}"))?;
        self.checksum.iter().try_for_each(|checksum| write!(out, "#{checksum}"))
    }
}

/// Whether a version is exactly the one that is wanted, any of `2.17.x`, or `3.9` and newer of `3.9+`. One that has such a form itself,
/// as recipes may, counts as the least that it can be.
fn fits(wanted: &str, found: &str) -> bool {
    if wanted == found {
        return true;
    }
    if let Some(series) = wanted.strip_suffix(".x") {
        return found.strip_prefix(series).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    }
    let found = found.trim_end_matches('+').trim_end_matches(".x");
    wanted.strip_suffix('+').is_some_and(|least| numbers(found) >= numbers(least))
}

/// The numbers of a version up to the first part that is none; `1.0` is `1`.
fn numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = version.split('.').map_while(|part| part.parse().ok()).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

/// What a person is told that something else is wanted than there is; none when it is what there is.
#[must_use]
pub fn misfit(request: &ToolRequest, version: &str, checksum: Option<&Checksum>) -> Option<String> {
    if !request.takes(version) {
        let wanted = request.version.as_deref().unwrap_or_default();
        return Some(format!("its recipe is for {}, and {} is wanted", printable(version), printable(wanted)));
    }
    let wanted = request.checksum.as_ref()?;
    match checksum {
        Some(found) if found == wanted => None,
        Some(found) => Some(format!("its recipe is for {found}, and {wanted} is wanted")),
        None => Some("its recipe has no checksum for this host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for (version, checksum) in [(None, None), (Some("1.7.x"), None), (None, Some(SUM)), (Some("3.9+"), Some(SUM))] {
            let request = ToolRequest {
                name: "opentofu".into(),
                version: version.map(ToOwned::to_owned),
                checksum: checksum.map(|text| Checksum::parse(text).unwrap()),
            };
            assert_eq!(ToolRequest::parse(&request.to_string()), request);
            assert_eq!(request.is_pinned(), version.or(checksum).is_some());
        }
        let odd = ToolRequest::parse("a@b#no-checksum");
        assert_eq!((odd.name.as_str(), odd.version), ("a@b#no-checksum", None));
    }

    #[test]
    fn versions_are_exact_of_a_series_or_at_least() {
        for (wanted, found, does) in [
            ("1.7.0", "1.7.0", true),
            ("1.7.0", "1.7.01", false),
            ("1.7.x", "1.7.3", true),
            ("1.7.x", "1.7", true),
            ("1.7.x", "1.70.3", false),
            ("3.9+", "3.10.1", true),
            ("3.9+", "3.9.0", true),
            ("3.9.0+", "3.9", true),
            ("3.9+", "3.8.9", false),
            ("2+", "v3", false),
            // What recipes themselves may be for.
            ("3.9+", "3.9+", true),
            ("2.17.x", "2.17.x", true),
            ("3.9+", "3.12+", true),
            ("3.12+", "3.9+", false),
            ("2.9+", "2.17.x", true),
            ("3.9+", "2.17.x", false),
            ("2.17.x", "2.17+", false),
            ("3.9", "3.9+", false),
        ] {
            assert_eq!(fits(wanted, found), does, "{wanted} {found}");
        }
    }

    #[test]
    fn who_pins_something_else_is_told_both() {
        let own = Checksum::parse(SUM).unwrap();
        let other = ToolRequest::parse(&format!("a#{}", SUM.replace("ba78", "ba79")));
        let said = misfit(&other, "1", Some(&own)).unwrap();
        assert!(said.contains(SUM) && said.contains("ba79"), "{said}");
        assert_eq!(misfit(&ToolRequest::parse(&format!("a@1#{SUM}")), "1", Some(&own)), None);
        assert!(misfit(&ToolRequest::parse("a@2"), "1", Some(&own)).unwrap().contains("2 is wanted"));
        assert_eq!(misfit(&ToolRequest::parse("a@3.9+"), "3.9+", Some(&own)), None, "it meets its own");
    }
}
