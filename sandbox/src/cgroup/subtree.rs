//! Finding the subtree that is delegated to this process, and getting it ready for runs.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::poll::poll;
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, faccessat, getpid, getppid};

use super::files::{directory, read, write, write_if_there};
use super::group::{RunGroup, remove_left_over};
use crate::limit::Ceilings;
use crate::small_file;

/// More than the list of a process's groups has, in bytes.
const LIST_BYTES_MAX: u64 = 64 << 10;
/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The leaf of daemon, spawner and shims; also the value for systemd's `DelegateSubgroup=`.
const DAEMON: &str = "daemon";
/// The parent of all runs.
const RUNS: &str = "runs";
/// Shares of processor and disk time between daemon and runs when both want more than there is; 100 is what others have.
const DAEMON_WEIGHT: &str = "400";
const RUNS_WEIGHT: &str = "100";
/// Memory that the kernel takes from the daemon's group last, in bytes.
const DAEMON_MEMORY: &str = "134217728";
/// Longest time for moving processes out of the inner group. They may fork meanwhile, and one that is on its way out is
/// listed until the kernel has done with it and cannot be moved any more.
const MOVE_WAIT: Duration = Duration::from_secs(2);
/// The rest between two rounds of that, in milliseconds.
const MOVE_REST_MS: u8 = 1;
/// Most parents that are followed from a process up to the daemon.
const ANCESTORS_MAX: usize = 64;
/// Longest time for killing and removing groups that are left over at the start, all together.
const SWEEP_WAIT: Duration = Duration::from_secs(2);

/// Which resources a group can limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Controllers {
    pub(crate) memory: bool,
    pub(crate) pids: bool,
    pub(crate) cpu: bool,
    pub(crate) io: bool,
}

impl Controllers {
    /// Reads a list like that of `cgroup.controllers`.
    pub(super) fn parse(list: &str) -> Self {
        let has = |name: &str| list.split_whitespace().any(|word| word == name);
        Self { memory: has("memory"), pids: has("pids"), cpu: has("cpu"), io: has("io") }
    }

    /// Whether everything that level 4 needs is there.
    pub(crate) fn complete(self) -> bool {
        self.memory && self.pids && self.cpu
    }
}

impl std::fmt::Display for Controllers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [("memory", self.memory), ("pids", self.pids), ("cpu", self.cpu), ("io", self.io)];
        let names: Vec<_> = named.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
        out.write_str(&if names.is_empty() { "none".to_owned() } else { names.join(" ") })
    }
}

/// Why there is no subtree for runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    #[error("no control groups of version 2")]
    NotMounted,
    #[error("the own control group cannot be found")]
    NotFound,
    #[error("in the root of all control groups, which is not delegated")]
    Root,
    #[error("the own control group is not delegated: {}", .0.desc())]
    NotDelegated(Errno),
    #[error("the own control group also holds {0} processes of others")]
    Shared(usize),
    #[error("failed to {what}: {}", errno.desc())]
    Failed { what: &'static str, errno: Errno },
}

/// The group of this process and where its subtree begins.
#[derive(Debug)]
pub(crate) struct Found {
    top: OwnedFd,
    in_leaf: bool,
    /// For people.
    pub(crate) path: PathBuf,
    /// What its parent passes on.
    pub(crate) controllers: Controllers,
}

/// Looks for the subtree of this process; changes nothing.
pub(crate) fn find() -> Result<Found, Missing> {
    let mount = MOUNTS.into_iter().map(Path::new).find(|mount| is_version_2(mount)).ok_or(Missing::NotMounted)?;
    let list = small_file::text("/proc/self/cgroup", LIST_BYTES_MAX).map_err(|_| Missing::NotFound)?;
    let own = list.lines().find_map(|line| line.strip_prefix("0::")).ok_or(Missing::NotMounted)?;
    let own = Path::new(own);
    // A path above what is mounted here begins with `..`.
    if own.components().any(|part| part == Component::ParentDir) {
        return Err(Missing::NotFound);
    }
    let path = mount.join(own.strip_prefix("/").map_err(|_| Missing::NotFound)?);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let group = openat(AT_FDCWD, &path, flags, Mode::empty()).map_err(|_| Missing::NotFound)?;
    // The mount may show another part of the tree than the namespace of this process does.
    let processes = processes(group.as_fd()).map_err(|_| Missing::NotFound)?;
    if !processes.contains(&getpid().as_raw()) {
        return Err(Missing::NotFound);
    }
    let in_leaf = own.file_name() == Some(OsStr::new(DAEMON));
    let (top, path) = if in_leaf {
        let parent = directory(group.as_fd(), "..").map_err(|_| Missing::NotFound)?;
        (parent, path.parent().unwrap_or(&path).to_owned())
    } else {
        (group, path)
    };
    // The one group that has no type is the root of the hierarchy.
    if faccessat(&top, "cgroup.type", AccessFlags::F_OK, AtFlags::empty()) == Err(Errno::ENOENT) {
        return Err(Missing::Root);
    }
    for file in ["cgroup.procs", "cgroup.subtree_control", "."] {
        faccessat(&top, file, AccessFlags::W_OK, AtFlags::AT_EACCESS).map_err(Missing::NotDelegated)?;
    }
    let controllers = read(top.as_fd(), "cgroup.controllers").map_err(Missing::NotDelegated)?;
    Ok(Found { top, in_leaf, path, controllers: Controllers::parse(&controllers) })
}

