//! Secrets on their last way: from the shim into files that only the run can read.
//!
//! They come with the claim, when the memory of init is sealed and before any process of the run can look. **Invariant:** a
//! file is on a file system of the run alone, which is read-only before the first step.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::SetupFailure;
use crate::secrets::{SealedSecrets, Secrets};
use crate::spec::SECRETS_INSIDE;

/// Takes the secrets, which come first in `descriptors`, and writes those with these `names`.
pub(super) fn write_files(names: &[String], descriptors: &mut Vec<OwnedFd>) -> Result<(), SetupFailure> {
    let call = |errno| SetupFailure::call("secrets", "failed to write the secrets", errno);
    if descriptors.is_empty() {
        return Err(call(Errno::EPROTO));
    }
    let sealed = SealedSecrets::from(descriptors.remove(0));
    let secrets = sealed.open().map_err(|error| SetupFailure {
        step: "secrets".to_owned(),
        message: crate::chain(&error),
        hint: String::new(),
    })?;
    write(names, &secrets).map_err(call)
}

fn write(names: &[String], secrets: &Secrets) -> Result<(), Errno> {
    mkdirat(AT_FDCWD, SECRETS_INSIDE, Mode::S_IRWXU)?;
    let dir = open(SECRETS_INSIDE, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for name in names {
        let value = secrets.get(name).ok_or(Errno::EPROTO)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&dir, name.as_str(), flags, Mode::S_IRUSR)?;
        File::from(file).write_all(value).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    }
    Ok(())
}
