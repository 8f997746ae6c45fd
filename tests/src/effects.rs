//! Which system calls of a process are effects, and what each is called.
//!
//! An effect is what somebody could find after the process is gone: a file that was made, written, synced, renamed or
//! removed, a word to another process, a program that was started. Its name has no number of one run of the story in it,
//! so that the same effect has the same name when the story is told again. Knows nothing of who watches and why.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// Longest path that is read.
const PATH_BYTES_MAX: usize = 4096;

/// A system call as its thread begins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: i64,
    arguments: [u64; 6],
}

impl Call {
    /// That of a thread which stands at its beginning or its end.
    ///
    /// # Errors
    /// When the thread is gone, or nobody has said where its registers are.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn of(thread: Pid) -> nix::Result<Self> {
        let registers = ptrace::getregs(thread)?;
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        Ok(Self { number: registers.orig_rax.cast_signed(), arguments })
    }

    /// The same.
    ///
    /// # Errors
    /// The same.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn of(thread: Pid) -> nix::Result<Self> {
        let registers = ptrace::getregs(thread)?.regs;
        let [a, b, c, d, e, f, _, _, number, ..] = registers;
        Ok(Self { number: number.cast_signed(), arguments: [a, b, c, d, e, f] })
    }

    /// What a call has given back whose thread stands at its end.
    ///
    /// # Errors
    /// As [`Call::of`].
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn result(thread: Pid) -> nix::Result<i64> {
        Ok(ptrace::getregs(thread)?.rax.cast_signed())
    }

    /// The same.
    ///
    /// # Errors
    /// The same.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn result(thread: Pid) -> nix::Result<i64> {
        let [given, ..] = ptrace::getregs(thread)?.regs;
        Ok(given.cast_signed())
    }

    /// The same.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn result(_thread: Pid) -> nix::Result<i64> {
        Err(nix::errno::Errno::ENOSYS)
    }

    /// The same.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn of(_thread: Pid) -> nix::Result<Self> {
        Err(nix::errno::Errno::ENOSYS)
    }
}

/// Names the effects of one process.
#[derive(Debug)]
pub(crate) struct Effects {
    /// What is outside of this directory does not count.
    root: PathBuf,
    /// Files that were written since they were synced the last time: the first write is an effect, those after it add to
    /// the same.
    unsynced: BTreeSet<PathBuf>,
}

impl Effects {
    pub(crate) fn within(root: &Path) -> Self {
        Self { root: root.to_owned(), unsynced: BTreeSet::new() }
    }

    /// The name of what a thread is about to do; none when it is no effect.
    pub(crate) fn name(&mut self, thread: Pid, call: &Call) -> Option<String> {
        let [first, second, third, ..] = call.arguments;
        let by_path = |what: &str, directory: Option<u64>, path: u64| {
            let shown = self.shown(&path_at(thread, directory, path).ok()?)?;
            Some(format!("{what} {shown}"))
        };
        match call.number {
            libc::SYS_fsync | libc::SYS_fdatasync => self.sync(&descriptor(thread, first)?),
            libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_sendto => {
                self.write(&descriptor(thread, first)?)
            }
            libc::SYS_ftruncate => Some(format!("truncate {}", self.shown(&descriptor(thread, first)?)?)),
            libc::SYS_sendmsg => Some("message".to_owned()),
            libc::SYS_connect => by_path("connect", None, second + 2),
            libc::SYS_openat if creates(third) => by_path("create", Some(first), second),
            libc::SYS_mkdirat => by_path("mkdir", Some(first), second),
            libc::SYS_unlinkat => by_path("remove", Some(first), second),
            libc::SYS_renameat2 | libc::SYS_renameat => by_path("rename", Some(third), call.arguments[3]),
            libc::SYS_linkat => by_path("link", Some(third), call.arguments[3]),
            libc::SYS_symlinkat => by_path("link", Some(second), third),
            number if is_old("open", number) && creates(second) => by_path("create", None, first),
            number if is_old("mkdir", number) => by_path("mkdir", None, first),
            number if is_old("remove", number) => by_path("remove", None, first),
            number if is_old("rename", number) => by_path("rename", None, second),
            number if starts_program(thread, number, first) => Some("start a program".to_owned()),
            _ => None,
        }
    }

    fn sync(&mut self, file: &Path) -> Option<String> {
        self.unsynced.remove(file);
        Some(format!("sync {}", self.shown(file)?))
    }

    fn write(&mut self, file: &Path) -> Option<String> {
        if file.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
            return Some("answer".to_owned());
        }
        let shown = self.shown(file)?;
        self.unsynced.insert(file.to_owned()).then(|| format!("write {shown}"))
    }

    /// A path without what differs from one time to the next; none when it does not count.
    fn shown(&self, path: &Path) -> Option<String> {
        let path = path.strip_prefix(&self.root).ok()?;
        let parts: Vec<String> = path.iter().map(|part| without_numbers(&part.to_string_lossy())).collect();
        // What the daemon tells its operator is nothing that it goes on from.
        let is_told = path.starts_with("orchd.out") || parts.get(1).is_some_and(|part| part == "logs");
        (!is_told).then(|| parts.join("/"))
    }
}

