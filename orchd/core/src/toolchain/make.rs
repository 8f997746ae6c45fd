//! Make: only targets that the Makefile really has.

use std::collections::BTreeSet;

use super::Toolchain;
use super::survey::{Content, Site};

/// In the order in which GNU make looks.
const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let name = site.first_of(&MAKEFILES)?;
    // A Makefile below another one is a part of it.
    if MAKEFILES.iter().any(|makefile| site.above_with(makefile).is_some()) {
        return None;
    }
    let mut found = site.found("make", name, &["make"]);
    let text = match site.read(name) {
        Content::Absent => return None,
        Content::Unreadable(why) => {
            found.saw(format!("{name} is {why}"));
            return Some(found);
        }
        Content::Text(text) => text,
    };
    let targets = targets(&text);
    let step = |found: &mut Toolchain, action: &str, names: &[&str]| {
        let target = names.iter().find(|name| targets.contains(**name))?;
        found.saw(format!("target `{target}`"));
        Some(found.step(action, format!("make {target}"), &[]))
    };
    found.build = step(&mut found, "build", &["build", "all"]);
    found.test = step(&mut found, "test", &["test", "tests", "check"]);
    found.lint = step(&mut found, "lint", &["lint"]);
    Some(found)
}

/// Names before the colon of a rule; assignments, recipes and variables are not rules.
fn targets(text: &str) -> BTreeSet<&str> {
    let mut targets = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with(['\t', ' ', '#', '.']) {
            continue;
        }
        let Some((names, rest)) = line.split_once(':') else { continue };
        if rest.starts_with('=') || rest.starts_with(":=") || names.contains(['=', '$', '%']) {
            continue;
        }
        targets.extend(names.split_whitespace());
    }
    targets
}
