//! Where a story takes place: a directory of its own, and an environment in which nothing of the user's is seen.
//!
//! Knows no daemon. **Invariant:** the directory is removed with the value, unless `ORCH_TEST_KEEP` is set.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::process::Command;

/// Paths of the programs under test.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    pub orchd: &'static str,
    pub orchctl: &'static str,
    pub sandbox: &'static str,
    pub tui: &'static str,
}

/// A directory with everything of one story.
#[derive(Debug)]
pub struct Env {
    root: PathBuf,
    programs: Programs,
    /// Dropped last: removes the directory.
    directory: Option<TempDir>,
}

impl Env {
    /// Makes the directory and those in it that programs expect.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(programs: Programs) -> anyhow::Result<Self> {
        // Short: the path of a socket has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("orch-").tempdir().context("failed to make a directory")?;
        let root = directory.path().canonicalize()?;
        for name in ["home", "tmp", "run"] {
            std::fs::create_dir(root.join(name))?;
        }
        std::fs::write(
            root.join("orchd.toml"),
            "[limits]\nruns_max = 4\n[workspaces]\nprepare_from_files = 0\n[approvals]\nhold_ms = 0\n",
        )?;
        let keep = std::env::var_os("ORCH_TEST_KEEP").is_some();
        let directory = if keep {
            tell(&format!("kept: {}", directory.keep().display()));
            None
        } else {
            Some(directory)
        };
        Ok(Self { root, programs, directory })
    }

    /// The directory, with no link in its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The programs under test.
    #[must_use]
    pub const fn programs(&self) -> Programs {
        self.programs
    }

    /// The state directory of the story's daemon.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The socket of the story's daemon.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("orchd.sock")
    }

    /// A command that sees nothing of the user but the programs of the machine.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("LC_ALL", "C.UTF-8")
            .env("ORCH_SANDBOX_PROGRAM", self.programs.sandbox)
            .env("ORCHCTL_PROGRAM", self.programs.orchctl)
            .env("ORCH_SOCKET", self.socket())
            .envs(machine())
            .current_dir(&self.root)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        command
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        // Workspaces can hold directories that their owner may not write; the product knows how to remove those.
        if let Err(error) = orch_sandbox::remove_tree(directory.path()) {
            tell(&format!("failed to remove `{}`: {error}", self.root.display()));
        }
    }
}

/// What says where the programs of this machine are.
fn machine() -> Vec<(&'static str, std::ffi::OsString)> {
    let mut found = Vec::new();
    for name in ["PATH", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        found.extend(std::env::var_os(name).map(|value| (name, value)));
    }
    // Our own HOME hides where rustup is by default.
    let rustup = std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")).filter(|home| home.is_dir());
    if let Some(rustup) = rustup
        && std::env::var_os("RUSTUP_HOME").is_none()
    {
        found.push(("RUSTUP_HOME", rustup.into_os_string()));
    }
    found
}

/// Says something beside the result of a test, such as a time or why it was skipped.
#[expect(clippy::print_stderr, reason = "the test runner shows it with the test")]
pub fn tell(text: &str) {
    eprintln!("{text}");
}