fn is_version_2(mount: &Path) -> bool {
    statfs(mount).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// A subtree that is ready for runs.
#[derive(Debug)]
pub(crate) struct Subtree {
    runs: OwnedFd,
    controllers: Controllers,
}

impl Subtree {
    /// Gets the subtree of this process ready: moves this process and its daemon into the leaf where they belong, passes
    /// the controllers on, sets the ceilings, removes what dead runs have left. For the start of the process that makes
    /// shims; doing it again is harmless.
    pub(crate) fn prepare(ceilings: &Ceilings) -> Result<Self, Missing> {
        let Found { top, in_leaf, controllers, .. } = find()?;
        let failed = |what| move |errno| Missing::Failed { what, errno };
        make_group(&top, DAEMON).map_err(failed("make the group of the daemon"))?;
        make_group(&top, RUNS).map_err(failed("make the group of runs"))?;
        let daemon = directory(top.as_fd(), DAEMON).map_err(failed("open the group of the daemon"))?;
        let runs = directory(top.as_fd(), RUNS).map_err(failed("open the group of runs"))?;
        empty(&top, &daemon, in_leaf)?;
        pass_on(top.as_fd(), controllers);
        pass_on(runs.as_fd(), controllers);
        let passed = read(runs.as_fd(), "cgroup.subtree_control").map_err(failed("read the controllers of runs"))?;
        let subtree = Self { controllers: Controllers::parse(&passed), runs };
        subtree.set_ceilings(ceilings).map_err(failed("set the ceilings of all runs"))?;
        protect(&daemon).map_err(failed("protect the group of the daemon"))?;
        subtree.sweep(SWEEP_WAIT).map_err(failed("look for groups that are left over"))?;
        Ok(subtree)
    }

    /// Where the groups of runs are, for a process that is forked and closes what it does not keep.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.runs.as_fd()
    }

    /// Makes the group `name` for a run of this process, which keeps it by a lock.
    pub(crate) fn run_group(&self, name: &str) -> Result<RunGroup, Errno> {
        RunGroup::make(self.runs.as_fd(), name, self.controllers)
    }

    fn set_ceilings(&self, ceilings: &Ceilings) -> Result<(), Errno> {
        let runs = self.runs.as_fd();
        let number = |bound: Option<u64>| bound.map_or_else(|| "max".to_owned(), |bound| bound.to_string());
        let settings = [
            ("memory.max", number(ceilings.memory_bytes)),
            ("pids.max", number(ceilings.processes)),
            ("cpu.max", super::group::cpu_quota(ceilings.cpu_millis)),
            ("cpu.weight", RUNS_WEIGHT.to_owned()),
            ("io.weight", RUNS_WEIGHT.to_owned()),
        ];
        settings.iter().try_for_each(|(file, value)| write_if_there(runs, file, value))
    }

    /// Kills and removes the groups of runs whose shim is gone; waits no longer than `wait` for the end of what is in them.
    /// Whether none of them is left.
    pub(crate) fn sweep(&self, wait: Duration) -> Result<bool, Errno> {
        let deadline = Instant::now() + wait;
        let mut is_swept = true;
        let listing =
            Dir::openat(&self.runs, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        for entry in listing.into_iter().filter_map(Result::ok) {
            let is_group = entry.file_type() == Some(nix::dir::Type::Directory);
            let name = entry.file_name().to_str().unwrap_or_default();
            if is_group && !name.is_empty() && !name.starts_with('.') {
                // What cannot be removed now is tried again by the next sweep.
                is_swept &= remove_left_over(self.runs.as_fd(), name, deadline).is_ok();
            }
        }
        Ok(is_swept)
    }
}

fn make_group(top: &OwnedFd, name: &str) -> Result<(), Errno> {
    match mkdirat(top, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Moves every process of `top` into `daemon`; refuses when somebody else lives there.
fn empty(top: &OwnedFd, daemon: &OwnedFd, in_leaf: bool) -> Result<(), Missing> {
    let failed = |what| move |errno| Missing::Failed { what, errno };
    let list = || processes(top.as_fd()).map_err(failed("list the processes of the own group"));
    let deadline = Instant::now() + MOVE_WAIT;
    loop {
        let left = list()?;
        if left.is_empty() {
            return Ok(());
        }
        // Of one that was reaped after the list was made nothing is known, and the next list is without it.
        let others = left.iter().filter(|pid| in_leaf || is_family(**pid) == Some(false)).count();
        if others > 0 {
            return Err(Missing::Shared(others));
        }
        if Instant::now() > deadline {
            return Err(Missing::Failed {
                what: "move all processes into the group of the daemon",
                errno: Errno::EAGAIN,
            });
        }
        for pid in left {
            match write(daemon.as_fd(), "cgroup.procs", &pid.to_string()) {
                // It ended in between.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed("move into the group of the daemon")(errno)),
            }
        }
        // Whoever was moved is not listed any more; nothing tells when the others have ended.
        if !list()?.is_empty() {
            poll(&mut [], MOVE_REST_MS).map_err(failed("wait for the end of processes"))?;
        }
    }
}

/// Whether the process belongs to the daemon of this spawner: the daemon, what it has started, and shims that were started
/// by an earlier one. `None` when there is no such process.
fn is_family(pid: i32) -> Option<bool> {
    let (own, daemon) = (getpid().as_raw(), getppid().as_raw());
    let program = stat_of(own).map(|(name, _)| name);
    let mut at = pid;
    let mut known = stat_of(pid);
    known.as_ref()?;
    for _ in 0..ANCESTORS_MAX {
        // A daemon that has ended leaves init as the parent, which is nobody's daemon.
        if at == own || (at == daemon && daemon > 1) {
            return Some(true);
        }
        match known {
            Some((name, _)) if Some(&name) == program.as_ref() => return Some(true),
            Some((_, parent)) if parent > 1 => {
                at = parent;
                known = stat_of(parent);
            }
            _ => return Some(false),
        }
    }
    Some(false)
}

/// Name and parent of a process.
fn stat_of(pid: i32) -> Option<(String, i32)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<(String, i32)> {
    // The name in parentheses can hold anything; what follows it is field 3 on, and the parent is field 4.
    let (start, rest) = stat.rsplit_once(')')?;
    let name = start.split_once('(')?.1.to_owned();
    Some((name, rest.split_whitespace().nth(1)?.parse().ok()?))
}

fn processes(group: BorrowedFd<'_>) -> Result<Vec<i32>, Errno> {
    Ok(read(group, "cgroup.procs")?.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// Passes on each controller that can be; what cannot is missing when the list is read back.
fn pass_on(group: BorrowedFd<'_>, controllers: Controllers) {
    let wanted = [
        ("+memory", controllers.memory),
        ("+pids", controllers.pids),
        ("+cpu", controllers.cpu),
        ("+io", controllers.io),
    ];
    for (word, _) in wanted.into_iter().filter(|(_, there)| *there) {
        write(group, "cgroup.subtree_control", word).unwrap_or_default();
    }
}

/// Lets the daemon go first where runs and daemon want more than there is.
fn protect(daemon: &OwnedFd) -> Result<(), Errno> {
    [("cpu.weight", DAEMON_WEIGHT), ("io.weight", DAEMON_WEIGHT), ("memory.low", DAEMON_MEMORY)]
        .into_iter()
        .try_for_each(|(file, value)| write_if_there(daemon.as_fd(), file, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_processes_can_hold_anything() {
        assert_eq!(parse_stat("12 (a) b (c) S 34 5 6\n"), Some(("a) b (c".to_owned(), 34)));
        assert_eq!(parse_stat("12 (sh) R 1 5"), Some(("sh".to_owned(), 1)));
        for broken in ["", "12 sh R 1", "12 (sh)", "12 (sh) R", "12 (sh) R x"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_is_of_the_family_and_init_is_not() {
        assert_eq!(is_family(getpid().as_raw()), Some(true));
        assert_eq!(is_family(1), Some(false));
        // Above every number that a process can have.
        assert_eq!(is_family(1 << 30), None);
    }

    #[test]
    fn controllers_are_whole_words() {
        let some = Controllers::parse("cpuset cpu io pids\n");
        assert_eq!(some, Controllers { memory: false, pids: true, cpu: true, io: true });
        assert!(!some.complete());
        assert!(Controllers::parse("memory cpu pids").complete());
        assert_eq!(Controllers::parse("cpuset misc").to_string(), "none");
        assert_eq!(some.to_string(), "pids cpu io");
    }
}
