//! Secrets on their last way: from the shim into files that only the run can read, and into the environment of steps.
//!
//! They come over the channel when the view stands and the memory of init is sealed, before the sandbox is closed.
//! **Invariant:** a file is on a file system of the run alone, which is read-only before the first step.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::prctl;
use nix::sys::stat::Mode;

use super::{MESSAGE_BYTES_MAX, Request, SetupFailure};
use crate::secrets::{SealedSecrets, Secrets};
use crate::spec::{CheckedSpec, SECRETS_INSIDE, SecretDelivery};
use crate::sys::{channel, mounts};

/// Takes the secrets of `spec` from `channel`, writes those that are files, and returns all of them.
pub(super) fn deliver(spec: &CheckedSpec, channel: BorrowedFd<'_>) -> Result<Secrets, SetupFailure> {
    let call = |what: &'static str| move |errno| SetupFailure::call("secrets", what, errno);
    if spec.secrets.is_empty() {
        return Ok(Secrets::new());
    }
    prctl::set_dumpable(false).map_err(call("failed to seal the memory of init"))?;
    let sealed = SealedSecrets::from(receive(channel).map_err(call("failed to receive the secrets"))?);
    let failed = |error: &dyn std::error::Error| SetupFailure {
        step: "secrets".to_owned(),
        message: crate::chain(error),
        hint: String::new(),
    };
    let secrets = sealed.open().map_err(|error| failed(&error))?;
    secrets.check(spec).map_err(|error| failed(&error))?;
    write_files(spec, &secrets).map_err(call("failed to write the secrets"))?;
    Ok(secrets)
}

fn receive(channel: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let (len, descriptors) = channel::receive(channel, &mut buffer)?;
    match serde_json::from_slice(&buffer[..len]) {
        Ok(Request::Secrets) => {}
        Ok(_) | Err(_) => return Err(Errno::EPROTO),
    }
    <[OwnedFd; 1]>::try_from(descriptors).map(|[sealed]| sealed).map_err(|_| Errno::EPROTO)
}

fn write_files(spec: &CheckedSpec, secrets: &Secrets) -> Result<(), Errno> {
    let mut files = spec.secrets.iter().filter(|secret| secret.delivery == SecretDelivery::File).peekable();
    if files.peek().is_none() {
        return Ok(());
    }
    let dir = open(SECRETS_INSIDE, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for secret in files {
        let value = secrets.get(&secret.name).ok_or(Errno::EPROTO)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&dir, secret.name.as_str(), flags, Mode::S_IRUSR)?;
        File::from(file).write_all(value).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    }
    mounts::set_attributes(std::os::fd::AsFd::as_fd(&dir), mounts::RDONLY | mounts::NOEXEC)
}
