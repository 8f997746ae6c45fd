//! Bundles: the only form in which objects of others reach a repository of the daemon.
//!
//! A bundle's header is read here, within bounds, and its pack goes straight to `git index-pack`: no transport, no
//! refspec and no configuration takes part. **Invariant:** objects stay in a folder of their own until all of them
//! have passed git's checks (`--strict`: well formed, nothing missing) and the caller's; only then they are moved.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;

use super::bare::{BareRepo, sync};
use super::call::CallError;
use super::name::{CommitId, ObjectFormat};
use super::path::escape;

/// Longest line of a bundle's header, in bytes.
const LINE_BYTES_MAX: u64 = 8 << 10;

/// Old faults in history that harm nobody: refusing them would refuse well-known projects.
pub(super) const FORGIVEN: [&str; 10] = [
    "zeroPaddedFilemode",
    "badDate",
    "badDateOverflow",
    "badTimezone",
    "badEmail",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "zeroPaddedDate",
];

/// Bounds of what is taken in.
#[derive(Debug, Clone, Copy)]
pub struct IngestLimits {
    /// Largest bundle, in bytes.
    pub bundle_bytes_max: u64,
    /// Most objects in it.
    pub objects_max: u32,
    /// Most bytes of all its objects unpacked; `None` does not count them.
    pub unpacked_bytes_max: Option<u64>,
    /// Most refs in it.
    pub refs_max: usize,
    /// Longest time for the checks.
    pub time_max: Duration,
}

impl IngestLimits {
    /// Bounds for the result of a run.
    pub const RUN: Self = Self {
        bundle_bytes_max: 512 << 20,
        objects_max: 500_000,
        unpacked_bytes_max: Some(4 << 30),
        refs_max: 1,
        time_max: Duration::from_secs(120),
    };
    /// Bounds for the import of a repository.
    pub const IMPORT: Self = Self {
        bundle_bytes_max: 8 << 30,
        objects_max: 20_000_000,
        unpacked_bytes_max: None,
        refs_max: 20_000,
        time_max: Duration::from_secs(1800),
    };
}

