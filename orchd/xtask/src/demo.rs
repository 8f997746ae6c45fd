//! `cargo demo`: builds the programs in release mode and becomes `orchctl demo`.

use std::env;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

use crate::workspace;

/// What the build and the demo start, and the package of Debian and Ubuntu that has it.
const PROGRAMS: [(&str, &str); 3] = [("cc", "gcc libc6-dev"), ("git", "git"), ("python3", "python3")];

/// Builds, then becomes `orchctl demo`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let directories: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !installed(program, &directories)).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
        let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        let sudo = if is_root() { "" } else { "sudo " };
        bail!("not installed: {}; install with: {sudo}apt-get install {}", names.join(", "), packages.join(" "));
    }
    let root = workspace::root()?;
    let target = workspace::metadata(&root)?["target_directory"].as_str().map(PathBuf::from);
    let programs = target.context("`cargo metadata` names no target directory")?.join("release");
    eprintln!("building orchd, orchctl, orch-tui and orch-sandbox in release mode; the first time takes minutes");
    // Cargo's own output is the progress.
    let built = workspace::cargo()
        .args(["build", "--release", "--package", "orchd", "--package", "orch-tui", "--package", "orch-sandbox"])
        .current_dir(&root)
        .status()
        .context("failed to start cargo")?;
    ensure!(built.success(), "the build failed");
    let orchctl = programs.join("orchctl");
    let error = Command::new(&orchctl).arg("demo").args(arguments).exec();
    Err(error).with_context(|| format!("failed to start `{}`", orchctl.display()))
}

fn installed(program: &str, directories: &[PathBuf]) -> bool {
    directories.iter().any(|directory| is_program(&directory.join(program)))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The files of a process in `/proc` belong to its effective user.
fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_file_that_can_be_executed() {
        let directories = [PathBuf::from("/usr/bin"), PathBuf::from("/bin")];
        assert!(installed("sh", &directories));
        assert!(!installed("no-such-program", &directories));
        assert!(!installed("bin", &[PathBuf::from("/usr")]), "a directory is no program");
        assert!(!installed("passwd", &[PathBuf::from("/etc")]), "a file without the right to execute is none");
    }
}
