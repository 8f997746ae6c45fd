//! `sbx-probe CASE [ARGUMENT...]`: does what a sandbox must refuse and says on standard error what it saw, a line for
//! each attempt: `held`, `escaped`, or `odd` for a refusal with another answer than the one that is expected.
//!
//! Exit codes: 0 everything held as expected; 1 something escaped; 3 nothing escaped but something was odd; 64 wrong
//! call. `sbx-probe cases` lists the cases that need nothing but a sandbox, with what they want to know of the outside.
//!
//! Knows nothing of the sandbox: it is an attacker with system calls. Named after the cases of the threat model. Needs
//! no network, no clock and no chance, so it says the same twice; links statically where a toolchain can.

mod calls;
mod files;
mod hunger;
mod interprocess;
mod kernel;
mod lesser;
mod limits;
mod network;
mod pace;
mod privileges;
mod processes;
mod talk;
mod terminals;
mod world;

use std::fmt::Write as _;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc::{self, c_long};

/// What an attack has found: every line says what was tried and how it was answered.
#[derive(Debug, Default)]
struct Findings {
    text: String,
    escaped: bool,
    odd: bool,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Held,
    Odd,
    Escaped,
}

impl Findings {
    /// Notes an attempt that must fail with one of `wanted`.
    fn refused<T>(&mut self, what: &str, answer: Result<T, Errno>, wanted: &[Errno]) {
        let (said, mark) = match answer {
            Ok(_) => ("worked".to_owned(), Mark::Escaped),
            Err(errno) if wanted.contains(&errno) => (format!("{errno:?}"), Mark::Held),
            Err(errno) => (format!("{errno:?} where {wanted:?} is expected"), Mark::Odd),
        };
        self.note(what, &said, mark);
    }

    /// Notes something that must hold.
    fn holds(&mut self, what: &str, said: &str, held: bool) {
        self.note(what, said, if held { Mark::Held } else { Mark::Escaped });
    }

    fn note(&mut self, what: &str, said: &str, mark: Mark) {
        let word = match mark {
            Mark::Held => "held",
            Mark::Odd => "odd",
            Mark::Escaped => "escaped",
        };
        writeln!(self.text, "{word}: {what}: {said}").expect("writing to a string does not fail");
        self.odd |= mark == Mark::Odd;
        self.escaped |= mark == Mark::Escaped;
    }

    fn exit_code(&self) -> u8 {
        match (self.escaped, self.odd) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        }
    }
}

/// Makes a system call that has no wrapper, with arguments that are numbers or pointers to live values.
fn raw(number: c_long, args: [usize; 6]) -> Result<c_long, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the arguments are those of the attack; every pointer among them is null or to a value that outlives the
    // call, and calls that would change this process's memory are refused or get no memory to write to.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// The cases that any sandbox can be tried with, with what they are told: `FILE` a file of the host, `PID` a process of
/// it, `TCP` an address that somebody listens at there, `UDP` one of a datagram socket, `ABSTRACT` and `SOCKET` a local
/// socket by name and by path, `KEY` a key of System V memory, queue and semaphores, `QUEUE` a message queue.
const CASES: [&str; 44] = [
    "f1 FILE",
    "f2",
    "f4",
    "f6 FILE",
    "f7",
    "f8",
    "f9",
    "f10",
    "f11",
    "f16",
    "f18",
    "p1",
    "p2 PID",
    "p3",
    "p4",
    "p5",
    "p8",
    "p10",
    "p11",
    "p12 2000",
    "n1",
    "n2 TCP",
    "n16 UDP",
    "n17",
    "n18",
    "n19",
    "n20 ABSTRACT",
    "n21 SOCKET",
    "i1 KEY QUEUE",
    "i2",
    "i3",
    "d1",
    "d2",
    "d3",
    "d4",
    "k1",
    "k2",
    "k3",
    "k4",
    "k5",
    "k6",
    "k7",
    "k8",
    "k11",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some((case, arguments)) = words.split_first() else {
        eprintln!("usage: sbx-probe CASE [ARGUMENT...]");
        return ExitCode::from(64);
    };
    match *case {
        "lesser" => {
            eprintln!("failed to execute: {}", lesser::execute(arguments));
            return ExitCode::from(126);
        }
        "host-objects" => return interprocess::hold_objects(),
        "cases" => {
            println!("{}", CASES.join("\n"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if hunger::job(case, arguments) {
        return ExitCode::SUCCESS;
    }
    if *case == "world" {
        eprintln!("failed to settle: {}", world::execute(arguments));
        return ExitCode::from(126);
    }
    let mut found = Findings::default();
    let known = files::attack(case, arguments, &mut found)
        || processes::attack(case, arguments, &mut found)
        || network::attack(case, arguments, &mut found)
        || interprocess::attack(case, arguments, &mut found)
        || terminals::attack(case, arguments, &mut found)
        || calls::attack(case, &mut found)
        || privileges::attack(case, &mut found)
        || limits::attack(case, arguments, &mut found)
        || kernel::attack(case, arguments, &mut found)
        || talk::attack(case, arguments, &mut found)
        || pace::attack(case, arguments, &mut found);
    if !known {
        eprintln!("unknown case: {case}");
        return ExitCode::from(64);
    }
    eprint!("{}", found.text);
    ExitCode::from(found.exit_code())
}
