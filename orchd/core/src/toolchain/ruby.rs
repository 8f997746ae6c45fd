//! Ruby with Bundler.

use super::Toolchain;
use super::survey::Site;

const MANIFEST: &str = "Gemfile";
const ENV: &[(&str, &str)] = &[("BUNDLE_DISABLE_VERSION_CHECK", "true"), ("BUNDLE_FROZEN", "true")];

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    if !site.has(MANIFEST) {
        return None;
    }
    let mut found = site.found("bundler", MANIFEST, &["bundle", "ruby"]);
    let gemfile = site.text(MANIFEST).unwrap_or_default();
    let is_gem = |line: &str| line.trim_start().starts_with("gem ") || line.trim_start().starts_with("gemspec");
    found.vendored = site.has_dir("vendor/cache") || !gemfile.lines().any(is_gem);
    if site.own().any(|path| path.starts_with("spec/") && path.ends_with("_spec.rb")) {
        found.saw("spec/*_spec.rb");
        found.test = Some(found.step("test", "bundle exec rspec", ENV));
    } else if site.text("Rakefile").is_some_and(|text| text.contains("TestTask") || text.contains("task :test")) {
        found.saw("Rakefile: test");
        found.test = Some(found.step("test", "bundle exec rake test", ENV));
    }
    if site.has(".rubocop.yml") {
        found.saw(".rubocop.yml");
        found.lint = Some(found.step("lint", "bundle exec rubocop", ENV));
    }
    Some(found)
}
