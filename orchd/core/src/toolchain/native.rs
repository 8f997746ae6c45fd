//! C and C++ with CMake or Meson. Built outside the workspace, so that no build output can end up in a commit.

use super::Toolchain;
use super::survey::Site;

const CMAKE: &str = "CMakeLists.txt";
const CMAKE_BUILD: &str = r#"out="${TMPDIR:-/tmp}/build"; cmake -S . -B "$out" && cmake --build "$out""#;
const MESON: &str = "meson.build";
const MESON_BUILD: &str =
    r#"out="${TMPDIR:-/tmp}/build"; meson setup --wrap-mode=nodownload "$out" && meson compile -C "$out""#;

pub(super) fn cmake(site: &Site<'_>) -> Option<Toolchain> {
    if !site.has(CMAKE) || site.above_with(CMAKE).is_some() {
        return None;
    }
    let mut found = site.found("cmake", CMAKE, &["cmake", "cc"]);
    let text = site.text(CMAKE).unwrap_or_default().to_ascii_lowercase();
    found.vendored = !text.contains("fetchcontent") && !text.contains("externalproject");
    found.build = Some(found.step("build", CMAKE_BUILD, &[]));
    if text.contains("enable_testing") || text.contains("include(ctest)") {
        found.saw("enable_testing");
        found.tools.push("ctest".to_owned());
        let test = format!("{CMAKE_BUILD} && ctest --test-dir \"$out\" --output-on-failure");
        found.test = Some(found.step("test", test, &[]));
    }
    Some(found)
}

pub(super) fn meson(site: &Site<'_>) -> Option<Toolchain> {
    if !site.has(MESON) || site.above_with(MESON).is_some() {
        return None;
    }
    let mut found = site.found("meson", MESON, &["cc", "meson", "ninja"]);
    found.vendored = !site.own().any(|path| path.starts_with("subprojects/") && path.ends_with(".wrap"));
    found.build = Some(found.step("build", MESON_BUILD, &[]));
    if site.own().any(|path| path.ends_with(MESON) && site.text(path).is_some_and(|text| has_test_call(&text))) {
        found.saw("test()");
        found.test = Some(found.step("test", format!("{MESON_BUILD} && meson test -C \"$out\""), &[]));
    }
    Some(found)
}

fn has_test_call(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("test("))
}
