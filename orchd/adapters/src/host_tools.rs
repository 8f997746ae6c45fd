//! Programs of the host that runs may use: where they are, what must be mounted for them, how a missing one is installed.
//!
//! Sandboxes see `/usr` anyway. A toolchain elsewhere (rustup, nvm, ...) is mounted read-only, whole and alone: never a
//! directory that could hold somebody's keys. Knows programs of the daemon's own host only, nothing of a repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orch_sandbox::spec::ReadOnlyMount;

/// Where toolchains from outside `/usr` appear inside.
const TOOLS_INSIDE: &str = "/orch/tools";
/// Directories that every sandbox has in its `PATH`.
pub const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// How long the word of rustc is taken.
const SAID_FOR: Duration = Duration::from_secs(5);

/// What was found of the programs that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolSet {
    pub mounts: Vec<ReadOnlyMount>,
    /// Directories to put in front of the system's `PATH`, as seen inside.
    pub path: Vec<String>,
    /// Programs that are not there, with the command that installs each.
    pub missing: BTreeMap<String, String>,
}

impl ToolSet {
    /// Adds a tool that was installed for runs: all of its files, with its programs in `bin`.
    pub fn add_tree(&mut self, tree: &Path) {
        add(self, tree, "bin");
    }
}

/// Finds programs with the daemon's own `PATH` and home.
#[derive(Clone, Debug)]
pub struct HostTools {
    search: Vec<PathBuf>,
    home: Option<PathBuf>,
    env: Vec<(String, String)>,
    /// What rustc said last, and when: runs may ask for it often.
    rust: Arc<Mutex<BTreeMap<PathBuf, Said>>>,
}

/// A toolchain by the word of rustc, and when that was.
#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    root: Option<PathBuf>,
}

