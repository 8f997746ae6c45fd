//! Diagnostics: text on standard error, JSON in files that rotate daily. SIGHUP reopens the files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use orch_proto::{ErrorCode, RpcError};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::config::Config;
use crate::state_dir::{self, StateDir};

/// Days of log files that are kept.
const FILES_KEPT: usize = 14;
/// Lines that wait to be written to the files. More are dropped. The room for them is taken at once.
const LINES_MAX: usize = 8_192;

/// Keeps the writer of the files alive, and reopens it.
pub(crate) struct Logging {
    file: ReopeningFile,
    _writer: WorkerGuard,
}

/// A rolling file that can be opened anew, for when somebody moved it away.
#[derive(Clone)]
struct ReopeningFile {
    directory: PathBuf,
    current: Arc<Mutex<RollingFileAppender>>,
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Logging({})", self.file.directory.display())
    }
}

impl Logging {
    /// Opens the log file anew.
    pub(crate) fn reopen(&self) {
        match open(&self.file.directory) {
            Ok(file) => *self.file.current.lock().unwrap_or_else(PoisonError::into_inner) = file,
            Err(error) => tracing::error!(%error, "failed to reopen the log file"),
        }
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter is wrong or the directory cannot be written.
pub(crate) fn start(config: &Config) -> Result<Logging, RpcError> {
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|error| {
        RpcError::new(ErrorCode::Config, format!("log filter `{}`: {error}", config.log_filter))
            .hint("use off, error, warn, info, debug, trace, or a tracing filter such as `orchd=debug,info`")
    })?;
    let state = StateDir::create(&config.state_dir)
        .map_err(|error| state_dir::unusable("state directory", &config.state_dir, &error))?;
    let directory = state.logs();
    let opened = open(&directory).map_err(|error| {
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
        let kind = cause.map_or(io::ErrorKind::Other, io::Error::kind);
        state_dir::unusable("log directory", &directory, &io::Error::new(kind, error))
    })?;
    let file = ReopeningFile { directory, current: Arc::new(Mutex::new(opened)) };
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).finish(file.clone());
    let to_file = fmt::layer().json().with_writer(writer).with_filter(EnvFilter::new("info"));
    let to_stderr = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false).with_filter(filter);
    tracing_subscriber::registry()
        .with(to_file)
        .with(to_stderr)
        .try_init()
        .map_err(|error| RpcError::new(ErrorCode::Internal, format!("logging is set up already: {error}")))?;
    Ok(Logging { file, _writer: guard })
}

fn open(directory: &Path) -> Result<RollingFileAppender, tracing_appender::rolling::InitError> {
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("orchd")
        .filename_suffix("jsonl")
        .max_log_files(FILES_KEPT)
        .build(directory)
}

impl Write for ReopeningFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
