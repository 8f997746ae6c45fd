//! What the steps of a run execute, as bytes in a file that shim, init and the first process share.
//!
//! The file exists before the run is known and is filled when it is, so nothing but one word has to travel between the
//! claim of a sandbox and the execution of a program. It is written once, by the shim, and trusted: no process of the run
//! can reach it. Layout, all numbers little-endian: count of steps (u32), offset of each step and of the end (u32 each),
//! the steps. A step is a row of lists of byte strings: programs, arguments, environment, working directory, bounds.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::Resource;

use crate::egress::{Egress, proxy_environment};
use crate::listeners;
use crate::secrets::Secrets;
use crate::spec::{CheckedSpec, HOME_INSIDE, Isolation, Limits, SecretDelivery, StepSpec};
use crate::sys::execute::Image;

/// Environment of a step where the spec names none.
const DEFAULT_ENV: [(&str, &str); 4] = [
    ("HOME", HOME_INSIDE),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("TMPDIR", "/tmp"),
];

/// The bounds of a step, in the order in which their values are written; `u64::MAX` leaves one as it is.
const BOUNDED: [Resource; 6] = [
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_MEMLOCK,
];
/// Memory that a step may lock, in bytes.
const LOCKED_BYTES_MAX: u64 = 8 << 20;

/// A step ready to be executed. Its environment can hold secrets, so this has no `Debug` that shows it.
#[derive(PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Where the program may be, in the order of `PATH`.
    pub(crate) programs: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(super) cwd: CString,
    pub(super) bounds: Vec<(Resource, u64)>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Prepared").field("argv", &self.argv).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Arguments and environment as the kernel takes them.
    pub(crate) fn image(&self) -> Image<'_> {
        Image::of(&self.argv, &self.env)
    }
}

/// The step with this index of a run whose steps whoever has its spec starts itself. None when there is no such step.
pub(crate) fn prepare(spec: &CheckedSpec, index: u16) -> Option<Prepared> {
    decode(&encode(spec, spec.steps.get(usize::from(index))?, &Secrets::new()))
}

/// Makes the empty file.
pub(crate) fn create() -> Result<OwnedFd, Errno> {
    memfd_create(c"script", MFdFlags::MFD_CLOEXEC)
}

/// Writes the steps of `spec`, with the values of those secrets that are in their environment.
pub(crate) fn write(script: impl AsFd, spec: &CheckedSpec, secrets: &Secrets) -> Result<(), std::io::Error> {
    let steps: Vec<Vec<u8>> = spec.steps.iter().map(|step| encode(spec, step, secrets)).collect();
    let header_len = 4 * (steps.len() + 2);
    let mut bytes = Vec::with_capacity(header_len + steps.iter().map(Vec::len).sum::<usize>());
    put(&mut bytes, steps.len());
    let mut offset = header_len;
    for step in &steps {
        put(&mut bytes, offset);
        offset += step.len();
    }
    put(&mut bytes, offset);
    steps.iter().for_each(|step| bytes.extend_from_slice(step));
    File::from(script.as_fd().try_clone_to_owned()?).write_all_at(&bytes, 0)
}

/// Reads the step with this index.
pub(super) fn read(script: impl AsFd, index: u16) -> Result<Prepared, std::io::Error> {
    let file = File::from(script.as_fd().try_clone_to_owned()?);
    let wrong = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let number = |place: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 4 * place).map(|()| u32::from_le_bytes(bytes))
    };
    if u32::from(index) >= number(0)? {
        return Err(wrong());
    }
    let (start, end) = (number(u64::from(index) + 1)?, number(u64::from(index) + 2)?);
    let len = end.checked_sub(start).ok_or_else(wrong)?;
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| wrong())?];
    file.read_exact_at(&mut bytes, u64::from(start))?;
    decode(&bytes).ok_or_else(wrong)
}

