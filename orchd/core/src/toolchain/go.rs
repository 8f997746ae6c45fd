//! Go modules.

use super::Toolchain;
use super::survey::{Content, Site};

const MANIFEST: &str = "go.mod";
const ENV: &[(&str, &str)] = &[("GOFLAGS", "-mod=readonly"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")];
const ENV_VENDORED: &[(&str, &str)] = &[("GOFLAGS", "-mod=vendor"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let mut found = site.found("go", MANIFEST, &["go"]);
    let requires = match site.read(MANIFEST) {
        Content::Absent => return None,
        Content::Unreadable(why) => {
            found.saw(format!("{MANIFEST} is {why}"));
            return Some(found);
        }
        Content::Text(text) => text.lines().any(|line| line.trim_start().starts_with("require")),
    };
    let vendor = site.has("vendor/modules.txt");
    if vendor {
        found.saw("vendor/modules.txt");
    }
    found.vendored = vendor || !requires;
    let env = if vendor { ENV_VENDORED } else { ENV };
    found.build = Some(found.step("build", "go build ./...", env));
    if site.own().any(|path| path.ends_with("_test.go")) {
        found.saw("*_test.go");
        found.test = Some(found.step("test", "go test ./...", env));
    }
    found.lint = Some(found.step("lint", "go vet ./...", env));
    Some(found)
}
