//! Maven and Gradle. Their wrappers download themselves, so the programs of the host are used.

use super::Toolchain;
use super::survey::Site;

const POM: &str = "pom.xml";
const GRADLE_BUILDS: [&str; 2] = ["build.gradle", "build.gradle.kts"];
const GRADLE_SETTINGS: [&str; 2] = ["settings.gradle", "settings.gradle.kts"];

pub(super) fn maven(site: &Site<'_>) -> Option<Toolchain> {
    if !site.has(POM) || is_module(site) {
        return None;
    }
    let mut found = site.found("maven", POM, &["java", "mvn"]);
    // Even a project without dependencies needs plugins, which only a filled local repository of the host can give.
    found.vendored = false;
    found.build = Some(found.step("build", "mvn -o -B -q -DskipTests package", &[]));
    if has_tests(site) {
        found.test = Some(found.step("test", "mvn -o -B test", &[]));
    }
    Some(found)
}

pub(super) fn gradle(site: &Site<'_>) -> Option<Toolchain> {
    let build = site.first_of(&GRADLE_BUILDS).or_else(|| site.first_of(&GRADLE_SETTINGS))?;
    let part_of_above = GRADLE_SETTINGS.iter().any(|settings| site.above_with(settings).is_some());
    if part_of_above && site.first_of(&GRADLE_SETTINGS).is_none() {
        return None;
    }
    let mut found = site.found("gradle", build, &["gradle", "java"]);
    found.vendored = false;
    found.build = Some(found.step("build", "gradle --offline --no-daemon assemble", &[]));
    if has_tests(site) {
        found.test = Some(found.step("test", "gradle --offline --no-daemon test", &[]));
    }
    Some(found)
}

fn has_tests(site: &Site<'_>) -> bool {
    site.own().any(|path| path.starts_with("src/test/") || path.contains("/src/test/"))
}

fn is_module(site: &Site<'_>) -> bool {
    let above = site.above_with(POM).and_then(|(above, _)| above.text(POM));
    above.is_some_and(|text| text.contains("<modules>"))
}
