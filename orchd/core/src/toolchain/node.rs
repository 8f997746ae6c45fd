//! Node packages: npm, pnpm and yarn, told apart by lock file.
//!
//! Only scripts that `package.json` really has are proposed, by their names; their text is never looked at beyond
//! telling the placeholder of `npm init`.

use serde_json::{Map, Value};

use super::Toolchain;
use super::survey::{Content, Site};

const MANIFEST: &str = "package.json";
const LOCKS: [(&str, &str); 5] = [
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
    ("pnpm-workspace.yaml", "pnpm"),
];
const ENV: &[(&str, &str)] = &[("CI", "true"), ("npm_config_offline", "true"), ("npm_config_update_notifier", "false")];
/// What `npm init` writes; it fails on purpose and is no test.
const NO_TEST: &str = "no test specified";

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let mut found = site.found("npm", MANIFEST, &["node", "npm"]);
    let manifest = match site.read(MANIFEST) {
        Content::Absent => return None,
        Content::Unreadable(why) => {
            found.saw(format!("{MANIFEST} is {why}"));
            return Some(found);
        }
        Content::Text(text) => serde_json::from_str::<Map<String, Value>>(&text),
    };
    let Ok(manifest) = manifest else {
        found.saw(format!("{MANIFEST} is not a JSON object"));
        return Some(found);
    };
    if belongs_to_workspace_above(site) {
        return None;
    }
    let manager = manager(site, &manifest, &mut found);
    manager.clone_into(&mut found.name);
    found.tools = vec!["node".to_owned(), manager.to_owned()];
    found.vendored = !has_dependencies(&manifest) || site.has_dir("node_modules") || site.has(".pnp.cjs");
    let script = |names: &[&'static str]| names.iter().find(|name| is_script(&manifest, name)).copied();
    let step = |found: &mut Toolchain, action: &str, names: &[&'static str]| {
        let name = script(names)?;
        found.saw(format!("script `{name}`"));
        Some(found.step(action, format!("{manager} run {name}"), ENV))
    };
    found.build = step(&mut found, "build", &["build", "compile"]);
    found.test = step(&mut found, "test", &["test"]);
    found.lint = step(&mut found, "lint", &["lint", "check"]);
    Some(found)
}

fn manager(site: &Site<'_>, manifest: &Map<String, Value>, found: &mut Toolchain) -> &'static str {
    if let Some((lock, manager)) = LOCKS.iter().find(|(lock, _)| site.has(lock)) {
        found.saw(*lock);
        return manager;
    }
    let declared = manifest.get("packageManager").and_then(Value::as_str).unwrap_or_default();
    match ["pnpm", "yarn", "npm"].into_iter().find(|name| declared.split('@').next() == Some(name)) {
        Some(manager) => {
            found.saw(format!("packageManager `{manager}`"));
            manager
        }
        None => "npm",
    }
}

fn is_script(manifest: &Map<String, Value>, name: &str) -> bool {
    let script = manifest.get("scripts").and_then(|scripts| scripts.get(name)).and_then(Value::as_str);
    script.is_some_and(|text| !text.trim().is_empty() && !text.contains(NO_TEST))
}

fn has_dependencies(manifest: &Map<String, Value>) -> bool {
    ["dependencies", "devDependencies", "optionalDependencies"]
        .iter()
        .any(|key| manifest.get(*key).and_then(Value::as_object).is_some_and(|table| !table.is_empty()))
}

/// Packages of a workspace are built from its root.
fn belongs_to_workspace_above(site: &Site<'_>) -> bool {
    site.all_above_with(MANIFEST).any(|(above, _)| {
        let manifest = above.text(MANIFEST).and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
        above.has("pnpm-workspace.yaml") || manifest.is_some_and(|manifest| manifest.contains_key("workspaces"))
    })
}
