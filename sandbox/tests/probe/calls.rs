//! Every system call by its number: each answers as the filter says.
//!
//! The lists are written out here once more, so that a change of the filter shows in a test. Arguments are all ones, with
//! which no call does harm even where it is let through.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc::{self, c_long};

use super::processes::{ended_child, in_child};
use super::{Findings, raw};

/// The newest call that the lists know (`file_setattr`, Linux 6.17).
const LAST: c_long = 469;

/// Refused, whatever the arguments are.
const REFUSED: &[c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    467,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_fanotify_init,
    libc::SYS_setns,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    440,
    438,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vserver,
];

/// Said not to exist.
const ABSENT: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_setup,
];

/// Judged by their arguments, each in a case of its own.
const JUDGED: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_unshare,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
    libc::SYS_personality,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    452,
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_prlimit64,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
];

/// Not called: they end, double, stop or return from the caller, write out every disk, or leave an object.
const NOT_CALLED: &[c_long] = &[
    libc::SYS_msgget,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_sync,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
    // `uretprobe` and `uprobe`, which only the kernel's own trampolines call.
    #[cfg(target_arch = "x86_64")]
    335,
    #[cfg(target_arch = "x86_64")]
    336,
];

/// Open, and refused by the kernel itself to whoever has no capability.
const PRIVILEGED: &[c_long] = &[libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_setgroups];

pub(super) fn attack(case: &str, found: &mut Findings) -> bool {
    match case {
        "k2" => every_call(found),
        "k3" => unknown_calls(found),
        _ => return false,
    }
    true
}

fn every_call(found: &mut Findings) {
    let mut counts = BTreeMap::new();
    for number in 0..=500 {
        let kind = if number > LAST || ABSENT.contains(&number) {
            expect(number, Errno::ENOSYS, found);
            "absent"
        } else if REFUSED.contains(&number) {
            expect(number, Errno::EPERM, found);
            "refused"
        } else if JUDGED.contains(&number) {
            "judged by arguments"
        } else if NOT_CALLED.contains(&number) {
            "not called"
        } else {
            open(number, found);
            "open"
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    found.holds("calls", &format!("{counts:?}"), true);
}

fn expect(number: c_long, wanted: Errno, found: &mut Findings) {
    // In a session of its own, for the one that hangs up the terminal of its caller.
    let answer = in_child(|| {
        nix::unistd::setsid()?;
        raw(number, [usize::MAX; 6]).map(drop)
    });
    if answer != Err(wanted) {
        found.refused(&format!("call {number}"), answer, &[wanted]);
    }
}

/// Programs need it, so it must not be refused; what it says to such arguments is its own business.
fn open(number: c_long, found: &mut Findings) {
    let ended = ended_child(|| i32::from(raw(number, [usize::MAX; 6]) == Err(Errno::EPERM)));
    let refused = ended.is_ok_and(|status| libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1);
    if refused && !PRIVILEGED.contains(&number) {
        found.note(&format!("call {number}"), "refused, and programs need it", super::Mark::Odd);
    }
}

fn unknown_calls(found: &mut Findings) {
    for number in
        [LAST + 1, 480, 511, 512, 547, 600, 1000, 0x4000_0000, 0x4000_0000 + 39, 0x4000_0000 + 512, 0x7fff_ffff]
    {
        found.refused(&format!("call {number:#x}"), raw(number, [usize::MAX; 6]), &[Errno::ENOSYS]);
    }
}
