//! Where an agent's program is, and what of the host must be visible for it to run.

use std::path::{Component, Path, PathBuf};

use orch_core::digest::Digest;
use orch_sandbox::spec::ReadOnlyMount;

/// Where it appears inside, unless it is below `/usr`, which every run sees.
const AGENT_INSIDE: &str = "/orch/agent";

/// The program of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it really is, on the host.
    pub real: PathBuf,
    /// What is executed, as seen inside.
    pub inside: String,
    /// What it needs to be visible; none below `/usr`.
    pub mount: Option<ReadOnlyMount>,
    /// It is a script of Node.js.
    pub needs_node: bool,
}

/// Why a program is none.
#[derive(Debug, thiserror::Error)]
#[error("there is no program `{}`: {reason}", path.display())]
pub struct ProgramError {
    path: PathBuf,
    reason: String,
}

impl Program {
    /// Where the program at `path`, which may be a link, really is.
    ///
    /// # Errors
    /// When nothing that can be executed is there.
    pub fn real(path: &Path) -> Result<PathBuf, ProgramError> {
        use std::os::unix::fs::PermissionsExt as _;
        let wrong = |reason: String| ProgramError { path: path.to_owned(), reason };
        let real = path.canonicalize().map_err(|error| wrong(error.to_string()))?;
        let found = real.metadata().map_err(|error| wrong(error.to_string()))?;
        if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
            return Err(wrong("it cannot be executed".to_owned()));
        }
        Ok(real)
    }

    /// The program of an installed tool, all of whose files are mounted: it may build on any of them.
    ///
    /// # Errors
    /// When it is not there, or leads out of the tool.
    pub fn in_tree(tree: &Path, program: &str) -> Result<Self, ProgramError> {
        let path = tree.join("bin").join(program);
        let real = Self::real(&path)?;
        let wrong = |reason: &str| ProgramError { path: path.clone(), reason: reason.to_owned() };
        let below = real.strip_prefix(tree).map_err(|_| wrong("it is a link out of the tool"))?;
        let target = Path::new(AGENT_INSIDE).join("tool");
        let inside = target.join(below).into_os_string().into_string();
        let inside = inside.map_err(|_| wrong("its path is not UTF-8"))?;
        let mount = Some(ReadOnlyMount { source: tree.to_owned(), target });
        Ok(Self { inside, mount, needs_node: is_of_node(&real), real })
    }

    /// Looks at the program at `path`, which may be a link. A package of npm is mounted with those beside it, on which it
    /// builds; anything else is one file and has to do with what every run sees.
    ///
    /// # Errors
    /// As [`Program::real`].
    pub fn find(path: &Path) -> Result<Self, ProgramError> {
        let real = Self::real(path)?;
        let needs_node = is_of_node(&real);
        if real.starts_with("/usr") {
            return Ok(Self { inside: real.display().to_string(), mount: None, needs_node, real });
        }
        let source = packages_of(&real).unwrap_or_else(|| real.clone());
        let name = source.file_name().unwrap_or_default();
        let target = Path::new(AGENT_INSIDE).join(name);
        let rest = real.strip_prefix(&source).unwrap_or(Path::new(""));
        // Joining nothing would end it in `/`.
        let inside = if rest.as_os_str().is_empty() { target.clone() } else { target.join(rest) };
        let inside = inside.into_os_string().into_string().map_err(|_| {
            let reason = "its path is not UTF-8".to_owned();
            ProgramError { path: path.to_owned(), reason }
        })?;
        Ok(Self { inside, mount: Some(ReadOnlyMount { source, target }), needs_node, real })
    }
}

impl Program {
    /// Tells whether it is another one now, without reading it: its file, by what changes with each that takes its place.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn stamp(&self) -> std::io::Result<Digest> {
        use std::os::unix::fs::MetadataExt as _;
        let found = self.real.metadata()?;
        let changed = (found.ctime(), found.ctime_nsec());
        let path = self.real.to_string_lossy();
        Ok(Digest::of_json(&("program", path, found.dev(), found.ino(), found.size(), changed)))
    }
}

/// Whether a program is a script of Node.js.
fn is_of_node(program: &Path) -> bool {
    program.extension().is_some_and(|extension| extension == "js" || extension == "mjs" || extension == "cjs")
}

/// The outermost `node_modules` that a program is in.
fn packages_of(program: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for component in program.components() {
        found.push(component);
        if component == Component::Normal("node_modules".as_ref()) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn place(path: &Path, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_package_is_mounted_with_those_beside_it_and_a_program_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        place(&root.join("node_modules/@some/agent/bin/agent.js"), 0o755);
        symlink(root.join("node_modules/@some/agent/bin/agent.js"), root.join("agent")).unwrap();
        let package = Program::find(&root.join("agent")).unwrap();
        assert_eq!(package.inside, "/orch/agent/node_modules/@some/agent/bin/agent.js");
        assert_eq!(package.mount.unwrap().source, root.join("node_modules"));
        assert!(package.needs_node);

        place(&root.join("opt/codex"), 0o755);
        let alone = Program::find(&root.join("opt/codex")).unwrap();
        assert_eq!((alone.inside.as_str(), alone.needs_node), ("/orch/agent/codex", false));
        assert_eq!(alone.mount.unwrap().source, root.join("opt/codex"));
        assert_eq!(Program::find(Path::new("/bin/sh")).unwrap().mount, None);
    }

    #[test]
    fn the_program_of_a_tool_has_all_of_it_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        place(&root.join("tool/package/lib/agent.mjs"), 0o755);
        place(&root.join("outside"), 0o755);
        std::fs::create_dir(root.join("tool/bin")).unwrap();
        symlink("../package/lib/agent.mjs", root.join("tool/bin/agent")).unwrap();
        symlink("../../outside", root.join("tool/bin/escaped")).unwrap();
        let found = Program::in_tree(&root.join("tool"), "agent").unwrap();
        assert_eq!((found.inside.as_str(), found.needs_node), ("/orch/agent/tool/package/lib/agent.mjs", true));
        assert_eq!(found.mount.unwrap().source, root.join("tool"));
        let error = Program::in_tree(&root.join("tool"), "escaped").unwrap_err().to_string();
        assert!(error.contains("out of the tool"), "{error}");
        assert!(Program::in_tree(&root.join("tool"), "none").is_err());
    }

    #[test]
    fn what_cannot_be_executed_is_no_program() {
        let directory = tempfile::tempdir().unwrap();
        place(&directory.path().join("text"), 0o644);
        for path in [directory.path().join("text"), directory.path().join("none"), directory.path().to_owned()] {
            assert!(Program::find(&path).unwrap_err().to_string().starts_with("there is no program"), "{path:?}");
        }
    }
}