/// Why a bundle was not taken in. The repository is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The file cannot be opened or read.
    #[error("failed to read the bundle")]
    Read(#[source] io::Error),
    /// It is a link, a folder, a pipe or a device.
    #[error("bundle is not a regular file")]
    NotAFile,
    /// It does not start like a bundle, or uses what is not supported.
    #[error("bundle is malformed: {0}")]
    Malformed(&'static str),
    /// It is over a bound.
    #[error("bundle is over the limit of {max} {what}: {found}")]
    TooLarge { what: &'static str, found: u64, max: u64 },
    /// It builds on commits that are not those expected.
    #[error("bundle builds on `{0}`, which is not expected")]
    Prerequisite(CommitId),
    /// Its objects do not pass git's checks; the text is git's, escaped.
    #[error("bundle holds objects that are refused: {0}")]
    Objects(String),
    /// A git command failed for another reason.
    #[error("failed to take the bundle in")]
    Git(#[source] CallError),
    /// A file operation in the repository failed.
    #[error("failed to store the bundle's objects")]
    Store(#[source] io::Error),
}

/// How strict the checks of objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// New objects, made by a current git.
    Everything,
    /// History of others: [`FORGIVEN`] faults pass.
    History,
}

/// A bundle whose header has been read; the file stands at the start of its pack.
#[derive(Debug)]
pub(super) struct Bundle {
    file: File,
    /// Hash function of its ids.
    pub(super) format: ObjectFormat,
    /// Commits that it builds on.
    pub(super) prerequisites: Vec<CommitId>,
    /// Names, raw, with the id of the commit or tag that each stands for.
    pub(super) refs: Vec<(Vec<u8>, CommitId)>,
    /// Bytes of the file.
    pub(super) size: u64,
}

impl Bundle {
    /// Opens a bundle, never through a link, and reads its header.
    pub(super) fn open(path: &Path, limits: &IngestLimits) -> Result<Self, IngestError> {
        let file = open_regular(path)?;
        let size = file.metadata().map_err(IngestError::Read)?.len();
        bound("bytes", size, limits.bundle_bytes_max)?;
        let mut reader = BufReader::new(file);
        let mut bundle_format = ObjectFormat::Sha1;
        let version_3 = match read_line(&mut reader)?.as_slice() {
            b"# v2 git bundle" => false,
            b"# v3 git bundle" => true,
            _ => return Err(IngestError::Malformed("no signature of a git bundle")),
        };
        let (mut prerequisites, mut refs) = (Vec::new(), Vec::new());
        loop {
            let line = read_line(&mut reader)?;
            match line.split_first() {
                None => break,
                Some((b'@', rest)) if version_3 && refs.is_empty() && prerequisites.is_empty() => {
                    let name = rest.strip_prefix(b"object-format=").and_then(|name| std::str::from_utf8(name).ok());
                    bundle_format = name
                        .and_then(ObjectFormat::from_name)
                        .ok_or(IngestError::Malformed("an unknown capability, as of a partial clone"))?;
                }
                Some((b'-', rest)) => prerequisites.push(split_id(rest, bundle_format)?.0),
                Some(_) => {
                    let (id, name) = split_id(&line, bundle_format)?;
                    refs.push((name.to_vec(), id));
                }
            }
            bound("refs", refs.len() as u64, limits.refs_max as u64)?;
            bound("prerequisites", prerequisites.len() as u64, limits.refs_max as u64)?;
        }
        let pack_at = reader.stream_position().map_err(IngestError::Read)?;
        let mut head = [0; 12];
        reader.read_exact(&mut head).map_err(|_| IngestError::Malformed("no pack"))?;
        let (signature, count) = head.split_at(8);
        if !signature.starts_with(b"PACK") {
            return Err(IngestError::Malformed("no pack"));
        }
        let count = count.try_into().map(u32::from_be_bytes).map_err(|_| IngestError::Malformed("no pack"))?;
        bound("objects", count.into(), limits.objects_max.into())?;
        let mut file = reader.into_inner();
        file.seek(SeekFrom::Start(pack_at)).map_err(IngestError::Read)?;
        Ok(Self { file, format: bundle_format, prerequisites, refs, size })
    }

    /// Checks the pack and unpacks it beside the repository's own objects.
    pub(super) fn unpack(
        self,
        repo: &BareRepo,
        limits: &IngestLimits,
        strictness: Strictness,
    ) -> Result<Quarantine, IngestError> {
        let quarantine = Quarantine::create(repo).map_err(IngestError::Store)?;
        let strict = match strictness {
            Strictness::Everything => "--strict".to_owned(),
            Strictness::History => format!("--strict={}", FORGIVEN.map(|fault| format!("{fault}=ignore")).join(",")),
        };
        let call = quarantine.repo.call("index-pack").args(["--stdin", "--fix-thin", "--threads=2"]);
        let call = call.arg(strict).arg(format!("--max-input-size={}", limits.bundle_bytes_max));
        let finished = call.time_max(limits.time_max).input_file(self.file).run().map_err(IngestError::Git)?;
        if finished.code != Some(0) {
            return Err(match finished.failure("git index-pack".to_owned()) {
                CallError::Failed { code: Some(_), stderr, .. } => IngestError::Objects(stderr),
                other => IngestError::Git(other),
            });
        }
        if let Some(max) = limits.unpacked_bytes_max {
            bound("unpacked bytes", quarantine.unpacked_bytes()?, max)?;
        }
        Ok(quarantine)
    }
}

/// A folder of objects that are not yet part of the repository; removed with all of them unless they are admitted.
#[derive(Debug)]
pub(super) struct Quarantine {
    /// The repository, seen together with these objects. For reading.
    pub(super) repo: BareRepo,
    dir: PathBuf,
}

impl Quarantine {
    fn create(repo: &BareRepo) -> io::Result<Self> {
        let dir = repo.incoming_dir()?;
        let quarantine = Self { repo: repo.through(dir.clone()), dir };
        fs::create_dir(quarantine.dir.join("pack"))?;
        fs::create_dir(quarantine.dir.join("info"))?;
        let mut alternates = repo.objects_dir().into_os_string();
        alternates.push("\n");
        fs::write(quarantine.dir.join("info/alternates"), alternates.as_encoded_bytes())?;
        Ok(quarantine)
    }

    /// Moves the objects into the repository. Nothing refers to them until a ref is set.
    pub(super) fn admit(self) -> io::Result<()> {
        let dest = self.repo.objects_dir().join("pack");
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(self.dir.join("pack"))? {
            files.push(entry?.path());
        }
        // A pack counts from the moment that its index is there, so the index goes last.
        files.sort_by_key(|path| path.extension().is_some_and(|extension| extension == "idx"));
        for path in &files {
            if let Some(name) = path.file_name() {
                fs::rename(path, dest.join(name))?;
            }
        }
        sync(&dest)
    }

    /// Bytes of all objects here, unpacked.
    fn unpacked_bytes(&self) -> Result<u64, IngestError> {
        let mut total = 0_u64;
        for entry in fs::read_dir(self.dir.join("pack")).map_err(IngestError::Store)? {
            let path = entry.map_err(IngestError::Store)?.path();
            if path.extension().is_none_or(|extension| extension != "idx") {
                continue;
            }
            let index = File::open(&path).map_err(IngestError::Store)?;
            let listing = self.repo.call("show-index").arg(format!("--object-format={}", self.repo.format.as_str()));
            let listing = listing.input_file(index).output().map_err(IngestError::Git)?;
            let ids = listing.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(1));
            let ids = ids.flat_map(|id| [id, b"\n"]).flatten().copied().collect();
            let sizes = self.repo.call("cat-file").args(["--batch-check=%(objectsize)", "--buffer"]).input(ids);
            let sizes = sizes.output().map_err(IngestError::Git)?;
            let sizes = String::from_utf8_lossy(&sizes);
            total = sizes.lines().filter_map(|line| line.parse::<u64>().ok()).fold(total, u64::saturating_add);
        }
        Ok(total)
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        // What cannot be removed now is removed by `BareRepo::recover`; it is in nobody's way.
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Opens a regular file without following a link in its last part and without waiting for a pipe's other end.
pub(super) fn open_regular(path: &Path) -> Result<File, IngestError> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(IngestError::NotAFile);
        }
        Err(error) => return Err(IngestError::Read(error)),
    };
    let regular = file.metadata().map_err(IngestError::Read)?.is_file();
    if regular { Ok(file) } else { Err(IngestError::NotAFile) }
}

/// Reads a small text file that somebody else wrote.
pub(super) fn read_small(path: &Path, max: u64) -> Result<String, IngestError> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(max).read_to_end(&mut bytes).map_err(IngestError::Read)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn bound(what: &'static str, found: u64, max: u64) -> Result<(), IngestError> {
    if found > max { Err(IngestError::TooLarge { what, found, max }) } else { Ok(()) }
}

/// One line of the header, without its end.
fn read_line(reader: &mut BufReader<File>) -> Result<Vec<u8>, IngestError> {
    let mut line = Vec::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(IngestError::Read)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(IngestError::Malformed("a header line without end")),
    }
}

/// An id and what follows it after one space.
fn split_id(line: &[u8], format: ObjectFormat) -> Result<(CommitId, &[u8]), IngestError> {
    const ERROR: IngestError = IngestError::Malformed("a line without an object id");
    let (id, rest) = line.split_at_checked(format.digits()).ok_or(ERROR)?;
    let id = std::str::from_utf8(id).ok().and_then(|id| CommitId::parse(id).ok()).ok_or(ERROR)?;
    Ok((id, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// A ref name of a bundle, for a message.
pub(super) fn shown(name: &[u8]) -> String {
    escape(name.get(..120).unwrap_or(name))
}
