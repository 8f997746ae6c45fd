//! A small assembler for filter programs, and the interpreter that tests judge them with.
//!
//! Knows instructions, not policies. **Invariant:** jumps only go forward and only as far as one block, so that their
//! 8-bit distance always fits.

use nix::libc::{self, c_int, c_ushort, sock_filter};

use super::{Condition, Rule, Test};

/// Where a decision ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Allow,
    Errno(c_int),
    Kill,
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const IF_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const GOTO: u32 = libc::BPF_JMP | libc::BPF_JA;

const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
/// Low half of the first argument on a little-endian machine; both supported ones are.
const ARGUMENTS_OFFSET: u32 = 16;

/// Collects instructions.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<sock_filter>,
}

impl Assembler {
    pub(super) fn load_arch(&mut self) {
        self.emit(LOAD, ARCH_OFFSET, (0, 0));
    }

    pub(super) fn load_number(&mut self) {
        self.emit(LOAD, NUMBER_OFFSET, (0, 0));
    }

    pub(super) fn unless_equal(&mut self, value: u32, target: Target) {
        self.emit(IF_EQUAL, value, (1, 0));
        self.ret(target);
    }

    pub(super) fn if_above(&mut self, value: u32, target: Target) {
        self.emit(IF_ABOVE, value, (0, 1));
        self.ret(target);
    }

    pub(super) fn if_any_of(&mut self, values: &[u32], target: Target) {
        for (index, value) in values.iter().enumerate() {
            // Over the values that follow and over the jump past the block.
            let distance = u8::try_from(values.len() - index).expect("a block has at most 255 values");
            self.emit(IF_EQUAL, *value, (distance, 0));
        }
        self.emit(GOTO, 1, (0, 0));
        self.ret(target);
    }

    /// Decides one rule. The number must be loaded, and is again afterwards.
    pub(super) fn rule(&mut self, rule: &Rule, target: Target) {
        // Two instructions for each condition, one for the return, one to load the number again.
        let conditions = u8::try_from(rule.refused_when.len()).expect("a rule has few conditions");
        self.emit(IF_EQUAL, rule.number, (0, 2 * conditions + 2));
        for (index, condition) in (0..conditions).zip(&rule.refused_when) {
            let to_reload = 2 * (conditions - index - 1) + 1;
            self.condition(*condition, to_reload);
        }
        self.ret(target);
        self.load_number();
    }

    pub(super) fn finish(mut self, target: Target) -> Vec<sock_filter> {
        self.ret(target);
        self.code
    }

    /// Falls through when the condition holds, else jumps over `otherwise` instructions.
    fn condition(&mut self, condition: Condition, otherwise: u8) {
        self.emit(LOAD, ARGUMENTS_OFFSET + 8 * u32::from(condition.argument), (0, 0));
        match condition.test {
            Test::AnyBit(bits) => self.emit(IF_BITS, bits, (0, otherwise)),
            Test::Is(value) => self.emit(IF_EQUAL, value, (0, otherwise)),
            Test::IsNot(value) => self.emit(IF_EQUAL, value, (otherwise, 0)),
        }
    }

    fn ret(&mut self, target: Target) {
        let value = match target {
            Target::Allow => libc::SECCOMP_RET_ALLOW,
            Target::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
            Target::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        };
        self.emit(RETURN, value, (0, 0));
    }

    fn emit(&mut self, code: u32, k: u32, (jt, jf): (u8, u8)) {
        let code = c_ushort::try_from(code).expect("operation codes have 16 bits");
        self.code.push(sock_filter { code, jt, jf, k });
    }
}

/// Runs a program the way the kernel does.
#[cfg(test)]
pub(super) fn interpret(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&number.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    for arg in args {
        data.extend_from_slice(&arg.to_le_bytes());
    }
    let (mut at, mut value) = (0, 0);
    loop {
        let step = &program[at];
        at += 1;
        let branch = |taken| usize::from(if taken { step.jt } else { step.jf });
        match u32::from(step.code) {
            LOAD => {
                let from = step.k as usize;
                value = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            IF_EQUAL => at += branch(value == step.k),
            IF_ABOVE => at += branch(value > step.k),
            IF_BITS => at += branch(value & step.k != 0),
            GOTO => at += step.k as usize,
            RETURN => return step.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
