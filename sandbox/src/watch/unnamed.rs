//! Files that have no name and live only as long as a process has them open: memory files, and deleted ones.
//!
//! A process can hide its descriptors by making itself undumpable; then they are not seen.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use nix::unistd::Pid;

/// Most descriptors that one look goes through, of all processes together.
const DESCRIPTORS_MAX: usize = 16 << 10;
/// Unit of `st_blocks`, in bytes, whatever the file system.
const BLOCK_BYTES: u64 = 512;

/// What files without a name occupy, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unnamed {
    /// In memory, outside of the temporary file systems of the run.
    pub(super) memory: u64,
    /// On a disk.
    pub(super) disk: u64,
}

/// Adds up what `family` has open, each file once. `tmpfs` are the devices of file systems that are counted elsewhere.
pub(super) fn unnamed(family: &[Pid], tmpfs: &[u64]) -> Unnamed {
    let mut seen = BTreeMap::new();
    let descriptors = family
        .iter()
        .filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flat_map(|listing| listing.flatten())
        .take(DESCRIPTORS_MAX);
    for descriptor in descriptors {
        let Ok(file) = std::fs::metadata(descriptor.path()) else { continue };
        if file.is_file() && file.nlink() == 0 && !tmpfs.contains(&file.dev()) {
            let is_memory = std::fs::read_link(descriptor.path()).is_ok_and(|target| {
                let name = target.as_os_str().as_encoded_bytes();
                name.starts_with(b"/memfd:") || name.starts_with(b"/dev/zero (deleted)")
            });
            seen.insert((file.dev(), file.ino()), (is_memory, file.blocks().saturating_mul(BLOCK_BYTES)));
        }
    }
    seen.into_values().fold(Unnamed::default(), |sum, (is_memory, bytes)| match is_memory {
        true => Unnamed { memory: sum.memory.saturating_add(bytes), ..sum },
        false => Unnamed { disk: sum.disk.saturating_add(bytes), ..sum },
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_deleted_file_counts_as_long_as_it_is_open() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&[1; 1 << 20]).unwrap();
        let again = file.try_clone().unwrap();
        let own = [nix::unistd::getpid()];
        let device = file.metadata().unwrap().dev();
        let before = unnamed(&own, &[]);
        std::fs::remove_file(&path).unwrap();
        let after = unnamed(&own, &[]);
        // Other tests of this process may have some, too.
        assert!(after.disk >= before.disk + (1 << 20), "{before:?} {after:?}");
        assert!(after.disk < before.disk + (2 << 20), "{before:?} {after:?}");
        assert!(unnamed(&own, &[device]).disk < after.disk);
        drop((file, again));
    }
}
