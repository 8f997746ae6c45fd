//! What the host offers, read from its settings without starting anything.
//!
//! Safe to call from a daemon with threads. What it says is a forecast with fixes; what a run really reached is said by
//! the probes inside it.

use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::advice;
use crate::cgroup;
use crate::level::Level;
use crate::sys::refused;

/// Oldest kernel with every mount call that the view is built with.
const KERNEL_MIN: (u32, u32) = (5, 12);

const USER_NAMESPACES: &str = "user namespaces";

/// Whether the host has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is there.
    Present,
    /// It is there in part; the detail says in which.
    Partial,
    /// It is not there.
    Missing,
}

/// One thing that the sandbox builds on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFeature {
    /// What it is, for example `user namespaces`.
    pub name: String,
    /// Whether it is there.
    pub presence: Presence,
    /// What was seen.
    pub detail: String,
    /// What a person can do when it is not there; empty otherwise.
    pub fix: String,
}

/// What the host offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostReport {
    /// Release of the running kernel.
    pub kernel: String,
    /// Everything that was looked at.
    pub features: Vec<HostFeature>,
    /// The level that a run can be expected to reach.
    pub expected_level: Level,
}

/// Looks at the host.
pub fn probe_host() -> HostReport {
    probe_host_for(Path::new("orch-sandbox"))
}

/// Looks at the host, with fixes for a sandbox program at this place.
pub fn probe_host_for(program: &Path) -> HostReport {
    let kernel = setting("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let kernel_feature = mount_interface(&kernel);
    let namespaces = user_namespaces(program);
    let proc = proc_uncovered();
    let landlock = landlock();
    let filter = syscall_filter();
    let cgroup = cgroup();
    let present = |feature: &HostFeature| feature.presence != Presence::Missing;
    let expected_level = if !(present(&kernel_feature) && present(&namespaces) && present(&proc)) {
        Level::None
    } else if !(present(&landlock) && present(&filter)) {
        Level::Namespaces
    } else if cgroup.presence == Presence::Present {
        Level::FullWithLimits
    } else {
        Level::Full
    };
    let features = vec![kernel_feature, namespaces, proc, landlock, filter, cgroup];
    HostReport { kernel, features, expected_level }
}

impl HostReport {
    /// The fixes of everything that is missing, one per line; empty when nothing is. What is there in part is left out,
    /// but for user namespaces: where a profile is needed for them, a sandbox that cannot be built lacks it.
    pub fn fixes(&self) -> String {
        let missing = self.features.iter().filter(|feature| match feature.presence {
            Presence::Missing => true,
            Presence::Partial => feature.name == USER_NAMESPACES,
            Presence::Present => false,
        });
        missing
            .filter(|feature| !feature.fix.is_empty())
            .map(|feature| feature.fix.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn feature(name: &str, presence: Presence, detail: impl Into<String>, fix: &str) -> HostFeature {
    let fix = if presence == Presence::Present { String::new() } else { fix.to_owned() };
    HostFeature { name: name.to_owned(), presence, detail: detail.into(), fix }
}

fn mount_interface(release: &str) -> HostFeature {
    let mut numbers = release.split(|separator: char| !separator.is_ascii_digit()).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    let presence =
        if version.is_some_and(|version| version >= KERNEL_MIN) { Presence::Present } else { Presence::Missing };
    feature("mount interface", presence, format!("Linux {release}"), "upgrade the kernel to Linux 5.12 or newer")
}

fn user_namespaces(program: &Path) -> HostFeature {
    let name = USER_NAMESPACES;
    let max = setting("/proc/sys/user/max_user_namespaces");
    if max.is_none() {
        return feature(name, Presence::Missing, "not built into the kernel", "use a kernel with CONFIG_USER_NS");
    }
    if max.as_deref() == Some("0") {
        let fix = "run: sysctl -w user.max_user_namespaces=15000";
        return feature(name, Presence::Missing, "user.max_user_namespaces is 0", fix);
    }
    let root = nix::unistd::geteuid().is_root();
    if !root && setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        let fix = "run: sysctl -w kernel.unprivileged_userns_clone=1";
        return feature(name, Presence::Missing, "kernel.unprivileged_userns_clone is 0", fix);
    }
    if !root && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        // A profile may allow it for this program, which cannot be seen from here.
        let fix = &advice::apparmor_fix(program);
        let detail = "kernel.apparmor_restrict_unprivileged_userns is 1: works only with a profile";
        return feature(name, Presence::Partial, detail, fix);
    }
    feature(name, Presence::Present, format!("up to {}", max.unwrap_or_default()), "")
}

fn proc_uncovered() -> HostFeature {
    // A container runtime covers parts of /proc, and then no new one may be mounted in a user namespace.
    let covered: Vec<_> = setting("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .filter(|place| place.starts_with("/proc/") && place != "/proc/sys/fs/binfmt_misc")
        .collect();
    let fix = "give the container an uncovered /proc (docker run --security-opt systempaths=unconfined)";
    if covered.is_empty() {
        feature("whole /proc", Presence::Present, "nothing is mounted over it", fix)
    } else {
        feature("whole /proc", Presence::Missing, format!("covered: {}", covered.join(" ")), fix)
    }
}

fn landlock() -> HostFeature {
    let name = "landlock";
    let modules = setting("/sys/kernel/security/lsm").filter(|list| !list.is_empty());
    let fix = format!(
        "use a kernel with CONFIG_SECURITY_LANDLOCK and boot it with `lsm=landlock,{}` on its command line",
        modules.as_deref().unwrap_or("yama,apparmor,bpf")
    );
    let fix = fix.as_str();
    match refused::landlock_version() {
        Ok(version) if version >= 5 => feature(name, Presence::Present, format!("version {version}"), fix),
        Ok(version) => feature(
            name,
            Presence::Partial,
            format!("version {version}: what it cannot refuse yet is refused by mounts alone"),
            fix,
        ),
        Err(Errno::EOPNOTSUPP) => feature(name, Presence::Missing, "built in but not enabled at boot", fix),
        Err(errno) => feature(name, Presence::Missing, format!("not in this kernel: {errno:?}"), fix),
    }
}

fn syscall_filter() -> HostFeature {
    let actions = setting("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let presence = if actions.contains("errno") { Presence::Present } else { Presence::Missing };
    feature("system call filter", presence, actions, "use a kernel with CONFIG_SECCOMP_FILTER")
}

fn cgroup() -> HostFeature {
    let name = "delegated cgroup v2";
    match cgroup::find() {
        Ok(found) => {
            let presence = if found.controllers.complete() { Presence::Present } else { Presence::Partial };
            let detail = format!("{}; controllers: {}", found.path.display(), found.controllers);
            feature(name, presence, detail, &advice::controllers_fix())
        }
        Err(missing) => feature(name, Presence::Missing, missing.to_string(), &advice::cgroup_fix(&missing)),
    }
}

fn setting(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}
