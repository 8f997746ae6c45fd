//! A place with a project, a cache of checkouts and real sandboxed runs on them. Used by the tests and the benchmark.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orch_adapters::executor::{Executor as _, LOG_START, Local, Observed, log_path};
use orch_adapters::git::{
    BareRepo, CheckoutSpec, CollectSpec, CommitId, Hardened, Identity, IngestLimits, OBJECTS_INSIDE, RefName, Taken,
};
use orch_adapters::run_log;
use orch_adapters::workspace::{CacheLimits, Seed, WorkspaceCache};
use orch_proto::view::LogStream;
use orch_sandbox::exit_record::ExitRecord;
use orch_sandbox::level::Level;
use orch_sandbox::spec::{Limits, OUT_INSIDE, Phase, ReadOnlyMount, RunSpec, StepSpec};
use tempfile::TempDir;

/// Longest wait for the end of a run.
const WAIT: Duration = Duration::from_secs(600);
/// Name of the one project.
pub(crate) const PROJECT: &str = "shop";
/// What a cache of these tests may hold.
pub(crate) const ROOMY: CacheLimits = CacheLimits { bytes_max: 1 << 40, entries_max: 100 };

pub(crate) struct Yard {
    dir: TempDir,
    pub(crate) repository: BareRepo,
    pub(crate) executor: Local,
    pub(crate) cache: WorkspaceCache,
}

impl Drop for Yard {
    /// The kernel leaves a directory without permissions in the scratch space of an overlay, which only this removes.
    fn drop(&mut self) {
        if let Err(error) = orch_sandbox::remove_tree(&self.path("")) {
            eprintln!("left: {error}");
        }
    }
}

/// A workspace of one run.
pub(crate) struct Place {
    pub(crate) workspace: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) directory: PathBuf,
    /// What it is on top of; none: it makes its own checkout.
    pub(crate) layers: Option<Vec<PathBuf>>,
    pub(crate) base: CommitId,
}

impl Yard {
    /// An empty project in the system's directory for temporary files; none where the kernel has no full sandbox.
    pub(crate) fn new(limits: CacheLimits) -> Option<Self> {
        let report = orch_sandbox::probe_host();
        if report.expected_level < Level::Full {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "level 3 is needed: {}", report.fixes());
            eprintln!("skipped: this host gives level {}; {}", report.expected_level, report.fixes());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let git = Hardened::probe().unwrap();
        let repository = BareRepo::create(&git, &root.join("shop.git"), &main()).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_adapters-sandbox"));
        let executor = Local::start(program, orch_sandbox::SpawnerOptions::default()).unwrap();
        let cache = WorkspaceCache::open(&root.join("workspaces"), limits).unwrap();
        Some(Self { dir, repository, executor, cache })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Opens the cache once more, as the next daemon does.
    pub(crate) fn reopen(&mut self, limits: CacheLimits) {
        self.cache = WorkspaceCache::open(&self.path("workspaces"), limits).unwrap();
    }

    /// Feeds a stream to `git fast-import`, and gives the commit at the tip of `main`. Nothing is checked: a hostile
    /// tree is one as well.
    pub(crate) fn import(&self, stream: &[u8]) -> CommitId {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(self.repository.path()).args(["fast-import", "--quiet", "--force"]);
        let mut child = command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stream).unwrap();
        assert!(child.wait().unwrap().success());
        self.repository.head(&main()).unwrap().unwrap()
    }

    /// Makes the workspace of a run on `commit`; `None` when that is not prepared.
    pub(crate) fn claim(&self, run: &str, commit: &CommitId) -> Option<Place> {
        let tree = self.cache.tree_of(&self.repository, commit).unwrap();
        let place = self.empty(run, commit);
        let layers = self.cache.claim(PROJECT, &tree, &place.workspace, &seed(commit)).unwrap()?;
        Some(Place { layers: Some(layers), ..place })
    }

    /// The directories of a run that checks out `commit` itself.
    pub(crate) fn empty(&self, run: &str, commit: &CommitId) -> Place {
        let place = Place {
            workspace: self.path("workspaces").join(run),
            out: self.path(&format!("{run}.out")),
            directory: self.path(&format!("{run}.run")),
            layers: None,
            base: commit.clone(),
        };
        fs::create_dir_all(&place.workspace).unwrap();
        fs::create_dir_all(&place.out).unwrap();
        place
    }

    /// Prepares the tree of `commit`. Whether that is a layer on another checkout.
    pub(crate) fn prepare(&self, commit: &CommitId) -> bool {
        let tree = self.cache.tree_of(&self.repository, commit).unwrap();
        let draft = self.cache.begin(PROJECT, &self.repository, (commit, &tree)).unwrap();
        let directory = self.path(&format!("prepare-{commit}.run"));
        if directory.exists() {
            orch_sandbox::remove_tree(&directory).unwrap();
        }
        let record = self.execute(&directory, &draft.spec(Level::Full).unwrap());
        assert!(record.outcome == orch_sandbox::exit_record::Outcome::Succeeded, "{record:#?} {}", output(&directory));
        let is_layer = draft.is_layer();
        self.cache.publish(draft).unwrap();
        is_layer
    }