enum Found {
    /// Below `/usr`: visible in every sandbox.
    System,
    /// The directory with the toolchain, and where its programs are in it.
    Toolchain { root: PathBuf, programs: &'static str },
    /// A program by itself.
    Program(PathBuf),
}

impl ToolSet {
    /// Where a program of these is, inside.
    #[must_use]
    pub fn inside(&self, tool: &str) -> Option<PathBuf> {
        if tool.is_empty() || tool.contains('/') {
            return None;
        }
        self.mounts.iter().zip(&self.path).find_map(|(mount, directory)| {
            let inside = Path::new(directory).join(tool);
            let within = inside.strip_prefix(&mount.target).ok()?;
            // What is mounted may be the program itself.
            let host = if within.as_os_str().is_empty() { mount.source.clone() } else { mount.source.join(within) };
            is_program(&host).then_some(inside)
        })
    }
}

impl HostTools {
    /// `env` is the daemon's environment.
    #[must_use]
    pub fn new(env: impl Fn(&str) -> Option<String>) -> Self {
        let search = env("PATH").unwrap_or_default();
        let mut search: Vec<PathBuf> = std::env::split_paths(&search).filter(|dir| dir.is_absolute()).collect();
        let home = env("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        search.extend(home.iter().map(|home| home.join(".cargo/bin")));
        search.extend(SYSTEM_PATH.split(':').map(PathBuf::from));
        let kept = ["HOME", "PATH", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"];
        let env = kept.iter().filter_map(|name| Some(((*name).to_owned(), env(name)?))).collect();
        Self { search, home, env, rust: Arc::default() }
    }

    /// Finds the programs and what must be mounted for them.
    #[must_use]
    pub fn resolve<'t>(&self, tools: impl IntoIterator<Item = &'t str>) -> ToolSet {
        let mut set = ToolSet::default();
        for tool in tools {
            match self.find(tool) {
                None => {
                    set.missing.insert(tool.to_owned(), install_hint(tool));
                }
                Some(Found::System) => {}
                Some(Found::Toolchain { root, programs }) => add(&mut set, &root, programs),
                Some(Found::Program(path)) => add(&mut set, &path, ""),
            }
        }
        set
    }

    /// Whether a program is there at all, and the command that installs it if not.
    ///
    /// # Errors
    /// The command that installs it.
    pub fn require(&self, tool: &str) -> Result<(), String> {
        self.find(tool).map(|_| ()).ok_or_else(|| install_hint(tool))
    }

    /// What is to be mounted so that a run has a program; none where every run has it.
    ///
    /// # Errors
    /// The command that installs it, where it is not there.
    pub fn source(&self, tool: &str) -> Result<Option<PathBuf>, String> {
        match self.find(tool).ok_or_else(|| install_hint(tool))? {
            Found::System => Ok(None),
            Found::Toolchain { root: source, .. } | Found::Program(source) => Ok(Some(source)),
        }
    }

    /// Where the program is that runs get by this name.
    #[must_use]
    pub fn program(&self, tool: &str) -> Option<PathBuf> {
        let path = match self.find(tool)? {
            Found::System => {
                let everywhere = SYSTEM_PATH.split(':').map(PathBuf::from).chain(self.search.iter().cloned());
                everywhere.map(|dir| dir.join(tool)).find(|path| is_program(path))?
            }
            Found::Toolchain { root, programs } => root.join(programs).join(tool),
            Found::Program(path) => path,
        };
        path.canonicalize().ok()
    }

    fn find(&self, tool: &str) -> Option<Found> {
        if tool.is_empty() || tool.contains('/') || tool.starts_with('-') {
            return None;
        }
        // A copy that every sandbox has is better than one that must be mounted.
        let everywhere = SYSTEM_PATH.split(':').map(|dir| Path::new(dir).join(tool));
        let system =
            |path: &PathBuf| path.canonicalize().is_ok_and(|real| real.starts_with("/usr") && is_program(&real));
        let rust =
            ["cargo", "rustc", "rustfmt", "rustdoc", "cargo-clippy", "cargo-fmt", "clippy-driver"].contains(&tool);
        if !rust && everywhere.into_iter().any(|path| system(&path)) {
            return Some(Found::System);
        }
        let path = self.search.iter().map(|dir| dir.join(tool)).find(|path| is_program(path))?;
        let real = path.canonicalize().ok()?;
        if rust {
            // A proxy of rustup without a toolchain behind it is no compiler.
            let toolchain = self.rust_toolchain(&path).map(|root| Found::Toolchain { root, programs: "bin" });
            return toolchain.or_else(|| (real.starts_with("/usr") && self.runs(&real)).then_some(Found::System));
        }
        if real.starts_with("/usr") {
            return Some(Found::System);
        }
        match toolchain_root(&real, self.home.as_deref()) {
            Some(root) => Some(Found::Toolchain { root, programs: "bin" }),
            None => Some(Found::Program(real)),
        }
    }

    /// Whether a program of the host answers to `--version`.
    fn runs(&self, program: &Path) -> bool {
        self.command(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// A program of the host, asked in `/`, so that no repository's settings are read.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The directory of the toolchain behind a rustup proxy, by rustc's own word of a moment ago.
    fn rust_toolchain(&self, program: &Path) -> Option<PathBuf> {
        let mut said = self.rust.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = said.get(program).filter(|found| found.at.elapsed() < SAID_FOR) {
            return found.root.clone();
        }
        let root = self.ask_rustc(program);
        said.insert(program.to_owned(), Said { at: Instant::now(), root: root.clone() });
        root
    }

    fn ask_rustc(&self, program: &Path) -> Option<PathBuf> {
        let output = self.command(&program.with_file_name("rustc")).args(["--print", "sysroot"]).output().ok()?;
        let root = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
        let complete = output.status.success() && root.is_absolute() && root.join("bin/rustc").exists();
        // Debian's own rustc says `/usr`, which is visible anyway and must not be mounted a second time.
        (complete && !root.starts_with("/usr") && root.join("bin/cargo").exists()).then_some(root)
    }
}

/// The prefix of `prefix/bin/program`, if mounting it shows nothing but the toolchain.
fn toolchain_root(program: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let bin = program.parent().filter(|bin| bin.ends_with("bin"))?;
    let root = bin.parent()?;
    let too_wide = root.components().count() < 3
        || home.is_some_and(|home| home.starts_with(root))
        || [".cargo", ".local", ".config"].iter().any(|name| root.ends_with(name));
    (!too_wide).then(|| root.to_owned())
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Mounts `source` under a name of its own; `programs` is where its programs are in it.
fn add(set: &mut ToolSet, source: &Path, programs: &str) {
    if set.mounts.iter().any(|mount| mount.source == source) {
        return;
    }
    let number = set.mounts.len();
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let directory = format!("{TOOLS_INSIDE}/{number}");
    // A single program keeps its name, in a directory of its own.
    let target = if programs.is_empty() { format!("{directory}/{name}") } else { directory.clone() };
    set.path.push(if programs.is_empty() { directory } else { format!("{target}/{programs}") });
    set.mounts.push(ReadOnlyMount { source: source.to_owned(), target: PathBuf::from(target) });
}

/// The command that installs a program, as Debian and Ubuntu name it.
fn install_hint(tool: &str) -> String {
    let package = match tool {
        "cargo" | "rustc" | "rustfmt" | "rustdoc" => "cargo rustc rustfmt    (or: rustup toolchain install stable)",
        "cargo-clippy" | "clippy-driver" => "rust-clippy",
        "node" => "nodejs",
        "go" => "golang-go",
        "mvn" => "maven",
        "bundle" | "bundler" => "ruby-bundler",
        "mix" | "elixir" => "elixir",
        "php" => "php-cli",
        "javac" | "java" => "default-jdk",
        "cc" | "gcc" => "gcc libc6-dev",
        "pnpm" | "yarn" | "deno" | "dotnet" | "tofu" | "aws" | "awscli" | "opentofu" => {
            return format!("install `{tool}` as its project describes, then restart the daemon");
        }
        plain => plain,
    };
    format!("apt-get install {package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_never_holds_a_home() {
        let home = Some(Path::new("/home/alice"));
        let root = |program: &str| toolchain_root(Path::new(program), home);
        assert_eq!(root("/home/alice/.cargo/bin/cargo"), None);
        assert_eq!(root("/home/alice/bin/tool"), None);
        assert_eq!(root("/home/alice/.local/bin/tool"), None);
        assert_eq!(root("/opt/bin/tool"), None);
        assert_eq!(root("/opt/go/bin/go"), Some("/opt/go".into()));
        assert_eq!(
            root("/home/alice/.nvm/versions/node/v20/bin/node"),
            Some("/home/alice/.nvm/versions/node/v20".into())
        );
    }

    /// A program by itself, and one of a toolchain, of which the others are there, too.
    #[test]
    fn what_a_run_has_is_known_by_its_path_inside() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let (own, go) = (home.join("own"), home.join("go/bin"));
        for path in [own.join("orch-alone"), go.join("orch-chain"), go.join("orch-other")] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(own.join("text"), "no program").unwrap();
        let search = format!("{}:{}", own.display(), go.display());
        let tools = HostTools::new(|name| (name == "PATH").then(|| search.clone()));
        let set = tools.resolve(["orch-alone", "orch-chain"]);
        let inside = |tool: &str| set.inside(tool).map(|path| path.display().to_string());
        assert_eq!(inside("orch-alone").as_deref(), Some("/orch/tools/0/orch-alone"));
        assert_eq!(inside("orch-other").as_deref(), Some("/orch/tools/1/bin/orch-other"));
        assert_eq!((inside("text"), inside("no-such-program-here"), inside("../bin/orch-chain")), (None, None, None));
        assert_eq!(tools.source("orch-chain"), Ok(Some(home.join("go"))));
        assert_eq!(tools.source("orch-alone"), Ok(Some(own.join("orch-alone"))));
        assert_eq!(tools.source("sh"), Ok(None));
        assert_eq!(tools.source("no-such-program-here"), Err("apt-get install no-such-program-here".to_owned()));
        assert!(["../go", "-x", "", "a\0b"].iter().all(|hostile| tools.source(hostile).is_err()));
    }

    #[test]
    fn sh_is_everywhere_and_nonsense_is_missing_with_a_hint() {
        let tools = HostTools::new(|_| None);
        let set = tools.resolve(["sh", "no-such-program-here", "../sh", "-x"]);
        assert!(set.mounts.is_empty(), "{set:?}");
        assert_eq!(set.missing.keys().map(String::as_str).collect::<Vec<_>>(), ["-x", "../sh", "no-such-program-here"]);
        assert_eq!(set.missing["no-such-program-here"], "apt-get install no-such-program-here");
    }
}
