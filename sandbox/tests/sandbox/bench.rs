//! The place where tests run runs: a directory, a spawner, specs, and waiting without sleeping.
//!
//! Every wait is for a state and has a bound.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use orch_sandbox::exit_record::{ExitRecord, Outcome};
use orch_sandbox::log::{Ending, LogReader, Record, Stream};
use orch_sandbox::run_dir::{self, Liveness, inspect, log_path};
use orch_sandbox::spec::{Isolation, Limits, Phase, ReadOnlyMount, StepSpec};
use orch_sandbox::{Level, RunSpec, Secrets, Spawned, Spawner, SpawnerOptions, control, probe_host};
use tempfile::TempDir;

/// Longest wait of a test for anything.
pub(crate) const WAIT: Duration = Duration::from_secs(30);
/// Where the probe program is inside.
pub(crate) const PROBE_INSIDE: &str = "/probe/sbx-probe";
/// Number of processes that runs of tests may have.
pub(crate) const PROCESSES: u64 = 200;
/// Size of the temporary file systems of runs of tests.
pub(crate) const TMP_BYTES: u64 = 1 << 20;

pub(crate) struct Bench {
    pub(crate) home: TempDir,
    pub(crate) spawner: Spawner,
}

impl Bench {
    /// A fresh directory with a spawner; `None` where the kernel cannot show what is tested.
    pub(crate) fn new() -> Option<Self> {
        let report = probe_host();
        if report.expected_level < Level::Full {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "level 3 is needed: {}", report.fixes());
            eprintln!("skipped: this host gives level {}; {}", report.expected_level, report.fixes());
            return None;
        }
        let spawner = Spawner::start(program(), SpawnerOptions::default()).unwrap();
        Some(Self { home: TempDir::new().unwrap(), spawner })
    }

    /// The same with a spawner that is started with a low soft limit of descriptors, as service managers set it.
    pub(crate) fn with_soft_limit(files: u64) -> Option<Self> {
        Self::started_after(&format!("ulimit -S -n {files}"))
    }

    /// The same with a spawner that a shell starts after `command`.
    pub(crate) fn started_after(command: &str) -> Option<Self> {
        let bench = Self::new()?;
        let script = bench.path("starter");
        write_program(&script, &format!("#!/bin/sh\n{command}\nexec '{}' \"$@\"\n", program().display()));
        let spawner = Spawner::start(&script, SpawnerOptions::default()).unwrap();
        Some(Self { home: bench.home, spawner })
    }

    /// A path of this test, without symlinks on the way.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(name)
    }

    /// A new run that has not been started.
    pub(crate) fn run(&self, name: &str, steps: Vec<StepSpec>) -> Run {
        let workspace = self.path(&format!("{name}.ws"));
        std::fs::create_dir(&workspace).unwrap();
        let probe = Path::new(env!("CARGO_BIN_EXE_sbx-probe")).canonicalize().unwrap();
        let limits = Limits {
            processes: PROCESSES,
            file_size_bytes: 1 << 30,
            log_bytes_max: 64 << 20,
            tmp_bytes: TMP_BYTES,
            ..Limits::small(60_000)
        };
        let mut spec = RunSpec::narrow(name, workspace.clone(), steps, limits);
        spec.mounts.push(ReadOnlyMount { source: probe, target: PROBE_INSIDE.into() });
        Run { dir: self.path(&format!("{name}.run")), workspace, spec }
    }

    /// A run of one shell command.
    pub(crate) fn shell(&self, name: &str, script: &str) -> Run {
        self.run(name, vec![sh("main", Phase::Main, script)])
    }

    /// A new run without isolation, which has not been started.
    pub(crate) fn plain(&self, name: &str, steps: Vec<StepSpec>) -> Run {
        let mut run = self.run(name, steps);
        run.spec.mounts.clear();
        run.spec.workspace_at = run.workspace.clone();
        run.spec.isolation = Isolation::None;
        run.spec.required_level = Level::None;
        run
    }

    /// Starts `run` and waits for its end.
    pub(crate) fn finish(&self, run: &Run) -> ExitRecord {
        self.start(run);
        run.wait()
    }

    pub(crate) fn start(&self, run: &Run) -> Spawned {
        self.start_with(run, &Secrets::new())
    }

    pub(crate) fn start_with(&self, run: &Run, secrets: &Secrets) -> Spawned {
        run_dir::prepare(&run.dir, &run.spec).unwrap();
        self.spawner.spawn_with(&run.dir, secrets).unwrap()
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orch-sandbox"))
}

