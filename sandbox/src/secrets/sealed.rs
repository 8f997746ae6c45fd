//! The form in which secrets pass from process to process: a memory file that nobody can change any more.
//!
//! ```text
//! file   = magic "ORSBSEC1" | record*                           all numbers little-endian
//! record = name length: u16 | value length: u32 | name | value
//! ```

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{NAME_BYTES_MAX, Secrets, SecretsError, VALUES_BYTES_MAX, Value};
use crate::spec::SECRETS_MAX;

/// From `linux/memfd.h`.
const MFD_NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(8);
const MAGIC: &[u8; 8] = b"ORSBSEC1";
const RECORD_HEAD: usize = 6;
/// Most bytes of a file that this wrote.
const FILE_BYTES_MAX: usize = MAGIC.len() + SECRETS_MAX * (RECORD_HEAD + NAME_BYTES_MAX) + VALUES_BYTES_MAX;

/// Failure to hand secrets over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The memory file cannot be made.
    #[error("failed to make a memory file: {}", .0.desc())]
    Create(Errno),
    /// The memory file cannot be written.
    #[error("failed to write a memory file")]
    Write(#[source] std::io::Error),
    /// The memory file cannot be read.
    #[error("failed to read a memory file")]
    Read(#[source] std::io::Error),
    /// The descriptor is not what [`Secrets::seal`] makes.
    #[error("the descriptor for secrets is no sealed memory file with secrets")]
    Format,
    /// What it holds cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

/// Secrets in a memory file. Its content goes with the last descriptor.
#[derive(Debug)]
pub struct SealedSecrets(OwnedFd);

impl AsFd for SealedSecrets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for SealedSecrets {
    /// Takes a descriptor that was passed, which is checked when it is opened.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// What keeps a memory file as it is.
fn seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

impl Secrets {
    /// Writes these secrets into a memory file that cannot be changed.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn seal(&self) -> Result<SealedSecrets, TransferError> {
        let mut file = File::from(memory_file().map_err(TransferError::Create)?);
        file.write_all(&encode(self).0).map_err(TransferError::Write)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals())).map_err(TransferError::Create)?;
        Ok(SealedSecrets(file.into()))
    }
}

impl SealedSecrets {
    /// Reads the secrets. The descriptor stays as it was, so that every process that has it can.
    pub(crate) fn open(&self) -> Result<Secrets, TransferError> {
        let found = fcntl(&self.0, FcntlArg::F_GET_SEALS).map_err(|_| TransferError::Format)?;
        if !SealFlag::from_bits_truncate(found).contains(seals()) {
            return Err(TransferError::Format);
        }
        let file = File::from(self.0.try_clone().map_err(TransferError::Read)?);
        let len = file.metadata().map_err(TransferError::Read)?.len();
        let len = usize::try_from(len).ok().filter(|len| *len <= FILE_BYTES_MAX).ok_or(TransferError::Format)?;
        let mut bytes = Value(vec![0; len]);
        file.read_exact_at(&mut bytes.0, 0).map_err(TransferError::Read)?;
        decode(&bytes.0)
    }
}

/// An empty memory file that can be sealed and, where the kernel knows that (6.3), never executed; some hosts demand it.
fn memory_file() -> Result<OwnedFd, Errno> {
    let plain = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    match memfd_create(c"secrets", plain | MFD_NOEXEC_SEAL) {
        Err(Errno::EINVAL) => memfd_create(c"secrets", plain),
        made => made,
    }
}

fn encode(secrets: &Secrets) -> Value {
    // Of the final size at once: what a vector outgrows is not overwritten.
    let mut bytes = Value(Vec::with_capacity(FILE_BYTES_MAX));
    bytes.0.extend_from_slice(MAGIC);
    for (name, value) in secrets.iter() {
        let name_len = u16::try_from(name.len()).expect("names are bounded by a constant");
        let value_len = u32::try_from(value.len()).expect("values are bounded by a constant");
        bytes.0.extend_from_slice(&name_len.to_le_bytes());
        bytes.0.extend_from_slice(&value_len.to_le_bytes());
        bytes.0.extend_from_slice(name.as_bytes());
        bytes.0.extend_from_slice(value);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<Secrets, TransferError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(TransferError::Format)?;
    let mut secrets = Secrets::new();
    while !rest.is_empty() {
        let name_len: [u8; 2] = take(&mut rest, 2)?.try_into().map_err(|_| TransferError::Format)?;
        let value_len: [u8; 4] = take(&mut rest, 4)?.try_into().map_err(|_| TransferError::Format)?;
        let name = take(&mut rest, usize::from(u16::from_le_bytes(name_len)))?;
        let name = std::str::from_utf8(name).map_err(|_| TransferError::Format)?;
        let value_len = usize::try_from(u32::from_le_bytes(value_len)).map_err(|_| TransferError::Format)?;
        let value = take(&mut rest, value_len)?;
        secrets.insert(name, value.to_vec())?;
    }
    Ok(secrets)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], TransferError> {
    rest.split_off(..len).ok_or(TransferError::Format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_found_and_cannot_be_changed() {
        let mut secrets = Secrets::new();
        secrets.insert("a", b"value \0 one".to_vec()).unwrap();
        secrets.insert("b.c-d_E", vec![7; 50_000]).unwrap();
        let sealed = secrets.seal().unwrap();
        for _ in 0..2 {
            assert_eq!(sealed.open().unwrap(), secrets);
        }
        let file = File::from(sealed.0);
        assert!(file.write_all_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
        assert!(Secrets::new().seal().unwrap().open().unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_refused() {
        let refused = |bytes: &[u8]| matches!(decode(bytes), Err(TransferError::Format));
        assert!(refused(b"") && refused(b"ORSBSEC2"));
        let mut secrets = Secrets::new();
        secrets.insert("a", b"value".to_vec()).unwrap();
        let good = encode(&secrets);
        for len in MAGIC.len() + 1..good.0.len() {
            assert!(refused(&good.0[..len]), "{len}");
        }
        let twice = [good.0.as_slice(), &good.0[MAGIC.len()..]].concat();
        assert!(matches!(decode(&twice), Err(TransferError::Secrets(SecretsError::Twice { .. }))));
        let unsealed = SealedSecrets(memfd_create(c"x", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        assert!(matches!(unsealed.open(), Err(TransferError::Format)));
        let file = SealedSecrets(tempfile::tempfile().unwrap().into());
        assert!(matches!(file.open(), Err(TransferError::Format)));
    }
}
