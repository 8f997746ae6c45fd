//! What the operator says of hosts whose downloads are to be found elsewhere: `[recipes] mirrors`.

use std::collections::BTreeMap;

use orch_adapters::tool_cache::{Mirror, Mirrors};
use orch_core::recipe::Domain;

/// Most of them.
const MIRRORS_MAX: usize = 100;

/// Checks all of it; the error is what is wrong with which key.
pub(super) fn checked(written: &BTreeMap<String, String>) -> Result<Mirrors, (&'static str, String)> {
    let wrong = |problem: String| ("recipes.mirrors", problem);
    if written.len() > MIRRORS_MAX {
        return Err(wrong(format!("has more than {MIRRORS_MAX} hosts")));
    }
    let mirror = |(host, base): (&String, &String)| {
        let of = Domain::parse(host).ok().filter(|of| !of.as_str().starts_with('*'));
        let of = of.ok_or_else(|| wrong(format!("has `{}`, which is not a host name", host.escape_default())))?;
        let base = Mirror::parse(base).map_err(|why| wrong(format!("has an address for `{host}` that {why}")))?;
        Ok((of, base))
    };
    Ok(Mirrors::new(written.iter().map(mirror).collect::<Result<_, _>>()?))
}

/// The section that says the same.
pub(super) fn section(mirrors: &Mirrors) -> BTreeMap<String, String> {
    mirrors.iter().map(|(host, base)| (host.to_string(), base.as_str().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str, base: &str) -> BTreeMap<String, String> {
        [(host.to_owned(), base.to_owned())].into()
    }

    #[test]
    fn a_mirror_has_a_host_and_an_address() {
        let written = of("github.com", "http://127.0.0.1:8080/github");
        assert_eq!(section(&checked(&written).unwrap()), written);
        for (host, base, said) in [
            ("*.github.com", "https://a.org", "not a host name"),
            ("localhost", "https://a.org", "not a host name"),
            ("github.com", "a.org", "`github.com` that has to begin with"),
            ("github.com", "https://a.org/?b", "has a query"),
        ] {
            let (key, problem) = checked(&of(host, base)).unwrap_err();
            assert_eq!(key, "recipes.mirrors");
            assert!(problem.contains(said), "{problem}");
        }
    }
}
