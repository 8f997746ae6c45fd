//! Keeps the limits of one whole run: by its control group where there is one, by watching it otherwise.
//!
//! The one place where the shim meets `cgroup` and `watch`. Decides nothing about the run: it says what was exceeded.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::cgroup::{Bounds, Evidence, Missing, ReadBack, RunGroup, Subtree, judge};
use crate::level::{Guarantee, Level};
use crate::limit::{Ceilings, Excess, LimitKind};
use crate::run_dir::{boot_id, start_ticks};
use crate::spec::{CheckedSpec, Isolation};
use crate::watch::{DiskWatch, MemoryWatch, can_list_children, devices_of};

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often when it is near its bound or something is left to be looked at.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// The rest after a look, in times of what the look took, unless the disk says how much.
const LOOK_PART: u32 = 10;
/// Longest wait for the last process of a run that was killed.
const EMPTY_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the last process of those whose shim was killed, which die with it: nobody may be kept waiting by that.
const TIDY_WAIT: Duration = Duration::from_millis(50);
/// What the steps that run whatever happens get in addition when a limit was exceeded, as a part of that limit: what was
/// left in temporary files stays, and they may have something to save.
const AFTERWARDS_PART: u64 = 4;

/// What the host gives to all runs.
#[derive(Debug)]
pub(crate) struct Host {
    /// Where the groups of runs are, or why there are none.
    pub(crate) subtree: Result<Subtree, Missing>,
    pub(crate) ceilings: Ceilings,
    /// Which boot of the machine this is.
    pub(super) boot_id: String,
}

impl Host {
    /// Gets the host ready for runs of this process and its children.
    pub(crate) fn prepare(ceilings: Ceilings) -> Self {
        Self { subtree: Subtree::prepare(&ceilings), ceilings, boot_id: boot_id() }
    }

    /// Removes what shims that were killed have left. Whether nothing of it is there any more.
    pub(crate) fn tidy(&self) -> bool {
        self.subtree.as_ref().map_or(true, |subtree| subtree.sweep(TIDY_WAIT) != Ok(false))
    }

    /// What a child that closes all descriptors has to keep.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.subtree.iter().map(Subtree::descriptor).collect()
    }
}

/// Keeps the limits of one run.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    spec: &'a CheckedSpec,
    group: Result<RunGroup, String>,
    /// One that bounds nothing, but the run lives in it.
    unbounded: Option<RunGroup>,
    read_back: ReadBack,
    /// Only where no group bounds the memory.
    memory: Option<(u64, MemoryWatch)>,
    /// The directories whose space is the run's, until they are watched.
    roots: Vec<OwnedFd>,
    /// Only once the run is there: what it sees as its workspace can be made with it.
    disk: Option<DiskWatch>,
    /// Free space to leave.
    disk_free_bytes: Option<u64>,
    next_look: Instant,
    /// Processes that the kernel had killed when it was last asked.
    kills_known: u64,
    /// The bound of memory, when it was exceeded and what comes next has not got more yet.
    memory_exceeded: Option<u64>,
}

impl<'a> Keeper<'a> {
    /// Bounds the `group` of the run, where it has one.
    ///
    /// `roots` are the directories whose space is the run's.
    pub(super) fn new(
        spec: &'a CheckedSpec,
        host: &Host,
        group: Result<RunGroup, String>,
        roots: Vec<OwnedFd>,
    ) -> Self {
        let mut unbounded = None;
        let group = group.and_then(|group| match group.limit(&bounds(spec)) {
            Ok(()) => Ok(group),
            Err(errno) => {
                unbounded = Some(group);
                Err(format!("the control group cannot be bounded: {}", errno.desc()))
            }
        });
        let read_back = group.as_ref().map(RunGroup::read_back).unwrap_or_default();
        let next_look = Instant::now() + LOOK_EVERY;
        Self {
            spec,
            group,
            unbounded,
            read_back,
            memory: None,
            roots,
            disk: None,
            disk_free_bytes: host.ceilings.disk_free_bytes,
            next_look,
            kills_known: 0,
            memory_exceeded: None,
        }
    }

    /// What is known of the limits before the run is, where the required level depends on it.
    pub(super) fn limits_for_level(&self) -> Vec<Guarantee> {
        if self.spec.required_level == Level::FullWithLimits { self.judge(Vec::new()) } else { Vec::new() }
    }

    /// Whether the use of the temporary file systems has to be known.
    pub(super) fn watches_tmpfs(&self) -> bool {
        let limits = &self.spec.limits;
        limits.disk_bytes.is_some()
            || self.disk_free_bytes.is_some()
            || (limits.run_memory_bytes.is_some() && self.read_back.memory_max.is_none())
    }

    /// The group of the run, if it has one.
    pub(super) fn group(&self) -> Option<&RunGroup> {
        self.group.as_ref().ok()
    }

    /// Takes up the run whose processes are below `root`, and whose temporary file systems are reached by `tmpfs`.
    pub(super) fn watch(&mut self, root: Pid, tmpfs: Vec<OwnedFd>) {
        let (bound, floor) = (self.spec.limits.disk_bytes, self.disk_free_bytes);
        if bound.is_some() || floor.is_some() {
            let mut disk = DiskWatch::new(std::mem::take(&mut self.roots), bound, floor, Instant::now());
            disk.count_deleted(root, devices_of(&tmpfs));
            self.disk = Some(disk);
        }
        if let Some(bound) = self.spec.limits.run_memory_bytes
            && self.read_back.memory_max.is_none()
        {
            self.memory = Some((bound, MemoryWatch::new(root, tmpfs)));
        }
    }