    /// Runs shell text in the workspace, with the first and the last step that a run of work has.
    pub(crate) fn run(&self, place: &Place, script: &str) -> ExitRecord {
        self.execute(&place.directory, &self.spec(place, script))
    }

    pub(crate) fn spec(&self, place: &Place, script: &str) -> RunSpec {
        let checkout = match &place.layers {
            Some(_) => vec!["/bin/echo".to_owned(), "checkout: prepared".to_owned()],
            None => CheckoutSpec {
                workspace_at: "/work".into(),
                objects_at: OBJECTS_INSIDE.into(),
                base: Some(place.base.clone()),
                branch: branch(),
                author: agent(),
                format: place.base.format(),
                kept: None,
            }
            .argv(),
        };
        let index = place.layers.as_ref().map(|layers| layers[0].join(".git/index"));
        let collect = CollectSpec {
            workspace_at: "/work".into(),
            objects_at: OBJECTS_INSIDE.into(),
            out_at: OUT_INSIDE.into(),
            base: Some(place.base.clone()),
            index_at: index.as_ref().map(|_| "/orch/index".into()),
            author: agent(),
            message: "result\n".to_owned(),
            at_unix_s: 1_700_000_000,
            format: place.base.format(),
        };
        let own = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let objects = ReadOnlyMount { source: self.repository.objects_dir(), target: OBJECTS_INSIDE.into() };
        let index = index.map(|source| ReadOnlyMount { source, target: "/orch/index".into() });
        let steps = vec![
            step("checkout", checkout, Phase::Setup),
            step("work", own, Phase::Main),
            step("collect", collect.argv(), Phase::Always),
        ];
        let limits = Limits {
            processes: 256,
            open_files: 1_024,
            file_size_bytes: 1 << 30,
            log_bytes_max: 16 << 20,
            tmp_bytes: 16 << 20,
            ..Limits::small(600_000)
        };
        RunSpec {
            workspace_base: place.layers.clone(),
            mounts: std::iter::once(objects).chain(index).collect(),
            out: Some(place.out.clone()),
            env: BTreeMap::from([("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned())]),
            ..RunSpec::narrow("run", place.workspace.clone(), steps, limits)
        }
    }

    /// Executes a run and waits for its end.
    pub(crate) fn execute(&self, directory: &Path, spec: &RunSpec) -> ExitRecord {
        self.executor.submit(directory, spec, &orch_sandbox::Secrets::new()).unwrap();
        let since = Instant::now();
        loop {
            match self.executor.observe(directory, spec.fence).unwrap() {
                Observed::Exited(record) => return *record,
                Observed::Running => {}
                other => panic!("the run is {other:?}"),
            }
            assert!(since.elapsed() < WAIT, "the run does not end");
            // Its shim closes the control socket when the record is there.
            if let Ok(mut socket) = std::os::unix::net::UnixStream::connect(directory.join("control.sock")) {
                use std::io::Read as _;
                drop(socket.read(&mut [0; 1]));
            }
        }
    }

    pub(crate) fn take(&self, place: &Place, run: &str) -> Taken {
        self.repository.take_result(&place.out, Some(&place.base), run, &IngestLimits::RUN).unwrap()
    }
}

/// What the steps of a run printed.
pub(crate) fn output(directory: &Path) -> String {
    let piece = run_log::chunks(&log_path(directory), LOG_START, 16 << 20).unwrap();
    let lines = piece.items.iter().filter(|chunk| chunk.stream != LogStream::Control);
    lines.map(|chunk| format!("{}\n", String::from_utf8_lossy(&chunk.bytes.0))).collect()
}

/// A stream of `git fast-import` with one commit on `main` that has exactly these files: mode, name, content.
pub(crate) fn stream(parent: Option<&CommitId>, files: &[(&str, &[u8], &[u8])]) -> Vec<u8> {
    let mut stream = b"commit refs/heads/main\ncommitter T <t@example.org> 1700000000 +0000\ndata 1\nx\n".to_vec();
    if let Some(parent) = parent {
        stream.extend(format!("from {parent}\ndeleteall\n").bytes());
    }
    for (mode, name, content) in files {
        let name: String = name.iter().map(|byte| format!("\\{byte:03o}")).collect();
        stream.extend(format!("M {mode} inline \"{name}\"\ndata {}\n", content.len()).bytes());
        stream.extend_from_slice(content);
        stream.push(b'\n');
    }
    stream
}

pub(crate) fn main() -> RefName {
    RefName::branch("main").unwrap()
}

pub(crate) fn branch() -> RefName {
    RefName::branch("feature/T-1-x").unwrap()
}

pub(crate) fn agent() -> Identity {
    Identity::new("orch run R-1", "run@orch.invalid").unwrap()
}

pub(crate) fn seed(base: &CommitId) -> Seed {
    Seed { branch: branch(), base: base.clone(), author: agent(), format: base.format() }
}

fn step(name: &str, argv: Vec<String>, phase: Phase) -> StepSpec {
    StepSpec { phase, ..StepSpec::main(name, argv, 600_000) }
}
