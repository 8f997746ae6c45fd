//! Python projects: unittest or pytest, told by evidence.

use toml::Table;

use super::Toolchain;
use super::survey::{Content, Site};

const MANIFESTS: [&str; 6] = ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "tox.ini"];
const ENV: &[(&str, &str)] = &[("PYTHONUNBUFFERED", "1")];
const ENV_SRC: &[(&str, &str)] = &[("PYTHONPATH", "src"), ("PYTHONUNBUFFERED", "1")];
/// Byte code goes beside the workspace: a build must not leave files that could end up in a commit.
const OUTSIDE: &str = r#"export PYTHONPYCACHEPREFIX="${TMPDIR:-/tmp}/pycache"; "#;
const COMPILE: &str = r"python3 -m compileall -q -x '(^|/)(\.git|\.tox|\.venv|venv|node_modules|build)/' .";
/// Most test files that are looked into for `import pytest`.
const TESTS_READ_MAX: usize = 20;

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let manifest = site.first_of(&MANIFESTS)?;
    let mut found = site.found("python", manifest, &["python3"]);
    for other in MANIFESTS.iter().filter(|name| **name != manifest && site.has(name)) {
        found.saw(*other);
    }
    let project = match site.read("pyproject.toml") {
        Content::Text(text) => text.parse::<Table>().unwrap_or_else(|_| {
            found.saw("pyproject.toml is not valid TOML");
            Table::new()
        }),
        Content::Unreadable(why) => {
            found.saw(format!("pyproject.toml is {why}"));
            Table::new()
        }
        Content::Absent => Table::new(),
    };
    found.vendored = !has_dependencies(site, &project);
    Some(complete(site, found, &project))
}

/// A repository of plain scripts without any manifest, if it has tests.
pub(super) fn scripts_only(site: &Site<'_>) -> Option<Toolchain> {
    let test = site.own().find(|path| is_test_file(path))?;
    let found = site.found("python", crate::recipe::text::printable(test), &["python3"]);
    Some(complete(site, found, &Table::new()))
}

fn complete(site: &Site<'_>, mut found: Toolchain, project: &Table) -> Toolchain {
    let env =
        if site.own().any(|path| path.starts_with("src/") && path.ends_with("/__init__.py")) { ENV_SRC } else { ENV };
    if site.own().any(|path| path.ends_with(".py")) {
        found.build = Some(found.step("build", format!("{OUTSIDE}{COMPILE}"), env));
    }
    if let Some(evidence) = pytest_evidence(site, project) {
        found.saw(evidence);
        found.tools.push("pytest".to_owned());
        found.test = Some(found.step("test", format!("{OUTSIDE}python3 -m pytest -q"), env));
    } else if let Some(command) = unittest_command(site) {
        found.saw("unittest");
        found.test = Some(found.step("test", format!("{OUTSIDE}{command}"), env));
    }
    let tool_of = |name: &str| project.get("tool").is_some_and(|tool| tool.get(name).is_some());
    let linter = if tool_of("ruff") || site.first_of(&["ruff.toml", ".ruff.toml"]).is_some() {
        Some(("ruff", "ruff check ."))
    } else if site.has(".flake8") || site.text("setup.cfg").is_some_and(|text| text.contains("[flake8]")) {
        Some(("flake8", "flake8 ."))
    } else {
        None
    };
    if let Some((program, command)) = linter {
        found.saw(program);
        found.lint_tools.push(program.to_owned());
        found.lint = Some(found.step("lint", command, env));
    }
    found
}

fn pytest_evidence(site: &Site<'_>, project: &Table) -> Option<String> {
    if project.get("tool").is_some_and(|tool| tool.get("pytest").is_some()) {
        return Some("pyproject.toml: tool.pytest".to_owned());
    }
    if let Some(name) = site.first_of(&["pytest.ini", "conftest.py", "tests/conftest.py", "test/conftest.py"]) {
        return Some(name.to_owned());
    }
    let mentions = [
        ("setup.cfg", "[tool:pytest]"),
        ("tox.ini", "pytest"),
        ("requirements.txt", "pytest"),
        ("requirements-dev.txt", "pytest"),
        ("dev-requirements.txt", "pytest"),
        ("pyproject.toml", "\"pytest"),
    ];
    for (name, word) in mentions {
        if site.text(name).is_some_and(|text| text.contains(word)) {
            return Some(format!("{name}: {word}"));
        }
    }
    let tests = site.own().filter(|path| is_test_file(path)).take(TESTS_READ_MAX);
    let imports =
        |text: String| text.lines().any(|line| line.starts_with("import pytest") || line.starts_with("from pytest"));
    let mut importing = tests.filter(|path| site.text(path).is_some_and(imports));
    importing.next().map(|path| format!("{}: import pytest", crate::recipe::text::printable(path)))
}

fn unittest_command(site: &Site<'_>) -> Option<String> {
    let tests: Vec<&str> = site.own().filter(|path| is_test_file(path)).collect();
    let first = tests.first()?;
    let named = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with("test"));
    let pattern = if tests.iter().any(named) { "" } else { " -p '*_test.py'" };
    let dir = ["tests", "test"].into_iter().find(|dir| first.starts_with(&format!("{dir}/")) && site.has_dir(dir));
    let Some(dir) = dir else { return Some(format!("python3 -m unittest discover{pattern}")) };
    let top = if site.has(&format!("{dir}/__init__.py")) { " -t ." } else { "" };
    Some(format!("python3 -m unittest discover -s {dir}{top}{pattern}"))
}

fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".py");
    stem.is_some_and(|stem| stem.starts_with("test_") || stem.ends_with("_test") || stem == "test" || stem == "tests")
}

fn has_dependencies(site: &Site<'_>, project: &Table) -> bool {
    let declared = project.get("project").and_then(|project| project.get("dependencies"));
    let of_project = declared.and_then(toml::Value::as_array).is_some_and(|list| !list.is_empty());
    let poetry = project.get("tool").and_then(|tool| tool.get("poetry")).and_then(|poetry| poetry.get("dependencies"));
    let of_poetry =
        poetry.and_then(toml::Value::as_table).is_some_and(|table| table.keys().any(|name| name != "python"));
    let is_requirement = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let of_file = site.text("requirements.txt").is_some_and(|text| text.lines().any(is_requirement));
    let of_setup =
        ["setup.py", "setup.cfg"].iter().any(|name| site.text(name).is_some_and(|t| t.contains("install_requires")));
    of_project || of_poetry || of_file || of_setup || site.has("Pipfile")
}
