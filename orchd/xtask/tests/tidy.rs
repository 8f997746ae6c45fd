//! The rules of the repository hold. `cargo xtask tidy` says the same and also prints warnings.

use xtask::tidy;

#[test]
fn the_repository_is_tidy() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let report = tidy::check(&root).expect("the repository can be read");
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(report.files > 100, "only {} files were looked at", report.files);
}
