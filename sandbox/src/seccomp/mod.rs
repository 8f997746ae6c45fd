//! The system call filter: which calls no process of a run may make.
//!
//! The standard profile is a deny list over the calls that are known here, because agents run anything; the strict one is an
//! allow list, for steps that hold keys. In both, a number that is not known is answered `ENOSYS`, so a newer kernel opens
//! nothing by itself, and the same rules judge arguments. The number is found by bisection; a filter is short to install
//! and to run. **Invariant:** arguments are compared in their low 32 bits, which
//! is what the kernel itself looks at for every argument that a rule names. **Invariant:** no rule reads memory; a call
//! that hides its arguments behind a pointer (`clone3`, `openat2`) is answered `ENOSYS`, and callers fall back to the
//! form that shows them.

mod numbers;
mod program;
mod strict;

use std::sync::OnceLock;

use nix::libc::{self, sock_filter};

use crate::spec::SyscallProfile;
use numbers::{ARCH, DENIED, LAST_KNOWN, UNASSIGNED, UNAVAILABLE, rules};
use program::{Assembler, Decision, Interval, Target};

/// Condition on the low 32 bits of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    argument: u8,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    AnyBit(u32),
    Is(u32),
    IsNot(u32),
}

/// A call that is refused with `EPERM` when all conditions hold.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    number: u32,
    refused_when: Vec<Condition>,
}

/// The filter of `profile` for the machine that this was compiled for. Built once: processes that are forked later have it.
pub(crate) fn program(profile: SyscallProfile) -> &'static [sock_filter] {
    static STANDARD: OnceLock<Vec<sock_filter>> = OnceLock::new();
    static STRICT: OnceLock<Vec<sock_filter>> = OnceLock::new();
    let built = match profile {
        SyscallProfile::Standard => &STANDARD,
        SyscallProfile::Strict => &STRICT,
    };
    built.get_or_init(|| build(profile))
}

fn build(profile: SyscallProfile) -> Vec<sock_filter> {
    let mut code = Assembler::default();
    code.load_arch();
    code.unless_equal(ARCH, Target::Kill);
    code.load_number();
    let (intervals, decisions) = table(profile);
    code.decide(&intervals, &decisions);
    code.finish()
}

/// Indexes of the decisions that need no arguments.
const ALLOWED: usize = 0;
const REFUSED: usize = 1;
const UNKNOWN: usize = 2;

/// What is decided about every number: intervals, and the decisions that they name.
fn table(profile: SyscallProfile) -> (Vec<Interval>, Vec<Decision>) {
    let always = [Target::Allow, Target::Errno(libc::EPERM), Target::Errno(libc::ENOSYS)];
    let mut decisions: Vec<Decision> = always.map(Decision::Always).into();
    let mut numbers = by_number_alone(profile);
    let mut rules = rules();
    rules.sort_by_key(|rule| rule.number);
    for rules in rules.chunk_by(|one, other| one.number == other.number) {
        let number = rules[0].number as usize;
        if numbers[number] == ALLOWED {
            let refused_when = rules.iter().map(|rule| rule.refused_when.clone()).collect();
            let decision = Decision::ByArguments { refused_when, otherwise: Target::Allow };
            let known = decisions.iter().position(|known| *known == decision);
            numbers[number] = known.unwrap_or(decisions.len());
            if known.is_none() {
                decisions.push(decision);
            }
        }
    }
    let mut intervals: Vec<Interval> = Vec::with_capacity(numbers.len());
    for (last, decision) in (0..).zip(numbers) {
        match intervals.last_mut() {
            Some(before) if before.decision == decision => before.last = last,
            _ => intervals.push(Interval { last, decision }),
        }
    }
    (intervals, decisions)
}

/// What is decided about each number where the arguments do not matter; the last is for all after [`LAST_KNOWN`].
fn by_number_alone(profile: SyscallProfile) -> Vec<usize> {
    let mut numbers = vec![UNKNOWN; LAST_KNOWN as usize + 2];
    let (listed, decision, others) = match profile {
        SyscallProfile::Standard => ([DENIED, &[]], REFUSED, ALLOWED),
        SyscallProfile::Strict => ([strict::EVERYWHERE, strict::HERE], ALLOWED, REFUSED),
    };
    numbers[..=LAST_KNOWN as usize].fill(others);
    for number in listed.concat() {
        numbers[number as usize] = decision;
    }
    for number in UNASSIGNED.into_iter().flatten().chain(UNAVAILABLE.iter().copied()) {
        numbers[number as usize] = UNKNOWN;
    }
    numbers
}

