//! The tables of the filter: numbers and rules, for x86-64 and 64-bit ARM.
//!
//! Numbers from 424 on are the same on every machine; those that `libc` does not name everywhere are written out here.

use nix::libc::{self, c_long};

use super::{Condition, Rule, any_bit, is, is_not};

/// Machine that a call must come from; anything else (32-bit calls on x86-64) ends the process.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xc000_003e;
/// Machine that a call must come from; anything else ends the process.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xc000_00b7;

/// Highest call that this table has judged (`file_setattr`, Linux 6.17).
pub(super) const LAST_KNOWN: u32 = 469;

/// Numbers below that belong to no call: answered like those above.
#[cfg(target_arch = "x86_64")]
pub(super) const UNASSIGNED: [std::ops::RangeInclusive<u32>; 1] = [337..=423];
/// Numbers below that belong to no call: answered like those above.
#[cfg(target_arch = "aarch64")]
pub(super) const UNASSIGNED: [std::ops::RangeInclusive<u32>; 2] = [244..=259, 295..=423];

const FCHMODAT2: c_long = 452;
const OPEN_TREE_ATTR: u32 = 467;
const PROCESS_MADVISE: u32 = 440;
const PIDFD_GETFD: u32 = 438;

/// Calls answered as if the kernel did not have them, because programs then do without.
pub(super) const UNAVAILABLE: &[u32] = &[
    number(libc::SYS_clone3),
    number(libc::SYS_openat2),
    number(libc::SYS_io_uring_setup),
    number(libc::SYS_io_uring_enter),
    number(libc::SYS_io_uring_register),
    // The events that it reserves are counted for the whole machine.
    number(libc::SYS_io_setup),
];

/// Calls refused whatever their arguments are.
#[cfg(target_arch = "x86_64")]
pub(super) const DENIED: &[u32] = &joined::<{ EVERYWHERE.len() + 10 }>(&[
    number(libc::SYS__sysctl),
    number(libc::SYS_nfsservctl),
    number(libc::SYS_uselib),
    number(libc::SYS_ustat),
    number(libc::SYS_sysfs),
    number(libc::SYS_modify_ldt),
    number(libc::SYS_iopl),
    number(libc::SYS_ioperm),
    number(libc::SYS_vserver),
    number(libc::SYS_lookup_dcookie),
]);
/// Calls refused whatever their arguments are.
#[cfg(target_arch = "aarch64")]
pub(super) const DENIED: &[u32] =
    &joined::<{ EVERYWHERE.len() + 2 }>(&[number(libc::SYS_nfsservctl), number(libc::SYS_lookup_dcookie)]);

const EVERYWHERE: &[u32] = &[
    // The view of the file system.
    number(libc::SYS_mount),
    number(libc::SYS_umount2),
    number(libc::SYS_pivot_root),
    number(libc::SYS_chroot),
    number(libc::SYS_open_tree),
    number(libc::SYS_move_mount),
    number(libc::SYS_fsopen),
    number(libc::SYS_fsconfig),
    number(libc::SYS_fsmount),
    number(libc::SYS_fspick),
    number(libc::SYS_mount_setattr),
    OPEN_TREE_ATTR,
    number(libc::SYS_open_by_handle_at),
    number(libc::SYS_quotactl),
    number(libc::SYS_quotactl_fd),
    number(libc::SYS_swapon),
    number(libc::SYS_swapoff),
    number(libc::SYS_acct),
    number(libc::SYS_fanotify_init),
    // Namespaces.
    number(libc::SYS_setns),
    // Other processes.
    number(libc::SYS_ptrace),
    number(libc::SYS_process_vm_readv),
    number(libc::SYS_process_vm_writev),
    number(libc::SYS_kcmp),
    PROCESS_MADVISE,
    PIDFD_GETFD,
    // The kernel.
    number(libc::SYS_bpf),
    number(libc::SYS_perf_event_open),
    number(libc::SYS_userfaultfd),
    number(libc::SYS_kexec_load),
    number(libc::SYS_kexec_file_load),
    number(libc::SYS_init_module),
    number(libc::SYS_finit_module),
    number(libc::SYS_delete_module),
    number(libc::SYS_reboot),
    number(libc::SYS_syslog),
    number(libc::SYS_vhangup),
    number(libc::SYS_settimeofday),
    number(libc::SYS_clock_settime),
    number(libc::SYS_adjtimex),
    number(libc::SYS_clock_adjtime),
    // Key rings belong to the user, not to a namespace.
    number(libc::SYS_add_key),
    number(libc::SYS_request_key),
    number(libc::SYS_keyctl),
];

/// Set-user-id and set-group-id.
const SETID_BITS: u32 = 0o6000;
/// All `CLONE_NEW*` flags of `clone` and `unshare`.
const NEW_NAMESPACES: u32 = 0x7e02_0080;
const CREATES_FILE: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)).unsigned_abs();
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// Sets the line discipline of a terminal, for which the kernel loads modules that few have looked at.
const TIOCSETD: u32 = 0x5423;
/// `BTRFS_IOC_SNAP_CREATE`, `SUBVOL_CREATE` and their second versions (`linux/btrfs.h`): what they make is a file system of
/// its own to whoever removes the workspace.
const BTRFS_SUBVOLUMES: [u32; 4] = [0x5000_9401, 0x5000_940e, 0x5000_9417, 0x5000_9418];
/// Protocols of the internet families that programs need: none named, ICMP, TCP, UDP, ICMPv6. For others (SCTP, L2TP,
/// SMC, ...) the kernel loads a module at the wish of anybody.
const INET_PROTOCOLS: [u32; 5] = [0, 1, 6, 17, 58];
const PER_LINUX32: u32 = 8;
/// `PRIO_PROCESS`, `PRIO_PGRP` and `PRIO_USER`, whose type in `libc` differs from machine to machine.
const PRIO: [u32; 3] = [0, 1, 2];
/// `IOPRIO_WHO_*`, which `libc` does not name, in the same order.
const IOPRIO_WHO: [u32; 3] = [1, 2, 3];
/// Process, process group and session of init.
const INIT: u32 = 1;
const PERSONALITY_QUERY: u32 = 0xffff_ffff;

