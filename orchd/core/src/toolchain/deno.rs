//! Deno projects.

use serde_json::{Map, Value};

use super::Toolchain;
use super::survey::{Content, Site};

const MANIFESTS: [&str; 2] = ["deno.json", "deno.jsonc"];
const ENV: &[(&str, &str)] = &[("DENO_NO_UPDATE_CHECK", "1"), ("NO_COLOR", "1")];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let name = site.first_of(&MANIFESTS)?;
    let mut found = site.found("deno", name, &["deno"]);
    let manifest = match site.read(name) {
        Content::Absent => return None,
        Content::Unreadable(why) => {
            found.saw(format!("{name} is {why}"));
            Map::new()
        }
        Content::Text(text) => serde_json::from_str::<Map<String, Value>>(&text).unwrap_or_else(|_| {
            found.saw(format!("{name} is not plain JSON; its tasks are unknown"));
            Map::new()
        }),
    };
    let has_task = |task: &str| manifest.get("tasks").is_some_and(|tasks| tasks.get(task).is_some());
    let imports = manifest.get("imports").and_then(Value::as_object);
    let remote =
        |value: &Value| value.as_str().is_some_and(|url| ["jsr:", "npm:", "http"].iter().any(|p| url.starts_with(p)));
    found.vendored = site.has_dir("vendor") || !imports.is_some_and(|imports| imports.values().any(remote));
    let is_test = |path: &str| {
        ["_test.ts", ".test.ts", "_test.js", ".test.js", "_test.tsx", ".test.tsx"].iter().any(|end| path.ends_with(end))
    };
    if has_task("build") {
        found.build = Some(found.step("build", "deno task build", ENV));
    }
    found.test = match (has_task("test"), site.own().any(is_test)) {
        (true, _) => Some(found.step("test", "deno task test", ENV)),
        (false, true) => Some(found.step("test", "deno test --cached-only", ENV)),
        (false, false) => None,
    };
    found.lint = Some(found.step("lint", if has_task("lint") { "deno task lint" } else { "deno lint" }, ENV));
    Some(found)
}