/// Whether a call may be an effect, by its number alone: all the others cost only this look.
pub(crate) fn may_be(number: i64) -> bool {
    const OFTEN: [i64; 17] = [
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_write,
        libc::SYS_pwrite64,
        libc::SYS_writev,
        libc::SYS_sendto,
        libc::SYS_ftruncate,
        libc::SYS_sendmsg,
        libc::SYS_connect,
        libc::SYS_openat,
        libc::SYS_mkdirat,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_renameat,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_clone3,
    ];
    OFTEN.contains(&number)
        || number == libc::SYS_clone
        || ["open", "mkdir", "remove", "rename", "fork"].iter().any(|what| is_old(what, number))
}

/// Calls that only the older machines have.
#[cfg(target_arch = "x86_64")]
fn is_old(what: &str, number: i64) -> bool {
    match what {
        "open" => number == libc::SYS_open,
        "mkdir" => number == libc::SYS_mkdir,
        "remove" => number == libc::SYS_unlink || number == libc::SYS_rmdir,
        "rename" => number == libc::SYS_rename,
        "fork" => number == libc::SYS_vfork || number == libc::SYS_fork,
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn is_old(_what: &str, _number: i64) -> bool {
    false
}

fn creates(flags: u64) -> bool {
    flags & u64::from(libc::O_CREAT.unsigned_abs()) != 0
}

/// Whether the call makes a process, and not a thread.
fn starts_program(thread: Pid, number: i64, first: u64) -> bool {
    let is_thread = |flags: u64| flags & u64::from(libc::CLONE_THREAD.unsigned_abs()) != 0;
    match number {
        libc::SYS_clone => !is_thread(first),
        // The flags are the first number of what it points to.
        libc::SYS_clone3 => memory(thread, first, 8)
            .is_ok_and(|bytes| bytes.try_into().is_ok_and(|bytes| !is_thread(u64::from_ne_bytes(bytes)))),
        _ => is_old("fork", number),
    }
}

/// What an open descriptor of a thread is.
fn descriptor(thread: Pid, number: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/fd/{number}")).ok()
}

/// The path that a thread names by an address, and by a directory that it is relative to.
fn path_at(thread: Pid, directory: Option<u64>, address: u64) -> io::Result<PathBuf> {
    let mut bytes = memory(thread, address, PATH_BYTES_MAX)?;
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).ok_or(io::ErrorKind::InvalidData)?);
    let named = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
    if named.is_absolute() {
        return Ok(named);
    }
    // `AT_FDCWD` is negative, and nothing is open by such a number.
    let at = directory.and_then(|number| descriptor(thread, number));
    let at = at.map_or_else(|| fs::read_link(format!("/proc/{thread}/cwd")), Ok)?;
    Ok(at.join(named))
}

/// As many bytes of a thread's memory as there are up to the end of what can be read.
fn memory(thread: Pid, address: u64, most: usize) -> io::Result<Vec<u8>> {
    let memory = fs::File::open(format!("/proc/{thread}/mem"))?;
    let mut bytes = vec![0; most];
    let mut got = 0;
    // A read that crosses into a page that is not there gives what comes before it.
    while got < most {
        match memory.read_at(&mut bytes[got..], address + got as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => got += read,
        }
    }
    bytes.truncate(got);
    if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// A file's name with `*` for each part that looks like a number of this one time.
fn without_numbers(name: &str) -> String {
    let is_number = |part: &str| {
        let has_digit = part.bytes().any(|byte| byte.is_ascii_digit());
        has_digit && (part.len() >= 8 || part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let parts = name.split_inclusive(['-', '.', '_']);
    let mut shown = String::new();
    for part in parts {
        let (word, mark) = match part.strip_suffix(['-', '.', '_']) {
            Some(word) => (word, &part[word.len()..]),
            None => (part, ""),
        };
        let word = if is_number(word) || shown.ends_with("*-") && is_hex(word) { "*" } else { word };
        if word == "*" && shown.ends_with("*-") {
            shown.pop();
            shown.push_str(mark);
        } else {
            shown.push_str(word);
            shown.push_str(mark);
        }
    }
    shown
}

fn is_hex(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_has_the_same_name_another_time() {
        let shown = |name: &str| without_numbers(name);
        assert_eq!(shown("run-0193a7c2-1f00-7abc-8def-0123456789ab"), "run-*");
        assert_eq!(shown("0193a7c2-ffff-7abc-8def-0123456789ab.git"), "*.git");
        assert_eq!(shown("orch.db-wal"), "orch.db-wal");
        assert_eq!(shown("claim.12"), "claim.*");
        assert_eq!(shown("sha256"), "sha256");
    }

    #[test]
    fn only_the_first_of_several_writes_counts_until_the_file_is_synced() {
        let mut effects = Effects::within(Path::new("/r"));
        let file = Path::new("/r/state/orch.db-wal");
        assert_eq!(effects.write(file).as_deref(), Some("write state/orch.db-wal"));
        assert_eq!(effects.write(file), None);
        assert_eq!(effects.sync(file).as_deref(), Some("sync state/orch.db-wal"));
        assert_eq!(effects.write(file).as_deref(), Some("write state/orch.db-wal"));
        assert_eq!(effects.write(Path::new("/elsewhere")), None);
        assert_eq!(effects.write(Path::new("/r/state/logs/orchd.log")), None);
    }
}
