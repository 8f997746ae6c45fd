//! Detection against small made-up repositories, and against hostile ones.

use std::collections::BTreeMap;

use super::{READ_BYTES_MAX, RepoFile, TOOLCHAINS_MAX, Toolchain, detect};

fn detect_in(files: &[(&str, &str)]) -> Vec<Toolchain> {
    let listing: Vec<RepoFile> =
        files.iter().map(|(path, text)| RepoFile { path: (*path).into(), size: text.len() as u64 }).collect();
    let contents: BTreeMap<&str, &str> = files.iter().copied().collect();
    detect(&listing, &|path| contents.get(path).map(|text| text.as_bytes().to_vec()))
}

/// One line per toolchain: name, root, `v` when vendored, commands (`-` for none).
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let run = |step: &Option<crate::recipe::Step>| step.as_ref().map_or("-".to_owned(), |step| step.run.clone());
    let found: Vec<String> = detect_in(files)
        .iter()
        .map(|t| {
            let vendored = if t.vendored { " v" } else { "" };
            format!("{} {}{vendored} | {} | {} | {}", t.name, t.root, run(&t.build), run(&t.test), run(&t.lint))
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn cargo_flags_follow_the_files() {
    check(
        &[("Cargo.toml", "[package]\nname='a'\n[dependencies]\nserde='1'\n"), ("src/lib.rs", "")],
        &["cargo . | cargo build --offline | cargo test --offline | cargo clippy --offline --all-targets"],
    );
    check(
        &[
            ("Cargo.toml", "[workspace]\nmembers=['a']\nexclude=['b']\n"),
            ("Cargo.lock", "[[package]]\nname='a'\n"),
            ("a/Cargo.toml", "[package]\nname='a'\n"),
            ("b/Cargo.toml", "[package]\nname='b'\n[dependencies]\na={path='../a'}\n"),
            ("fuzz/Cargo.toml", "[package]\nname='fuzz'\n[package.metadata]\ncargo-fuzz = true\n[workspace]\n"),
            ("vendor/x/Cargo.toml", "[package]"),
            ("target/package/Cargo.toml", "[package]"),
        ],
        &[
            "cargo . v | cargo build --offline --locked --workspace | cargo test --offline --locked --workspace | \
             cargo clippy --offline --locked --workspace --all-targets",
            "cargo b v | cargo build --offline | cargo test --offline | cargo clippy --offline --all-targets",
        ],
    );
    // A package between a workspace and its member is no reason to build the member on its own.
    let workspace = [
        ("Cargo.toml", "[workspace]\nmembers=['a','a/b']\n"),
        ("a/Cargo.toml", "[package]\nname='a'\n"),
        ("a/b/Cargo.toml", "[package]\nname='b'\n"),
    ];
    assert_eq!(detect_in(&workspace).len(), 1);
    let optional = "[package]\nname='a'\n[dependencies]\nb={version='1',optional=true}\n";
    assert!(!detect_in(&[("Cargo.toml", optional)])[0].vendored);
    let of_target = "[package]\nname='a'\n[target.'cfg(unix)'.dependencies]\nlibc='0.2'\n";
    assert!(!detect_in(&[("Cargo.toml", of_target)])[0].vendored);
    let workspace = ("Cargo.toml", "[workspace]\nmembers=['a']\n");
    let member = ("a/Cargo.toml", "[package]\nname='a'\n[dependencies]\nserde='1'\n");
    assert!(!detect_in(&[workspace, member])[0].vendored, "the workspace needs what its members need");
    assert!(detect_in(&[workspace, ("a/Cargo.toml", "[package]\nname='a'\n")])[0].vendored);
}

#[test]
fn node_uses_lock_file_and_real_scripts() {
    let scripts = r#"{"scripts":{"test":"jest","build":"tsc","lint":""},"devDependencies":{"jest":"1"}}"#;
    check(
        &[("package.json", scripts), ("pnpm-lock.yaml", ""), ("node_modules/x/package.json", "{}")],
        &["pnpm . v | pnpm run build | pnpm run test | -"],
    );
    check(&[("package.json", scripts), ("yarn.lock", "")], &["yarn . | yarn run build | yarn run test | -"]);
    let placeholder = r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#;
    check(&[("package.json", placeholder)], &["npm . v | - | - | -"]);
    let workspaces = r#"{"workspaces":["p/*"],"scripts":{"test":"x"},"packageManager":"yarn@4"}"#;
    check(&[("package.json", workspaces), ("p/a/package.json", scripts)], &["yarn . v | - | yarn run test | -"]);
}

#[test]
fn python_tells_unittest_from_pytest() {
    let out = r#"export PYTHONPYCACHEPREFIX="${TMPDIR:-/tmp}/pycache"; "#;
    let compile = r"python3 -m compileall -q -x '(^|/)(\.git|\.tox|\.venv|venv|node_modules|build)/' .";
    check(
        &[
            ("pyproject.toml", "[project]\nname='a'\n"),
            ("a.py", ""),
            ("tests/__init__.py", ""),
            ("tests/test_a.py", ""),
        ],
        &[&format!("python . v | {out}{compile} | {out}python3 -m unittest discover -s tests -t . | -")],
    );
    check(
        &[("setup.py", "setup(install_requires=['x'])"), ("tests/test_a.py", "import pytest\n")],
        &[&format!("python . | {out}{compile} | {out}python3 -m pytest -q | -")],
    );
    check(
        &[("pyproject.toml", "[tool.pytest.ini_options]\n[tool.ruff]\n"), ("src/a/__init__.py", "")],
        &[&format!("python . v | {out}{compile} | {out}python3 -m pytest -q | ruff check .")],
    );
    check(
        &[("tool.py", ""), ("test_tool.py", "import unittest\n")],
        &[&format!("python . v | {out}{compile} | {out}python3 -m unittest discover | -")],
    );
    check(&[("README.md", "run the build and the tests")], &[]);
}

#[test]
fn other_languages() {
    check(
        &[("go.mod", "module x\nrequire y v1\n"), ("vendor/modules.txt", ""), ("x_test.go", "")],
        &["go . v | go build ./... | go test ./... | go vet ./..."],
    );
    check(
        &[
            ("Makefile", "CC := gcc\nVAR = a:b\n.PHONY: test\nall: x\n\ttest: no\ntest check: all\n"),
            ("sub/Makefile", "lint:\n"),
        ],
        &["make . v | make all | make test | -"],
    );
    check(
        &[("CMakeLists.txt", "project(x)\n"), ("sub/CMakeLists.txt", "enable_testing()")],
        &[r#"cmake . v | out="${TMPDIR:-/tmp}/build"; cmake -S . -B "$out" && cmake --build "$out" | - | -"#],
    );
    check(
        &[("pom.xml", "<modules><module>a</module></modules>"), ("a/pom.xml", ""), ("a/src/test/java/T.java", "")],
        &["maven . | mvn -o -B -q -DskipTests package | mvn -o -B test | -"],
    );
    check(
        &[("settings.gradle", ""), ("app/build.gradle", ""), ("app/src/test/T.java", "")],
        &["gradle . | gradle --offline --no-daemon assemble | gradle --offline --no-daemon test | -"],
    );
    check(&[("Gemfile", "gem 'x'\n"), ("spec/a_spec.rb", "")], &["bundler . | - | bundle exec rspec | -"]);
    check(&[("mix.exs", ""), ("test/a_test.exs", "")], &["mix . v | mix compile | mix test | -"]);
    check(&[("deno.json", r#"{"tasks":{"test":"x"}}"#)], &["deno . v | - | deno task test | deno lint"]);
    check(&[("composer.json", "{}"), ("phpunit.xml", "")], &["composer . v | - | vendor/bin/phpunit | -"]);
    check(
        &[("x.sln", ""), ("src/x.csproj", "<PackageReference Include=\"Microsoft.NET.Test.Sdk\"/>")],
        &["dotnet . | dotnet build | dotnet test | -"],
    );
}

#[test]
fn monorepo_roots_from_the_top_down() {
    let names = |files: &[(&str, &str)]| -> Vec<String> {
        detect_in(files).iter().map(|toolchain| format!("{}@{}", toolchain.name, toolchain.root)).collect()
    };
    let files = [
        ("Makefile", "test:\n"),
        ("services/api/go.mod", ""),
        ("web/package.json", "{}"),
        ("a/b/c/d/e/package.json", "{}"),
        ("web/node_modules/x/package.json", "{}"),
    ];
    assert_eq!(names(&files), ["make@.", "npm@web", "go@services/api"]);
    let detected = detect_in(&files);
    assert_eq!(detected[2].build.as_ref().map(|step| step.cwd.as_str()), Some("services/api"));
}

#[test]
fn hostile_repositories_give_evidence_not_failure() {
    let evidence = |files: &[(&str, &str)]| detect_in(files)[0].evidence.join("; ");
    assert_eq!(evidence(&[("Cargo.toml", "\u{1}[[[")]), "Cargo.toml; Cargo.toml is not valid TOML");
    assert_eq!(evidence(&[("package.json", "[1]")]), "package.json; package.json is not a JSON object");
    assert_eq!(evidence(&[("package.json", &"[".repeat(100_000))]), "package.json; package.json is not a JSON object");
    assert_eq!(evidence(&[("go.mod", &"x".repeat(READ_BYTES_MAX + 1))]), "go.mod; go.mod is too large to read");
    assert!(evidence(&[("Cargo.toml", &"a=".repeat(100_000))]).contains("not valid TOML"));
    let deep = format!("a={}", "[".repeat(100_000));
    assert!(evidence(&[("Cargo.toml", &deep)]).contains("not valid TOML"));

    let listing = ["/Cargo.toml", "../Cargo.toml", "a/../Cargo.toml", "a\nb/Cargo.toml", "./Cargo.toml", ""];
    let listing: Vec<RepoFile> = listing.iter().map(|path| RepoFile { path: (*path).into(), size: 1 }).collect();
    assert_eq!(detect(&listing, &|_| Some(b"[package]".to_vec())), []);

    let listing = [RepoFile { path: "Cargo.toml".into(), size: 3 }];
    let lying = detect(&listing, &|_| Some(vec![b'#'; READ_BYTES_MAX + 1]));
    assert_eq!(lying[0].evidence.last().map(String::as_str), Some("Cargo.toml is too large to read"));
    assert_eq!(detect(&listing, &|_| None)[0].evidence.last().map(String::as_str), Some("Cargo.toml is not readable"));
    assert_eq!(
        detect(&listing, &|_| Some(vec![0xff]))[0].evidence.last().map(String::as_str),
        Some("Cargo.toml is not UTF-8")
    );

    // One large manifest above thousands of others is read for each of them, up to the limit for all reading.
    let members = (0..4000).map(|index| RepoFile { path: format!("p{index}/Cargo.toml"), size: 9 });
    let listing: Vec<RepoFile> = members.chain([RepoFile { path: "Cargo.toml".into(), size: 1 }]).collect();
    let root = format!("[workspace]\nx = \"{}\"\n", "y".repeat(READ_BYTES_MAX - 100));
    let read = std::cell::Cell::new(0);
    let found = detect(&listing, &|path| {
        let text = if path == "Cargo.toml" { root.clone() } else { "[package]".to_owned() };
        read.set(read.get() + text.len());
        Some(text.into_bytes())
    });
    assert!(read.get() < 40 * 1024 * 1024, "{}", read.get());
    assert_eq!((found.len(), found[0].name.as_str()), (TOOLCHAINS_MAX, "cargo"));

    let many: Vec<RepoFile> = (0..50_000).map(|index| RepoFile { path: format!("p{index}/go.mod"), size: 0 }).collect();
    assert_eq!(detect(&many, &|_| Some(Vec::new())).len(), TOOLCHAINS_MAX);
}

/// A folder's name becomes part of titles: one that turns text around, or has control characters, is no root.
#[test]
fn misleading_folders_are_no_roots() {
    let listing = ["a\u{202e}b/Makefile", "a\u{2066}/go.mod", "a\u{1b}[2J/Cargo.toml", "plain/go.mod"];
    let listing: Vec<_> = listing.iter().map(|path| RepoFile { path: (*path).to_owned(), size: 10 }).collect();
    let found = detect(&listing, &|_| Some(b"test:\n\ttrue\n".to_vec()));
    let roots: Vec<_> = found.iter().map(|toolchain| toolchain.root.as_str()).collect();
    assert_eq!(roots, ["plain"]);
}