/// Writes a script that can be executed at once. Another process writes it: a child that some other test forks meanwhile
/// would have inherited this one's descriptor, and what is open for writing cannot be executed.
pub(crate) fn write_program(path: &Path, text: &str) {
    let write = ["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"];
    let status = std::process::Command::new("/bin/sh").args(write).arg(path).arg(text).status().unwrap();
    assert!(status.success(), "{status}");
}

/// A step that is a shell script.
pub(crate) fn sh(name: &str, phase: Phase, script: &str) -> StepSpec {
    step(name, phase, &["sh", "-c", script])
}

pub(crate) fn step(name: &str, phase: Phase, argv: &[&str]) -> StepSpec {
    StepSpec { phase, ..StepSpec::main(name, argv.iter().copied(), 60_000) }
}

/// One run of a test.
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
    pub(crate) workspace: PathBuf,
    pub(crate) spec: RunSpec,
}

impl Run {
    /// Has the run stand still, and waits until all of it does.
    pub(crate) fn stand_still(&self) {
        control::pause(&self.dir).unwrap();
        let deadline = Instant::now() + WAIT;
        loop {
            let status = control::status(&self.dir).unwrap();
            assert!(status.paused);
            if status.at_rest {
                return;
            }
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::yield_now();
        }
    }

    /// Waits until the shim is gone and returns what it left.
    pub(crate) fn wait(&self) -> ExitRecord {
        match self.wait_gone() {
            Liveness::Exited(record) => *record,
            other => panic!("no exit record: {other:?}"),
        }
    }

    /// Waits until no shim lives.
    pub(crate) fn wait_gone(&self) -> Liveness {
        if let Ok(mut connection) = control::watch(&self.dir) {
            connection.set_read_timeout(Some(WAIT)).unwrap();
            let mut byte = [0];
            let read = loop {
                match connection.read(&mut byte) {
                    // The end of a child of another test.
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            match read {
                Ok(0) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                other => panic!("the shim did not end: {other:?}"),
            }
        }
        // Nobody listens, so the lock is free, too, unless the shim was killed in between.
        let deadline = std::time::Instant::now() + WAIT;
        loop {
            match inspect(&self.dir, self.spec.fence).unwrap() {
                // Its lock goes a moment before its process does.
                Liveness::Running { .. } | Liveness::Unseen { .. } => {
                    assert!(std::time::Instant::now() < deadline, "the shim keeps its lock");
                    std::thread::yield_now();
                }
                other => return other,
            }
        }
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let log = LogReader::open(&log_path(&self.dir)).unwrap();
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let (mut records, next) = log.read_from(offset, 1 << 20).unwrap();
            if records.is_empty() {
                return all;
            }
            all.append(&mut records);
            offset = next;
        }
    }

    /// What `step` wrote to `stream`, byte for byte.
    pub(crate) fn output(&self, stream: Stream, step: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in self.records().iter().filter(|record| record.stream == stream && record.step == Some(step)) {
            bytes.extend_from_slice(&record.payload);
            if record.ending == Ending::Newline {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output(Stream::Stdout, 0)).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output(Stream::Stderr, 0)).unwrap()
    }

    /// Makes a [`Gate`] for the steps of this run.
    pub(crate) fn gate(&self) -> Gate {
        let path = self.workspace.join("go");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        Gate { file: OpenOptions::new().read(true).write(true).open(path).unwrap() }
    }

    /// Makes a pipe in the workspace whose writers are inside the run.
    pub(crate) fn pipe(&self) -> Pipe {
        let path = self.workspace.join("pipe");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        Pipe { reader: BufReader::new(file) }
    }
}

/// A pipe in the workspace from which a step reads one line when the test lets it: `read line < go`.
pub(crate) struct Gate {
    /// Open for both directions, so that neither opening nor writing waits for the step, which may be dead.
    file: File,
}

impl Gate {
    /// Lets the step go on with `line`. It may read it at any time while this lives.
    pub(crate) fn open(&mut self, line: &str) {
        writeln!(self.file, "{line}").unwrap();
    }
}

/// The outer end of a pipe that processes of a run hold open: it tells what they write and when the last of them dies.
pub(crate) struct Pipe {
    reader: BufReader<File>,
}

impl Pipe {
    /// Waits for a line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let mut waited = false;
        while !line.ends_with('\n') {
            match self.reader.read_line(&mut line) {
                // Nobody has opened it yet, or everybody has gone: then waiting changes nothing.
                Ok(0) => {
                    assert!(!waited, "everybody died without a line");
                    assert!(self.wait(WAIT), "nobody writes");
                    waited = true;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(self.wait(WAIT), "nothing comes");
                }
                Err(error) => panic!("{error}"),
            }
        }
        line
    }

