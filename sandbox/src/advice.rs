//! What a person can do about a guarantee that is not enforced: the command or the line, for this host as it is.
//!
//! Pure. Says nothing of guarantees that hold. **Invariant:** whatever is not enforced has an advice, even if it is only that
//! no setting explains it.

use std::path::Path;

use crate::cgroup::Missing;
use crate::level::{Guarantee, GuaranteeKind, Strength};
use crate::probes::host::{HostReport, Presence};

/// What builds the view, the process tree and the network of a run.
const NAMESPACE_FEATURES: [&str; 3] = ["mount interface", "user namespaces", "whole /proc"];
/// What the system call filter needs.
const FILTER_FEATURES: [&str; 1] = ["system call filter"];
const LANDLOCK_FEATURES: [&str; 1] = ["landlock"];
const CGROUP_FEATURES: [&str; 1] = ["delegated cgroup v2"];

/// The profile for AppArmor, with the place of the program to be filled in.
const APPARMOR_PROFILE: &str = include_str!("../packaging/apparmor/orch-sandbox");
/// The place of the program in [`APPARMOR_PROFILE`].
const PROFILE_PROGRAM: &str = "/usr/local/bin/orch-sandbox";
/// Where the profile is installed.
const PROFILE_PATH: &str = "/etc/apparmor.d/orch-sandbox";

/// What mends `guarantee` on `host`; `None` when it is enforced.
pub fn advice(guarantee: &Guarantee, host: &HostReport) -> Option<String> {
    if guarantee.strength == Strength::Enforced {
        return None;
    }
    let from = |names: &[&str]| host_fixes(host, names);
    let known = match guarantee.kind {
        GuaranteeKind::FilesystemView
        | GuaranteeKind::ReadOnlySystem
        | GuaranteeKind::Devices
        | GuaranteeKind::Processes
        | GuaranteeKind::InitSealed
        | GuaranteeKind::Network
        | GuaranteeKind::Capabilities
        | GuaranteeKind::NoNewPrivileges => from(&NAMESPACE_FEATURES),
        // Where nothing runs, what keeps it from running comes first.
        GuaranteeKind::SocketFamilies | GuaranteeKind::SyscallFilter => from(&FILTER_FEATURES)
            .or_else(|| if guarantee.strength == Strength::Absent { from(&NAMESPACE_FEATURES) } else { None }),
        GuaranteeKind::NestedNamespaces => from(&FILTER_FEATURES).or_else(|| from(&NAMESPACE_FEATURES)),
        GuaranteeKind::Landlock => from(&LANDLOCK_FEATURES).or_else(|| from(&NAMESPACE_FEATURES)),
        GuaranteeKind::ProcessLimit => {
            let kernel = "or use Linux 6.14 or newer, where a pid namespace has a bound of its own";
            from(&CGROUP_FEATURES).map(|fix| format!("{fix}; {kernel}"))
        }
        GuaranteeKind::MemoryLimit | GuaranteeKind::CpuLimit => from(&CGROUP_FEATURES),
        GuaranteeKind::DiskLimit => Some(
            "no level needs it; for a bound without delay give the workspaces a file system of their own with quotas \
             of directories (xfs, or ext4, with `prjquota`)"
                .to_owned(),
        ),
    };
    Some(known.unwrap_or_else(|| unexplained(guarantee.strength).to_owned()))
}

/// What is left to look at where the settings of the host do not say why.
fn unexplained(strength: Strength) -> &'static str {
    match strength {
        Strength::Absent => {
            "no setting of the kernel explains it, so a filter around this program may: in a container use --security-opt \
             seccomp=unconfined, in a unit leave out RestrictNamespaces= and SystemCallFilter=; otherwise \
             report it with what was seen"
        }
        Strength::Enforced | Strength::Degraded => "no setting of this host explains it; report it with what was seen",
    }
}

/// The fixes of what `host` lacks of these features.
fn host_fixes(host: &HostReport, names: &[&str]) -> Option<String> {
    let lacking = host
        .features
        .iter()
        .filter(|feature| names.contains(&feature.name.as_str()) && feature.presence != Presence::Present);
    let fixes: Vec<&str> = lacking.map(|feature| feature.fix.as_str()).filter(|fix| !fix.is_empty()).collect();
    if fixes.is_empty() { None } else { Some(fixes.join("; ")) }
}

/// The profile that lets `program` make user namespaces where AppArmor keeps them from others.
pub fn apparmor_profile(program: &Path) -> String {
    APPARMOR_PROFILE.replace(PROFILE_PROGRAM, &program.display().to_string())
}

/// How the profile for `program` is installed.
pub(crate) fn apparmor_fix(program: &Path) -> String {
    let program = program.display();
    format!(
        "run: {program} apparmor-profile | sudo tee {PROFILE_PATH} >/dev/null && sudo apparmor_parser -r {PROFILE_PATH}; \
         then start the daemon again (or for the whole machine: sudo sysctl -w \
         kernel.apparmor_restrict_unprivileged_userns=0)"
    )
}

