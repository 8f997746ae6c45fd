//! The system call filter: which calls no process of a run may make.
//!
//! A deny list over the calls that are known here, because agents run anything; a number that is not known is answered
//! `ENOSYS`, so a newer kernel opens nothing by itself. **Invariant:** arguments are compared in their low 32 bits, which
//! is what the kernel itself looks at for every argument that a rule names. **Invariant:** no rule reads memory; a call
//! that hides its arguments behind a pointer (`clone3`, `openat2`) is answered `ENOSYS`, and callers fall back to the
//! form that shows them.

mod numbers;
mod program;

use nix::libc::{self, sock_filter};

use numbers::{ARCH, DENIED, LAST_KNOWN, UNAVAILABLE, rules};
use program::{Assembler, Target};

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

/// Builds the filter for the machine that this was compiled for.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut code = Assembler::default();
    code.load_arch();
    code.unless_equal(ARCH, Target::Kill);
    code.load_number();
    code.if_above(LAST_KNOWN, Target::Errno(libc::ENOSYS));
    code.if_any_of(UNAVAILABLE, Target::Errno(libc::ENOSYS));
    code.if_any_of(DENIED, Target::Errno(libc::EPERM));
    for rule in rules() {
        code.rule(&rule, Target::Errno(libc::EPERM));
    }
    code.finish(Target::Allow)
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

    fn verdict(number: libc::c_long, args: [u64; 6]) -> u32 {
        interpret(&program(), ARCH, u32::try_from(number).unwrap(), args)
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
        assert_eq!(interpret(&program(), ARCH ^ 1, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
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
        assert_eq!(verdict(libc::SYS_personality, set(0, 0x0004_0000)), EPERM);
        assert_eq!(verdict(libc::SYS_personality, set(0, 0xffff_ffff)), ALLOW);
    }

    #[test]
    fn the_program_fits_the_kernel() {
        assert!(program().len() < 600, "{} instructions", program().len());
    }
}
