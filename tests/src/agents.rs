//! The real agent programs, where they are installed: `.ci/run` puts them beside what was built.

use std::path::{Path, PathBuf};

use crate::requirement::Requirement;

/// The program of an agent, or what is missing.
///
/// # Errors
/// What is missing.
pub fn program(name: &str) -> Result<PathBuf, Requirement> {
    let directory = directory();
    let found = directory.join(name);
    if is_there(&found) {
        return Ok(found);
    }
    Err(Requirement::Missing(format!("no `{name}` in `{}`; `.ci/run` installs it", directory.display())))
}

/// What npm has put on record of the packages that it installed, or what is missing.
///
/// # Errors
/// What is missing.
pub fn installed() -> Result<String, Requirement> {
    let file = directory().join("../.package-lock.json");
    std::fs::read_to_string(&file)
        .map_err(|error| Requirement::Missing(format!("`{}`: {error}; `.ci/run` installs it", file.display())))
}

/// `ORCH_TEST_AGENTS` names it, which is otherwise `agents/node_modules/.bin` in the target directory of this build.
fn directory() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.ancestors().nth(3)?.join("agents/node_modules/.bin"));
    std::env::var_os("ORCH_TEST_AGENTS").map(PathBuf::from).or_else(beside).unwrap_or_default()
}

/// Also what it is linked to.
fn is_there(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.is_file())
}