/// What makes a control group available that was not found for this reason.
pub(crate) fn cgroup_fix(missing: &Missing) -> String {
    let unit =
        "in the daemon's unit, below [Service]: Delegate=yes and DelegateSubgroup=daemon, then systemctl restart";
    match missing {
        // Also what a process says that does not see them, as inside a sandbox's own view.
        Missing::NotMounted => format!(
            "{unit}; where the host has none of version 2, boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's \
             command line"
        ),
        Missing::NotFound => {
            format!("{unit}; in a container, with a control group namespace of its own (docker run --cgroupns=private)")
        }
        Missing::Root => {
            format!("{unit}; without systemd start the daemon in a group of its own that its user may write")
        }
        Missing::NotDelegated(_) | Missing::Shared(_) => {
            format!("{unit}; for a daemon by hand: systemd-run --user --scope -p Delegate=yes orchd")
        }
        Missing::Failed { .. } => format!("{unit}; see what the kernel refused"),
    }
}

/// What makes the controllers available that a delegated group lacks.
pub(crate) fn controllers_fix() -> String {
    "have all controllers delegated: for a service Delegate=yes; for a user's services, in \
     /etc/systemd/system/user@.service.d/delegate.conf below [Service]: Delegate=cpu memory pids io, then systemctl \
     daemon-reload and log in again; where version 1 holds them, boot with systemd.unified_cgroup_hierarchy=1"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::{Level, LevelReport};
    use crate::probes::host::{HostFeature, probe_host};

    fn host(lacking: &[(&str, Presence)]) -> HostReport {
        let mut host = probe_host();
        for feature in &mut host.features {
            let found = lacking.iter().find(|(name, _)| *name == feature.name);
            let presence = found.map_or(Presence::Present, |(_, presence)| *presence);
            let fix = if presence == Presence::Present { String::new() } else { format!("mend {}", feature.name) };
            *feature = HostFeature { presence, fix, ..feature.clone() };
        }
        host
    }

    fn said(kind: GuaranteeKind, strength: Strength, host: &HostReport) -> Option<String> {
        advice(&Guarantee { kind, strength, how: String::new(), evidence: String::new() }, host)
    }

    #[test]
    fn every_feature_that_is_named_is_looked_at() {
        let host = probe_host();
        let names = [&NAMESPACE_FEATURES[..], &FILTER_FEATURES, &LANDLOCK_FEATURES, &CGROUP_FEATURES].concat();
        for name in names {
            assert!(host.features.iter().any(|feature| feature.name == name), "{name}");
        }
    }

    #[test]
    fn what_is_not_enforced_has_an_advice_and_the_rest_has_none() {
        let whole = host(&[]);
        let nothing = LevelReport::nothing("no run was possible");
        assert_eq!((nothing.level, nothing.guarantees.len()), (Level::None, GuaranteeKind::ALL.len()));
        for kind in GuaranteeKind::ALL {
            assert_eq!(said(kind, Strength::Enforced, &whole), None);
            assert!(said(kind, Strength::Absent, &whole).is_some_and(|fix| !fix.is_empty()), "{kind}");
        }
    }

    #[test]
    fn the_advice_is_that_of_what_the_host_lacks() {
        let lacking = host(&[("user namespaces", Presence::Partial), ("landlock", Presence::Missing)]);
        let fix = |kind| said(kind, Strength::Absent, &lacking).unwrap();
        assert_eq!(fix(GuaranteeKind::Processes), "mend user namespaces");
        assert_eq!(fix(GuaranteeKind::Landlock), "mend landlock");
        assert_eq!(fix(GuaranteeKind::SyscallFilter), "mend user namespaces");
        let groups = host(&[("delegated cgroup v2", Presence::Missing)]);
        let fix = |kind| said(kind, Strength::Degraded, &groups).unwrap();
        assert_eq!(fix(GuaranteeKind::MemoryLimit), "mend delegated cgroup v2");
        assert!(fix(GuaranteeKind::ProcessLimit).contains("6.14"));
    }

    #[test]
    fn the_profile_names_the_program_that_is_to_use_it() {
        let profile = apparmor_profile(Path::new("/opt/orch/orch-sandbox"));
        assert!(profile.contains("profile orch-sandbox \"/opt/orch/orch-sandbox\" flags=(unconfined)"), "{profile}");
        assert!(!profile.contains(PROFILE_PROGRAM), "{profile}");
        assert!(
            apparmor_fix(Path::new("/opt/orch/orch-sandbox"))
                .contains("run: /opt/orch/orch-sandbox apparmor-profile |")
        );
    }
}
