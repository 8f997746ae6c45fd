//! `sbx-probe CASE [ARGUMENT...]`: does one thing that a sandbox must refuse and exits 0 when it was refused for the
//! reason that is expected, 1 when it worked or failed for another reason. It says on standard error what it saw.
//!
//! Knows nothing of the sandbox: it is an attacker with system calls. Named after the cases of the threat model.

mod files;
mod hunger;
mod kernel;
mod lesser;
mod network;
mod pace;
mod processes;
mod talk;
mod world;

use std::fmt::Write as _;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc::{self, c_long};

/// What an attack has found: every line says what was tried and how it was answered.
#[derive(Debug, Default)]
struct Findings {
    text: String,
    held: bool,
}

impl Findings {
    fn new() -> Self {
        Self { text: String::new(), held: true }
    }

    /// Notes an attempt that must fail with one of `wanted`.
    fn refused<T>(&mut self, what: &str, answer: Result<T, Errno>, wanted: &[Errno]) {
        let (said, held) = match answer {
            Ok(_) => ("worked".to_owned(), false),
            Err(errno) => (format!("{errno:?}"), wanted.contains(&errno)),
        };
        self.note(what, &said, held);
    }

    /// Notes something that must hold.
    fn holds(&mut self, what: &str, said: &str, held: bool) {
        self.note(what, said, held);
    }

    fn note(&mut self, what: &str, said: &str, held: bool) {
        let mark = if held { "held" } else { "BROKEN" };
        writeln!(self.text, "{mark}: {what}: {said}").expect("writing to a string does not fail");
        self.held &= held;
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

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some((case, arguments)) = words.split_first() else {
        eprintln!("usage: sbx-probe CASE [ARGUMENT...]");
        return ExitCode::from(64);
    };
    if *case == "lesser" {
        eprintln!("failed to execute: {}", lesser::execute(arguments));
        return ExitCode::from(126);
    }
    if hunger::job(case, arguments) {
        return ExitCode::SUCCESS;
    }
    if *case == "world" {
        eprintln!("failed to settle: {}", world::execute(arguments));
        return ExitCode::from(126);
    }
    let mut found = Findings::new();
    let known = files::attack(case, arguments, &mut found)
        || processes::attack(case, arguments, &mut found)
        || network::attack(case, arguments, &mut found)
        || kernel::attack(case, arguments, &mut found)
        || talk::attack(case, arguments, &mut found)
        || pace::attack(case, arguments, &mut found);
    if !known {
        eprintln!("unknown case: {case}");
        return ExitCode::from(64);
    }
    eprint!("{}", found.text);
    ExitCode::from(u8::from(!found.held))
}
