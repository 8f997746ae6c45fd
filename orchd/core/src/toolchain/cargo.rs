//! Cargo: packages and workspaces of Rust.

use toml::{Table, Value};

use super::Toolchain;
use super::survey::{Content, Site};

const MANIFEST: &str = "Cargo.toml";
const LOCK: &str = "Cargo.lock";
const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
/// Most packages of a workspace without a lock that are looked into.
const MEMBERS_MAX: usize = 256;
const ENV: &[(&str, &str)] = &[("CARGO_NET_OFFLINE", "true"), ("CARGO_TERM_COLOR", "never")];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let mut found = site.found("cargo", MANIFEST, &["cargo", "rustc"]);
    let manifest = match site.read(MANIFEST) {
        Content::Absent => return None,
        Content::Unreadable(why) => {
            found.saw(format!("{MANIFEST} is {why}"));
            return Some(found);
        }
        Content::Text(text) => text.parse::<Table>(),
    };
    let Ok(manifest) = manifest else {
        found.saw(format!("{MANIFEST} is not valid TOML"));
        return Some(found);
    };
    if is_fuzz_target(&manifest) {
        return None;
    }
    let workspace = manifest.contains_key("workspace");
    if !workspace && belongs_to_workspace_above(site) {
        return None;
    }
    let mut flags = String::from("--offline");
    if site.has(LOCK) {
        found.saw(LOCK);
        flags.push_str(" --locked");
    }
    if workspace {
        found.saw("workspace");
        flags.push_str(" --workspace");
    }
    found.vendored = is_vendored(site, &manifest);
    found.build = Some(found.step("build", format!("cargo build {flags}"), ENV));
    found.test = Some(found.step("test", format!("cargo test {flags}"), ENV));
    found.lint = Some(found.step("lint", format!("cargo clippy {flags} --all-targets"), ENV));
    found.lint_tools = vec!["cargo-clippy".to_owned()];
    Some(found)
}

/// Packages of `cargo fuzz` build with a nightly compiler and a sanitizer only; they mark themselves
/// (<https://rust-fuzz.github.io/book/cargo-fuzz.html>).
fn is_fuzz_target(manifest: &Table) -> bool {
    let mut at = manifest.get("package");
    for key in ["metadata", "cargo-fuzz"] {
        at = at.and_then(|value| value.get(key));
    }
    at.and_then(Value::as_bool) == Some(true)
}

/// A package below a workspace is built from there, unless that workspace leaves it out.
fn belongs_to_workspace_above(site: &Site<'_>) -> bool {
    site.all_above_with(MANIFEST).any(|(above, path)| {
        let manifest = above.text(MANIFEST).and_then(|text| text.parse::<Table>().ok());
        let Some(workspace) = manifest.as_ref().and_then(|manifest| manifest.get("workspace")) else { return false };
        let excluded = workspace.get("exclude").and_then(Value::as_array);
        let is_it = |value: &Value| value.as_str().is_some_and(|dir| path.starts_with(dir.trim_end_matches('/')));
        !excluded.is_some_and(|dirs| dirs.iter().any(is_it))
    })
}

/// The lock says exactly which packages come from elsewhere; without one, the manifests say it for their own packages.
fn is_vendored(site: &Site<'_>, manifest: &Table) -> bool {
    if site.has_dir("vendor") && site.first_of(&[".cargo/config.toml", ".cargo/config"]).is_some() {
        return true;
    }
    let lock = site.text(LOCK).and_then(|text| text.parse::<Table>().ok());
    if let Some(packages) = lock.as_ref().and_then(|lock| lock.get("package")).and_then(Value::as_array) {
        return packages.iter().all(|package| package.get("source").is_none());
    }
    needs_nothing(manifest)
        && (!manifest.contains_key("workspace") || members(site).all(|member| needs_nothing(&member)))
}

/// Manifests of packages below a workspace, as far as they can be read.
fn members<'s>(site: &'s Site<'_>) -> impl Iterator<Item = Table> + 's {
    let below = site.own().filter(|path| path.ends_with("/Cargo.toml")).take(MEMBERS_MAX);
    below.filter_map(|path| site.text(path)?.parse().ok())
}

/// Whether all that a manifest names is in the repository.
fn needs_nothing(manifest: &Table) -> bool {
    let targets = manifest.get("target").and_then(Value::as_table);
    let of_targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let workspace = manifest.get("workspace").and_then(Value::as_table);
    let mut tables = of_targets.chain(workspace).chain([manifest]);
    !tables.any(|table| DEPENDENCY_TABLES.iter().any(|name| needs_registry(table.get(*name))))
}

fn needs_registry(dependencies: Option<&Value>) -> bool {
    let Some(dependencies) = dependencies.and_then(Value::as_table) else { return false };
    dependencies.values().any(|dependency| dependency.get("path").is_none() && dependency.get("workspace").is_none())
}
