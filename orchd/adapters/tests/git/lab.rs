//! A temporary place with a project repository, repositories of strangers, and workspaces.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orch_adapters::git::{
    BareRepo, CheckoutSpec, CollectSpec, CommitId, Hardened, Identity, IngestLimits, RefName, RootCommit, TakeError,
    Taken,
};
use tempfile::TempDir;

/// Time of every commit made here.
pub(crate) const AT: i64 = 1_700_000_000;

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) git: Hardened,
}

/// A workspace with its folder for results.
pub(crate) struct Space {
    pub(crate) work: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) base: Option<CommitId>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), git: Hardened::probe().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// A project repository whose `main` has one commit with these files.
    pub(crate) fn project(&self, files: &[(&str, &str)]) -> (BareRepo, CommitId) {
        let repo = BareRepo::create_with_root(&self.git, &self.path("shop.git"), &main(), &root_commit()).unwrap();
        let root = repo.head(&main()).unwrap().unwrap();
        let space = self.checkout(&repo, Some(&root), "base");
        for (name, content) in files {
            write(&space.work.join(name), content);
        }
        let commit = self.changed(&repo, &space, "base");
        repo.update_ref(&main(), &commit, Some(&root), "base").unwrap();
        (repo, commit)
    }

    /// A workspace made by the real script.
    pub(crate) fn checkout(&self, repo: &BareRepo, base: Option<&CommitId>, name: &str) -> Space {
        self.checkout_with(repo, (base, None), name)
    }

    /// The same, with the files of a checkpoint if there is one.
    pub(crate) fn checkout_with(
        &self,
        repo: &BareRepo,
        (base, kept): (Option<&CommitId>, Option<&CommitId>),
        name: &str,
    ) -> Space {
        let (work, out) = (self.path(&format!("{name}.work")), self.path(&format!("{name}.out")));
        fs::create_dir(&work).unwrap();
        fs::create_dir(&out).unwrap();
        let spec = CheckoutSpec {
            workspace_at: work.clone(),
            objects_at: repo.objects_dir(),
            base: base.cloned(),
            branch: RefName::branch("feature/T-1-x").unwrap(),
            author: agent(),
            format: repo.format(),
            kept: kept.cloned(),
        };
        run(&spec.argv());
        Space { work, out, base: base.cloned() }
    }

    /// Runs the collecting script.
    pub(crate) fn collect(&self, repo: &BareRepo, space: &Space) {
        let output = Self::try_collect(repo, space);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn try_collect(repo: &BareRepo, space: &Space) -> std::process::Output {
        let spec = CollectSpec {
            workspace_at: space.work.clone(),
            objects_at: repo.objects_dir(),
            out_at: space.out.clone(),
            base: space.base.clone(),
            index_at: None,
            author: agent(),
            message: "result\n\n-- of 'a' \"run\" $(false)".to_owned(),
            at_unix_s: AT,
            format: repo.format(),
        };
        command(&spec.argv()).output().unwrap()
    }

    pub(crate) fn take(&self, repo: &BareRepo, space: &Space, run: &str) -> Result<Taken, TakeError> {
        repo.take_result(&space.out, space.base.as_ref(), run, &IngestLimits::RUN)
    }

    /// Collects and takes a result that must be a change.
    pub(crate) fn changed(&self, repo: &BareRepo, space: &Space, run: &str) -> CommitId {
        self.collect(repo, space);
        match self.take(repo, space, run).unwrap() {
            Taken::Changed { commit, .. } => commit,
            Taken::Unchanged { .. } => panic!("nothing has changed"),
        }
    }

    /// Runs shell text as a stranger would, in a folder that is made for it.
    pub(crate) fn stranger(&self, folder: &str, script: &str) -> PathBuf {
        let dir = self.path(folder);
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(self.path("home")).unwrap();
        let prelude = format!("set -eu; cd '{}'; MARKER='{}'; ", dir.display(), self.marker().display());
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(prelude + script).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        for (name, value) in [("LC_ALL", "C"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")] {
            command.env(name, value);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Stranger").env(format!("GIT_{role}_EMAIL"), "s@example.org");
            command.env(format!("GIT_{role}_DATE"), format!("@{AT} +0000"));
        }
        let output = command.env("HOME", self.path("home")).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        dir
    }

    /// A program of an attacker: leaves the marker and passes its input on.
    pub(crate) fn evil(&self) -> PathBuf {
        let path = self.path("evil.sh");
        if !path.exists() {
            write(&path, format!("#!/bin/sh\necho \"$0 $*\" >>'{}'\ncat 2>/dev/null\n", self.marker().display()));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        path
    }

    pub(crate) fn marker(&self) -> PathBuf {
        self.path("MARKER")
    }

    pub(crate) fn assert_nothing_ran(&self) {
        assert!(!self.marker().exists(), "executed: {}", fs::read_to_string(self.marker()).unwrap());
    }

    /// What a run did inside the sandbox is its own business.
    pub(crate) fn forget_sandboxed(&self) {
        fs::remove_file(self.marker()).ok();
    }
}

pub(crate) fn main() -> RefName {
    RefName::branch("main").unwrap()
}

pub(crate) fn agent() -> Identity {
    Identity::new("orch run R-1", "orch@localhost").unwrap()
}

pub(crate) fn root_commit() -> RootCommit {
    RootCommit { author: agent(), message: "chore: start".to_owned(), at_unix_s: AT }
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The argument list as a process with the environment that the sandbox would give.
pub(crate) fn command(argv: &[String]) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

pub(crate) fn run(argv: &[String]) {
    let output = command(argv).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The files of a commit as `path kind`, sorted as git sorts them.
pub(crate) fn listing(repo: &BareRepo, commit: &CommitId) -> Vec<String> {
    let entries = repo.list_tree(commit, 1000).unwrap();
    entries.into_iter().map(|entry| format!("{} {:?}", entry.path, entry.kind)).collect()
}
