//! Short work that the daemon itself has done in a sandbox: looking at what it does not trust.
//!
//! Nothing of it is kept over a restart: who needed it asks for it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_adapters::executor::{Executor, Observed, SubmitError};
use orch_adapters::run_log;
use orch_sandbox::Secrets;
use orch_sandbox::exit_record::{ExitRecord, Outcome};
use orch_sandbox::level::Level;
use orch_sandbox::spec::{Limits, ReadOnlyMount, RunSpec, StepSpec};

use crate::error_chain::chain;

/// How long such work may take.
const TIMEOUT_MS: u64 = 30 * 60 * 1_000;
/// Memory of such work, in bytes, and processor time, in thousandths of one processor. Git needs the most of it.
const MEMORY_BYTES: u64 = 4 << 30;
const CPU_MILLIS: u64 = 4_000;
/// How long its end is waited for once it was told to end.
const END_MAX: Duration = Duration::from_secs(10);
/// The fence of all such work: a directory is used once.
pub(crate) const FENCE: u64 = 1;
/// Longest time between two looks at such work.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Short work that the daemon itself has done in a sandbox.
#[derive(Debug)]
pub(crate) struct Jail<'a> {
    /// Directory of the run, which must not exist yet.
    pub(crate) directory: PathBuf,
    pub(crate) name: &'a str,
    pub(crate) argv: Vec<String>,
    pub(crate) mounts: Vec<ReadOnlyMount>,
    /// Whether a directory for results is there, as `out` in `directory`.
    pub(crate) with_out: bool,
    pub(crate) required_level: Level,
}

/// Why jailed work has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JailError {
    #[error("failed to make the directories of the jail")]
    Directories(#[source] std::io::Error),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error("failed to look into the jail")]
    Inspect(#[from] orch_sandbox::run_dir::InspectError),
    #[error("the jail is gone without a record")]
    Lost,
    #[error("the daemon stops")]
    Stopped,
    #[error("nothing runs while the sandbox does not hold: {fix}")]
    Escapes { fix: String },
    #[error("{outcome}")]
    Ended { outcome: Box<Outcome>, log: String },
}

/// Executes work in a sandbox and waits for it. When `stop` comes first, the work is ended.
///
/// # Errors
/// When it did not succeed.
pub(crate) async fn jail(
    executor: &dyn Executor,
    jail: Jail<'_>,
    stop: impl Future<Output = ()>,
) -> Result<ExitRecord, JailError> {
    let (place, spec) = spec(jail)?;
    execute(executor, &place, (&spec, &Secrets::new()), stop).await
}

/// Executes a spec with its secrets in a sandbox, in the directory of jails `place`, and waits for its end. When `stop`
/// comes first, the work is ended.
///
/// # Errors
/// When it did not succeed.
pub(crate) async fn execute(
    executor: &dyn Executor,
    place: &Path,
    (spec, secrets): (&RunSpec, &Secrets),
    stop: impl Future<Output = ()>,
) -> Result<ExitRecord, JailError> {
    let run = run_directory(place);
    std::fs::create_dir_all(&run).map_err(JailError::Directories)?;
    let run = run.canonicalize().map_err(JailError::Directories)?;
    match executor.submit(&run, spec, secrets) {
        // It is under way all the same, and must not be left alone.
        Err(SubmitError::Unknown(error)) if matches!(executor.forestall(&run, FENCE), Ok(false)) => {
            tracing::debug!(error = chain(&error), "work in a jail began late");
        }
        submitted => drop(submitted?),
    }
    tokio::select! {
        biased;
        ended = wait(executor, &run, LOOK_MAX) => ended,
        () = stop => {
            end(executor, &run).await;
            Err(JailError::Stopped)
        }
    }
}

/// Waits for the end of work in a sandbox that was begun, in the directory of its run.
///
/// # Errors
/// When it did not succeed.
pub(crate) async fn wait(executor: &dyn Executor, run: &Path, look_max: Duration) -> Result<ExitRecord, JailError> {
    let mut pause = Duration::from_millis(2);
    loop {
        match executor.observe(run, FENCE)? {
            Observed::Exited(record) if record.outcome == Outcome::Succeeded => return Ok(*record),
            Observed::Exited(record) => {
                return Err(JailError::Ended { outcome: Box::new(record.outcome), log: tail(run) });
            }
            Observed::Lost | Observed::Absent => return Err(JailError::Lost),
            Observed::Running | Observed::Unseen => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(look_max);
    }
}

/// Ends and removes what a daemon that was killed left in the directory of jails.
pub(crate) async fn clear(executor: &dyn Executor, directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        end(executor, &run_directory(&entry.path())).await;
        if let Err(error) = orch_sandbox::remove_tree(&entry.path()) {
            tracing::warn!(error = chain(&error), "failed to remove what an earlier daemon left");
        }
    }
}

/// Ends jailed work that may be under way, and waits for its end.
pub(crate) async fn end(executor: &dyn Executor, run: &Path) {
    let since = Instant::now();
    if let Err(error) = executor.cancel(run) {
        tracing::warn!(error = chain(&error), "failed to end work in a jail");
    }
    while matches!(executor.observe(run, FENCE), Ok(Observed::Running)) && since.elapsed() < END_MAX {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The directory of the run of a jail.
pub(crate) fn run_directory(jail: &Path) -> PathBuf {
    jail.join("run")
}

/// Makes the directories; gives that of the jail, and what is to be done.
pub(crate) fn spec(jail: Jail<'_>) -> Result<(PathBuf, RunSpec), JailError> {
    let (workspace, out) = (jail.directory.join("work"), jail.directory.join("out"));
    for directory in [&workspace, &out] {
        std::fs::create_dir_all(directory).map_err(JailError::Directories)?;
    }
    let canonical = |path: &Path| path.canonicalize().map_err(JailError::Directories);
    let limits = Limits {
        run_memory_bytes: Some(MEMORY_BYTES),
        run_cpu_millis: Some(CPU_MILLIS),
        processes: 256,
        open_files: 4_096,
        file_size_bytes: 64 << 30,
        log_bytes_max: 4 << 20,
        tmp_bytes: 1 << 30,
        ..Limits::small(TIMEOUT_MS)
    };
    let steps = vec![StepSpec::main(jail.name, jail.argv, TIMEOUT_MS)];
    let spec = RunSpec {
        fence: FENCE,
        mounts: jail.mounts,
        out: if jail.with_out { Some(canonical(&out)?) } else { None },
        env: BTreeMap::from([
            ("PATH".to_owned(), orch_adapters::host_tools::SYSTEM_PATH.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]),
        required_level: jail.required_level,
        ..RunSpec::narrow(jail.name, canonical(&workspace)?, steps, limits)
    };
    Ok((jail.directory, spec))
}

/// The end of what the jail printed, made harmless.
fn tail(run: &Path) -> String {
    let log = orch_adapters::executor::log_path(run);
    let Ok(piece) = run_log::chunks(&log, orch_adapters::executor::LOG_START, 64 << 10) else { return String::new() };
    let lines = piece.items.iter().filter(|chunk| chunk.stream != orch_proto::view::LogStream::Control);
    let lines: Vec<String> = lines.map(|chunk| orch_adapters::git::escape(&chunk.bytes.0)).collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
