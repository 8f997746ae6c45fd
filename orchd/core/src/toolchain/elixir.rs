//! Elixir with Mix.

use super::Toolchain;
use super::survey::Site;

const MANIFEST: &str = "mix.exs";
const ENV: &[(&str, &str)] = &[("HEX_OFFLINE", "1"), ("MIX_ENV", "test")];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    // Applications of an umbrella are built from its root.
    if !site.has(MANIFEST) || site.above_with(MANIFEST).is_some_and(|(_, path)| path.starts_with("apps/")) {
        return None;
    }
    let mut found = site.found("mix", MANIFEST, &["elixir", "mix"]);
    found.vendored = site.has_dir("deps") || !site.has("mix.lock");
    found.build = Some(found.step("build", "mix compile", ENV));
    if site.own().any(|path| path.ends_with("_test.exs")) {
        found.saw("*_test.exs");
        found.test = Some(found.step("test", "mix test", ENV));
    }
    if site.has(".formatter.exs") {
        found.saw(".formatter.exs");
        found.lint = Some(found.step("lint", "mix format --check-formatted", ENV));
    }
    Some(found)
}