    /// What the limits are worth, together with what the probes inside `found`.
    pub(super) fn judge(&self, found: Vec<Guarantee>) -> Vec<Guarantee> {
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok());
        let evidence = Evidence {
            limits: &self.spec.limits,
            group: self.group.as_ref().map(|_| &self.read_back).map_err(String::as_str),
            can_watch: can_list_children(),
            page_bytes: page_bytes.unwrap_or(4096),
        };
        judge(found, &evidence)
    }

    /// When to look next; `None` when nothing has to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let has_memory_group = self.group().is_some_and(|group| group.controllers().memory);
        (has_memory_group || self.memory.is_some() || self.disk.is_some()).then_some(self.next_look)
    }

    /// Looks, when it is time to; what the run has exceeded, if it has.
    pub(super) fn look(&mut self, now: Instant) -> Option<Excess> {
        if self.next_look().is_none_or(|next| next > now) {
            return None;
        }
        let since = Instant::now();
        let killed = self.out_of_memory();
        let (watched, is_near) = self.watched_memory();
        let excess = killed.or(watched).or_else(|| self.disk.as_mut()?.look(now));
        let is_walking = self.disk.as_ref().is_some_and(DiskWatch::is_walking);
        let rest = if is_near || is_walking { LOOK_SOON } else { LOOK_EVERY };
        // A look at very many processes takes long; looking never takes more than a part of the shim's time.
        let part = self.disk.as_ref().filter(|_| is_walking).map_or(LOOK_PART, DiskWatch::rest_part);
        self.next_look = Instant::now() + rest.max(since.elapsed() * part);
        excess
    }

    /// Whether the kernel has killed a process of the run because memory ran out, since this was last asked.
    pub(super) fn out_of_memory(&mut self) -> Option<Excess> {
        let events = self.group()?.memory_events();
        if events.killed <= std::mem::replace(&mut self.kills_known, events.killed) {
            return None;
        }
        let found = events.peak_bytes;
        match self.read_back.memory_max {
            Some(allowed) if events.out_of_memory > 0 => {
                self.memory_exceeded = Some(allowed);
                Some(Excess { limit: LimitKind::Memory, allowed, found })
            }
            _ => Some(Excess { limit: LimitKind::HostMemory, allowed: 0, found }),
        }
    }

    /// Takes note that another step begins. What the kernel killed before is not its fault, and after an excess, when
    /// everything else is dead, it gets more.
    pub(super) fn step_begins(&mut self) {
        self.kills_known = self.group().map(|group| group.memory_events().killed).unwrap_or_default();
        let Some(exceeded) = self.memory_exceeded.take() else { return };
        let more = exceeded / AFTERWARDS_PART;
        if let Some((bound, watch)) = &mut self.memory {
            *bound = watch.used(*bound).max(*bound).saturating_add(more);
        }
        if let Some(group) = self.group() {
            let memory_bytes = Some(exceeded.saturating_add(more));
            // Where that fails the step has what the others had.
            group.limit(&Bounds { memory_bytes, ..bounds(self.spec) }).unwrap_or_default();
        }
    }

    /// What the watch of memory finds, and whether the run is near its bound.
    fn watched_memory(&mut self) -> (Option<Excess>, bool) {
        let Some((bound, watch)) = &self.memory else { return (None, false) };
        let (allowed, found) = (*bound, watch.used(*bound));
        if found <= allowed {
            return (None, found > allowed / 2);
        }
        self.memory_exceeded = Some(allowed);
        (Some(Excess { limit: LimitKind::Memory, allowed, found }), true)
    }

    /// Stops everything by the group; whether there is one that can. What does not stand still at once is on its way to.
    pub(super) fn freeze(&self) -> bool {
        self.group().is_some_and(|group| group.freeze().is_ok())
    }

    /// Whether everything stands still that was stopped by the group. Not while that cannot be known.
    pub(super) fn is_frozen(&self) -> bool {
        self.group().is_some_and(|group| group.is_frozen().unwrap_or(false))
    }

    /// Lets everything go on that was stopped by the group.
    pub(super) fn thaw(&self) -> Result<(), Errno> {
        self.group().map_or(Ok(()), RunGroup::thaw)
    }

    /// Kills everything by the group, init among it if there is one, at once and however it was stopped.
    pub(super) fn kill(&self) {
        if let Some(group) = self.group()
            && group.kill().is_err()
        {
            // Before Linux 5.14 that is left to who runs the steps, and to what is inside, which must be able to.
            group.thaw().unwrap_or_default();
        }
    }

    /// Removes the group after everything inside has ended. Fails when processes of the run are left.
    pub(super) fn end(self) -> Result<(), Errno> {
        let Some(group) = self.group.ok().or(self.unbounded) else { return Ok(()) };
        if !group.wait_empty(Instant::now() + EMPTY_WAIT)? {
            return Err(Errno::EBUSY);
        }
        match group.remove() {
            // A group that is left over is removed by a sweep.
            Ok(()) | Err(Errno::EBUSY) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// The group of the one run of this shim, where init is to be born, not bounded yet; why there is none otherwise.
pub(super) fn make_group(host: &Host) -> Result<RunGroup, String> {
    let subtree = host.subtree.as_ref().map_err(|missing| format!("no control group: {missing}"))?;
    // No two shims have the same pid and start time, and a shim has one run.
    let name = format!("{}-{}", nix::unistd::getpid(), start_ticks());
    subtree.run_group(&name).map_err(|errno| format!("no control group: {}", errno.desc()))
}

fn bounds(spec: &CheckedSpec) -> Bounds {
    let init = match spec.isolation {
        // It is in there, too.
        Isolation::Sandboxed => 1,
        Isolation::None => 0,
    };
    Bounds {
        memory_bytes: spec.limits.run_memory_bytes,
        processes: Some(spec.limits.processes.saturating_add(init)),
        cpu_millis: spec.limits.run_cpu_millis,
    }
}