/// Shorthand of the rule table.
fn any_bit(argument: u8, bits: u32) -> Condition {
    Condition { argument, test: Test::AnyBit(bits) }
}

fn is(argument: u8, value: u32) -> Condition {
    Condition { argument, test: Test::Is(value) }
}

fn is_not(argument: u8, value: u32) -> Condition {
    Condition { argument, test: Test::IsNot(value) }
}

#[cfg(test)]
mod tests {
    use super::program::interpret;
    use super::*;

    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    const PROFILES: [SyscallProfile; 2] = [SyscallProfile::Standard, SyscallProfile::Strict];

    fn judged(profile: SyscallProfile, number: libc::c_long, args: [u64; 6]) -> u32 {
        interpret(program(profile), ARCH, u32::try_from(number).unwrap(), args).0
    }

    /// What both profiles say, where they must say the same.
    fn verdict(number: libc::c_long, args: [u64; 6]) -> u32 {
        let [standard, strict] = PROFILES.map(|profile| judged(profile, number, args));
        assert_eq!(standard, strict, "{number}");
        standard
    }

    #[test]
    fn plain_calls_are_judged_by_number() {
        for number in [libc::SYS_read, libc::SYS_execve, libc::SYS_futex, libc::SYS_landlock_restrict_self] {
            assert_eq!(verdict(number, [0; 6]), ALLOW, "{number}");
        }
        for number in DENIED {
            assert_eq!(verdict(libc::c_long::from(*number), [0; 6]), EPERM, "{number}");
        }
        for number in [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_io_uring_setup, 470, 1000, 0x4000_0000] {
            assert_eq!(verdict(number, [0; 6]), ENOSYS, "{number}");
        }
        for profile in PROFILES {
            assert_eq!(interpret(program(profile), ARCH ^ 1, 0, [0; 6]).0, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    fn arguments_decide_in_their_low_half() {
        let set = |arg: usize, value: u64| {
            let mut args = [0; 6];
            args[arg] = value;
            args
        };
        let high = 0xdead_beef_u64 << 32;
        let socket = |family: u64, protocol: u64| verdict(libc::SYS_socket, [family, 1, protocol, 0, 0, 0]);
        for family in [1, 2, 10, 16] {
            assert_eq!(socket(family, 0), ALLOW, "{family}");
        }
        for family in [0, 3, 17, 38, 40, 44, 45] {
            assert_eq!(socket(family, 0), EPERM, "{family}");
        }
        assert_eq!(verdict(libc::SYS_socketpair, [1, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(libc::SYS_socketpair, [2, 1, 132, 0, 0, 0]), EPERM);
        assert_eq!(socket(16, 9), EPERM);
        for (family, protocol) in [(2, 6), (2, 17), (2, 1), (10, 6), (10, 58), (1, 262)] {
            assert_eq!(socket(family, protocol), ALLOW, "{family} {protocol}");
        }
        for (family, protocol) in [(2, 132), (2, 115), (2, 136), (10, 132), (10, 256), (10, 262)] {
            assert_eq!(socket(family, protocol), EPERM, "{family} {protocol}");
        }
        assert_eq!(verdict(libc::SYS_clone, set(0, 17)), ALLOW);
        assert_eq!(verdict(libc::SYS_clone, set(0, 0x1000_0000 | 17)), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, set(1, 0x5412 | high)), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, set(1, 0x5413)), ALLOW);
        assert_eq!(verdict(libc::SYS_ioctl, set(1, 0x5423 | high)), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, set(1, 0x5000_9418)), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, set(1, 0x4004_9409)), ALLOW, "a clone of a file is one");
        assert_eq!(verdict(libc::SYS_fcntl, set(1, 1024 | high)), EPERM);
        assert_eq!(verdict(libc::SYS_fcntl, set(1, 1030)), ALLOW);
        assert_eq!(verdict(libc::SYS_fchmod, set(1, 0o755)), ALLOW);
        assert_eq!(verdict(libc::SYS_fchmod, set(1, 0o4755)), EPERM);
        assert_eq!(verdict(libc::SYS_fchmodat, set(2, 0o2755)), EPERM);
        assert_eq!(verdict(libc::SYS_mkdirat, set(2, 0o2755)), EPERM);
        let openat = |flags: libc::c_int, mode| verdict(libc::SYS_openat, [0, 0, flags as u64, mode, 0, 0]);
        assert_eq!(openat(libc::O_CREAT, 0o644), ALLOW);
        assert_eq!(openat(libc::O_CREAT, 0o4755), EPERM);
        assert_eq!(openat(libc::O_TMPFILE, 0o4755), EPERM);
        assert_eq!(openat(libc::O_RDONLY, 0o4755), ALLOW, "without a new file the mode is whatever lay there");
        let personality = |value| judged(SyscallProfile::Standard, libc::SYS_personality, set(0, value));
        assert_eq!(personality(0x0004_0000), EPERM);
        assert_eq!(personality(0xffff_ffff), ALLOW);
    }

    /// Every number, in both profiles, against the tables themselves.
    #[test]
    fn every_number_is_judged_as_the_tables_say() {
        let rules = rules();
        let ruled = |number: u32| rules.iter().any(|rule| rule.number == number);
        for profile in PROFILES {
            let program = program(profile);
            let mut allowed = 0;
            for number in (0..=LAST_KNOWN + 200).chain([0x4000_0000, 0x4000_0000 | 59, u32::MAX]) {
                let unknown = number > LAST_KNOWN || UNASSIGNED.iter().any(|range| range.contains(&number));
                let listed = strict::EVERYWHERE.contains(&number) || strict::HERE.contains(&number);
                let wanted = match profile {
                    _ if unknown || UNAVAILABLE.contains(&number) => ENOSYS,
                    _ if DENIED.contains(&number) => EPERM,
                    SyscallProfile::Strict if !listed => EPERM,
                    SyscallProfile::Standard | SyscallProfile::Strict => ALLOW,
                };
                allowed += usize::from(wanted == ALLOW);
                let (found, steps) = interpret(program, ARCH, number, [0; 6]);
                // Without arguments some rules hold: there is no socket family 0, and user 0 may be init's.
                assert!(found == wanted || ruled(number) && wanted == ALLOW && found == EPERM, "{profile:?} {number}");
                assert!(steps < 28, "{profile:?}: {steps} instructions for {number}");
            }
            assert!(allowed > 150, "{allowed}");
        }
    }

    #[test]
    fn the_strict_profile_is_strict() {
        let tables = [strict::EVERYWHERE, strict::HERE].concat();
        for (index, number) in tables.iter().enumerate() {
            assert!(!tables[..index].contains(number), "{number} is there twice");
            assert!(!DENIED.contains(number) && !UNAVAILABLE.contains(number), "{number}");
        }
        for number in [
            libc::SYS_unshare,
            libc::SYS_personality,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_io_submit,
            libc::SYS_shmget,
            libc::SYS_msgget,
            libc::SYS_mq_open,
            libc::SYS_vmsplice,
            libc::SYS_pkey_alloc,
            libc::SYS_mbind,
            libc::SYS_sync,
            libc::SYS_mount,
            libc::SYS_ptrace,
            libc::SYS_keyctl,
        ] {
            assert_eq!(judged(SyscallProfile::Strict, number, [0; 6]), EPERM, "{number}");
        }
    }

    #[test]
    fn programs_fit_the_kernel_and_are_short() {
        for profile in PROFILES {
            let program = program(profile);
            assert!(program.len() < 260, "{profile:?}: {} instructions", program.len());
            let steps =
                |number: libc::c_long| interpret(program, ARCH, u32::try_from(number).unwrap(), [1, 1, 0, 0, 0, 0]).1;
            for number in [libc::SYS_openat, libc::SYS_ioctl, libc::SYS_clone, libc::SYS_socket] {
                assert!(steps(number) < 28, "{profile:?}: {} instructions for {number}", steps(number));
            }
        }
    }
}
