//! PHP with Composer.

use serde_json::{Map, Value};

use super::Toolchain;
use super::survey::{Content, Site};

const MANIFEST: &str = "composer.json";
const ENV: &[(&str, &str)] = &[("COMPOSER_DISABLE_NETWORK", "1"), ("COMPOSER_NO_INTERACTION", "1")];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let mut found = site.found("composer", MANIFEST, &["composer", "php"]);
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
    let is_package = |name: &String| name.contains('/');
    let has_packages = ["require", "require-dev"]
        .iter()
        .any(|key| manifest.get(*key).and_then(Value::as_object).is_some_and(|table| table.keys().any(is_package)));
    found.vendored = site.has("vendor/autoload.php") || !has_packages;
    let step = |found: &mut Toolchain, action: &str| {
        manifest.get("scripts").and_then(|scripts| scripts.get(action))?;
        found.saw(format!("script `{action}`"));
        Some(found.step(action, format!("composer run-script {action}"), ENV))
    };
    found.build = step(&mut found, "build");
    found.test = step(&mut found, "test");
    found.lint = step(&mut found, "lint");
    if let (None, Some(config)) = (&found.test, site.first_of(&["phpunit.xml", "phpunit.xml.dist"])) {
        found.saw(config);
        found.test = Some(found.step("test", "vendor/bin/phpunit", ENV));
    }
    Some(found)
}