    /// Waits until every process that held the pipe open is dead.
    pub(crate) fn closed(&mut self) {
        let mut rest = Vec::new();
        loop {
            match self.reader.read_to_end(&mut rest) {
                Ok(_) => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(self.wait(WAIT), "somebody still lives");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes what is there and returns how much that was.
    pub(crate) fn drain(&mut self) -> usize {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => panic!("everybody is dead"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => rest.len(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Asserts that nobody writes any more, whatever was written before.
    pub(crate) fn stays_quiet(&mut self) {
        self.drain();
        assert!(!self.wait(Duration::from_millis(150)), "it goes on");
    }

    /// Whether something comes, or the last writer goes, within `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(self.reader.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
    }
}

/// Runs an attack and asserts that it was refused as expected.
pub(crate) fn refused(bench: &Bench, case: &str, arguments: &[&str]) -> Run {
    let run = bench.run(case, vec![attack(case, arguments)]);
    assert_refused(bench, &run);
    run
}

/// The step that is an attack.
pub(crate) fn attack(case: &str, arguments: &[&str]) -> StepSpec {
    step("attack", Phase::Main, &[&[PROBE_INSIDE, case], arguments].concat())
}

pub(crate) fn assert_refused(bench: &Bench, run: &Run) {
    let record = bench.finish(run);
    let seen = if record.log_bytes > 0 { run.stderr() } else { String::new() };
    assert_eq!(record.outcome, Outcome::Succeeded, "{seen}");
    assert!(seen.contains("held: "), "the probe looked at nothing: {seen}");
}

/// Cancels a run of 500 processes and waits until all of them are gone. `twice` waits for no step.
pub(crate) fn cancel_a_crowd(bench: &Bench, twice: bool) {
    let mut run = bench.run("many", vec![step("crowd", Phase::Main, &[PROBE_INSIDE, "crowd", "pipe", "500"])]);
    run.spec.limits.processes = 600;
    let mut pipe = run.pipe();
    // As long as the crowd is there a user may have no room for another process.
    let before = slowness();
    bench.start(&run);
    pipe.line();
    // Under 100 ms where nobody else wants the processors.
    let took = assert_soon_since(before, Duration::from_secs(5), || {
        control::cancel(&run.dir).unwrap();
        if twice {
            control::cancel(&run.dir).ok();
        }
        pipe.closed();
    });
    eprintln!("500 processes died in {took:?}");
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

/// Does `act`, and asserts that it takes less than `soon` where nobody else wants the processors; how long it took. On a busy
/// machine it may take as much longer as processes of this test itself do, before it and after it.
pub(crate) fn assert_soon(soon: Duration, act: impl FnOnce()) -> Duration {
    assert_soon_since(slowness(), soon, act)
}

/// The same where how slow the machine is was measured before.
fn assert_soon_since(before: f64, soon: Duration, act: impl FnOnce()) -> Duration {
    let since = Instant::now();
    act();
    let took = since.elapsed();
    let slower = before.max(slowness());
    assert!(took < soon.mul_f64(slower), "{took:?} on a machine that is {slower:.1} times slower than an idle one");
    took
}

/// How many times longer than a millisecond a process takes from its start to its end at the moment, which is what it takes on an
/// idle machine; at least 1.
pub(crate) fn slowness() -> f64 {
    const ROUNDS: u32 = 20;
    let since = Instant::now();
    for _ in 0..ROUNDS {
        // While a crowd of processes goes there may be no room for another one.
        let status = loop {
            match std::process::Command::new("true").status() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && since.elapsed() < WAIT => {
                    std::thread::yield_now();
                }
                status => break status.unwrap(),
            }
        };
        assert!(status.success());
    }
    let each = since.elapsed() / ROUNDS;
    (each.as_secs_f64() * 1_000.0).max(1.0)
}
