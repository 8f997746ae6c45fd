//! The directory of one demo and the programs that it needs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use orch_proto::ErrorCode;
use orch_proto::id::CommandId;

use super::agent::KEY_VARIABLES;
use crate::ctl::failure::Failure;
use crate::ctl::launch::{Launch, find, in_path};

/// What is missing when a program is, and how to get it.
const TOOLS: [(&str, &str); 3] =
    [("git", "apt-get install git"), ("python3", "apt-get install python3"), ("sh", "apt-get install dash")];

/// Where everything is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) socket: PathBuf,
    /// The program that runs what a repository wrote.
    pub(super) sandbox: PathBuf,
    /// `PATH` for our own calls of git.
    pub(super) path: String,
    daemon: PathBuf,
}

impl Place {
    /// Makes the directory, once it is known that nothing is missing.
    /// The daemon's configuration gets `more`.
    pub(super) fn make(
        wanted: Option<&Path>,
        more: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        for (tool, fix) in TOOLS {
            if in_path(tool, &env).is_none() {
                return Err(Failure::new(ErrorCode::ToolMissing, format!("`{tool}` is not installed"), fix));
            }
        }
        let daemon = find("orchd", "ORCHD_PROGRAM", &env)?;
        let sandbox = find("orch-sandbox", "ORCH_SANDBOX_PROGRAM", &env)?;
        let root = match wanted {
            Some(directory) => directory.to_path_buf(),
            None => {
                let temporary = env("TMPDIR").unwrap_or_else(|| "/tmp".to_owned());
                let id = CommandId::generate().to_string();
                // The end of the id is its random part.
                let random = id.get(id.len().saturating_sub(8)..).unwrap_or("0");
                Path::new(&temporary).join(format!("orch-demo-{random}"))
            }
        };
        let cannot = |why: String| Failure::usage(format!("`{}` cannot be used: {why}", root.display()));
        match fs::DirBuilder::new().mode(0o700).create(&root) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::read_dir(&root).map_err(|error| cannot(error.to_string()))?.next().is_some() {
                    return Err(cannot("it is not empty".to_owned()));
                }
            }
            Err(error) => return Err(cannot(error.to_string())),
        }
        // The sandbox follows no links on the way to a workspace.
        let root = fs::canonicalize(&root).map_err(|error| cannot(error.to_string()))?;
        fs::write(
            root.join("orchd.toml"),
            format!(
                "# The demo uses the defaults, whatever this machine's configuration says; nobody takes an answer back.\n\
                 [approvals]\nhold_ms = 0\n{more}"
            ),
        )?;
        Ok(Self { socket: root.join("orchd.sock"), sandbox, daemon, path: env("PATH").unwrap_or_default(), root })
    }

    /// How the daemon is started here.
    pub(super) fn launch(&self) -> Launch {
        Launch {
            program: self.daemon.clone(),
            socket: self.socket.clone(),
            state_dir: Some(self.root.join("state")),
            config: Some(self.root.join("orchd.toml")),
            log: self.root.join("orchd.out"),
            without: &KEY_VARIABLES,
        }
    }
}
