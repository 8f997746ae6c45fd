//! Settling into the new namespaces: ids and file system.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getegid, geteuid, setsid};

use super::{Footing, INSIDE_ID, Orders, SetupFailure};
use crate::view::{self, BuildError, HostUser, OwnMounts, Settings, Trees};

/// The namespaces that init is born into, but for the network.
pub(crate) const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWUSER
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// How gladly the kernel kills init and what it starts when memory runs out: long before the daemon and its shims.
pub(super) const OOM_SCORE_OF_INIT: &str = "600";
/// That of steps is higher: what they hold in memory files is in no size that the kernel compares, and without init the
/// steps that run always would not.
pub(crate) const OOM_SCORE_OF_STEPS: &str = "900";
/// Numbers that the kernel never hands out again after the first round, so the bound of a pid namespace must be higher.
const RESERVED_PIDS: u64 = 300;
/// Highest bound that a kernel accepts.
const PIDS_MAX: u64 = 4 << 20;

/// Who the shim is on the host; init itself cannot see that once it is in a user namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostIds {
    uid: Uid,
    gid: Gid,
}

impl HostIds {
    /// Those of this process.
    pub(crate) fn effective() -> Self {
        Self { uid: geteuid(), gid: getegid() }
    }

    /// The same numbers, for a user namespace in which nobody changes its name.
    pub(crate) fn unchanged(self) -> InsideIds {
        InsideIds { uid: self.uid.as_raw(), gid: self.gid.as_raw() }
    }

    pub(crate) fn user(self) -> HostUser {
        if self.uid.is_root() { HostUser::Root } else { HostUser::Ordinary }
    }
}

/// Takes on the ids of the run and ties this process to its shim.
pub(super) fn settle(orders: &Orders<'_>) -> Result<(), SetupFailure> {
    let call = |step: &'static str, what: &'static str| move |errno| SetupFailure::call(step, what, errno);
    map_ids(orders.host, InsideIds { uid: INSIDE_ID, gid: INSIDE_ID })
        .map_err(call("uid-map", "failed to map the user"))?;
    OomScore::open().set(OOM_SCORE_OF_STEPS);
    // After the last change of ids, which would clear it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(call("init", "failed to tie init to its shim"))?;
    setsid().map(drop).map_err(call("init", "failed to start a session"))
}

/// Builds the view and moves into it. Returns the directories of the run where it had to open them itself.
pub(super) fn build_view(orders: &Orders<'_>) -> Result<Option<Trees>, SetupFailure> {
    let settings = Settings {
        tmp_bytes: orders.shape.tmp_bytes,
        pids_max: pid_namespace_bound(orders.shape.processes),
        host_user: orders.host.user(),
    };
    match &orders.footing {
        Footing::Host { entries, directories } => {
            let trees = directories.open_prepared()?;
            from_nothing(entries, orders, &settings)?;
            Ok(Some(trees))
        }
        Footing::Template { own } => {
            let root = view::open_root()?;
            view::mount_private(&root, &settings)?;
            own.attach(&root)?;
            Ok(None)
        }
    }
}

/// Builds the whole view and moves into it.
fn from_nothing(entries: &[view::Entry], orders: &Orders<'_>, settings: &Settings) -> Result<(), BuildError> {
    let own = OwnMounts::open(orders.shape)?;
    let root = view::build(entries)?;
    view::mount_private(&root, settings)?;
    own.attach(&root)?;
    view::enter(&root)
}

/// The one user and group id of a user namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InsideIds {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Maps the user and group id of `host` to `inside` in the user namespace that this process has just entered.
pub(crate) fn map_ids(host: HostIds, inside: InsideIds) -> Result<(), Errno> {
    // The files of a process that cannot be dumped belong to root, so the shim's protection is lifted here for a moment.
    prctl::set_dumpable(true)?;
    let HostIds { uid, gid } = host;
    let lines = [
        // Every process of the run inherits it: nothing of their memory goes into a dump. The limit of dumps keeps them
        // from files and from handlers on a pipe, but since Linux 6.16 not from those on a socket.
        ("/proc/self/coredump_filter", "0".to_owned()),
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{} {uid} 1", inside.uid)),
        ("/proc/self/gid_map", format!("{} {gid} 1", inside.gid)),
    ];
    for (path, line) in lines {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    }
    Ok(())
}

/// How gladly the kernel kills this process when memory runs out. Nothing stops a process from offering itself; should it fail
/// all the same, the run is as likely to be killed as others.
///
/// It stays open, because inside nobody can write to `/proc`: steps inherit what init has when they are forked. The first
/// process does so, too, and does not write it: `/proc` is made read-only beside it, which fails while anybody writes there.
#[derive(Debug)]
pub(crate) struct OomScore(Option<File>);

impl OomScore {
    /// That of this process, in the `/proc` where it was born.
    pub(crate) fn open() -> Self {
        Self(OpenOptions::new().write(true).open("/proc/self/oom_score_adj").ok())
    }

    pub(crate) fn set(&self, score: &str) {
        if let Some(file) = &self.0 {
            file.write_all_at(score.as_bytes(), 0).unwrap_or_default();
        }
    }
}

/// What the bound of the pid namespace is for `processes`.
pub(crate) fn pid_namespace_bound(processes: u64) -> u64 {
    processes.saturating_add(RESERVED_PIDS).min(PIDS_MAX)
}