/// Calls refused for some arguments.
pub(super) fn rules() -> Vec<Rule> {
    let netlink = libc::AF_NETLINK.unsigned_abs();
    let foreign_family = || {
        let allowed = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        allowed.iter().map(|family| is_not(0, family.unsigned_abs())).collect::<Vec<_>>()
    };
    let setid_file = |flags: u8, mode: u8| vec![any_bit(flags, CREATES_FILE), any_bit(mode, SETID_BITS)];
    let mut rules = vec![
        rule(libc::SYS_clone, vec![any_bit(0, NEW_NAMESPACES)]),
        rule(libc::SYS_unshare, vec![any_bit(0, NEW_NAMESPACES)]),
        rule(libc::SYS_socket, foreign_family()),
        // No other family that is allowed has pairs, but asking for one would load its protocols.
        rule(libc::SYS_socketpair, vec![is_not(0, libc::AF_UNIX.unsigned_abs())]),
        // Of netlink only the routing family, which shows the interfaces.
        rule(libc::SYS_socket, vec![is(0, netlink), is_not(2, libc::NETLINK_ROUTE.unsigned_abs())]),
        rule(libc::SYS_ioctl, vec![is(1, TIOCSTI)]),
        rule(libc::SYS_ioctl, vec![is(1, TIOCLINUX)]),
        rule(libc::SYS_ioctl, vec![is(1, TIOCSETD)]),
        // Who owns a file can take a lease on it through a read-only mount, and then writers outside wait.
        rule(libc::SYS_fcntl, vec![is(1, libc::F_SETLEASE.unsigned_abs())]),
        rule(libc::SYS_personality, vec![is_not(0, 0), is_not(0, PER_LINUX32), is_not(0, PERSONALITY_QUERY)]),
        rule(libc::SYS_fchmod, vec![any_bit(1, SETID_BITS)]),
        rule(libc::SYS_fchmodat, vec![any_bit(2, SETID_BITS)]),
        rule(FCHMODAT2, vec![any_bit(2, SETID_BITS)]),
        rule(libc::SYS_openat, setid_file(2, 3)),
        rule(libc::SYS_mkdirat, vec![any_bit(2, SETID_BITS)]),
        rule(libc::SYS_mknodat, vec![any_bit(2, SETID_BITS)]),
    ];
    rules.extend(BTRFS_SUBVOLUMES.map(|command| rule(libc::SYS_ioctl, vec![is(1, command)])));
    for family in [libc::AF_INET, libc::AF_INET6] {
        let protocol = INET_PROTOCOLS.map(|protocol| is_not(2, protocol));
        rules.push(rule(libc::SYS_socket, [[is(0, family.unsigned_abs())].as_slice(), &protocol].concat()));
    }
    rules.extend(about_init());
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        rule(libc::SYS_chmod, vec![any_bit(1, SETID_BITS)]),
        rule(libc::SYS_open, setid_file(1, 2)),
        rule(libc::SYS_creat, vec![any_bit(1, SETID_BITS)]),
        rule(libc::SYS_mkdir, vec![any_bit(1, SETID_BITS)]),
        rule(libc::SYS_mknod, vec![any_bit(1, SETID_BITS)]),
    ]);
    rules
}

/// Init has the user id of the steps, so without these they could take its limits and its share of the processor.
fn about_init() -> Vec<Rule> {
    let mut rules: Vec<Rule> = [
        libc::SYS_prlimit64,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setaffinity,
    ]
    .map(|call| rule(call, vec![is(0, INIT)]))
    .into();
    for (call, [process, group, user]) in [(libc::SYS_setpriority, PRIO), (libc::SYS_ioprio_set, IOPRIO_WHO)] {
        rules.push(rule(call, vec![is(0, process), is(1, INIT)]));
        rules.push(rule(call, vec![is(0, group), is(1, INIT)]));
        // Init is one of the user's processes.
        rules.push(rule(call, vec![is(0, user)]));
    }
    rules
}

fn rule(call: c_long, refused_when: Vec<Condition>) -> Rule {
    Rule { number: number(call), refused_when }
}

/// The number of a call that this table knows.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "call numbers are small and not negative")]
pub(super) const fn number(call: c_long) -> u32 {
    assert!(call >= 0 && call <= LAST_KNOWN as c_long);
    call as u32
}

/// [`EVERYWHERE`] and `more` in one table.
const fn joined<const LEN: usize>(more: &[u32]) -> [u32; LEN] {
    let mut all = [0; LEN];
    let mut index = 0;
    while index < LEN {
        all[index] = if index < EVERYWHERE.len() { EVERYWHERE[index] } else { more[index - EVERYWHERE.len()] };
        index += 1;
    }
    all
}
