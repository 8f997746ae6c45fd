//! How each sandbox is started: the same layout everywhere, with `/usr` and `/etc` read-only, temporary files, processes,
//! devices, and one directory to change.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use super::outside::Outside;

/// Where the probe is inside.
const PROBE: &str = "/probe/sbx-probe";

/// Something to run the probe in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sandbox {
    Ours,
    Bubblewrap,
    Nsjail,
    /// A plain process.
    Nothing,
}

impl Sandbox {
    /// The peer that a person names.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Bubblewrap, Self::Nsjail, Self::Nothing].into_iter().find(|sandbox| sandbox.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "orch-sandbox",
            Self::Bubblewrap => "bwrap",
            Self::Nsjail => "nsjail",
            Self::Nothing => "none",
        }
    }

    /// What the program says of its version; `None` when it is not installed.
    pub(super) fn version(self) -> Option<String> {
        match self {
            Self::Ours | Self::Nothing => Some(String::new()),
            Self::Bubblewrap => {
                let output = Command::new(self.name()).arg("--version").output().ok()?;
                String::from_utf8_lossy(&output.stdout).split_whitespace().last().map(str::to_owned)
            }
            // It has no option that says one.
            Self::Nsjail => Command::new(self.name()).arg("--help").output().ok().map(|_| String::new()),
        }
    }

    /// Whether case `name` may be tried in it: without a sandbox some would leave the machine.
    pub(super) fn can_try(self, name: &str) -> bool {
        self != Self::Nothing || !["n2", "n16"].contains(&name)
    }

    /// The words that start the probe, to which its arguments are added.
    pub(super) fn invocation(
        self,
        programs: &Path,
        outside: &Outside,
        workspace: &Path,
    ) -> anyhow::Result<Vec<OsString>> {
        let probe = outside.probe();
        let words = match self {
            Self::Ours => {
                let spec = outside.path("spec.json");
                let text = serde_json::to_vec(&spec_of(workspace, &probe)).context("failed to write a spec")?;
                std::fs::write(&spec, text).context("failed to write `spec.json`")?;
                vec![programs.join("orch-sandbox").into(), "run".into(), spec.into(), "--".into(), PROBE.into()]
            }
            Self::Bubblewrap => bubblewrap(&probe, workspace),
            Self::Nsjail => nsjail(&probe, workspace),
            Self::Nothing => vec![probe.into()],
        };
        Ok(words)
    }
}

fn spec_of(workspace: &Path, probe: &Path) -> serde_json::Value {
    json!({
        "name": "escape", "fence": 1, "workspace": workspace, "workspace_base": null, "workspace_at": "/work",
        "mounts": [{"source": probe, "target": PROBE}], "out": null, "env": {},
        "steps": [{"name": "probe", "argv": ["true"], "env": {}, "cwd": "", "timeout_ms": 60_000, "phase": "main"}],
        "limits": {
            "wall_ms": 60_000, "cpu_seconds": 60, "memory_bytes": null, "run_memory_bytes": null, "run_cpu_millis": null,
            "disk_bytes": null, "idle_ms": null, "processes": 512, "open_files": 256, "file_size_bytes": 1 << 30,
            "log_bytes_max": 1 << 20, "tmp_bytes": 1 << 20
        },
        "required_level": 3, "isolation": "sandboxed", "egress": "none", "listeners": [], "secrets": [],
        "syscalls": "standard"
    })
}

/// Links and directories of the root that programs need, as the host has them.
fn root_entries(mut link: impl FnMut(&str, &Path), mut directory: impl FnMut(&str)) {
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = Path::new("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => link(name, &target),
            Err(_) if path.is_dir() => directory(name),
            Err(_) => {}
        }
    }
}

fn bubblewrap(probe: &Path, workspace: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"].map(OsString::from).into();
    let (mut links, mut directories) = (Vec::<OsString>::new(), Vec::<OsString>::new());
    root_entries(
        |name, target| links.extend(["--symlink".into(), target.into(), format!("/{name}").into()]),
        |name| directories.extend(["--ro-bind".into(), format!("/{name}").into(), format!("/{name}").into()]),
    );
    words.extend(links);
    words.extend(directories);
    words.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind"].map(OsString::from));
    words.extend([workspace.into(), "/work".into(), "--ro-bind".into(), probe.into(), PROBE.into()]);
    words.extend(["--chdir", "/work", "--die-with-parent", "--new-session", PROBE].map(OsString::from));
    words
}

fn nsjail(probe: &Path, workspace: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["nsjail", "-Q", "-Mo", "--rlimit_as", "hard", "-u", "1000", "-g", "1000"]
        .into_iter()
        .chain(["-R", "/usr", "-R", "/etc", "-R", "/dev/null", "-R", "/dev/zero", "-R", "/dev/urandom"])
        .map(OsString::from)
        .collect();
    let (mut links, mut directories) = (Vec::<OsString>::new(), Vec::<OsString>::new());
    root_entries(
        |name, target| links.extend(["-s".into(), format!("{}:/{name}", target.display()).into()]),
        |name| directories.extend(["-R".into(), format!("/{name}").into()]),
    );
    words.extend(links);
    words.extend(directories);
    words.extend(["-T".into(), "/tmp".into(), "-B".into(), format!("{}:/work", workspace.display()).into()]);
    words.extend(["-R".into(), format!("{}:{PROBE}", probe.display()).into()]);
    words.extend(["--cwd", "/work", "--", PROBE].map(OsString::from));
    words
}
