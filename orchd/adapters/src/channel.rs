//! What a run finds of its channel: a listener on its loopback, and the program that speaks to it.

use std::path::{Path, PathBuf};

use orch_proto::channel::VARIABLE;
use orch_sandbox::spec::{ListenerSpec, ReadOnlyMount};

/// Name of the listener.
pub const LISTENER: &str = "channel";
/// Where it is, on the loopback of the run.
pub const PORT: u16 = 4142;
/// Where a run finds the program.
pub const PROGRAM_INSIDE: &str = "/orch/bin/orchctl";
/// The directory that it is in, which is in `PATH`.
pub const DIRECTORY_INSIDE: &str = "/orch/bin";

/// The listener of a run.
#[must_use]
pub fn listener() -> ListenerSpec {
    ListenerSpec { name: LISTENER.into(), port: PORT, variable: VARIABLE.into() }
}

/// Where it is, as the run finds it in its variable.
#[must_use]
pub fn address() -> String {
    format!("127.0.0.1:{PORT}")
}

/// How the program at this place on the host is visible.
#[must_use]
pub fn mount(program: &Path) -> ReadOnlyMount {
    ReadOnlyMount { source: program.to_owned(), target: PathBuf::from(PROGRAM_INSIDE) }
}
