//! The real agent programs, where they are installed: `.ci/run` puts them beside what was built.

use std::path::{Path, PathBuf};

use crate::requirement::Requirement;

/// The program of an agent, or what is missing: `ORCH_TEST_AGENTS` names the directory, which is otherwise
/// `agents/node_modules/.bin` in the target directory of this build.
///
/// # Errors
/// What is missing.
pub fn program(name: &str) -> Result<PathBuf, Requirement> {
    let beside = || Some(std::env::current_exe().ok()?.ancestors().nth(3)?.join("agents/node_modules/.bin"));
    let directory = std::env::var_os("ORCH_TEST_AGENTS").map(PathBuf::from).or_else(beside).unwrap_or_default();
    let found = directory.join(name);
    if is_there(&found) {
        return Ok(found);
    }
    Err(Requirement::Missing(format!("no `{name}` in `{}`; `.ci/run` installs it", directory.display())))
}

/// Also what it is linked to.
fn is_there(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.is_file())
}