fn encode(spec: &CheckedSpec, step: &StepSpec, secrets: &Secrets) -> Vec<u8> {
    let mut env: BTreeMap<&str, &str> = DEFAULT_ENV.into();
    let workspace = spec.workspace.to_string_lossy();
    if spec.isolation == Isolation::None {
        // The home inside does not exist on the host, and the user's own is none of the run's business.
        env.insert("HOME", &workspace);
    }
    let proxy = match &spec.egress {
        Egress::Allow(_) => proxy_environment(),
        Egress::None => Vec::new(),
    };
    env.extend(proxy.iter().map(|(name, value)| (*name, value.as_str())));
    let places: Vec<String> = spec.listeners.iter().map(|one| listeners::address(one).to_string()).collect();
    env.extend(spec.listeners.iter().zip(&places).map(|(one, place)| (one.variable.as_str(), place.as_str())));
    env.extend(spec.env.iter().chain(&step.env).map(|(name, value)| (name.as_str(), value.as_str())));
    let path = env.get("PATH").copied().unwrap_or_default();
    let program = step.argv.first().map_or("", String::as_str);
    let programs: Vec<String> = if program.contains('/') {
        vec![program.to_owned()]
    } else {
        let directories = path.split(':').filter(|directory| directory.starts_with('/'));
        directories.map(|directory| format!("{directory}/{program}")).collect()
    };
    let secret = spec.secrets.iter().filter_map(|secret| match &secret.delivery {
        SecretDelivery::Env(name) => Some((name.as_str(), secrets.get(&secret.name)?)),
        SecretDelivery::File => None,
    });
    let plain = env.iter().map(|(name, value)| (*name, value.as_bytes()));
    let env: Vec<Vec<u8>> = plain.chain(secret).map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
    let cwd = spec.workspace_at.join(&step.cwd);
    let mut bytes = Vec::new();
    put_list(&mut bytes, programs.iter().map(String::as_bytes));
    put_list(&mut bytes, step.argv.iter().map(String::as_bytes));
    put_list(&mut bytes, env.iter().map(Vec::as_slice));
    put_list(&mut bytes, [path_bytes(&cwd)].into_iter());
    let bounds = bounds(&spec.limits, spec.isolation).map(u64::to_le_bytes);
    put_list(&mut bytes, bounds.iter().map(<[u8; 8]>::as_slice));
    bytes
}

/// The values of [`BOUNDED`].
fn bounds(limits: &Limits, isolation: Isolation) -> [u64; BOUNDED.len()] {
    let processes = match isolation {
        // Counted in the run's own user namespace.
        Isolation::Sandboxed => limits.processes,
        // Would count whatever else the user runs on the host.
        Isolation::None => u64::MAX,
    };
    let memory = limits.memory_bytes.unwrap_or(u64::MAX);
    [limits.cpu_seconds, limits.open_files, limits.file_size_bytes, memory, processes, LOCKED_BYTES_MAX]
}

fn decode(bytes: &[u8]) -> Option<Prepared> {
    let mut rest = bytes;
    let (programs, argv, env) = (take_list(&mut rest)?, take_list(&mut rest)?, take_list(&mut rest)?);
    let cwd = take_list(&mut rest)?;
    let values = take_list(&mut rest)?;
    let bounds = BOUNDED.into_iter().zip(&values).map(|(resource, value)| Some((resource, number(value)?)));
    let bounds: Vec<_> = bounds.collect::<Option<_>>()?;
    let strings = |list: Vec<&[u8]>| list.into_iter().map(|word| CString::new(word).ok()).collect::<Option<Vec<_>>>();
    Some(Prepared {
        programs: strings(programs)?,
        argv: strings(argv)?,
        env: strings(env)?,
        cwd: CString::new(*cwd.first()?).ok()?,
        bounds: bounds.into_iter().filter(|(_, value)| *value != u64::MAX).collect(),
    })
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("a spec has at most a few MiB");
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_list<'a>(bytes: &mut Vec<u8>, list: impl ExactSizeIterator<Item = &'a [u8]>) {
    put(bytes, list.len());
    for word in list {
        put(bytes, word.len());
        bytes.extend_from_slice(word);
    }
}

fn take_list<'a>(rest: &mut &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let count = take_number(rest)?;
    (0..count)
        .map(|_| {
            let len = usize::try_from(take_number(rest)?).ok()?;
            let (word, tail) = rest.split_at_checked(len)?;
            *rest = tail;
            Some(word)
        })
        .collect()
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*number))
}

fn number(word: &[u8]) -> Option<u64> {
    word.try_into().ok().map(u64::from_le_bytes)
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Phase, tests::spec};

    #[test]
    fn what_is_written_is_read() {
        let mut plain = spec();
        plain.env.insert("A".into(), "x=y".into());
        plain.steps.push(StepSpec {
            name: "b".into(),
            argv: vec!["/bin/b".into(), String::new()],
            ..plain.steps[0].clone()
        });
        plain.steps[1].phase = Phase::Always;
        plain.steps[1].cwd = "sub".into();
        let spec = plain.check().unwrap();
        let script = create().unwrap();
        write(&script, &spec, &Secrets::new()).unwrap();
        let first = read(&script, 0).unwrap();
        assert_eq!(first.programs.len(), 6, "{:?}", first.programs);
        assert!(first.env.contains(&c"A=x=y".to_owned()), "{:?}", first.env);
        assert!(first.bounds.contains(&(Resource::RLIMIT_NOFILE, 64)), "{:?}", first.bounds);
        assert!(!first.bounds.iter().any(|(resource, _)| *resource == Resource::RLIMIT_AS), "{:?}", first.bounds);
        let second = read(&script, 1).unwrap();
        assert_eq!((second.argv, second.cwd), (vec![c"/bin/b".to_owned(), c"".to_owned()], c"/work/sub".to_owned()));
        assert!(read(&script, 2).is_err());
    }
}
