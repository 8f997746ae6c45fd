//! What is where in the state directory (design.md section 4).

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use orch_proto::id::{ProjectId, RunId};
use orch_proto::{ErrorCode, RpcError};
use orch_store::OpenError;

use crate::error_chain::chain;

/// What to do about a state directory that cannot be used.
const UNUSABLE_HINT: &str = "make it writable for the daemon's user, or name another with `--state-dir`";
const FULL_HINT: &str = "make room on the disk of the state directory, then start again; nothing was changed";
const READ_ONLY_HINT: &str = "make it writable, as by mounting that disk read-write (`dmesg` says whether it failed), \
                              or name another directory with `--state-dir`; nothing was changed";

/// The file beside the directories of runs that a daemon has locked as long as it lives.
pub(crate) const OWNER_LOCK: &str = "daemon.lock";

/// What a person is told of a directory that cannot be made or written.
pub(crate) fn unusable(what: &str, path: &Path, error: &io::Error) -> RpcError {
    let message = format!("{what} `{}`: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            RpcError::new(ErrorCode::StorageFull, message).hint(FULL_HINT)
        }
        io::ErrorKind::ReadOnlyFilesystem => RpcError::new(ErrorCode::StateAccess, message).hint(READ_ONLY_HINT),
        _ => RpcError::new(ErrorCode::Config, message).hint(UNUSABLE_HINT),
    }
}

/// What a person is told of a database that cannot be opened.
pub(crate) fn unopened(error: &OpenError) -> RpcError {
    let (code, hint) = match error {
        OpenError::SchemaTooNew { .. } => {
            (ErrorCode::SchemaTooNew, "start the newer version, or name another state directory")
        }
        OpenError::Full { .. } => (ErrorCode::StorageFull, FULL_HINT),
        OpenError::ReadOnly { .. } => (ErrorCode::StateAccess, READ_ONLY_HINT),
        OpenError::Denied { .. } => (
            ErrorCode::StateAccess,
            "start it as the user whose file that is, or give it to the daemon's user with `chown`; nothing was changed",
        ),
        OpenError::NotAFile { .. } => (
            ErrorCode::StateAccess,
            "move away what lies there and put the database back, or name another directory with `--state-dir`",
        ),
        OpenError::Foreign { .. } => {
            (ErrorCode::Storage, "it was left as it is; move it away, or name another directory with `--state-dir`")
        }
        OpenError::SqliteTooOld { .. } => (ErrorCode::ToolMissing, "build with the SQLite that comes with the sources"),
        OpenError::Thread(_) => (ErrorCode::Internal, "the host gives no more threads to this user"),
        _ => (
            ErrorCode::Storage,
            "if the file is damaged, restore a backup into an empty directory with `orchd restore`",
        ),
    };
    RpcError::new(code, chain(error)).hint(hint)
}

/// The state directory of one installation.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    root: PathBuf,
    /// Device on which the directories of runs are.
    runs_on: u64,
}

impl StateDir {
    /// Makes the directory and those in it, for nobody else to read.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let make = |path: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(root)?;
        let root = root.canonicalize()?;
        let names = [
            "blobs",
            "runs",
            "repos",
            "workspaces",
            "tools",
            "keys",
            "secrets",
            "recipes",
            "logs",
            "jail",
            "plannings",
        ];
        for name in names {
            make(&root.join(name))?;
        }
        let runs_on = std::fs::metadata(root.join("runs"))?.dev();
        Ok(Self { root, runs_on })
    }

    /// Whether the directories of runs are where they were at the start. A disk of their own may have come off: what is
    /// then seen in its place says nothing of any run.
    pub(crate) fn has_runs(&self) -> bool {
        std::fs::metadata(self.root.join("runs")).is_ok_and(|found| found.dev() == self.runs_on)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("orch.db")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("orchd.lock")
    }

    /// Says to runs that there is a daemon, as long as what is returned lives: if they are to be ended without one, or were at some
    /// time.
    ///
    /// # Errors
    /// When that cannot be said, or somebody else says it.
    pub(crate) fn show_daemon(&self, ends_orphans: bool) -> io::Result<Option<std::fs::File>> {
        let path = self.root.join("runs").join(OWNER_LOCK);
        let file = match std::fs::File::options().read(true).write(true).create(ends_orphans).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if orch_sandbox::run_dir::lock(&file)? { Ok(Some(file)) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Whether the host was started anew since the last daemon began, and takes note of the boot that it is in. A directory whose
    /// daemons took no note so far is of this one.
    ///
    /// # Errors
    /// When the note cannot be read or written.
    pub(crate) fn note_boot(&self) -> io::Result<bool> {
        let (note, draft) = (self.root.join("boot-id"), self.root.join("boot-id.tmp"));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let known = match std::fs::read_to_string(&note) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if known.as_deref() != Some(boot.as_str()) {
            // A power loss that takes it ends the boot, too.
            std::fs::write(&draft, &boot)?;
            std::fs::rename(&draft, &note)?;
        }
        Ok(known.is_some_and(|known| known != boot))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Tools that were installed for runs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Values of secrets.
    pub(crate) fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Keys of the installation.
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The record of blobs that were removed and that nothing ever named.
    pub(crate) fn removed_blobs(&self) -> PathBuf {
        self.root.join("removed-blobs.jsonl")
    }

    /// Where the place of a backup stands while it is written.
    pub(crate) fn backup_note(&self) -> PathBuf {
        self.root.join("backup-under-way")
    }

    /// Directory of a run: spec, log, exit record.
    pub(crate) fn run(&self, run: RunId) -> PathBuf {
        self.root.join("runs").join(run.to_string())
    }

    /// Where a run leaves its result.
    pub(crate) fn run_out(&self, run: RunId) -> PathBuf {
        self.run(run).join("out")
    }

    /// Where an artifact of a run lies on its way into the blobs.
    pub(crate) fn artifact_copy(&self, run: RunId) -> PathBuf {
        self.run(run).join("artifact.tmp")
    }

    /// Workspaces of runs, by run, and the prepared checkouts that they are on.
    pub(crate) fn workspaces(&self) -> PathBuf {
        self.root.join("workspaces")
    }

    pub(crate) fn workspace(&self, run: RunId) -> PathBuf {
        self.workspaces().join(run.to_string())
    }

    /// Every run that has a directory or a workspace.
    pub(crate) fn runs_on_disk(&self) -> BTreeSet<RunId> {
        let entries = ["runs", "workspaces"].map(|name| std::fs::read_dir(self.root.join(name)));
        let names = entries.into_iter().flatten().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.root.join("repos")
    }

    pub(crate) fn repository(&self, project: ProjectId) -> PathBuf {
        self.repositories().join(format!("{project}.git"))
    }

    /// Where agents plan, by planning.
    pub(crate) fn plannings(&self) -> PathBuf {
        self.root.join("plannings")
    }

    /// Where an agent plans for a project.
    pub(crate) fn planning(&self, project: ProjectId, number: u32) -> PathBuf {
        self.plannings().join(format!("{project}-{number}"))
    }

    /// Directory for the daemon's own short sandboxed work, by name.
    pub(crate) fn jail(&self, name: &str) -> PathBuf {
        self.root.join("jail").join(name)
    }
}
