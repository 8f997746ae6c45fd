//! The port to whatever executes runs, and its local form: shims of the sandbox on this machine.
//!
//! The contract (design.md section 9): submitting is idempotent by run and fence, what is observed comes from the run's
//! directory and not from memory, cancelling is idempotent and over when the record says so, the exit record is the
//! truth. An engine never retries by itself.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use orch_sandbox::Secrets;
use orch_sandbox::exit_record::ExitRecord;
use orch_sandbox::run_dir::{self, EndShimError, ForestallError, InspectError, Liveness, PrepareError};
use orch_sandbox::spawner::{SpawnError, Spawner, SpawnerOptions};
use orch_sandbox::spec::RunSpec;
use orch_sandbox::{control, log};

/// What has become of a run, as its directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Nothing was ever started.
    Absent,
    Running,
    Exited(Box<ExitRecord>),
    /// It was started and is gone without a record. Nothing of it lives.
    Lost,
    /// Who took it lives, but its directory, or what it holds there, was taken away.
    Unseen,
}

/// Failure to start a run.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Its directory cannot be written.
    #[error("failed to prepare the run's directory")]
    Prepare(#[from] PrepareError),
    /// It may or may not have started: observe it.
    #[error("failed to learn whether the run started")]
    Unknown(#[source] SpawnError),
    /// It does not go on. Observing says whether its attempt was taken.
    #[error("failed to start the run")]
    Rejected(#[source] SpawnError),
    /// Its directory cannot be read.
    #[error("failed to look into the run's directory")]
    Inspect(#[from] InspectError),
}

/// Executes runs. Every method blocks and may be called from any thread.
pub trait Executor: Send + Sync + std::fmt::Debug {
    /// Starts the run in `directory`, with the values of the secrets that the spec names, unless this attempt of it was
    /// started before. Answers what becomes readable when it has ended, if there is such a thing.
    ///
    /// # Errors
    /// After [`SubmitError::Unknown`] the run may be under way.
    fn submit(&self, directory: &Path, spec: &RunSpec, secrets: &Secrets) -> Result<Option<OwnedFd>, SubmitError>;

    /// Looks what has become of an attempt. Of one that is lost it ends what there still is, so that another one can begin.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn observe(&self, directory: &Path, fence: u64) -> Result<Observed, InspectError>;

    /// Makes sure that an attempt which was not seen to start never does. False when it has started all the same.
    ///
    /// # Errors
    /// When the directory cannot be written; it may start then.
    fn forestall(&self, directory: &Path, fence: u64) -> Result<bool, ForestallError>;

    /// Asks the run to end. Harmless when it is over.
    ///
    /// # Errors
    /// When the run lives and cannot be reached.
    fn cancel(&self, directory: &Path) -> Result<(), control::ControlError>;

    /// Has the processes of the run stand still, or go on. Harmless when they do already and when the run is over.
    ///
    /// # Errors
    /// When the run lives and cannot be reached, or does not run a step at the moment.
    fn suspend(&self, directory: &Path, stands_still: bool) -> Result<(), control::ControlError>;

    /// Has these values, too, taken out of the log of the run from when this returns on: before the run is given them. Harmless
    /// when they are already, and when the run is over.
    ///
    /// # Errors
    /// When the run lives and cannot be reached, holds as many as it can, or was started by a version that cannot do this.
    fn conceal(&self, directory: &Path, values: &Secrets) -> Result<(), control::ControlError>;

    /// How long nothing was heard of what the run does, in milliseconds without pauses, as whoever looks after it says. None
    /// when it is over, and from one of a version that does not know.
    ///
    /// # Errors
    /// When the run lives and cannot be reached: whoever looks after it does not answer.
    fn silent_ms(&self, directory: &Path) -> Result<Option<u64>, control::ControlError>;

    /// When whoever looks after a run has last proven that it is the one; only a change says something.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn renewed_at(&self, directory: &Path) -> Result<Option<SystemTime>, InspectError>;

    /// Ends whoever looks after this attempt and has not proven for too long that it is the one: it is stopped, or holds what is
    /// not there any more. Whether there was one; observing says when it is gone. One that needs no proof goes on.
    ///
    /// # Errors
    /// When it cannot be found out who that is, or they cannot be reached.
    fn end_stuck(&self, directory: &Path, fence: u64) -> Result<bool, EndShimError>;

    /// Whether nobody looks after a run any more, as far as can be told without its directory: it is over then, or was never
    /// begun.
    fn is_gone(&self, directory: &Path) -> bool;
}

/// Runs on this machine, each under a shim of its own that survives the daemon.
#[derive(Debug)]
pub struct Local {
    spawner: Spawner,
}

impl Local {
    /// Starts the spawner.
    ///
    /// # Errors
    /// When the program cannot be executed.
    pub fn start(program: &Path, options: SpawnerOptions) -> Result<Self, SpawnError> {
        Ok(Self { spawner: Spawner::start(program, options)? })
    }
}

impl Executor for Local {
    fn submit(&self, directory: &Path, spec: &RunSpec, secrets: &Secrets) -> Result<Option<OwnedFd>, SubmitError> {
        match self.observe(directory, spec.fence)? {
            Observed::Absent => {}
            Observed::Running | Observed::Exited(_) | Observed::Lost | Observed::Unseen => return Ok(None),
        }
        run_dir::prepare(directory, spec)?;
        match self.spawner.spawn_with(directory, secrets) {
            Ok(shim) => Ok(Some(shim.pidfd)),
            // Somebody started this very attempt in between, which is what was wanted.
            Err(SpawnError::Fenced { .. }) => Ok(None),
            Err(error @ (SpawnError::Exchange(_) | SpawnError::Decode(_))) => Err(SubmitError::Unknown(error)),
            Err(error) => Err(SubmitError::Rejected(error)),
        }
    }

    fn observe(&self, directory: &Path, fence: u64) -> Result<Observed, InspectError> {
        if !directory.exists() {
            return Ok(Observed::Absent);
        }
        Ok(match run_dir::inspect(directory, fence)? {
            Liveness::NotStarted => Observed::Absent,
            Liveness::Running { .. } => Observed::Running,
            Liveness::Exited(record) => Observed::Exited(record),
            Liveness::Lost => {
                match run_dir::end_rest(directory) {
                    Ok(0) => {}
                    Ok(count) => {
                        tracing::warn!(directory = %directory.display(), count, "ended what a lost run had left");
                    }
                    // Then what the spawner does about it has to do.
                    Err(error) => tracing::warn!(
                        directory = %directory.display(),
                        error = &error as &dyn std::error::Error,
                        "failed to look for what a lost run has left"
                    ),
                }
                Observed::Lost
            }
            Liveness::Unseen { .. } => Observed::Unseen,
        })
    }

    fn forestall(&self, directory: &Path, fence: u64) -> Result<bool, ForestallError> {
        run_dir::forestall(directory, fence)
    }

    fn cancel(&self, directory: &Path) -> Result<(), control::ControlError> {
        heard(directory, control::cancel(directory))
    }

    fn suspend(&self, directory: &Path, stands_still: bool) -> Result<(), control::ControlError> {
        heard(directory, if stands_still { control::pause(directory) } else { control::resume(directory) })
    }

    fn conceal(&self, directory: &Path, values: &Secrets) -> Result<(), control::ControlError> {
        heard(directory, control::conceal(directory, values))
    }

    fn silent_ms(&self, directory: &Path) -> Result<Option<u64>, control::ControlError> {
        match control::status(directory) {
            Ok(status) => Ok(status.silent_ms),
            Err(control::ControlError::NotRunning { .. }) if !run_dir::is_held(directory).unwrap_or(false) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn renewed_at(&self, directory: &Path) -> Result<Option<SystemTime>, InspectError> {
        run_dir::renewed_at(directory)
    }

    fn end_stuck(&self, directory: &Path, fence: u64) -> Result<bool, EndShimError> {
        match run_dir::lease_of(directory)? {
            Some(_) => run_dir::end_shim(directory, fence),
            // A version that knew no leases has started it.
            None => Ok(false),
        }
    }

    fn is_gone(&self, directory: &Path) -> bool {
        // Who has the lock lives, also when it answers nothing: it has just begun, or as many as it hears speak to it already.
        let is_held = run_dir::is_held(directory).unwrap_or(false);
        !is_held && matches!(control::status(directory), Err(control::ControlError::NotRunning { .. }))
    }
}

/// What came of a request to whoever looks after a run: nobody has to hear it when the run is over. One that has just begun does
/// not listen yet, and one with whom too many speak hears nobody else: these live, and are to be asked again.
fn heard(directory: &Path, answer: Result<(), control::ControlError>) -> Result<(), control::ControlError> {
    match answer {
        Err(control::ControlError::NotRunning { .. }) if !run_dir::is_held(directory).unwrap_or(false) => Ok(()),
        other => other,
    }
}

/// Path of a run's log.
#[must_use]
pub fn log_path(directory: &Path) -> std::path::PathBuf {
    run_dir::log_path(directory)
}

/// Offset of the first record of a log.
pub const LOG_START: u64 = log::LOG_START;

#[cfg(test)]
mod tests {
    use super::*;

    /// Between the lock and the socket of a shim that begins, and when as many speak to one as it hears, there is nobody to connect
    /// to, and somebody lives all the same.
    #[test]
    fn nobody_who_lives_is_taken_for_over_because_it_does_not_listen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let silent = || Err(control::ControlError::NotRunning { dir: path.to_owned() });
        assert!(heard(path, silent()).is_ok(), "nothing was ever there");
        let lock = std::fs::File::create(path.join("lock")).unwrap();
        assert!(run_dir::lock(&lock).unwrap());
        assert!(heard(path, silent()).is_err());
        drop(lock);
        assert!(heard(path, silent()).is_ok(), "it is over");
    }
}
