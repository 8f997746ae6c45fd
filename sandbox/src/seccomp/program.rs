//! A small assembler for filter programs, and the interpreter that tests judge them with.
//!
//! Knows instructions, not policies. **Invariant:** jumps only go forward, no further than the
//! 8 bits that a condition has for them.

use nix::libc::{self, c_int, c_ushort, sock_filter};

use super::{Condition, Test};

/// Where a decision ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Allow,
    Errno(c_int),
    Kill,
}

/// What is decided about a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The same for all arguments.
    Always(Target),
    /// Refused when all conditions of one of these lists hold.
    ByArguments { refused_when: Vec<Vec<Condition>>, otherwise: Target },
}

impl Decision {
    /// How much it matters that the decision is found soon. The kernel remembers calls that are allowed whatever their
    /// arguments are, since Linux 5.11, and does not ask again.
    fn weight(&self) -> usize {
        match self {
            Self::Always(_) => 1,
            Self::ByArguments { .. } => 4,
        }
    }
}

/// Numbers with one decision: those after the interval before it, up to `last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    pub(super) last: u32,
    /// Its index.
    pub(super) decision: usize,
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const IF_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

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

    /// Decides by the number, which must be loaded: a tree of comparisons, then each decision once. `intervals` are in
    /// order, and the last of them has no end.
    pub(super) fn decide(&mut self, intervals: &[Interval], decisions: &[Decision]) {
        let mut tree = Vec::with_capacity(intervals.len());
        grow(intervals, decisions, &mut tree);
        let mut blocks = Self::default();
        let mut starts = Vec::with_capacity(decisions.len());
        for decision in decisions {
            starts.push(tree.len() + blocks.code.len());
            blocks.leaf(decision);
        }
        for (at, branch) in tree.iter().enumerate() {
            let [above, otherwise] = [branch.above, branch.otherwise].map(|goal| {
                let target = match goal {
                    Goal::Branch(branch) => branch,
                    Goal::Decision(decision) => starts[decision],
                };
                u8::try_from(target - at - 1).expect("the tables, which are constant, make a short program")
            });
            self.emit(IF_ABOVE, branch.bound, (above, otherwise));
        }
        self.code.append(&mut blocks.code);
    }

    fn leaf(&mut self, decision: &Decision) {
        match decision {
            Decision::Always(target) => self.ret(*target),
            Decision::ByArguments { refused_when, otherwise } => {
                for conditions in refused_when {
                    self.refuse(conditions);
                }
                self.ret(*otherwise);
            }
        }
    }

    /// Refuses when all conditions hold.
    fn refuse(&mut self, conditions: &[Condition]) {
        let count = u8::try_from(conditions.len()).expect("a rule has few conditions");
        for (index, condition) in (0..count).zip(conditions) {
            // Two instructions for each condition that follows and one for the return.
            self.condition(*condition, 2 * (count - index - 1) + 1);
        }
        self.ret(Target::Errno(libc::EPERM));
    }

    pub(super) fn finish(self) -> Vec<sock_filter> {
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

/// One comparison of the number.
#[derive(Debug)]
struct Branch {
    bound: u32,
    above: Goal,
    otherwise: Goal,
}

/// Where a comparison leads.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// To the comparison with this index.
    Branch(usize),
    /// To the decision with this index.
    Decision(usize),
}

/// Adds the comparisons that find the decision of a number to `tree`, the first of them first.
fn grow(intervals: &[Interval], decisions: &[Decision], tree: &mut Vec<Branch>) -> Goal {
    if let [only] = intervals {
        return Goal::Decision(only.decision);
    }
    let (lower, upper) = intervals.split_at(middle(intervals, decisions));
    let at = tree.len();
    let bound = lower.last().map_or(0, |interval| interval.last);
    tree.push(Branch { bound, above: Goal::Branch(at), otherwise: Goal::Branch(at) });
    let otherwise = grow(lower, decisions, tree);
    let above = grow(upper, decisions, tree);
    tree[at] = Branch { bound, above, otherwise };
    Goal::Branch(at)
}

/// Where two parts of `intervals`, which are two or more, weigh about the same.
fn middle(intervals: &[Interval], decisions: &[Decision]) -> usize {
    let weight = |interval: &Interval| decisions[interval.decision].weight();
    let total: usize = intervals.iter().map(weight).sum();
    let mut seen = 0;
    let heavy = |interval: &Interval| {
        seen += weight(interval);
        2 * seen > total
    };
    intervals.iter().position(heavy).unwrap_or(1).clamp(1, intervals.len() - 1)
}

/// Runs a program the way the kernel does; returns its verdict and how many instructions that took.
#[cfg(test)]
pub(super) fn interpret(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend_from_slice(&number.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    for arg in args {
        data.extend_from_slice(&arg.to_le_bytes());
    }
    let (mut at, mut value, mut steps) = (0, 0, 0);
    loop {
        let step = &program[at];
        at += 1;
        steps += 1;
        let branch = |taken| usize::from(if taken { step.jt } else { step.jf });
        match u32::from(step.code) {
            LOAD => {
                let from = step.k as usize;
                value = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            IF_EQUAL => at += branch(value == step.k),
            IF_ABOVE => at += branch(value > step.k),
            IF_BITS => at += branch(value & step.k != 0),
            RETURN => return (step.k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}
